// Rows of even height for pictures of any shape: each row is filled to the width, no picture is cropped. Arithmetic on
// typed arrays alone, so that a million are laid out in slices between which the page stays awake. Knows no document.

const NARROWEST = 0.35; // width / height of what is shown whole in its tile; a thinner picture has room beside it
const WIDEST = 4;
const SLICE = 40_000; // pictures laid out at a time: some milliseconds

export class Layout {
  // aspect(i): width / height of a picture. breaks: [{at}] in order of `at`, each begins a row and has room above it.
  constructor({ width, height, gap, below = 0, above = 0, aspect, breaks = [] }) {
    Object.assign(this, { width, height, gap, below, above, aspect, breaks });
    this.rows = 0;
    this.done = 0; // pictures that are laid out
    this.end = 0; // where the next row begins
    this.first = new Uint32Array(64); // of each row its first picture
    this.top = new Float64Array(64); // and where its pictures begin, in pixels
    this.tall = new Float32Array(64); // and how tall they are
    this.nextBreak = 0;
    this.broken = new Map(); // row -> the break above it
  }

  shape(i) {
    return Math.min(WIDEST, Math.max(NARROWEST, this.aspect(i) || 1));
  }

  // Lay out up to `count` pictures, at most a slice of them; whether there are more to come. What a row of its own
  // would end too early is laid out again when more pictures come: see `reopen`.
  fill(count, slice = SLICE) {
    const stop = Math.min(count, this.done + slice);
    while (this.done < stop) this.#row(count);
    return this.done < count;
  }

  // The last row was laid out as the end of the list, which now goes on.
  reopen() {
    if (!this.rows) return;
    const row = --this.rows;
    this.done = this.first[row];
    this.end = this.top[row];
    if (this.broken.delete(row)) {
      this.nextBreak -= 1;
      this.end -= this.above;
    }
  }

  #row(count) {
    const start = this.done;
    if (this.breaks[this.nextBreak]?.at === start) {
      this.broken.set(this.rows, this.breaks[this.nextBreak++]);
      this.end += this.above;
    }
    const stop = Math.min(count, this.breaks[this.nextBreak]?.at ?? Infinity);
    let sum = 0;
    let i = start;
    let height = this.height;
    while (i < stop) {
      const shape = this.shape(i);
      const now = (this.width - this.gap * (i - start)) / (sum + shape);
      if (now < this.height) {
        // the row is full with this picture or without it, whichever leaves it nearer to the even height
        const before = i > start ? (this.width - this.gap * (i - start - 1)) / sum : Infinity;
        if (before / this.height <= this.height / now) height = before;
        else {
          height = now;
          i += 1;
        }
        break;
      }
      sum += shape;
      i += 1;
      if (i === stop) height = Math.min(now, this.#even()); // the last of the list, or before a break: not stretched
    }
    if (this.rows === this.first.length) this.#grow();
    this.first[this.rows] = start;
    this.top[this.rows] = this.end;
    this.tall[this.rows] = Math.max(40, Math.round(height * 10) / 10);
    this.end += this.tall[this.rows] + this.below + this.gap;
    this.rows += 1;
    this.done = i;
  }

  // What a row that is not full looks even at: as tall as the one before.
  #even() {
    return this.rows && !this.broken.has(this.rows) ? this.tall[this.rows - 1] : this.height;
  }

  #grow() {
    for (const name of ["first", "top", "tall"]) {
      const longer = new this[name].constructor(this[name].length * 2);
      longer.set(this[name]);
      this[name] = longer;
    }
  }

  // How high all `count` are, by the rows so far.
  total(count) {
    if (!this.done) return 0;
    return this.done >= count ? this.end : (this.end * count) / this.done;
  }

  // The row at a height, and the row of a picture.
  rowAt(y) {
    return this.#search(this.top, y);
  }

  rowOf(i) {
    return this.#search(this.first, i);
  }

  after(row) {
    return row + 1 < this.rows ? this.first[row + 1] : this.done;
  }

  // Each picture of a row with its place: [{i, x, width}].
  tiles(row) {
    const tiles = [];
    let x = 0;
    for (let i = this.first[row]; i < this.after(row); i++) {
      const width = this.shape(i) * this.tall[row];
      tiles.push({ i, x, width });
      x += width + this.gap;
    }
    return tiles;
  }

  #search(values, wanted) {
    let low = 0;
    let high = this.rows - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (values[middle] <= wanted) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}
