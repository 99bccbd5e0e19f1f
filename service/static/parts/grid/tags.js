// The tags that several pictures have, with how many have each, and what takes one away from all of them. They are counted
// once somebody wants to see them, and again whenever others are selected.

import { el, fill, icon } from "../dom.js";
import { showChips, tagChip, tagsAmong } from "../tags.js";

const AT_ONCE = 5000; // ids in one filter
const SOON = 150; // ms for which what is selected stays as it is
const SHOWN = 100;

export class TagsOfSeveral {
  // onRemove(tag): resolves once it is taken away
  constructor(app, onRemove) {
    Object.assign(this, { app, onRemove });
    this.ids = [];
    this.run = 0; // of counting; a newer one ends those before it
    this.chips = el("div", { class: "chips", id: "tags-of-selected" });
    this.root = el("div", { class: "tags", role: "group", "aria-label": "Tags of the selected pictures", hidden: true }, this.chips);
    this.button = el("button", {
      type: "button", class: "button plain", "aria-expanded": "false", "aria-controls": this.chips.id, onclick: () => this.#toggle(this.root.hidden),
    }, icon("tag"), el("span", {}, "Tags"));
    this.root.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.preventDefault();
      this.#toggle(false);
      this.button.focus();
    });
  }

  // ids: those that are selected by now
  show(ids) {
    this.ids = ids;
    if (!ids.length) this.#toggle(false);
    else if (!this.root.hidden) this.#countSoon();
  }

  #toggle(open) {
    this.root.hidden = !open;
    this.button.setAttribute("aria-expanded", String(open));
    if (!open) return;
    fill(this.chips, el("span", { class: "hint" }, "Counting…"));
    this.#count();
  }

  #countSoon() {
    clearTimeout(this.soon);
    this.soon = setTimeout(() => this.#count(), SOON);
  }

  async #count() {
    const run = ++this.run;
    const { app, ids } = this;
    const counts = new Map(); // what is seen of a tag -> {tag, count}
    try {
      for (let at = 0; at < ids.length; at += AT_ONCE) {
        const some = await tagsAmong(app.api, app.collection(), { must: [{ has_id: ids.slice(at, at + AT_ONCE) }] });
        if (run !== this.run || this.root.hidden) return; // others are selected by now, or nobody wants to see them
        for (const { tag, count } of some) {
          const seen = String(tag).normalize();
          counts.set(seen, { tag: counts.get(seen)?.tag ?? tag, count: (counts.get(seen)?.count ?? 0) + count });
        }
      }
    } catch (error) {
      if (run === this.run) showChips(this.chips, [el("span", { class: "hint" }, error.message)], this.button);
      return;
    }
    const found = [...counts.values()].sort((a, b) => b.count - a.count);
    showChips(this.chips, [
      ...found.slice(0, SHOWN).map(({ tag, count }) => tagChip(app, tag, { count, onRemove: (text) => this.#remove(text) })),
      found.length > SHOWN && el("span", { class: "hint" }, `and ${(found.length - SHOWN).toLocaleString("en")} more`),
      !found.length && el("span", { class: "hint" }, "None of them has a tag."),
    ], this.button);
  }

  async #remove(tag) {
    try {
      await this.onRemove(tag);
    } catch (error) {
      this.app.say(error.message, { kind: "bad" });
    }
  }
}
