// What is asked for faster than it is answered.

// Work, as of dragging: one at a time, and of those that come meanwhile only the last.

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

// Answers that may overtake each other: `const isNews = next()` before one is asked for, and once it is there it counts if
// `isNews()`: if none that was asked for later has counted.
export function order() {
  let asked = 0;
  let counted = 0;
  return () => {
    const mine = ++asked;
    return () => {
      if (mine < counted) return false;
      counted = mine;
      return true;
    };
  };
}
