// The filters of a search: those that are chosen, as chips that take them away, and the place beside the results where
// there are more to choose from, which is filled once somebody wants it.

import { loaded } from "../api.js";
import { el, fill, icon, words } from "../parts/dom.js";

export class Filters {
  // onChange(changes): changes of the address; onToggle(open); asked(): the query
  constructor(app, { asked, onChange, onToggle }) {
    Object.assign(this, { app, asked, onChange, onToggle });
    this.button = el("button", { type: "button", class: "chip", "aria-expanded": "false", onclick: () => this.#toggle() }, icon("filter"), "Filters");
    this.chosen = el("span", { class: "filtered" });
    this.root = el("section", { class: "facets", "aria-label": "Filters", hidden: true });
    this.facets = null; // what fills it
  }

  #toggle() {
    this.root.hidden = !this.root.hidden;
    this.button.setAttribute("aria-expanded", String(!this.root.hidden));
    this.onToggle(!this.root.hidden);
    this.count();
  }

  // Have at hand what fills the place.
  async load() {
    const { Facets } = await loaded(import("./facets.js"));
    this.facets ??= new Facets(this.root, { api: this.app.api, onChange: this.onChange, onFail: (error, again) => this.app.failed(error, again) });
  }

  // What there is to choose from by now, if somebody sees it.
  async count() {
    const { app, root } = this;
    if (root.hidden) return;
    try {
      if (!this.facets) {
        fill(root, el("p", { class: "hint" }, "Counting…"));
        await this.load();
      }
    } catch (error) {
      fill(root, el("p", { class: "hint" }, error.message));
      app.failed(error, () => this.count());
      return;
    }
    const collection = app.collection();
    const total = app.collections().find(({ name }) => name === collection)?.counts.image ?? Infinity;
    if (!root.hidden) this.facets.show(collection, this.asked(), total);
  }

  // Those that are chosen by now.
  write() {
    const isThere = this.chosen.contains(document.activeElement);
    this.chosen.replaceChildren(...chips(this.asked(), this.onChange));
    if (isThere) (this.chosen.querySelector("button") ?? this.button).focus();
  }
}

function chips(query, onChange) {
  const chip = (text, changes) => el("button", { type: "button", class: "chip on", "aria-label": `Remove the filter ${text}`, onclick: () => onChange(changes) },
    el("span", { class: "value", dir: "auto" }, text), icon("close"));
  const without = (list, one) => list.filter((each) => each !== one).map(({ text }) => text);
  return [
    ...query.filters.map((one) => chip(`${one.key}: ${words(one.value)}`, { f: without(query.filters, one) })),
    ...query.ranges.map((one) => chip(`${one.key}: ${one.low ?? "…"} to ${one.high ?? "…"}`, { r: without(query.ranges, one) })),
    query.folder && chip(`in ${query.folder}`, { in: null }),
    (query.from || query.to) && chip(`taken ${query.from ?? "…"} to ${query.to ?? "…"}`, { from: null, to: null }),
  ].filter(Boolean);
}
