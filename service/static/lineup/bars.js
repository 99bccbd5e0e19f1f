// An answer as bars: the chance of each label, what was given, and what being right costs. The temperature is applied here.
//
// onRight(label): that one is right, null for none; onHeat(temperature): it is being moved; onHeated(temperature): it was,
// null where it is the learned one.

import { chancesAt, learnedTemperature, percent } from "../parts/chances.js";
import { count, el } from "../parts/dom.js";
import { slider } from "../parts/slider.js";

const SHOWN = 60; // bars
const WAIT = 250; // ms without a movement until the address is told

// The best label of an answer with its chance, in two lines.
export function bestOf(answer, temperature) {
  if (!answer) return "";
  const [{ labels: [best], scores }] = answer.results;
  if (!best) return "none of these";
  const { chances } = chancesAt(temperature ?? learnedTemperature(answer), answer, scores);
  return `${best.label}\n${percent(chances[scores.findIndex(({ label }) => label === best.label)])}`;
}

export class Bars {
  constructor({ onRight, onHeat, onHeated }) {
    Object.assign(this, { onRight });
    this.rows = new Map(); // label -> its bar
    this.answer = null; // that is shown
    this.right = null;
    this.status = el("p", { class: "status", role: "status" });
    this.bars = el("ol", { class: "bars", "aria-label": "Chances" });
    this.verdict = el("p", { class: "verdict" });
    this.known = el("div", { class: "known", hidden: true });
    this.heat = slider({
      label: "Temperature", low: 0.001, high: 1, value: 0.01, log: true, format: (t) => t.toPrecision(2),
      oninput: (t) => {
        onHeat(t);
        clearTimeout(this.timer);
        this.timer = setTimeout(() => onHeated(this.#isLearned(t) ? null : t), WAIT);
      },
    });
    this.taught = el("p", { class: "hint" });
    this.loss = el("p", { class: "loss" });
    this.root = el("section", { class: "answer", "aria-label": "Answer" },
      this.status, this.verdict, this.known, this.bars, this.heat.element, this.taught, this.loss);
  }

  // What was moved last is no matter of another view's address.
  leave() {
    clearTimeout(this.timer);
  }

  // Something is under way, or was wrong.
  tell(text, { busy = false, bad = false } = {}) {
    this.status.textContent = text;
    this.status.classList.toggle("bad", bad);
    this.root.classList.toggle("busy", busy);
  }

  clear() {
    this.rows.clear();
    for (const part of [this.bars, this.verdict, this.loss, this.taught]) part.replaceChildren();
    this.known.hidden = this.heat.element.hidden = true;
  }

  #isLearned(t) {
    return this.answer && Math.abs(Math.log(t / learnedTemperature(this.answer))) < 0.01;
  }

  // `temperature`: null for the learned one; `right`: the label whose loss is told.
  show(answer, { temperature: wanted, right }) {
    Object.assign(this, { answer, right });
    const [result] = answer.results;
    const learned = learnedTemperature(answer);
    const temperature = wanted ?? learned;
    const { chances, losses } = chancesAt(temperature, answer, result.scores);
    const given = new Set(result.labels.map(({ label }) => label));
    this.#drawBars(result, chances, given);
    this.#drawVerdict(result, given);
    const ranked = answer.scored_by === "rank";
    this.heat.element.hidden = ranked;
    this.heat.value = temperature;
    this.heat.mark([{ at: learned, text: `learned ${learned.toPrecision(2)}` }]);
    this.taught.textContent = ranked
      ? "One label alone has nothing to be held against but other words: its score is how far the picture is that label."
      : "Cosines are divided by the temperature before they become chances. Lower sharpens until the nearest takes all, higher flattens until all are alike; the order stays.";
    this.#drawLoss(result, losses, temperature);
  }

  #drawBars(result, chances, given) {
    const { bars, rows } = this;
    const shown = result.scores.slice(0, SHOWN);
    const before = new Map([...rows].map(([label, row]) => [label, row.offsetTop]));
    const wanted = shown.map(({ label, cosine }, i) => {
      const row = rows.get(label) ?? this.#row(label);
      const button = row.firstChild;
      button.classList.toggle("given", given.has(label));
      button.setAttribute("aria-pressed", label === this.right);
      button.title = label === this.right ? "The right one" : "Say that this is the right one";
      row.querySelector(".chance").textContent = percent(chances[i]);
      row.querySelector(".cosine").textContent = `cosine ${cosine.toFixed(3).replace("-", "−")}`;
      row.querySelector("i").style.transform = `scaleX(${chances[i]})`;
      return row;
    });
    const here = new Set(shown.map(({ label }) => label));
    for (const label of rows.keys()) if (!here.has(label)) rows.delete(label);
    const left = result.scores.length - shown.length;
    if (wanted.some((row, i) => bars.children[i] !== row) || bars.children.length !== wanted.length + (left ? 1 : 0)) {
      const focused = bars.contains(document.activeElement) ? document.activeElement : null;
      bars.replaceChildren(...wanted);
      if (left) bars.append(el("li", { class: "hint" }));
      focused?.focus();
      this.#glide(before);
    }
    if (left) bars.lastChild.textContent = `and ${count(left, "label")} below`;
    bars.classList.toggle("each", this.answer.scored_by === "sigmoid");
  }

  #row(label) {
    const row = el("li", {}, el("button", { type: "button", onclick: () => this.onRight(this.right === label ? null : label) },
      el("span", { class: "name", dir: "auto" }, label), el("span", { class: "cosine" }), el("span", { class: "chance" }), el("span", { class: "bar" }, el("i", {}))));
    this.rows.set(label, row);
    return row;
  }

  // Rows that change places go there, so that one can follow.
  #glide(before) {
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    for (const [label, top] of before) {
      const row = this.rows.get(label);
      const by = row ? top - row.offsetTop : 0;
      if (by) row.animate([{ transform: `translateY(${by}px)` }, { transform: "none" }], { duration: 180, easing: "ease-out" });
    }
  }

  #drawVerdict(result, given) {
    const { known } = this;
    const { known_threshold: threshold } = this.answer;
    this.verdict.replaceChildren(...(given.size
      ? [...given].flatMap((label, i) => [i ? ", " : "", el("strong", { dir: "auto" }, label)])
      : [el("strong", {}, "None of these")]));
    known.hidden = result.known === null;
    if (result.known === null) return;
    const level = el("i", {});
    level.style.transform = `scaleX(${result.known})`;
    const line = el("b", {});
    line.style.left = `${100 * threshold}%`;
    known.replaceChildren(
      el("span", {}, "Any of these at all"), el("span", { class: "chance" }, result.known.toFixed(2)),
      el("span", { class: "bar" }, level, line),
      el("span", { class: "hint" }, `The best label against words that have nothing to do with them; from ${threshold.toFixed(2)} on one is given.`));
  }

  #drawLoss(result, losses, temperature) {
    const { loss, right } = this;
    const by = this.answer.scored_by;
    const i = result.scores.findIndex(({ label }) => label === right);
    const n = result.scores.length;
    if (i < 0 || by === "rank") {
      loss.replaceChildren(n > 1 || by === "sigmoid" ? "Click the label that is right, to see its loss." : "");
      return;
    }
    const guess = by === "softmax" ? ` Guessing among ${n} costs log ${n} = ${Math.log(n).toFixed(2)}.` : "";
    const how = this.#isLearned(temperature) ? "" : ` at temperature ${temperature.toPrecision(2)}`;
    loss.replaceChildren("If ", el("strong", { dir: "auto" }, right), ` is right, the loss${how} is −log p = `, el("strong", {}, losses[i].toFixed(losses[i] < 0.1 ? 4 : 2)), " nats.", guess);
  }
}
