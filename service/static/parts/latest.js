// Work that is asked for faster than it is done, as by dragging: one at a time, and of those that come meanwhile only
// the last.

export function latest(work) {
  let busy = false;
  let next = null;
  return async (...given) => {
    next = given;
    if (busy) return;
    busy = true;
    try {
      while (next) {
        const now = next;
        next = null;
        await work(...now);
      }
    } finally {
      busy = false;
    }
  };
}
