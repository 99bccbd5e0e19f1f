// The picture that is judged, large, and small ones of those that come next. Those are fetched before they are needed.

import { el, pause } from "../parts/dom.js";
import { fileName, isUpload, sized } from "../parts/picture/entry.js";

const KEPT = 24; // large ones
const LATER = 3000; // ms until what does not answer is asked again

const letGo = (source) => source.then((src) => src.startsWith("blob:") && URL.revokeObjectURL(src), () => {});

export class Picture {
  constructor(api, ended) {
    Object.assign(this, { api, ended });
    this.image = el("img", { alt: "", draggable: "false" });
    this.stage = el("div", { class: "stage", tabindex: "-1", role: "group", "aria-label": "Picture" }, this.image);
    this.name = el("p", { class: "hint path" });
    this.next = el("div", { class: "next", "aria-hidden": "true" });
    this.root = el("div", { class: "large" }, this.stage, el("div", { class: "below" }, this.name, this.next));
    this.larges = new Map(); // id -> promise of an address of the large picture that is decoded already
    ended.addEventListener("abort", () => this.larges.forEach(letGo));
  }

  // The next key is about the picture.
  focus() {
    this.stage.focus({ preventScroll: true });
  }

  // The first of a queue.
  async show(queue) {
    this.queue = queue;
    const [current] = queue;
    const path = isUpload(current) ? "" : current.path; // where an upload is kept is no matter of its user
    this.name.replaceChildren(el("bdi", {}, path)); // cut at its beginning
    this.name.title = path;
    if (this.shown !== current.id) {
      this.shown = current.id;
      this.stage.classList.remove("gone", "there");
      this.image.alt = fileName(path) || `Picture ${current.id}`;
      try {
        if (!current.thumbnail_url) throw new Error("it lies elsewhere");
        const src = await this.#large(current);
        if (this.shown !== current.id) return;
        this.image.src = src;
        this.stage.classList.add("there");
      } catch {
        if (this.shown !== current.id) return;
        this.image.removeAttribute("src");
        this.stage.dataset.why = current.thumbnail_url ? "The picture cannot be shown" : "It lies where the service may not show it";
        this.stage.classList.add("gone");
        this.#again(current);
      }
    }
    this.#strip(queue.slice(1, 7));
    for (const image of queue.slice(1, 3)) if (image.thumbnail_url) this.#large(image).catch(() => {}); // they are ready then
  }

  // What may be there in a while is asked for again.
  async #again({ id, thumbnail_url: url }) {
    this.larges.delete(id);
    if (!url || !(await this.api.comes(sized(url, 1024)))) return;
    await pause(LATER);
    if (this.shown !== id || this.ended.aborted) return;
    this.shown = null;
    this.show(this.queue);
  }

  // Each is fetched once.
  #large({ id, thumbnail_url: url }) {
    if (!this.larges.has(id)) {
      this.larges.set(id, (async () => {
        const loaded = new Image();
        loaded.src = await this.api.source(sized(url, 1024));
        await loaded.decode();
        return loaded.src;
      })());
      for (const [old, source] of this.larges) {
        if (this.larges.size <= KEPT) break;
        this.larges.delete(old);
        letGo(source);
      }
    }
    return this.larges.get(id);
  }

  #strip(images) {
    const kept = new Map([...this.next.children].map((image) => [image.dataset.id, image]));
    this.next.replaceChildren(...images.filter(({ thumbnail_url }) => thumbnail_url).map((image) => kept.get(String(image.id)) ?? small(this.api, image)));
  }
}

// A small picture of an image of a run.
export function small(api, { id, thumbnail_url: url }) {
  const image = el("img", { alt: "", "data-id": id, width: 44, height: 44 });
  api.show(image, sized(url, 128)).catch(() => {});
  return image;
}
