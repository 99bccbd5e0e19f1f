// The picture under the mouse, and what it is called, beside its point.

import { el } from "../parts/dom.js";
import { nameOf } from "../parts/picture/entry.js";

const SOON = 60; // ms over a point after which its picture is asked for
const WIDE = 180; // pixels that it takes to the right
const HIGH = 190; // and down

export class Tip {
  constructor(api) {
    this.api = api;
    this.root = el("div", { class: "hover", hidden: true, "aria-hidden": "true" });
    this.point = -1;
    this.soon = null; // timer
  }

  // Of a point of the surface; -1: of none.
  show(map, surface, i) {
    if (i === this.point && i >= 0) return;
    this.point = i;
    clearTimeout(this.soon);
    this.root.hidden = i < 0;
    surface.root.classList.toggle("over", i >= 0);
    if (i < 0) return;
    const image = el("img", { alt: "" });
    const name = el("span");
    this.root.replaceChildren(image, name);
    const [x, y] = surface.pixels(surface.space.x(i), surface.space.y(i));
    const left = x + WIDE > surface.width ? x - WIDE + 4 : x + 16;
    this.root.style.transform = `translate(${left}px, ${Math.max(8, Math.min(y - 60, surface.height - HIGH))}px)`;
    this.soon = setTimeout(async () => {
      const id = map.columns.ids[i];
      this.api.show(image, map.thumbnail(id, 256)).catch(() => image.remove()); // of a tip that is gone it is seen by nobody
      const [record] = await map.remembered([id]).catch(() => []);
      if (record && this.point === i) name.textContent = nameOf(record);
    }, SOON);
  }
}
