// A grid of pictures that may be a million: only what is in view is in the document, and only what comes to rest there
// is loaded. By keyboard: arrows, Home, End, Space chooses, Enter opens. With the mouse: a drag draws a lasso.
//
// A source says what is shown:
//   count                   how many there are now
//   id(i), aspect(i)        of the picture in place i; aspect is width / height
//   href(i)                 where a click leads, an address of the page
//   thumbnail(i, side)      the address of its picture
//   name(i)                 what it is called; null while that is not known
//   note(i)                 optional: words for its tooltip
//   breaks                  [{at, title, text}]: a heading before the picture in place `at`
//   look(from, to)          optional: those came to rest in view; call refresh() once more is known of them
//   more()                  optional: the end is near; grow `count`, then call grow()

import { el, icon, pause, set } from "../dom.js";
import { Layout } from "./layout.js";

const TALLEST = 8_000_000; // pixels of a page: browsers end somewhere above; what is higher is scrolled in scale
const REST = 120; // ms without a jump after which what is in view is loaded
const SIDES = [128, 256, 512];

export class Grid {
  constructor(root, { api, label, onSelect = () => {} }) {
    this.api = api;
    this.list = el("ul", { class: "pictures", "aria-label": label });
    this.bar = el("div", { class: "lasso", hidden: true });
    root.append(el("div", { class: "pictures-box" }, this.list, this.bar));
    this.onSelect = onSelect;
    this.selected = new Set();
    this.covered = 0; // pixels at the top of the window that something else covers
    this.anchor = null; // where a choice with Shift begins
    this.tiles = new Map(); // place -> tile
    this.spare = [];
    this.heads = new Map(); // row -> its heading
    this.at = 0; // place that has the focus, or would have it
    this.shift = 0; // pixels that the list is ahead of the page, where it is scrolled in scale
    this.scrolled = 0;
    this.source = null;
    this.run = 0; // of laying out; a newer one ends those before it
    this.#listen();
  }

  // Show another source, from the beginning, or at a place.
  show(source, { at = 0, captions = true } = {}) {
    this.source = source;
    this.captions = captions;
    this.at = at;
    this.anchor = null;
    this.asked = 0;
    this.#clear();
    this.list.classList.toggle("bare", !captions);
    return this.#arrange();
  }

  // There are more of the same source at its end.
  grow() {
    this.layout?.reopen();
    return this.#fill();
  }

  refresh() {
    for (const [i, tile] of this.tiles) this.#name(tile, i);
  }

  hide() {
    this.source = null;
    this.#clear();
    this.list.style.height = "";
  }

  clearSelection() {
    this.selected.clear();
    this.#marked();
  }

  select(ids, { add = true } = {}) {
    if (!add) this.selected.clear();
    for (const id of ids) this.selected.add(id);
    this.#marked();
  }

  focus(i) {
    this.#go(i);
  }

  // --- laying out ---

  #arrange() {
    const width = this.list.clientWidth;
    if (!width || !this.source) return;
    const phone = width < 560;
    this.width = width;
    this.layout = new Layout({
      width,
      height: phone ? 132 : width > 1500 ? 232 : 200,
      gap: phone ? 6 : this.captions ? 16 : 8,
      below: this.captions ? 30 : 0,
      above: 56,
      aspect: (i) => this.source.aspect(i),
      breaks: this.source.breaks ?? [],
    });
    return this.#fill();
  }

  async #fill() {
    const run = ++this.run;
    let first = true;
    for (;;) {
      const more = this.layout.fill(this.source.count);
      this.#height();
      if (first || !more) this.render();
      first = false;
      if (!more) return;
      await pause(0);
      if (run !== this.run || !this.source) return;
    }
  }

  #height() {
    this.total = this.layout.total(this.source.count);
    this.tall = Math.min(this.total, TALLEST);
    this.list.style.height = `${Math.ceil(this.tall)}px`;
  }

  // --- what is in view ---

  // How far the list's beginning is above the window's, in the list's own pixels.
  #position() {
    const scrolled = -this.list.getBoundingClientRect().top;
    const room = this.tall - innerHeight;
    if (this.total <= TALLEST) this.shift = 0;
    else if (scrolled <= 0) this.shift = 0;
    else if (scrolled >= room) this.shift = this.total - this.tall;
    else if (Math.abs(scrolled - this.scrolled) > innerHeight * 2) {
      this.shift = (scrolled / room) * (this.total - innerHeight) - scrolled;
    }
    this.scrolled = scrolled;
    return scrolled + this.shift;
  }

  render() {
    if (!this.source || !this.layout?.rows) return;
    const y = this.#position();
    const { layout } = this;
    const from = layout.rowAt(y - innerHeight * 0.75);
    const to = layout.rowAt(y + innerHeight * 1.75);
    const wanted = new Map();
    for (let row = from; row <= to; row++) for (const place of layout.tiles(row)) wanted.set(place.i, [row, place]);
    for (const [i, tile] of this.tiles) if (!wanted.has(i) && tile.link !== document.activeElement) this.#drop(i, tile);
    for (const [row, head] of this.heads) {
      if (row < from || row > to) {
        head.remove();
        this.heads.delete(row);
      }
    }
    let cursor = this.list.firstElementChild;
    for (const [i, [row, place]] of wanted) {
      const tile = this.tiles.get(i) ?? this.#take(i);
      this.#put(tile, row, place);
      if (layout.first[row] === i && layout.broken.has(row)) {
        const head = this.heads.get(row) ?? this.#head(row);
        head.style.transform = `translateY(${layout.top[row] - layout.above - this.shift}px)`;
        if (head !== cursor) this.list.insertBefore(head, cursor);
        else cursor = cursor.nextElementSibling;
      }
      if (tile.item === cursor) cursor = cursor.nextElementSibling;
      else this.list.insertBefore(tile.item, cursor); // in the order of the list, for who reads rather than looks
    }
    const jumped = Math.abs(y - (this.last ?? 0)) > innerHeight;
    this.last = y;
    clearTimeout(this.resting);
    if (jumped) this.resting = setTimeout(() => this.#rest(), REST);
    else this.#rest();
  }

  #rest() {
    if (!this.source || !this.layout.rows) return;
    const y = this.scrolled + this.shift;
    const first = this.layout.first[this.layout.rowAt(y - 300)];
    const last = this.layout.after(this.layout.rowAt(y + innerHeight + 300)) - 1;
    for (const [i, tile] of this.tiles) if (i >= first && i <= last && !tile.address) this.#load(tile, i);
    this.source.look?.(first, last);
    if (last >= this.source.count - 40 && this.asked < this.source.count) {
      this.asked = this.source.count;
      this.source.more?.();
    }
    // a page that is scrolled in scale is brought back to where its bar should be, with nothing to be seen of it
    clearTimeout(this.settling);
    if (this.total > TALLEST) this.settling = setTimeout(() => this.#settle(y), 400);
  }

  #settle(y) {
    const room = this.tall - innerHeight;
    const ideal = (y / (this.total - innerHeight)) * room;
    if (y !== this.scrolled + this.shift || y <= 0 || Math.abs(ideal - this.scrolled) < 2) return;
    this.shift = y - ideal;
    this.scrolled = ideal;
    scrollBy({ top: ideal + this.list.getBoundingClientRect().top, behavior: "instant" });
    this.render();
  }

  // --- tiles ---

  #take(i) {
    const tile = this.spare.pop() ?? this.#made();
    tile.i = i;
    this.tiles.set(i, tile);
    this.#name(tile, i);
    return tile;
  }

  #made() {
    const image = el("img", { alt: "", decoding: "async", draggable: "false" });
    const frame = el("span", { class: "frame" }, image);
    const caption = el("span", { class: "caption", dir: "auto" });
    const link = el("a", { draggable: "false" }, frame, caption);
    const mark = el("button", { type: "button", class: "mark", tabindex: "-1", "aria-pressed": "false" }, icon("check"));
    const item = el("li", {}, link, mark);
    const tile = { item, link, frame, image, caption, mark };
    image.addEventListener("load", () => {
      frame.classList.add("there");
      frame.classList.remove("gone");
    });
    image.addEventListener("error", () => image.hasAttribute("src") && frame.classList.add("gone"));
    item.tile = tile;
    return tile;
  }

  #put(tile, row, { x, width }) {
    const { top, tall } = this.layout;
    tile.item.style.transform = `translate(${x}px, ${top[row] - this.shift}px)`;
    if (tile.width !== width || tile.tall !== tall[row]) {
      tile.item.style.width = `${width}px`;
      tile.frame.style.height = `${tall[row]}px`;
    }
    Object.assign(tile, { width, tall: tall[row], row });
  }

  #name(tile, i) {
    const name = this.source.name(i);
    tile.caption.textContent = name ?? "";
    tile.link.href = this.source.href(i);
    set(tile.link, {
      "aria-label": name ?? `Picture ${i + 1}`,
      title: this.source.note?.(i) ?? (this.captions ? null : name),
      tabindex: i === this.at ? "0" : "-1",
    });
    set(tile.item, { "aria-posinset": i + 1, "aria-setsize": this.source.count });
    set(tile.mark, { "aria-label": `Select ${name ?? `picture ${i + 1}`}` });
    this.#choosing(tile, i);
  }

  #choosing(tile, i) {
    const chosen = this.selected.has(this.source.id(i));
    set(tile.mark, { "aria-pressed": String(chosen) });
    tile.item.classList.toggle("chosen", chosen);
  }

  async #load(tile, i) {
    const pixels = Math.max(tile.width, tile.tall) * devicePixelRatio;
    const side = SIDES.find((each) => each >= pixels * 0.9) ?? SIDES.at(-1);
    const address = this.source.thumbnail(i, side);
    tile.address = address;
    tile.leaving = new AbortController();
    try {
      await this.api.show(tile.image, address, { signal: tile.leaving.signal });
    } catch (error) {
      if (error.name !== "AbortError" && tile.address === address) tile.frame.classList.add("gone");
    }
  }

  #drop(i, tile) {
    tile.leaving?.abort();
    tile.image.removeAttribute("src");
    tile.frame.classList.remove("there", "gone");
    Object.assign(tile, { address: null, leaving: null, width: null });
    tile.item.remove();
    this.tiles.delete(i);
    this.spare.push(tile);
  }

  #head(row) {
    const { title, text } = this.layout.broken.get(row);
    const head = el("li", { class: text ? "break line" : "break" }, el("h2", {}, title), text && el("p", {}, text));
    this.heads.set(row, head);
    return head;
  }

  #clear() {
    for (const [i, tile] of this.tiles) this.#drop(i, tile);
    this.heads.forEach((head) => head.remove());
    this.heads.clear();
    this.layout = null;
    this.run += 1;
    this.shift = this.scrolled = 0;
  }

  // --- moving and choosing ---

  #go(i) {
    if (!this.source?.count) return;
    this.#stand(Math.max(0, Math.min(i, this.source.count - 1, this.layout.done - 1)));
    const row = this.layout.rowOf(this.at);
    const top = this.layout.top[row] - (this.scrolled + this.shift);
    const head = this.scrolled < 0 ? 0 : this.covered;
    if (top < head) this.#scrollBy(top - head - 16);
    else if (top + this.layout.tall[row] > innerHeight) this.#scrollBy(top + this.layout.tall[row] - innerHeight + 48);
    this.render();
    this.tiles.get(this.at)?.link.focus({ preventScroll: true });
  }

  // Of all tiles one is in the order of tabs.
  #stand(i) {
    this.tiles.get(this.at)?.link.setAttribute("tabindex", "-1");
    this.at = i;
    this.tiles.get(i)?.link.setAttribute("tabindex", "0");
  }

  // By so much of the list, which may be more than the page has.
  #scrollBy(by) {
    if (this.total <= TALLEST || Math.abs(by) < innerHeight) scrollBy({ top: by, behavior: "instant" });
    else {
      const y = Math.max(0, Math.min(this.scrolled + this.shift + by, this.total - innerHeight));
      const ideal = (y / (this.total - innerHeight)) * (this.tall - innerHeight);
      scrollBy({ top: ideal + this.list.getBoundingClientRect().top, behavior: "instant" });
    }
  }

  #choose(i, event) {
    const id = this.source.id(i);
    if (event.shiftKey && this.anchor !== null) {
      const [from, to] = [Math.min(i, this.anchor), Math.max(i, this.anchor)];
      for (let each = from; each <= to; each++) this.selected.add(this.source.id(each));
    } else {
      if (!this.selected.delete(id)) this.selected.add(id);
      this.anchor = i;
    }
    this.#marked();
  }

  #marked() {
    this.list.classList.toggle("choosing", this.selected.size > 0);
    if (this.source) for (const [i, tile] of this.tiles) this.#choosing(tile, i);
    this.onSelect(this.selected);
  }

  #listen() {
    addEventListener("scroll", () => {
      if (this.source && !this.framed) {
        this.framed = requestAnimationFrame(() => {
          this.framed = null;
          this.render();
        });
      }
    }, { passive: true });
    new ResizeObserver(() => {
      if (!this.source || !this.list.clientWidth || this.list.clientWidth === this.width) return;
      const at = this.layout?.rows ? this.layout.first[this.layout.rowAt(Math.max(0, this.scrolled + this.shift))] : 0;
      const inside = this.scrolled > 0;
      this.#clear();
      this.#arrange();
      if (inside && this.layout) this.#scrollBy(this.layout.top[this.layout.rowOf(Math.min(at, this.layout.done - 1))] - this.scrolled);
    }).observe(this.list);
    this.list.addEventListener("click", (event) => {
      const tile = event.target.closest("li")?.tile;
      if (!tile) return;
      const choosing = event.target.closest(".mark") || event.ctrlKey || event.metaKey || event.shiftKey;
      if (this.lassoed || choosing) event.preventDefault();
      if (choosing && !this.lassoed) this.#choose(tile.i, event);
      else this.#stand(tile.i);
      this.lassoed = false;
    });
    this.list.addEventListener("focusin", (event) => {
      const tile = event.target.closest("li")?.tile;
      if (tile) this.#stand(tile.i);
    });
    this.list.addEventListener("keydown", (event) => this.#key(event));
    this.#lasso();
  }

  #key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) {
      if ((event.ctrlKey || event.metaKey) && event.key === "a") {
        event.preventDefault();
        this.select(Array.from({ length: this.source.count }, (_, i) => this.source.id(i)));
      }
      return;
    }
    const vertical = (by) => {
      const row = this.layout.rowOf(this.at);
      const next = Math.max(0, Math.min(row + by, this.layout.rows - 1));
      const here = this.layout.tiles(row).find((tile) => tile.i === this.at);
      const centre = here.x + here.width / 2;
      const tiles = this.layout.tiles(next);
      return (tiles.find((tile) => tile.x + tile.width >= centre) ?? tiles.at(-1)).i;
    };
    const page = Math.max(1, Math.floor(innerHeight / (this.layout?.height + 40)) - 1);
    const to = {
      ArrowLeft: () => this.at - 1, ArrowRight: () => this.at + 1, ArrowUp: () => vertical(-1), ArrowDown: () => vertical(1),
      PageUp: () => vertical(-page), PageDown: () => vertical(page), Home: () => 0, End: () => this.source.count - 1,
    }[event.key];
    if (to) {
      event.preventDefault();
      const before = this.at;
      this.#go(to());
      if (event.shiftKey) {
        this.anchor ??= before;
        this.#choose(this.at, event);
      }
    } else if (event.key === " ") {
      event.preventDefault();
      this.#choose(this.at, event);
    } else if (event.key === "Escape" && this.selected.size) this.clearSelection();
  }

  #lasso() {
    let from = null;
    let before = null;
    const point = (event) => ({ x: event.clientX - this.list.getBoundingClientRect().left, y: event.clientY + this.scrolled + this.shift });
    this.list.addEventListener("pointerdown", (event) => {
      if (event.pointerType !== "mouse" || event.button !== 0 || event.target.closest(".mark") || !this.source) return;
      this.lassoed = false;
      from = point(event);
      before = event.shiftKey || event.ctrlKey || event.metaKey ? new Set(this.selected) : new Set();
    });
    addEventListener("pointermove", (event) => {
      if (!from) return;
      const to = point(event);
      if (!this.lassoed && Math.hypot(to.x - from.x, to.y - from.y) < 8) return;
      this.lassoed = true;
      getSelection().removeAllRanges();
      const [left, right] = [Math.min(from.x, to.x), Math.max(from.x, to.x)];
      const [top, bottom] = [Math.min(from.y, to.y), Math.max(from.y, to.y)];
      Object.assign(this.bar.style, {
        transform: `translate(${left}px, ${top - this.shift}px)`, width: `${right - left}px`, height: `${bottom - top}px`,
      });
      this.bar.hidden = false;
      this.selected = new Set(before);
      for (let row = this.layout.rowAt(top); row <= this.layout.rowAt(bottom); row++) {
        if (this.layout.top[row] > bottom || this.layout.top[row] + this.layout.tall[row] < top) continue;
        for (const tile of this.layout.tiles(row)) {
          if (tile.x < right && tile.x + tile.width > left) this.selected.add(this.source.id(tile.i));
        }
      }
      if (event.clientY > innerHeight - 40) scrollBy({ top: 24, behavior: "instant" });
      else if (event.clientY < 40 + this.covered) scrollBy({ top: -24, behavior: "instant" });
      this.#marked();
    });
    addEventListener("pointerup", () => {
      from = null;
      this.bar.hidden = true;
      if (this.lassoed) setTimeout(() => (this.lassoed = false)); // after the click that this ends in
    });
  }
}
