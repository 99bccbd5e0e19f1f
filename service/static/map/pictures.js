// Small pictures on a surface, beside their points: of all that are in view where these are few, as many as there is room
// for; else of those alone that are pointed out.
//
// address(i): that of a small picture.

import { el } from "../parts/dom.js";

const ABOUT = 90; // there is room for
const MANY = 1500; // points in view from which on there are no thumbnails
const CELL = 66; // pixels between two thumbnails, at least

export class Pictures {
  constructor(surface, api, address) {
    Object.assign(this, { surface, api, address });
    this.root = el("div", { class: "thumbs" });
    this.shown = new Map(); // point -> its thumbnail
  }

  // Each where its point is now.
  put() {
    const { space } = this.surface;
    for (const [i, thumb] of this.shown) this.surface.put(thumb, space.x(i), space.y(i));
  }

  // Show those that belong where one looks now.
  look() {
    const { surface, shown } = this;
    const { space, links } = surface;
    if (!space || !surface.width) return;
    const box = surface.box();
    const wanted = new Map();
    const forced = links ? [links.from, ...links.to.map(({ i }) => i)] : (surface.favoured ?? []);
    // one that would lie on one before it is left out
    const room = Math.max(CELL, Math.sqrt((surface.width * surface.height) / ABOUT));
    const near = (px, py) => [...wanted.values()].some(([x, y]) => Math.abs(x - px) < room && Math.abs(y - py) < room);
    const take = (i) => {
      const [px, py] = surface.pixels(space.x(i), space.y(i));
      if (!wanted.has(i) && !near(px, py)) wanted.set(i, [px, py]);
    };
    for (const i of forced) take(i);
    if (space.countInside(box, MANY + 1) <= MANY) {
      for (const i of shown.keys()) take(i); // what is there already stays, if it is still in view
      space.inside(box, take);
    }
    const now = new Set([...wanted.keys()].filter((i) => {
      const [x, y] = [space.x(i), space.y(i)];
      return x >= box.left && x <= box.right && y >= box.top && y <= box.bottom;
    }));
    for (const [i, thumb] of shown) {
      if (now.has(i)) continue;
      thumb.remove();
      shown.delete(i);
    }
    for (const i of now) if (!shown.has(i)) this.#add(i);
    const above = new Set(forced);
    for (const [i, thumb] of shown) {
      thumb.classList.toggle("above", above.has(i));
      surface.put(thumb, space.x(i), space.y(i));
    }
  }

  async #add(i) {
    const image = el("img", { alt: "", decoding: "async", draggable: "false" });
    this.shown.set(i, image);
    this.surface.put(image, this.surface.space.x(i), this.surface.space.y(i));
    image.addEventListener("load", () => image.classList.add("there"));
    this.root.append(image);
    await this.api.show(image, this.address(i)).catch(() => image.remove());
  }

  clear() {
    this.root.replaceChildren();
    this.shown.clear();
  }
}
