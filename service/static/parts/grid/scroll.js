// How far a list is scrolled that may be taller than a browser's page can be: what is higher is scrolled in scale, and
// `shift` is how many pixels the list is ahead of the page. `y` is in the list's own pixels.

const TALLEST = 8_000_000; // pixels of a page: browsers end somewhere above

export class Scroll {
  constructor(list) {
    this.list = list;
    this.reset();
  }

  reset() {
    this.shift = this.scrolled = 0;
  }

  get y() {
    return this.scrolled + this.shift;
  }

  // The list is so high, in its own pixels.
  set height(total) {
    this.total = total;
    this.tall = Math.min(total, TALLEST);
    this.list.style.height = `${Math.ceil(this.tall)}px`;
  }

  get isScaled() {
    return this.total > TALLEST;
  }

  get #room() {
    return this.tall - innerHeight;
  }

  #top() {
    return this.list.getBoundingClientRect().top;
  }

  // Where the bar of the window is when the list is at y, in pixels from the list's beginning.
  #ideal(y) {
    return (y / (this.total - innerHeight)) * this.#room;
  }

  // How far the list's beginning is above the window's.
  read() {
    const scrolled = -this.#top();
    if (!this.isScaled || scrolled <= 0) this.shift = 0;
    else if (scrolled >= this.#room) this.shift = this.total - this.tall;
    else if (Math.abs(scrolled - this.scrolled) > innerHeight * 2) {
      this.shift = (scrolled / this.#room) * (this.total - innerHeight) - scrolled;
    }
    this.scrolled = scrolled;
    return this.y;
  }

  // By so much of the list, which may be more than the page has.
  by(pixels) {
    if (!this.isScaled || Math.abs(pixels) < innerHeight) scrollBy({ top: pixels, behavior: "instant" });
    else {
      const y = Math.max(0, Math.min(this.y + pixels, this.total - innerHeight));
      scrollBy({ top: this.#ideal(y) + this.#top(), behavior: "instant" });
    }
  }

  // Bring a page that is scrolled in scale back to where its bar should be, with nothing to be seen of it: whether it had
  // to be, after which the list is to be drawn.
  settle(y) {
    const ideal = this.#ideal(y);
    if (y !== this.y || y <= 0 || Math.abs(ideal - this.scrolled) < 2) return false;
    this.shift = y - ideal;
    this.scrolled = ideal;
    scrollBy({ top: ideal + this.#top(), behavior: "instant" });
    return true;
  }
}
