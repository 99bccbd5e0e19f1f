// Accepting the surest pictures at once: a slider over how many, with the least sure of them.
//
// bars(label): what can be accepted of those that are called so, null: of all; onAccept(rule): those are accepted.

import { count, el } from "../parts/dom.js";
import { order } from "../parts/latest.js";
import { small } from "./picture.js";
import { NONE, scoreText } from "./words.js";

export class Surest {
  constructor(api, { bars, onAccept }) {
    Object.assign(this, { api, ask: bars, onAccept });
    this.asking = order();
    this.of = null; // the label whose pictures are looked at
    this.slider = el("input", { type: "range", min: 0, max: 0, value: 0, step: 1, "aria-label": "How many of the surest pictures" });
    this.slider.addEventListener("input", () => this.#draw());
    this.said = el("p", { class: "hint", "aria-live": "polite" });
    this.accept = el("button", { type: "button", class: "button", disabled: true, onclick: () => this.#accept() }, "Accept");
    this.least = el("span", { class: "least" });
    this.root = el("details", { class: "bulk", ontoggle: () => this.look() }, el("summary", {}, "Accept the surest at once"),
      el("div", {}, this.slider, el("div", { class: "bar" }, this.least, this.said), this.accept));
    this.show(null);
  }

  // Those of a label; what was there of others says nothing of them.
  show(of) {
    this.of = of;
    this.bars = [];
    Object.assign(this.slider, { max: 0, value: 0 });
    this.least.replaceChildren();
    this.said.textContent = "";
    this.accept.disabled = true;
    this.accept.textContent = "Accept";
  }

  get #label() {
    return this.of && this.of !== NONE ? this.of : null;
  }

  // Ask what there is by now, if somebody sees it.
  async look() {
    if (!this.root.open) return;
    const { of } = this;
    const isNews = this.asking();
    const bars = await this.ask(this.#label);
    if (!bars || of !== this.of || !isNews()) return;
    const at = this.bars[this.slider.value - 1]?.accept_above; // where it stands by now: it may have been moved meanwhile
    this.bars = bars;
    this.slider.max = bars.length;
    this.slider.value = at === undefined ? 0 : bars.filter(({ accept_above: above }) => above >= at).length;
    this.#draw();
  }

  #draw() {
    const bar = this.bars[this.slider.value - 1];
    const of = this.#label ? ` that are called ${this.#label}` : "";
    this.accept.disabled = !bar;
    this.accept.textContent = bar ? `Accept ${count(bar.images, "picture")}` : "Accept";
    this.least.replaceChildren(...(bar?.least_url ? [small(this.api, { id: bar.images, thumbnail_url: bar.least_url })] : []));
    this.slider.setAttribute("aria-valuetext", bar ? `${count(bar.images, "picture")}, score ${scoreText(bar.accept_above)} or more` : "none");
    if (!this.bars.length) this.said.textContent = "There is nothing left to accept.";
    else if (!bar) this.said.textContent = `Of ${count(this.bars.at(-1).images, "picture")}${of} that nobody has looked at.`;
    else this.said.textContent = `With a score of ${bar.accept_above.toFixed(3)} or more${of}: this is the least sure of them. None becomes an example for the rest.`;
  }

  async #accept() {
    const bar = this.bars[this.slider.value - 1];
    if (!bar) return;
    const label = this.#label;
    await this.onAccept({ accept_above: bar.accept_above, ...(label && { label }) });
  }

  // What was chosen is done.
  done() {
    this.slider.value = 0;
  }
}
