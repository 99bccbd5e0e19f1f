// Which colour means what, a line each; a line that is pressed selects a cluster or lights a value.
//
// isChosen(line): whether it is pressed; onChoose(line). A line is one of `codesBy` in colours.js.

import { el, set } from "../parts/dom.js";
import { css } from "./colours.js";

export class Legend {
  constructor({ isChosen, onChoose }) {
    Object.assign(this, { isChosen, onChoose });
    this.root = el("div", { class: "legend" });
  }

  show(title, lines) {
    const focused = this.root.contains(document.activeElement) ? document.activeElement.dataset.row : null;
    const open = this.root.querySelector("details")?.open ?? innerWidth > 720;
    this.root.replaceChildren(el("details", { open }, el("summary", {}, title), el("ul", {}, lines.map((line) => this.#row(line)))));
    this.press();
    if (focused) [...this.root.querySelectorAll("[data-row]")].find((row) => row.dataset.row === focused)?.focus();
  }

  // Those that are chosen by now look so.
  press() {
    for (const button of this.root.querySelectorAll("button.row")) set(button, { "aria-pressed": String(this.isChosen(button.line)) });
  }

  #row(line) {
    const swatch = el("span", { class: "swatch" });
    swatch.style.background = css(line.code);
    const inside = [swatch, el("span", { class: "text", dir: "auto" }, line.text), el("span", { class: "size" }, line.size.toLocaleString("en"))];
    if (line.other) return el("li", { class: "row" }, inside);
    const button = el("button", { type: "button", class: "row", "data-row": line.text, onclick: () => this.onChoose(line) }, inside);
    button.line = line;
    return el("li", {}, button);
  }
}
