// One picture in a grid: its place, its name, and its small picture, which is loaded once it comes to rest in view.

import { el, icon, set } from "../dom.js";

const SIDES = [128, 256, 512];

export class Tile {
  constructor() {
    this.image = el("img", { alt: "", decoding: "async", draggable: "false" });
    this.frame = el("span", { class: "frame" }, this.image);
    this.caption = el("span", { class: "caption", dir: "auto" });
    this.link = el("a", { draggable: "false" }, this.frame, this.caption);
    this.mark = el("button", { type: "button", class: "mark", tabindex: "-1", "aria-pressed": "false" }, icon("check"));
    this.item = el("li", {}, this.link, this.mark);
    this.item.tile = this;
    this.address = null; // of the picture that it shows, or is going to
    const { frame, image } = this;
    image.addEventListener("load", () => {
      frame.classList.add("there");
      frame.classList.remove("gone");
    });
    image.addEventListener("error", () => image.hasAttribute("src") && frame.classList.add("gone"));
  }

  // Where it stands, in pixels, and how large its picture is.
  put(x, y, width, tall) {
    this.item.style.transform = `translate(${x}px, ${y}px)`;
    if (this.width === width && this.tall === tall) return;
    this.item.style.width = `${width}px`;
    this.frame.style.height = `${tall}px`;
    Object.assign(this, { width, tall });
  }

  // Place `i` of a source. It is called by a caption or, without captions, by what one points at.
  name(source, i, captions) {
    const name = source.name(i);
    this.caption.textContent = name ?? "";
    this.link.href = source.href(i);
    set(this.link, { "aria-label": name ?? `Picture ${i + 1}`, title: source.note?.(i) ?? (captions ? null : name) });
    set(this.item, { "aria-posinset": i + 1, "aria-setsize": source.count });
    set(this.mark, { "aria-label": `Select ${name ?? `picture ${i + 1}`}` });
  }

  // Whether the order of tabs comes here.
  stand(isIt) {
    set(this.link, { tabindex: isIt ? "0" : "-1" });
  }

  choose(chosen) {
    set(this.mark, { "aria-pressed": String(chosen) });
    this.item.classList.toggle("chosen", chosen);
  }

  async load(api, source, i) {
    const pixels = Math.max(this.width, this.tall) * devicePixelRatio;
    const address = source.thumbnail(i, SIDES.find((each) => each >= pixels * 0.9) ?? SIDES.at(-1));
    this.address = address;
    this.leaving = new AbortController();
    try {
      await api.show(this.image, address, { signal: this.leaving.signal });
    } catch (error) {
      if (error.name !== "AbortError" && this.address === address) this.frame.classList.add("gone");
    }
  }

  // Out of the grid, to be another picture's.
  leave() {
    this.leaving?.abort();
    this.image.removeAttribute("src");
    this.frame.classList.remove("there", "gone");
    Object.assign(this, { address: null, leaving: null, width: null });
    this.item.remove();
  }
}
