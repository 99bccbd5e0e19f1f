// A grid of pictures that may be a million: only what is in view is in the document, and only what comes to rest there
// is loaded. By keyboard: arrows, Home, End, Space chooses, Enter opens. With the mouse: a drag draws a lasso. By
// finger: one that stays chooses, and so do taps from then on.
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

import { el, pause } from "../dom.js";
import { listen } from "./gestures.js";
import { Layout } from "./layout.js";
import { Scroll } from "./scroll.js";
import { Tile } from "./tile.js";

const REST = 120; // ms without a jump after which what is in view is loaded
const SOON = 4_000; // pictures that are laid out before the first of them are shown

export class Grid {
  constructor(root, { api, label, onSelect = () => {} }) {
    this.api = api;
    const keys = el("p", { class: "unseen", id: `keys-of-${label.toLowerCase().replaceAll(" ", "-")}` },
      "Arrow keys move, Enter opens, Space selects, with Shift all in between, Control and A select all, Escape none.");
    this.list = el("ul", { class: "pictures", "aria-label": label, "aria-describedby": keys.id });
    this.bar = el("div", { class: "lasso", hidden: true });
    root.append(el("div", { class: "pictures-box" }, this.list, this.bar, keys));
    this.onSelect = onSelect;
    this.selected = new Set();
    this.covered = 0; // pixels at the top of the window that something else covers
    this.anchor = null; // where a choice with Shift begins
    this.begun = false; // a tap chooses, though nothing is chosen yet
    this.tiles = new Map(); // place -> tile
    this.spare = [];
    this.heads = new Map(); // row -> its heading
    this.at = 0; // place that has the focus, or would have it
    this.scroll = new Scroll(this.list);
    this.source = null;
    this.run = 0; // of laying out; a newer one ends those before it
    this.#follow();
    listen(this);
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

  // --- laying out ---

  // What is there from now on; `to` is a place that stays in view.
  #arrange(to = null) {
    const width = this.list.clientWidth;
    if (!width || !this.source) return;
    const phone = width < 560;
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize); // pixels
    this.width = width;
    this.layout = new Layout({
      width,
      height: phone ? 132 : width > 1500 ? 232 : 200,
      gap: phone ? 6 : this.captions ? 16 : 8,
      below: this.captions ? 1.875 * rem : 0,
      above: 3.5 * rem,
      aspect: (i) => this.source.aspect(i),
      breaks: this.source.breaks ?? [],
    });
    return this.#fill(to);
  }

  // A few first, which are shown at once.
  async #fill(to = null) {
    const run = ++this.run;
    const { layout, scroll } = this;
    for (let first = true; ; first = false) {
      const more = layout.fill(this.source.count, first ? SOON : undefined);
      scroll.height = layout.total(this.source.count);
      if (to !== null && (to < layout.done || !more)) {
        scroll.by(layout.top[layout.rowOf(Math.min(to, layout.done - 1))] - scroll.read());
        to = null;
        this.render();
      } else if (first || !more) this.render();
      if (!more) return;
      await pause(0);
      if (run !== this.run || !this.source) return;
    }
  }

  #clear() {
    for (const [i, tile] of this.tiles) this.#drop(i, tile);
    this.heads.forEach((head) => head.remove());
    this.heads.clear();
    this.layout = null;
    this.run += 1;
    this.scroll.reset();
  }

  // --- what is in view ---

  #follow() {
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
      const { layout, scroll } = this;
      const at = layout?.rows && scroll.scrolled > 0 ? layout.first[layout.rowAt(Math.max(0, scroll.y))] : null;
      this.#clear();
      this.#arrange(at);
    }).observe(this.list);
  }

  render() {
    if (!this.source || !this.layout?.rows) return;
    const y = this.scroll.read();
    const { shift } = this.scroll;
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
    for (const [i, [row, { x, width }]] of wanted) {
      const tile = this.tiles.get(i) ?? this.#take(i);
      tile.put(x, layout.top[row] - shift, width, layout.tall[row]);
      if (layout.first[row] === i && layout.broken.has(row)) {
        const head = this.heads.get(row) ?? this.#head(row);
        head.style.transform = `translateY(${layout.top[row] - layout.above - shift}px)`;
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
    const { scroll } = this;
    const { y } = scroll;
    const first = this.layout.first[this.layout.rowAt(y - 300)];
    const last = this.layout.after(this.layout.rowAt(y + innerHeight + 300)) - 1;
    for (const [i, tile] of this.tiles) if (i >= first && i <= last && !tile.address) tile.load(this.api, this.source, i);
    this.source.look?.(first, last);
    if (last >= this.source.count - 40 && this.asked < this.source.count) {
      this.asked = this.source.count;
      this.source.more?.();
    }
    clearTimeout(this.settling);
    if (scroll.isScaled) this.settling = setTimeout(() => scroll.settle(y) && this.render(), 400);
  }

  #take(i) {
    const tile = this.spare.pop() ?? new Tile();
    tile.i = i;
    this.tiles.set(i, tile);
    this.#name(tile, i);
    return tile;
  }

  #name(tile, i) {
    tile.name(this.source, i, this.captions);
    tile.stand(i === this.at);
    tile.choose(this.selected.has(this.source.id(i)));
  }

  #drop(i, tile) {
    tile.leave();
    this.tiles.delete(i);
    this.spare.push(tile);
  }

  #head(row) {
    const { title, text } = this.layout.broken.get(row);
    const head = el("li", { class: text ? "break line" : "break" }, el("h2", {}, title), text && el("p", {}, text));
    this.heads.set(row, head);
    return head;
  }

  // --- moving and choosing ---

  // Have the focus go to a place, and be in view.
  focus(i) {
    if (!this.source?.count) return;
    const { layout, scroll } = this;
    this.stand(Math.max(0, Math.min(i, this.source.count - 1, layout.done - 1)));
    const row = layout.rowOf(this.at);
    const top = layout.top[row] - scroll.y;
    const head = scroll.scrolled < 0 ? 0 : this.covered;
    if (top < head) scroll.by(top - head - 16);
    else if (top + layout.tall[row] > innerHeight) scroll.by(top + layout.tall[row] - innerHeight + 48);
    this.render();
    this.tiles.get(this.at)?.link.focus({ preventScroll: true });
  }

  // Of all tiles one is in the order of tabs.
  stand(i) {
    this.tiles.get(this.at)?.stand(false);
    this.at = i;
    this.tiles.get(i)?.stand(true);
  }

  // One picture or, with Shift, all from the one that was chosen last.
  choose(i, { shiftKey }) {
    const id = this.source.id(i);
    if (shiftKey && this.anchor !== null) {
      const [from, to] = [Math.min(i, this.anchor), Math.max(i, this.anchor)];
      for (let each = from; each <= to; each++) this.selected.add(this.source.id(each));
    } else {
      if (!this.selected.delete(id)) this.selected.add(id);
      this.anchor = i;
    }
    this.#marked();
  }

  select(ids, { add = true } = {}) {
    if (!add) this.selected.clear();
    for (const id of ids) this.selected.add(id);
    this.#marked();
  }

  // Of what is selected, what a source still shows.
  selectAmong(source) {
    if (!this.selected.size) return;
    const there = new Set(Array.from({ length: source.count }, (_, i) => source.id(i)));
    for (const id of this.selected) if (!there.has(id)) this.selected.delete(id);
    this.#marked();
  }

  clearSelection() {
    this.begun = false;
    this.selected.clear();
    this.#marked();
  }

  // Have a tap choose, before anything is chosen.
  beginChoosing() {
    this.begun = true;
    this.#marked();
  }

  get isChoosing() {
    return this.begun || this.selected.size > 0;
  }

  #marked() {
    this.list.classList.toggle("choosing", this.isChoosing);
    if (this.source) for (const [i, tile] of this.tiles) tile.choose(this.selected.has(this.source.id(i)));
    this.onSelect(this.selected);
  }
}
