// A map to move about in: points (points.js), thumbnails where few are near, names of places, a lasso, and lines from
// one picture to others. Moved by mouse, fingers and keys. What its points mean, and the address, are its owner's.
//
// onMove(view): it came to rest; onPick(i): a point was chosen; onLasso(polygon): one was drawn; onHover(i): -1 for none;
// thumbnail(i): the address of a small picture.

import { el } from "../parts/dom.js";
import { Points } from "./points.js";
import { Space } from "./space.js";

const CLOSEST = 400; // times as large as the whole
const REST = 160; // ms without a movement after which thumbnails are looked for
const THUMBS = 90; // there is room for, about
const MANY = 1500; // points in view from which on there are no thumbnails
const CELL = 66; // pixels between two thumbnails, at least
const FINGER = 22; // pixels around a point that are its own
const MARGIN = 28; // pixels around the whole

export class Surface {
  constructor({ api, onMove, onPick, onLasso, onHover, thumbnail }) {
    Object.assign(this, { api, onMove, onPick, onLasso, onHover, thumbnail });
    this.canvas = el("canvas", { class: "points" });
    this.lines = el("canvas", { class: "lines" });
    this.thumbs = el("div", { class: "thumbs" });
    this.names = el("div", { class: "names" });
    this.cross = el("div", { class: "cross" });
    this.root = el("div", {
      class: "surface", tabindex: "0", role: "application", "aria-label": "Map of the pictures", "aria-describedby": "map-keys",
    }, this.canvas, this.lines, this.thumbs, this.names, this.cross);
    this.points = new Points(this.canvas);
    this.points.onRestored = () => this.draw();
    this.space = null;
    this.view = { x: 0.5, y: 0.5, zoom: 1 };
    this.drawing = false; // a drag draws a lasso
    this.named = []; // {element, x, y}, and its width once it is known
    this.shown = new Map(); // point -> its thumbnail
    this.width = this.height = 0; // pixels, kept: to ask for them after each thing that is moved would lay out each time
    this.#gestures();
    this.#keys();
    new ResizeObserver(() => {
      Object.assign(this, { width: this.root.clientWidth, height: this.root.clientHeight });
      if (this.space && this.width) this.moved({ told: false });
    }).observe(this.root);
  }

  show(places) {
    this.space = new Space(places);
    this.points.show(places);
    this.#clearThumbs();
  }

  // Look at a place; what is left out stays as it is.
  look(view) {
    Object.assign(this.view, view);
    this.moved({ told: false });
  }

  setNames(names) {
    this.names.replaceChildren(...names.map((name) => name.element));
    this.named = names;
    this.draw();
  }

  // links: {from, to: [{i, weight, kind}]} from one point to others, kind "pull" or "push"; null: none
  setLinks(links) {
    this.links = links;
    this.draw();
  }

  // Points whose thumbnails are shown wherever one looks, the first of them first.
  favour(points) {
    this.favoured = points;
    this.moved({ told: false });
  }

  setOutline(polygon) {
    this.outline = polygon;
    this.draw();
  }

  get scale() {
    return (Math.min(this.width, this.height) - 2 * MARGIN) * this.view.zoom;
  }

  // Pixels of a place of the unit square, and back.
  pixels(x, y) {
    return [(x - this.view.x) * this.scale + this.width / 2, (y - this.view.y) * this.scale + this.height / 2];
  }

  place(px, py) {
    return [(px - this.width / 2) / this.scale + this.view.x, (py - this.height / 2) / this.scale + this.view.y];
  }

  box(margin = 0) {
    const [left, top] = this.place(-margin, -margin);
    const [right, bottom] = this.place(this.width + margin, this.height + margin);
    return { left, top, right, bottom };
  }

  zoomBy(by, px = this.width / 2, py = this.height / 2) {
    const [x, y] = this.place(px, py);
    this.view.zoom = Math.min(CLOSEST, Math.max(0.8, this.view.zoom * by));
    const [nowX, nowY] = this.place(px, py);
    this.#centre(this.view.x + x - nowX, this.view.y + y - nowY);
    this.moved();
  }

  whole() {
    Object.assign(this.view, { x: 0.5, y: 0.5, zoom: 1 });
    this.moved();
  }

  #centre(x, y) {
    this.view.x = Math.min(1.05, Math.max(-0.05, x));
    this.view.y = Math.min(1.05, Math.max(-0.05, y));
  }

  moved({ told = true } = {}) {
    this.draw();
    clearTimeout(this.resting);
    this.resting = setTimeout(() => {
      this.#thumbs();
      if (told && this.width) this.onMove(this.view); // else it was left meanwhile
    }, REST);
  }

  // --- drawing ---

  draw() {
    this.framed ??= requestAnimationFrame(() => {
      this.framed = null;
      this.#frame();
    });
  }

  // How large a point is: as there is room for it.
  get size() {
    const room = Math.sqrt((this.width * this.height) / Math.max(1, this.points.count));
    return Math.min(16, Math.max(2.5, 0.42 * room * Math.sqrt(this.view.zoom)));
  }

  #frame() {
    if (!this.space || !this.width) return;
    this.points.draw({ x: this.view.x, y: this.view.y, scale: this.scale, width: this.width, height: this.height }, this.size);
    this.#drawLines();
    for (const [i, thumb] of this.shown) this.#put(thumb, this.space.x(i), this.space.y(i));
    this.#putNames();
  }

  #put(element, x, y) {
    const [px, py] = this.pixels(x, y);
    // what is pointed out stands above its point, which stays to be seen
    const above = element.classList.contains("above");
    element.style.transform = `translate(${px}px, ${above ? py - 9 : py}px) translate(-50%, ${above ? -100 : -50}%)`;
  }

  // Names that would lie on one before them, or outside, are left out.
  #putNames() {
    const taken = [];
    for (const name of this.named) name.width ||= name.element.offsetWidth;
    for (const { element, x, y, width } of this.named) {
      const [px, py] = this.pixels(x, y);
      const height = 28;
      const box = [px - width / 2, py - height / 2, px + width / 2, py + height / 2];
      const free = !taken.some(([l, t, r, b]) => box[0] < r && box[2] > l && box[1] < b && box[3] > t);
      const inside = box[0] > 0 && box[1] > 0 && box[2] < this.width && box[3] < this.height;
      element.classList.toggle("away", !(free && inside));
      if (free && inside) {
        taken.push(box);
        this.#put(element, x, y);
      }
    }
  }

  #drawLines() {
    const ratio = devicePixelRatio || 1;
    const { lines } = this;
    const [width, height] = [this.width, this.height];
    if (lines.width !== width * ratio || lines.height !== height * ratio) Object.assign(lines, { width: width * ratio, height: height * ratio });
    const pen = lines.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    const style = getComputedStyle(this.root);
    const path = this.drawn ?? this.outline;
    if (path?.length > 1) {
      pen.beginPath();
      for (const [x, y] of path) pen.lineTo(...this.pixels(x, y));
      if (!this.drawn) pen.closePath();
      pen.strokeStyle = style.getPropertyValue("--accent");
      pen.lineWidth = 2;
      pen.setLineDash(this.drawn ? [] : [6, 4]);
      pen.stroke();
      pen.setLineDash([]);
      pen.globalAlpha = 0.08;
      pen.fillStyle = pen.strokeStyle;
      pen.fill();
      pen.globalAlpha = 1;
    }
    if (this.links) this.#drawLinks(pen, style);
  }

  // An arrow to the anchor is a pull, one away from it a push; as wide as it is strong.
  #drawLinks(pen, style) {
    const from = this.pixels(this.space.x(this.links.from), this.space.y(this.links.from));
    for (const { i, weight, kind } of this.links.to) {
      const to = this.pixels(this.space.x(i), this.space.y(i));
      const [dx, dy] = [to[0] - from[0], to[1] - from[1]];
      const length = Math.hypot(dx, dy);
      pen.strokeStyle = pen.fillStyle = style.getPropertyValue(kind === "pull" ? "--pull" : "--push");
      pen.lineWidth = 1.25 + 5 * weight;
      pen.globalAlpha = 0.35 + 0.6 * weight;
      pen.setLineDash(kind === "push" ? [7, 5] : []);
      pen.beginPath();
      pen.moveTo(...from);
      pen.lineTo(...to);
      pen.stroke();
      pen.setLineDash([]);
      if (length > 24) {
        // pulled ones move to the anchor, pushed ones away from it: the head stands at the picture
        const [ux, uy] = kind === "pull" ? [-dx / length, -dy / length] : [dx / length, dy / length];
        const back = kind === "pull" ? Math.min(26, length / 3) : 0;
        const tip = [to[0] + ux * back + (kind === "pull" ? 0 : ux * 4), to[1] + uy * back + (kind === "pull" ? 0 : uy * 4)];
        const head = 7 + 5 * weight;
        pen.beginPath();
        pen.moveTo(...tip);
        pen.lineTo(tip[0] - ux * head - uy * head * 0.55, tip[1] - uy * head + ux * head * 0.55);
        pen.lineTo(tip[0] - ux * head + uy * head * 0.55, tip[1] - uy * head - ux * head * 0.55);
        pen.fill();
      }
    }
    pen.globalAlpha = 1;
    pen.beginPath();
    pen.arc(...from, 9, 0, 2 * Math.PI);
    pen.lineWidth = 3;
    pen.strokeStyle = style.getPropertyValue("--ink");
    pen.stroke();
  }

  // --- thumbnails ---

  #thumbs() {
    if (!this.space || !this.width) return;
    const box = this.box();
    const wanted = new Map();
    const forced = this.links ? [this.links.from, ...this.links.to.map(({ i }) => i)] : (this.favoured ?? []);
    // one that would lie on one before it is left out
    const room = Math.max(CELL, Math.sqrt((this.width * this.height) / THUMBS));
    const near = (px, py) => [...wanted.values()].some(([x, y]) => Math.abs(x - px) < room && Math.abs(y - py) < room);
    const take = (i) => {
      const [px, py] = this.pixels(this.space.x(i), this.space.y(i));
      if (!wanted.has(i) && !near(px, py)) wanted.set(i, [px, py]);
    };
    for (const i of forced) take(i);
    if (this.space.countInside(box, MANY + 1) <= MANY) {
      for (const i of this.shown.keys()) take(i); // what is there already stays, if it is still in view
      this.space.inside(box, take);
    }
    const now = new Set([...wanted.keys()].filter((i) => {
      const [x, y] = [this.space.x(i), this.space.y(i)];
      return x >= box.left && x <= box.right && y >= box.top && y <= box.bottom;
    }));
    for (const [i, thumb] of this.shown) {
      if (now.has(i)) continue;
      thumb.remove();
      this.shown.delete(i);
    }
    for (const i of now) if (!this.shown.has(i)) this.#thumb(i);
    const above = new Set(forced);
    for (const [i, thumb] of this.shown) {
      thumb.classList.toggle("above", above.has(i));
      this.#put(thumb, this.space.x(i), this.space.y(i));
    }
  }

  async #thumb(i) {
    const image = el("img", { alt: "", decoding: "async", draggable: "false" });
    this.shown.set(i, image);
    this.#put(image, this.space.x(i), this.space.y(i));
    image.addEventListener("load", () => image.classList.add("there"));
    this.thumbs.append(image);
    await this.api.show(image, this.thumbnail(i)).catch(() => image.remove());
  }

  #clearThumbs() {
    this.thumbs.replaceChildren();
    this.shown.clear();
  }

  // --- moving ---

  #at(event) {
    const box = this.root.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  // The point at a pixel; -1: none.
  pointAt(px, py) {
    const [x, y] = this.place(px, py);
    for (const reach of [Math.max(5, this.size / 2), FINGER]) {
      const found = this.space?.nearest(x, y, reach / this.scale) ?? -1;
      if (found >= 0) return found;
    }
    return -1;
  }

  #gestures() {
    const { root } = this;
    const fingers = new Map();
    let begun = null;
    root.addEventListener("wheel", (event) => {
      event.preventDefault();
      const pixels = event.deltaMode === 1 ? event.deltaY * 33 : event.deltaY;
      this.zoomBy(Math.exp(-Math.max(-240, Math.min(240, pixels)) / 240), ...this.#at(event));
    }, { passive: false });
    root.addEventListener("dblclick", (event) => this.zoomBy(2, ...this.#at(event)));
    root.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || event.target.closest("button")) return;
      root.setPointerCapture(event.pointerId);
      fingers.set(event.pointerId, this.#at(event));
      begun = { at: this.#at(event), moved: false, lasso: this.drawing || event.shiftKey };
      if (begun.lasso) this.drawn = [this.place(...begun.at)];
      if (fingers.size > 1) this.drawn = null;
    });
    root.addEventListener("pointermove", (event) => {
      const now = this.#at(event);
      const before = fingers.get(event.pointerId);
      if (!before) {
        if (event.pointerType === "mouse") this.onHover(this.pointAt(...now), now);
        return;
      }
      if (fingers.size === 2) {
        const [other] = [...fingers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
        const [was, is] = [before, now].map(([x, y]) => Math.hypot(x - other[0], y - other[1]));
        fingers.set(event.pointerId, now);
        begun.moved = true;
        if (was > 0) this.zoomBy(is / was, (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
        return;
      }
      fingers.set(event.pointerId, now);
      if (!begun.moved && Math.hypot(now[0] - begun.at[0], now[1] - begun.at[1]) < 4) return;
      begun.moved = true;
      this.onHover(-1);
      if (this.drawn) {
        this.drawn.push(this.place(...now));
        this.draw();
        return;
      }
      this.#centre(this.view.x - (now[0] - before[0]) / this.scale, this.view.y - (now[1] - before[1]) / this.scale);
      this.moved();
    });
    const up = (event) => {
      if (!fingers.delete(event.pointerId) || !begun) return;
      const { drawn } = this;
      this.drawn = null;
      if (event.type === "pointerup" && drawn && begun.moved && drawn.length > 2) this.onLasso(drawn);
      else if (event.type === "pointerup" && !begun.moved) this.onPick(this.pointAt(...this.#at(event)));
      this.draw();
      if (!fingers.size) begun = null;
    };
    root.addEventListener("pointerup", up);
    root.addEventListener("pointercancel", up);
    root.addEventListener("pointerleave", () => this.onHover(-1));
  }

  #keys() {
    this.root.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.target !== this.root) return;
      const step = 80 / this.scale;
      const move = (dx, dy) => {
        this.#centre(this.view.x + dx, this.view.y + dy);
        this.moved();
      };
      const act = {
        ArrowLeft: () => move(-step, 0), ArrowRight: () => move(step, 0), ArrowUp: () => move(0, -step), ArrowDown: () => move(0, step),
        "+": () => this.zoomBy(1.5), "=": () => this.zoomBy(1.5), "-": () => this.zoomBy(1 / 1.5), 0: () => this.whole(), Home: () => this.whole(),
        Enter: () => this.onPick(this.#middle()), " ": () => this.onPick(this.#middle()),
        s: () => this.onLasso(this.frame()), S: () => this.onLasso(this.frame()),
      }[event.key];
      if (!act) return;
      event.preventDefault();
      act();
    });
  }

  // What is in view, as a lasso.
  frame() {
    const { left, top, right, bottom } = this.box(-2);
    return [[left, top], [right, top], [right, bottom], [left, bottom]];
  }

  // Have what is linked in what is left free of a box that lies over the map, near enough to be told apart.
  reveal({ right = 0, bottom = 0 }) {
    const [width, height] = [this.width - right, this.height - bottom];
    const { from, to } = this.links;
    const [x, y] = [this.space.x(from), this.space.y(from)];
    // a link to the far end of the map does not count
    const apart = to.map(({ i }) => Math.max(Math.abs(this.space.x(i) - x), Math.abs(this.space.y(i) - y))).sort((a, b) => a - b);
    const reach = (apart[Math.floor(apart.length * 0.7)] ?? 0) * this.scale;
    const wanted = Math.min(width, height) * 0.36;
    const [px, py] = this.pixels(x, y);
    const told = px > 60 && px < width - 60 && py > 60 && py < height - 60 && reach > wanted / 3;
    if (told) return;
    if (reach > 0 && reach < wanted) this.view.zoom = Math.min(CLOSEST / 4, (this.view.zoom * wanted) / reach);
    this.#centre(x + (this.width - width) / 2 / this.scale, y + (this.height - height) / 2 / this.scale);
    this.moved();
  }

  // The point nearest to the middle of what is in view.
  #middle() {
    const reach = Math.max(this.width, this.height) / this.scale;
    for (let near = 16 / this.scale; near < reach; near *= 3) {
      const found = this.space?.nearest(this.view.x, this.view.y, near) ?? -1;
      if (found >= 0) return found;
    }
    return -1;
  }
}
