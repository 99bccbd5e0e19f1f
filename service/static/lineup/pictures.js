// The pictures of a lineup: a strip of them, one of which is looked at, and the ways to choose others.

import { count, el, icon } from "../parts/dom.js";
import { nameOf, sized } from "../parts/picture/entry.js";
import { filesOf, hasFiles, isPicture, pasted } from "../parts/picture/given.js";
import { pickPictures } from "../parts/picture/picker.js";
import { keep, kept } from "../parts/query.js";
import { MOST } from "./asked.js";

const FIRST = 4; // pictures for who came without any

export class Pictures {
  // asked(): what the address asks; isWanted(): whether the lineup is the view of the address
  constructor(root, app, { asked, isWanted }) {
    Object.assign(this, { app, asked, isWanted });
    this.collection = null; // what ids are of
    this.began = false; // pictures were put here for who came without any
    this.entries = new Map(); // picture -> {name, url, small}
    this.looking = new AbortController(); // of the picture that is fetched to be looked at
    this.strip = el("ul", { class: "strip", "aria-label": "Pictures in the lineup" });
    const files = el("input", { type: "file", accept: "image/*,.heic,.heif,.avif,.tif,.tiff", multiple: true, class: "unseen", "aria-label": "Pictures of this computer" });
    this.choosing = el("button", { type: "button", class: "button", onclick: () => this.#choose() }, icon("plus"), "Choose pictures");
    this.large = el("img", { class: "large", alt: "" });
    this.caption = el("figcaption", { dir: "auto" });
    this.stage = el("figure", { class: "stage" }, this.large, this.caption);
    this.nobody = el("p", { class: "hint nobody" }, "Choose pictures of the collection, or drop or paste some here.");
    this.root = el("section", { class: "suspects", "aria-label": "Pictures" },
      this.stage, this.nobody, this.strip, el("div", { class: "acts" }, this.choosing, el("label", { class: "button" }, files, icon("upload"), "Use files")));
    files.addEventListener("change", () => {
      this.#take([...files.files]);
      files.value = "";
    });
    this.#receive(root);
  }

  // Those of another collection are other pictures.
  of(collection) {
    this.collection = collection;
    this.began = false;
    this.entries.clear();
  }

  // What is dropped or pasted.
  #receive(root) {
    const active = () => !root.hidden && !document.querySelector("dialog[open]");
    document.addEventListener("paste", (event) => active() && this.#take(pasted(event)));
    document.addEventListener("dragover", (event) => active() && hasFiles(event) && event.preventDefault());
    document.addEventListener("drop", async (event) => {
      if (!active() || !hasFiles(event)) return;
      event.preventDefault();
      this.#take(await filesOf(event.dataTransfer));
    });
  }

  async #choose() {
    const found = await pickPictures(this.app, { title: "Pictures for the lineup", most: MOST - this.asked().pictures.length || 1 });
    for (const entry of found) this.#remember(entry);
    this.#add(found.map(({ id }) => String(id)));
  }

  async #take(chosen) {
    const pictures = chosen.filter(isPicture);
    if (!pictures.length) {
      if (chosen.length) this.app.say("There was no picture among these files.", { kind: "bad" });
      return;
    }
    if (pictures.length > MOST) this.app.say(`These are the first ${MOST} of ${count(pictures.length, "picture")}.`);
    try {
      this.#add((await Promise.all(pictures.slice(0, MOST).map(keep))).map((key) => `i${key}`));
    } catch (error) {
      this.app.say(error.message, { kind: "bad" });
    }
  }

  #add(pictures) {
    if (!pictures.length) return;
    const all = [...new Set([...this.asked().pictures, ...pictures])].slice(-MOST);
    this.app.navigate({ p: all, at: all.indexOf(pictures[0]) || null });
  }

  #remember(entry) {
    this.entries.set(String(entry.id), { name: nameOf(entry), url: sized(entry.thumbnail_url, 512), small: sized(entry.thumbnail_url, 128) });
  }

  // What a picture is called and where it is to be had; null: it is gone, and left out of the lineup.
  async #pictured(picture) {
    if (picture.startsWith("i")) {
      const mine = kept(picture.slice(1));
      return mine ? { name: mine.name, url: mine.url, small: mine.url } : null;
    }
    if (!this.entries.has(picture)) {
      const of = this.collection;
      const found = await this.app.api.get(this.app.api.of(of, "images", picture));
      if (of !== this.collection) return null; // its id is another picture's there
      this.#remember(found);
    }
    return this.entries.get(picture);
  }

  // Some of the collection, for who came without any.
  async begin() {
    if (this.asked().pictures.length || this.began) return;
    this.began = true;
    if (!this.collection) return;
    const of = this.collection;
    let found;
    try {
      ({ entries: found } = await this.app.api.get(`${this.app.api.of(of, "images")}?limit=${FIRST}`));
    } catch (error) {
      if (of !== this.collection) return;
      this.began = false;
      this.app.failed(error, () => this.begin());
      return;
    }
    if (of !== this.collection) return;
    for (const entry of found) this.#remember(entry);
    if (this.isWanted() && found.length && !this.asked().pictures.length) this.app.navigate({ p: found.map(({ id }) => String(id)) }, { replace: true });
  }

  async show() {
    const { app } = this;
    const { pictures } = this.asked();
    const at = Math.min(this.asked().at, pictures.length - 1);
    const each = await Promise.all(pictures.map((picture) => this.#pictured(picture).catch(() => null)));
    if (pictures !== this.asked().pictures) return;
    this.looking.abort();
    this.looking = new AbortController();
    const takes = () => [...this.strip.querySelectorAll(".off")];
    const there = takes().indexOf(document.activeElement); // of those that take one out
    this.strip.replaceChildren(...pictures.map((picture, i) => {
      const image = el("img", { alt: each[i]?.name ?? "a picture that is gone" });
      if (each[i]) app.api.show(image, each[i].small).catch(() => {});
      return el("li", { "data-picture": picture },
        el("a", { href: app.href({ at: i || null }), "aria-current": i === at ? "true" : null }, image, el("span", { class: "best", dir: "auto" })),
        el("button", { type: "button", class: "off", "aria-label": `Take ${each[i]?.name ?? "it"} out of the lineup`,
          onclick: () => app.navigate({ p: pictures.filter((one) => one !== picture), at: null }) }, icon("close")));
    }));
    this.strip.hidden = pictures.length < 2;
    if (there >= 0) (this.strip.hidden ? this.choosing : takes()[Math.min(there, pictures.length - 1)]).focus();
    this.nobody.hidden = pictures.length > 0;
    this.stage.hidden = !pictures.length;
    this.choosing.hidden = !this.collection;
    const it = each[at];
    if (it) {
      this.large.alt = it.name;
      this.caption.textContent = it.name;
      app.api.show(this.large, it.url, { signal: this.looking.signal }).catch((error) => error.name === "AbortError" || this.large.removeAttribute("src"));
    } else if (pictures.length) {
      this.large.removeAttribute("src");
      this.caption.textContent = pictures[at].startsWith("i") ? "A picture that was dropped is gone when its tab is." : "This picture is no longer in the collection.";
    }
  }

  // Below each of the strip what bestOf(picture) says.
  mark(bestOf) {
    for (const item of this.strip.children) item.querySelector(".best").textContent = bestOf(item.dataset.picture);
  }
}
