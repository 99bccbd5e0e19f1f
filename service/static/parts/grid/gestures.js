// How one moves in a grid and chooses: by keys, clicks, a lasso that is drawn with the mouse, and a finger that stays.

const LONG = 450; // ms for which a finger stays on a picture to choose it
const STILL = 10; // pixels within which it stays
const FIRM = 8; // pixels from which on a press draws a lasso
const EDGE = 40; // pixels of the window in which one that is drawn scrolls

export function listen(grid) {
  clicks(grid);
  keys(grid);
  lasso(grid);
  fingers(grid);
}

function clicks(grid) {
  const { list } = grid;
  list.addEventListener("click", (event) => {
    const tile = event.target.closest("li")?.tile;
    if (!tile) return;
    const byFinger = event.pointerType === "touch" && grid.isChoosing;
    const choosing = byFinger || event.target.closest(".mark") || event.ctrlKey || event.metaKey || event.shiftKey;
    if (grid.lassoed || choosing) event.preventDefault();
    if (choosing && !grid.lassoed) grid.choose(tile.i, event);
    else grid.stand(tile.i);
    grid.lassoed = false;
  });
  list.addEventListener("focusin", (event) => {
    const tile = event.target.closest("li")?.tile;
    if (tile) grid.stand(tile.i);
  });
}

function keys(grid) {
  // The picture above or below, by so many rows.
  const vertical = (by) => {
    const { layout } = grid;
    const row = layout.rowOf(grid.at);
    const next = Math.max(0, Math.min(row + by, layout.rows - 1));
    const here = layout.tiles(row).find((tile) => tile.i === grid.at);
    const centre = here.x + here.width / 2;
    const tiles = layout.tiles(next);
    return (tiles.find((tile) => tile.x + tile.width >= centre) ?? tiles.at(-1)).i;
  };
  const page = () => Math.max(1, Math.floor(innerHeight / (grid.layout?.height + 40)) - 1);
  const moves = {
    ArrowLeft: () => grid.at - 1, ArrowRight: () => grid.at + 1, ArrowUp: () => vertical(-1), ArrowDown: () => vertical(1),
    PageUp: () => vertical(-page()), PageDown: () => vertical(page()), Home: () => 0, End: () => grid.source.count - 1,
  };
  grid.list.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) {
      if ((event.ctrlKey || event.metaKey) && event.key === "a") {
        event.preventDefault();
        grid.select(Array.from({ length: grid.source.count }, (_, i) => grid.source.id(i)));
      }
      return;
    }
    const to = moves[event.key];
    if (to) {
      event.preventDefault();
      const before = grid.at;
      grid.focus(to());
      if (event.shiftKey) {
        grid.anchor ??= before;
        grid.choose(grid.at, event);
      }
    } else if (event.key === " ") {
      event.preventDefault();
      grid.choose(grid.at, event);
    } else if (event.key === "Escape" && grid.selected.size) grid.clearSelection();
  });
}

function lasso(grid) {
  const { list, bar, scroll } = grid;
  let from = null;
  let before = null;
  const point = (event) => ({ x: event.clientX - list.getBoundingClientRect().left, y: event.clientY + scroll.y });
  list.addEventListener("pointerdown", (event) => {
    if (event.pointerType !== "mouse" || event.button !== 0 || event.target.closest(".mark") || !grid.source) return;
    grid.lassoed = false;
    from = point(event);
    before = event.shiftKey || event.ctrlKey || event.metaKey ? [...grid.selected] : [];
  });
  addEventListener("pointermove", (event) => {
    if (!from) return;
    const to = point(event);
    if (!grid.lassoed && Math.hypot(to.x - from.x, to.y - from.y) < FIRM) return;
    grid.lassoed = true;
    getSelection().removeAllRanges();
    const [left, right] = [Math.min(from.x, to.x), Math.max(from.x, to.x)];
    const [top, bottom] = [Math.min(from.y, to.y), Math.max(from.y, to.y)];
    Object.assign(bar.style, {
      transform: `translate(${left}px, ${top - scroll.shift}px)`, width: `${right - left}px`, height: `${bottom - top}px`,
    });
    bar.hidden = false;
    if (event.clientY > innerHeight - EDGE) scrollBy({ top: 24, behavior: "instant" });
    else if (event.clientY < EDGE + grid.covered) scrollBy({ top: -24, behavior: "instant" });
    grid.select([...before, ...inside(grid, { left, top, right, bottom })], { add: false });
  });
  const end = () => {
    from = null;
    bar.hidden = true;
    if (grid.lassoed) setTimeout(() => (grid.lassoed = false)); // after the click that this ends in
  };
  addEventListener("pointerup", end);
  addEventListener("pointercancel", end);
}

// A finger has no key to choose with: it stays on the first picture, and taps the others.
function fingers(grid) {
  let timer = null;
  let from = null;
  const leave = () => clearTimeout(timer);
  grid.list.addEventListener("pointerdown", (event) => {
    leave();
    const tile = event.target.closest("li")?.tile;
    if (event.pointerType !== "touch" || !event.isPrimary || !tile || !grid.source || grid.isChoosing) return;
    from = [event.clientX, event.clientY];
    grid.lassoed = false;
    timer = setTimeout(() => {
      grid.choose(tile.i, event);
      grid.lassoed = true; // what it ends in opens nothing
    }, LONG);
  });
  grid.list.addEventListener("pointermove", (event) => from && Math.hypot(event.clientX - from[0], event.clientY - from[1]) > STILL && leave());
  for (const end of ["pointerup", "pointercancel"]) grid.list.addEventListener(end, leave);
  grid.list.addEventListener("contextmenu", (event) => event.pointerType === "touch" && event.preventDefault());
}

// The ids of those that a rectangle of the list touches.
function inside({ layout, source }, { left, top, right, bottom }) {
  const found = [];
  for (let row = layout.rowAt(top); row <= layout.rowAt(bottom); row++) {
    if (layout.top[row] > bottom || layout.top[row] + layout.tall[row] < top) continue;
    for (const tile of layout.tiles(row)) if (tile.x < right && tile.x + tile.width > left) found.push(source.id(tile.i));
  }
  return found;
}
