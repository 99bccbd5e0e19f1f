// How a surface is moved, and what is chosen on it: by mouse, fingers and keys.

const FIRM = 4; // pixels from which on a press is a drag

export function listen(surface) {
  pointers(surface);
  keys(surface);
}

function pointers(surface) {
  const { root } = surface;
  const at = (event) => {
    const box = root.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const fingers = new Map();
  let begun = null;
  root.addEventListener("wheel", (event) => {
    event.preventDefault();
    const pixels = event.deltaMode === 1 ? event.deltaY * 33 : event.deltaY;
    surface.zoomBy(Math.exp(-Math.max(-240, Math.min(240, pixels)) / 240), ...at(event));
  }, { passive: false });
  root.addEventListener("dblclick", (event) => surface.zoomBy(2, ...at(event)));
  root.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.target.closest("button")) return;
    root.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, at(event));
    begun = { at: at(event), moved: false, lasso: surface.drawing || event.shiftKey };
    if (begun.lasso) surface.drawn = [surface.place(...begun.at)];
    if (fingers.size > 1) surface.drawn = null;
  });
  root.addEventListener("pointermove", (event) => {
    const now = at(event);
    const before = fingers.get(event.pointerId);
    if (!before) {
      if (event.pointerType === "mouse") surface.onHover(surface.pointAt(...now), now);
      return;
    }
    if (fingers.size === 2) {
      const [other] = [...fingers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
      const [was, is] = [before, now].map(([x, y]) => Math.hypot(x - other[0], y - other[1]));
      fingers.set(event.pointerId, now);
      begun.moved = true;
      if (was > 0) surface.zoomBy(is / was, (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
      return;
    }
    fingers.set(event.pointerId, now);
    if (!begun.moved && Math.hypot(now[0] - begun.at[0], now[1] - begun.at[1]) < FIRM) return;
    begun.moved = true;
    surface.onHover(-1);
    if (surface.drawn) {
      surface.drawn.push(surface.place(...now));
      surface.drawLines();
      return;
    }
    surface.centre(surface.view.x - (now[0] - before[0]) / surface.scale, surface.view.y - (now[1] - before[1]) / surface.scale);
    surface.moved();
  });
  const up = (event) => {
    if (!fingers.delete(event.pointerId) || !begun) return;
    const { drawn } = surface;
    surface.drawn = null;
    if (event.type === "pointerup" && drawn && begun.moved && drawn.length > 2) surface.onLasso(drawn);
    else if (event.type === "pointerup" && !begun.moved) surface.onPick(surface.pointAt(...at(event)));
    surface.drawLines();
    if (!fingers.size) begun = null;
  };
  root.addEventListener("pointerup", up);
  root.addEventListener("pointercancel", up);
  root.addEventListener("pointerleave", () => surface.onHover(-1));
}

function keys(surface) {
  const { root } = surface;
  root.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target !== root) return;
    const step = 80 / surface.scale;
    const move = (dx, dy) => {
      surface.centre(surface.view.x + dx, surface.view.y + dy);
      surface.moved();
    };
    const act = {
      ArrowLeft: () => move(-step, 0), ArrowRight: () => move(step, 0), ArrowUp: () => move(0, -step), ArrowDown: () => move(0, step),
      "+": () => surface.zoomBy(1.5), "=": () => surface.zoomBy(1.5), "-": () => surface.zoomBy(1 / 1.5), 0: () => surface.whole(), Home: () => surface.whole(),
      Enter: () => surface.onPick(surface.middle()), " ": () => surface.onPick(surface.middle()),
      s: () => surface.onLasso(surface.frame()), S: () => surface.onLasso(surface.frame()),
    }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
}
