// A slider with its value in words and marks on its rail, even or by factors (`log`). It is an <input type=range>, so
// that keys and screen readers have it as they know it.

import { el } from "./dom.js";

const STEPS = 400;

// {label, low, high, value, log, marks: [{at, text}], format, oninput(value)}: `element` to put somewhere, `value` to
// read and set. A mark is a button that goes there.
export function slider({ label, low, high, value, log = false, marks = [], format = String, oninput = () => {} }) {
  const [from, to] = log ? [Math.log(low), Math.log(high)] : [low, high];
  const placeOf = (at) => Math.min(1, Math.max(0, ((log ? Math.log(at) : at) - from) / (to - from)));
  const valueAt = (place) => (log ? Math.exp(from + place * (to - from)) : from + place * (to - from));
  const input = el("input", { type: "range", min: 0, max: STEPS, step: 1, "aria-label": label });
  const told = el("output", {});
  const rail = el("div", { class: "rail" }, input);
  const element = el("div", { class: "slider" }, el("div", { class: "head" }, el("span", {}, label), told), rail);
  const marked = el("div", { class: "marks" });
  let now = value;

  function tell() {
    told.textContent = format(now);
    input.setAttribute("aria-valuetext", format(now));
  }

  function put(next) {
    now = next;
    input.value = Math.round(placeOf(now) * STEPS);
    tell();
  }

  function mark(next) {
    marked.replaceChildren(...next.map(({ at, text }) => {
      const button = el("button", { type: "button", class: "mark", onclick: () => { put(at); oninput(at); } }, text);
      button.style.setProperty("--at", placeOf(at));
      button.classList.toggle("late", placeOf(at) > 0.6);
      return button;
    }));
    if (next.length) rail.append(marked);
    else marked.remove();
  }

  input.addEventListener("input", () => {
    now = valueAt(input.value / STEPS);
    tell();
    oninput(now);
  });
  put(value);
  mark(marks);
  return {
    element,
    get value() { return now; },
    set value(next) { put(next); },
    mark,
  };
}
