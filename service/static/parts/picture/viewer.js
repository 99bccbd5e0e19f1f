// One picture, large, over everything: zoom, the one before and after, what is known of it. The address is its owner's:
// it asks to step, and is shown what comes of it; it closes at once, and tells of that when it can be seen.

import { afterPaint, breakable, el, set, tool } from "../dom.js";
import { order } from "../latest.js";
import { factsOf, isUpload, nameOf, sized } from "./entry.js";
import { TagsOfOne } from "./tags.js";

const LATER = 3000; // ms until what does not answer is asked again
const MOST = 8; // times as large as it fits
const STEPS = new Set(["ArrowLeft", "ArrowRight"]); // from a field too, while nothing is written there

// What was fetched with a key is held in memory until it is let go of.
const letGo = (src) => src.startsWith("blob:") && URL.revokeObjectURL(src);

export class Viewer {
  // onStep(by), onClose(entry); onLearnt(records, collection): they are so by now; actions(entry): elements below the
  // facts
  constructor(root, { app, onStep, onClose, onLearnt, actions }) {
    Object.assign(this, { api: app.api, onStep, onClose, actions });
    this.left = null; // the entry that somebody has closed, until the owner has taken note
    this.asking = order();
    this.image = el("img", { alt: "", draggable: "false" });
    this.stage = el("div", { class: "stage" }, this.image);
    // with the focus, so no button looks as if it were pressed; read out when one steps on
    this.heading = el("h2", { id: "viewer-title", tabindex: "-1", autofocus: true, dir: "auto", "aria-live": "polite" });
    this.path = el("p", { class: "path" });
    this.fit = el("p", { class: "fit" });
    this.facts = el("dl");
    this.tags = new TagsOfOne(app, onLearnt);
    this.acts = el("div", { class: "acts" });
    this.previous = tool("left", "Previous", () => onStep(-1), "left");
    this.next = tool("right", "Next", () => onStep(1), "right");
    this.dialog = el("dialog", { class: "viewer", "aria-labelledby": "viewer-title" },
      el("div", { class: "large" }, this.stage, this.previous, this.next,
        el("div", { class: "zooms" },
          tool("minus", "Smaller", () => this.#zoom(1 / 1.5)), tool("plus", "Larger", () => this.#zoom(1.5)))),
      el("div", { class: "about" }, this.heading, this.fit, this.path, this.facts, this.tags.root, this.acts),
      tool("close", "Close", () => this.#leave(), "shut"));
    root.append(this.dialog);
    this.dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      this.#leave();
    });
    this.dialog.addEventListener("close", () => !this.dialog.open && this.#leave()); // the browser may do so by itself
    this.dialog.addEventListener("keydown", (event) => this.#key(event));
    this.#gestures();
  }

  get open() {
    return this.dialog.open;
  }

  // fit, note: how well it fits, in words and in numbers. near: addresses of what one may step to.
  show(entry, { fit = null, note = null, previous = false, next = false, near = [] } = {}) {
    this.entry = entry;
    this.#place(1, 0, 0);
    // a small picture is not blown up to a blur
    this.image.style.maxWidth = entry.width ? `${entry.width * 2.5}px` : "";
    this.image.style.maxHeight = entry.height ? `${entry.height * 2.5}px` : "";
    const name = nameOf(entry);
    this.heading.replaceChildren(...breakable(name));
    this.image.alt = name;
    this.path.replaceChildren(...breakable(entry.external_id ?? (isUpload(entry) ? "" : entry.path) ?? ""));
    set(this.fit, { hidden: !fit && !note, title: note });
    this.fit.textContent = fit ? `${fit[0].toUpperCase()}${fit.slice(1)}` : (note ?? "");
    this.previous.disabled = !previous;
    this.next.disabled = !next;
    this.#load(entry, near);
    if (this.dialog.open) {
      this.#describe(entry);
      return;
    }
    for (const part of [this.facts, this.acts]) part.replaceChildren();
    this.tags.show(null);
    document.body.classList.add("viewing"); // what lies behind is neither styled nor drawn
    this.dialog.showModal();
    afterPaint(() => this.entry === entry && this.#describe(entry));
  }

  #describe(entry) {
    this.facts.replaceChildren(
      ...factsOf(entry).flatMap(([term, text]) => [el("dt", {}, term), el("dd", { dir: "auto" }, text)]));
    this.tags.show(entry);
    this.acts.replaceChildren(...this.actions(entry));
    if (!this.dialog.contains(document.activeElement)) this.heading.focus(); // what had the keyboard has gone
  }

  // Gives the entry that was shown; null: none was.
  close() {
    const { entry, left } = this;
    this.entry = this.left = null;
    if (!entry) return left;
    document.body.classList.remove("viewing");
    this.dialog.close();
    letGo(this.image.src);
    this.image.removeAttribute("src");
    return entry;
  }

  #leave() {
    if (!this.entry) return;
    const left = (this.left = this.close());
    afterPaint(() => this.onClose(left));
  }

  // What is large enough for the stage first; the file itself once someone looks closer.
  async #load(entry, near) {
    this.whole = false;
    this.stage.classList.remove("gone");
    await this.#put(entry, sized(entry.thumbnail_url, 1024)).catch(() => this.#put(entry, entry.content_url))
      .catch(() => this.entry === entry && this.#gone(entry));
    // its neighbours are ready when they are asked for
    for (const url of near) if (this.entry === entry) this.#decoded(url).then(({ src }) => letGo(src), () => {});
  }

  // What may be there in a while is asked for again.
  async #gone(entry) {
    letGo(this.image.src);
    this.image.removeAttribute("src");
    this.stage.classList.add("gone");
    if (await this.api.comes(entry.content_url)) setTimeout(() => this.entry === entry && this.#load(entry, []), LATER);
  }

  async #decoded(url) {
    const image = new Image();
    image.src = await this.api.source(url);
    await image.decode().catch((error) => {
      letGo(image.src);
      throw error;
    });
    return image;
  }

  async #put(entry, url) {
    const isNews = this.asking();
    const { src, naturalWidth, naturalHeight } = await this.#decoded(url);
    if (this.entry !== entry || !isNews()) {
      letGo(src);
      return;
    }
    const old = this.image.src;
    set(this.image, { src, width: naturalWidth, height: naturalHeight });
    if (old !== src) letGo(old);
  }

  // --- zoom ---

  #zoom(by, at = null) {
    const scale = Math.min(MOST, Math.max(1, this.scale * by));
    const box = this.stage.getBoundingClientRect();
    const x = at ? at.x - box.left - box.width / 2 : 0;
    const y = at ? at.y - box.top - box.height / 2 : 0;
    const grown = scale / this.scale;
    this.#place(scale, x - (x - this.x) * grown, y - (y - this.y) * grown);
    if (scale > 1.2 && !this.whole && this.entry) {
      this.whole = true;
      this.#put(this.entry, this.entry.content_url).catch(() => {}); // what no browser shows stays as it is
    }
  }

  #place(scale, x, y) {
    Object.assign(this, { scale, x: 0, y: 0 });
    if (scale > 1) { // else nothing is measured, which would lay out all of the page
      const box = this.stage.getBoundingClientRect();
      const within = (side, wanted) => Math.max(-(side * (scale - 1)) / 2, Math.min((side * (scale - 1)) / 2, wanted));
      Object.assign(this, { x: within(box.width, x), y: within(box.height, y) });
    }
    this.image.style.transform = scale > 1 ? `translate(${this.x}px, ${this.y}px) scale(${scale})` : "";
    this.stage.classList.toggle("zoomed", scale > 1);
  }

  #gestures() {
    const fingers = new Map();
    const spread = () => {
      const [a, b] = [...fingers.values()];
      return Math.hypot(a.x - b.x, a.y - b.y);
    };
    let begun = null;
    this.stage.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.#zoom(Math.exp(-event.deltaY / 300), { x: event.clientX, y: event.clientY });
    }, { passive: false });
    this.stage.addEventListener("dblclick", (event) => {
      if (this.scale > 1) this.#place(1, 0, 0);
      else this.#zoom(2.5, { x: event.clientX, y: event.clientY });
    });
    this.stage.addEventListener("pointerdown", (event) => {
      this.stage.setPointerCapture(event.pointerId);
      fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
      begun = { x: event.clientX, y: event.clientY, left: this.x, top: this.y, apart: fingers.size === 2 ? spread() : 0 };
    });
    this.stage.addEventListener("pointermove", (event) => {
      if (!fingers.has(event.pointerId)) return;
      fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
      if (fingers.size === 2) {
        const apart = spread();
        const [a, b] = [...fingers.values()];
        if (begun.apart) this.#zoom(apart / begun.apart, { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 });
        begun.apart = apart;
      } else if (this.scale > 1) {
        this.#place(this.scale, begun.left + event.clientX - begun.x, begun.top + event.clientY - begun.y);
      }
    });
    const up = (event) => {
      const swept = begun ? event.clientX - begun.x : 0;
      const alone = fingers.size === 1;
      fingers.delete(event.pointerId);
      if (event.type === "pointerup" && alone && this.scale === 1 && event.pointerType !== "mouse" && Math.abs(swept) > 48) {
        if (swept < 0 && !this.next.disabled) this.onStep(1);
        if (swept > 0 && !this.previous.disabled) this.onStep(-1);
      }
      begun = fingers.size ? begun : null;
    };
    this.stage.addEventListener("pointerup", up);
    this.stage.addEventListener("pointercancel", up);
  }

  #key(event) {
    const writing = event.target.closest("input");
    if (writing?.value || (writing && !STEPS.has(event.key)) || event.ctrlKey || event.metaKey || event.altKey) return;
    const act = {
      ArrowLeft: () => this.previous.disabled || this.onStep(-1),
      ArrowRight: () => this.next.disabled || this.onStep(1),
      "+": () => this.#zoom(1.5), "=": () => this.#zoom(1.5), "-": () => this.#zoom(1 / 1.5), 0: () => this.#place(1, 0, 0),
    }[event.key];
    if (act) {
      event.preventDefault();
      act();
    }
  }
}
