// A map to move about in: points (points.js), thumbnails where few are near (pictures.js), names of places, a lasso, and
// lines from one picture to others (lines.js). Moved by mouse, fingers and keys (gestures.js). What its points mean, and
// the address, are its owner's.
//
// onMove(view): it came to rest; onPick(i): a point was chosen; onLasso(polygon): one was drawn; onHover(i): -1 for none;
// thumbnail(i): the address of a small picture.

import { el } from "../parts/dom.js";
import { listen } from "./gestures.js";
import { Lines } from "./lines.js";
import { Pictures } from "./pictures.js";
import { Points } from "./points.js";
import { Space } from "./space.js";

const CLOSEST = 400; // times as large as the whole
const REST = 160; // ms without a movement after which thumbnails are looked for
const FINGER = 22; // pixels around a point that are its own
const MARGIN = 28; // pixels around the whole

export class Surface {
  constructor({ api, onMove, onPick, onLasso, onHover, thumbnail }) {
    Object.assign(this, { onMove, onPick, onLasso, onHover });
    this.canvas = el("canvas", { class: "points" });
    this.lines = new Lines(this);
    this.pictures = new Pictures(this, api, thumbnail);
    this.names = el("div", { class: "names" });
    this.cross = el("div", { class: "cross" });
    this.root = el("div", {
      class: "surface", tabindex: "0", role: "application", "aria-label": "Map of the pictures", "aria-describedby": "map-keys",
    }, this.canvas, this.lines.canvas, this.pictures.root, this.names, this.cross);
    this.points = new Points(this.canvas);
    this.points.onRestored = () => this.draw();
    this.space = null;
    this.view = { x: 0.5, y: 0.5, zoom: 1 };
    this.drawing = false; // a drag draws a lasso
    this.drawn = null; // [[x, y]]: the lasso that is being drawn
    this.outline = null; // [[x, y]]: one that was
    this.named = []; // {element, x, y}, and its width once it is known
    this.moves = false; // it is on its way, and not all points need be drawn
    this.stale = true; // the points are to be drawn anew
    this.width = this.height = 0; // pixels, kept: to ask for them after each thing that is moved would lay out each time
    listen(this);
    new ResizeObserver(() => {
      Object.assign(this, { width: this.root.clientWidth, height: this.root.clientHeight });
      if (this.space && this.width) this.moved({ told: false });
    }).observe(this.root);
  }

  show(places) {
    this.space = new Space(places);
    this.points.show(places);
    this.pictures.clear();
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
    this.drawLines();
  }

  // Points whose thumbnails are shown wherever one looks, the first of them first.
  favour(points) {
    this.favoured = points;
    this.moved({ told: false });
  }

  setOutline(polygon) {
    this.outline = polygon;
    this.drawLines();
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
    this.centre(this.view.x + x - nowX, this.view.y + y - nowY);
    this.moved();
  }

  whole() {
    Object.assign(this.view, { x: 0.5, y: 0.5, zoom: 1 });
    this.moved();
  }

  centre(x, y) {
    this.view.x = Math.min(1.05, Math.max(-0.05, x));
    this.view.y = Math.min(1.05, Math.max(-0.05, y));
  }

  moved({ told = true } = {}) {
    this.moves = true;
    this.draw();
    clearTimeout(this.resting);
    this.resting = setTimeout(() => {
      this.moves = false;
      if (this.points.every > 1) this.draw(); // all of them, now that there is time
      this.pictures.look();
      if (told && this.width) this.onMove(this.view); // else it was left meanwhile
    }, REST);
  }

  // --- drawing ---

  draw() {
    this.stale = true;
    this.drawLines();
  }

  // What lies over the points alone.
  drawLines() {
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
    this.lines.draw();
    if (!this.stale) return;
    this.stale = false;
    const { x, y } = this.view;
    this.points.draw({ x, y, scale: this.scale, width: this.width, height: this.height }, this.size, { moves: this.moves });
    this.pictures.put();
    this.#putNames();
  }

  // Have an element stand at a place.
  put(element, x, y) {
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
        this.put(element, x, y);
      }
    }
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
    this.centre(x + (this.width - width) / 2 / this.scale, y + (this.height - height) / 2 / this.scale);
    this.moved();
  }

  // The point nearest to the middle of what is in view.
  middle() {
    const reach = Math.max(this.width, this.height) / this.scale;
    for (let near = 16 / this.scale; near < reach; near *= 3) {
      const found = this.space?.nearest(this.view.x, this.view.y, near) ?? -1;
      if (found >= 0) return found;
    }
    return -1;
  }
}
