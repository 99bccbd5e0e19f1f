// Places in the unit square, found by where they are: those in a rectangle or a polygon, and the nearest to a point.
// Cells of a grid, filled by counting, so that a million are ready in some tens of milliseconds. Knows no document.

export const NOWHERE = 65_535; // x of what has no place
export const LAST = 65_534; // of a place
const CELLS = 256; // a side

export class Space {
  // places: Uint16Array, x and y of each.
  constructor(places) {
    this.places = places;
    const n = places.length / 2;
    this.start = new Uint32Array(CELLS * CELLS + 1);
    for (let i = 0; i < n; i++) if (places[2 * i] !== NOWHERE) this.start[this.#cell(i) + 1] += 1;
    for (let cell = 0; cell < CELLS * CELLS; cell++) this.start[cell + 1] += this.start[cell];
    this.count = this.start[CELLS * CELLS];
    this.order = new Uint32Array(this.count);
    const next = this.start.slice();
    for (let i = 0; i < n; i++) if (places[2 * i] !== NOWHERE) this.order[next[this.#cell(i)]++] = i;
  }

  #cell(i) {
    return (this.places[2 * i + 1] >> 8) * CELLS + (this.places[2 * i] >> 8);
  }

  x(i) {
    return this.places[2 * i] / LAST;
  }

  y(i) {
    return this.places[2 * i + 1] / LAST;
  }

  // Calls visit(i) for all in a rectangle of the unit square, until it gives true.
  inside({ left, top, right, bottom }, visit) {
    const cell = (value) => Math.min(CELLS - 1, Math.max(0, Math.floor((value * LAST) / 256)));
    for (let row = cell(top); row <= cell(bottom); row++) {
      const from = this.start[row * CELLS + cell(left)];
      const to = this.start[row * CELLS + cell(right) + 1];
      for (let at = from; at < to; at++) {
        const i = this.order[at];
        const [x, y] = [this.x(i), this.y(i)];
        if (x >= left && x <= right && y >= top && y <= bottom && visit(i)) return;
      }
    }
  }

  // How many are in a rectangle; it stops counting at `most`.
  countInside(box, most = Infinity) {
    let found = 0;
    this.inside(box, () => ++found >= most);
    return found;
  }

  // The one nearest to a point that is no further away than `reach`; -1: none.
  nearest(x, y, reach) {
    let best = -1;
    let least = reach * reach;
    this.inside({ left: x - reach, top: y - reach, right: x + reach, bottom: y + reach }, (i) => {
      const apart = (this.x(i) - x) ** 2 + (this.y(i) - y) ** 2;
      if (apart <= least) [best, least] = [i, apart];
    });
    return best;
  }

  // Those inside a polygon [[x, y]], ascending.
  within(polygon) {
    const [xs, ys] = [polygon.map(([x]) => x), polygon.map(([, y]) => y)];
    const box = { left: Math.min(...xs), top: Math.min(...ys), right: Math.max(...xs), bottom: Math.max(...ys) };
    const found = [];
    this.inside(box, (i) => {
      if (isInside(polygon, this.x(i), this.y(i))) found.push(i);
    });
    return Uint32Array.from(found).sort();
  }
}

// By how often a line to the right crosses the polygon's sides.
export function isInside(polygon, x, y) {
  let inside = false;
  for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i++) {
    const [[ax, ay], [bx, by]] = [polygon[i], polygon[j]];
    if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) inside = !inside;
  }
  return inside;
}

// A drawn line with the corners that it needs and no more, `most` at most: they stand in the address.
export function simplified(line, most = 40) {
  const step = Math.max(1, Math.ceil(line.length / most));
  return line.filter((_, i) => i % step === 0).map(([x, y]) => [Math.round(x * 1000) / 1000, Math.round(y * 1000) / 1000]);
}
