// The labels of a run, of which one says with a key or a click what a picture is; the first nine have a digit.
//
// onChoose(event, label): that one is said.

import { el } from "../parts/dom.js";
import { scoreText } from "./words.js";

const DIGITS = 9;

export class Labels {
  constructor({ onChoose }) {
    this.onChoose = onChoose;
    this.list = el("ul", { class: "labels", "aria-label": "Labels" });
    this.find = el("input", { class: "input", type: "search", placeholder: "Find a label", "aria-label": "Find a label", dir: "auto", hidden: true });
    this.find.addEventListener("input", () => this.#sift());
    this.find.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      const first = [...this.list.querySelectorAll("li:not([hidden]) button")][0];
      this.find.value = "";
      this.find.blur();
      first?.click();
      this.#sift();
    });
  }

  get isEmpty() {
    return !this.list.children.length;
  }

  // What a run has.
  show(labels) {
    this.list.replaceChildren(...labels.map((label) => {
      const button = el("button", { type: "button", "aria-pressed": "false", onclick: (event) => this.onChoose(event, label) },
        el("kbd", { "aria-hidden": "true" }), el("span", { class: "label", dir: "auto" }, label), el("span", { class: "score" }), el("span", { class: "meter", "aria-hidden": "true" }, el("i")));
      button.dataset.label = label;
      return el("li", {}, button);
    }));
    this.find.hidden = labels.length <= DIGITS;
    this.#sift();
  }

  // Pressed is what the picture has, or gets; `said` are labels with the scores that the model gave.
  mark(chosen, said) {
    const scores = new Map(said.map((one) => [one.label, one.score]));
    for (const button of this.list.querySelectorAll("button")) {
      const { label } = button.dataset;
      button.setAttribute("aria-pressed", String(chosen.has(label)));
      const value = scores.get(label);
      const known = value !== undefined && value !== null;
      button.querySelector(".score").textContent = known ? scoreText(value) : "";
      button.querySelector(".meter i").style.width = known ? `${100 * Math.min(1, Math.max(0, value))}%` : "0";
    }
  }

  // The label that has a digit; undefined: none has.
  at(digit) {
    return this.list.querySelector(`button[data-digit="${digit}"]`)?.dataset.label;
  }

  // Those that are looked for.
  #sift() {
    const words = this.find.value.trim().toLowerCase();
    let digit = 0;
    for (const item of this.list.children) {
      const button = item.firstChild;
      item.hidden = words !== "" && !button.dataset.label.toLowerCase().includes(words);
      if (!item.hidden) digit += 1;
      button.firstChild.textContent = !item.hidden && digit <= DIGITS ? digit : "";
      button.dataset.digit = !item.hidden && digit <= DIGITS ? digit : "";
    }
  }
}
