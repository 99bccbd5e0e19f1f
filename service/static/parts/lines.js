// Curves as SVG, drawn as wide as there is room, so that words keep their size: grid, ticks, names, and the values under
// the pointer. Knows no training run. Colours are --line-1 to --line-6 of views/runs.css.

import { el, set, svg } from "./dom.js";
import { renew } from "./renew.js";

const HEIGHT = 220;
const LEFT = 56;
const RIGHT = 12;
const TOP = 12;
const BOTTOM = 40;
export const COLOURS = 6;

// At most `most` + 1 round values: multiples of 1, 2, 2.5 or 5 times a power of ten.
export function ticks(low, high, most, whole = false) {
  const rough = Math.max((high - low) / most, whole ? 1 : 0) * (1 - 1e-9);
  if (!(rough > 0)) return [low];
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => power * factor).find((each) => each >= rough && (!whole || Number.isInteger(each)));
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i += 1) found.push(i * step);
  return found;
}

// Few digits: 0.25, 1,200, 12k, 3e-5; `tiny`: by powers of ten.
export function short(value, tiny = Math.abs(value) < 1e-3) {
  const size = Math.abs(value);
  if (size >= 1e6) return `${+(value / 1e6).toPrecision(3)}M`;
  if (size >= 1e4) return `${+(value / 1e3).toPrecision(3)}k`;
  if (size && tiny) return value.toExponential(1).replace(".0e", "e");
  return (+value.toPrecision(4)).toLocaleString("en", { maximumFractionDigits: 6 });
}

// An exponential mean of the points so far, the first of them counted in full.
export function smoothed(points) {
  const keep = 1 - 1 / Math.max(1, Math.sqrt(points.length) / 2);
  let total = 0;
  let weight = 0;
  return points.map(([x, y]) => {
    total = keep * total + (1 - keep) * y;
    weight = keep * weight + (1 - keep);
    return [x, total / weight];
  });
}

export class Lines {
  // `title` is what it shows; `across` is written below the x axis
  constructor({ title, across, fromZero = false }) {
    Object.assign(this, { title, across, fromZero, series: [], mark: null, at: null }); // at: where the pointer is
    this.legend = el("p", { class: "legend" });
    this.svg = svg("svg", { role: "img", height: HEIGHT });
    this.box = el("div", { class: "plot" }, this.svg);
    this.root = el("figure", { class: "lines" }, el("figcaption", {}, title), this.legend, this.box);
    this.observer = new ResizeObserver(() => this.#draw());
    this.observer.observe(this.box);
    this.svg.addEventListener("pointermove", (event) => this.#point(event.offsetX));
    this.svg.addEventListener("pointerleave", () => this.#point(null));
  }

  // series: [{name, points: [[x, y]], faint}]; a faint one has the colour of the one after it. mark: {x, text} or null.
  show(series, mark = null) {
    this.series = series.filter(({ points }) => points.length);
    this.mark = mark;
    this.root.hidden = !this.series.length;
    const bold = this.series.filter(({ faint }) => !faint);
    renew(this.legend, bold.length > 1 ? bold.map(({ name }, i) => el("span", {}, el("i", { class: `key-${(i % COLOURS) + 1}` }), name)) : []);
    const last = bold.map(({ name, points }) => `${bold.length > 1 ? `${name} ` : ""}${short(points.at(-1)[1])}`);
    this.svg.setAttribute("aria-label", `${this.title}, by ${this.across}; now ${last.join(", ")}`);
    this.#draw();
  }

  #draw() {
    const width = this.box.clientWidth;
    if (!width || !this.series.length) return;
    const all = this.series.flatMap(({ points }) => points);
    const [xs, ys] = [all.map(([x]) => x), all.map(([, y]) => y)];
    const least = (values) => values.reduce((a, b) => Math.min(a, b));
    const most = (values) => values.reduce((a, b) => Math.max(a, b));
    let [low, high] = [least(ys), most(ys)];
    if (this.fromZero) low = Math.min(0, low);
    const air = (high - low) * 0.06 || Math.abs(high) * 0.1 || 1;
    if (!this.fromZero || low === high) low -= air;
    high += air;
    let [first, last] = [least(xs), most(xs)];
    if (first === last) [first, last] = [first - 1, last + 1];
    this.x = (value) => LEFT + ((value - first) / (last - first)) * (width - LEFT - RIGHT);
    this.y = (value) => HEIGHT - BOTTOM - ((value - low) / (high - low)) * (HEIGHT - BOTTOM - TOP);
    set(this.svg, { width, viewBox: `0 0 ${width} ${HEIGHT}` });

    const across = ticks(first, last, Math.max(3, Math.floor(width / 80)), true);
    const up = ticks(low, high, 4);
    const tiny = up.every((value) => Math.abs(value) < 0.01); // all of an axis are written alike
    const grid = up.map((value) => `M${LEFT} ${this.y(value).toFixed(1)}H${width - RIGHT}`).join("");
    const parts = [svg("path", { class: "grid", d: grid })];
    for (const value of up) parts.push(svg("text", { x: LEFT - 8, y: this.y(value) + 4, "text-anchor": "end" }, short(value, tiny)));
    for (const value of across) parts.push(svg("text", { x: this.x(value), y: HEIGHT - BOTTOM + 18, "text-anchor": "middle" }, short(value)));
    parts.push(svg("text", { x: (LEFT + width - RIGHT) / 2, y: HEIGHT - 4, "text-anchor": "middle" }, this.across));
    if (this.mark && this.mark.x >= first && this.mark.x <= last) {
      const at = this.x(this.mark.x);
      const right = at > width / 2;
      parts.push(svg("path", { class: "mark", d: `M${at} ${TOP}V${HEIGHT - BOTTOM}` }),
        svg("text", { x: at + (right ? -6 : 6), y: HEIGHT - BOTTOM - 6, "text-anchor": right ? "end" : "start" }, this.mark.text));
    }
    let colour = 0;
    for (const { points, faint } of this.series) {
      const name = `line-${(colour % COLOURS) + 1}`;
      const path = points.map(([x, y], i) => `${i ? "L" : "M"}${this.x(x).toFixed(1)} ${this.y(y).toFixed(1)}`).join("");
      parts.push(svg("path", { class: `${name}${faint ? " faint" : ""}`, d: path }));
      if (!faint && points.length <= 30) {
        for (const [x, y] of points) parts.push(svg("circle", { class: name, cx: this.x(x), cy: this.y(y), r: 3 }));
      }
      if (!faint) colour += 1;
    }
    this.cursor = svg("g", { class: "cursor" });
    this.svg.replaceChildren(...parts, this.cursor);
    this.#point();
  }

  // The values nearest to the pointer, by the points of the first bold line; null: it is elsewhere.
  #point(at = this.at) {
    const bold = this.series.filter(({ faint }) => !faint);
    this.at = at;
    if (at === null) this.cursor?.replaceChildren();
    if (at === null || !bold.length || !this.cursor) return;
    const nearest = (points) => points.reduce((a, b) => (Math.abs(this.x(a[0]) - at) <= Math.abs(this.x(b[0]) - at) ? a : b));
    const [x] = nearest(bold[0].points);
    const said = bold.map(({ name, points }) => ({ name, y: nearest(points)[1] }));
    const text = said.map(({ name, y }) => (bold.length > 1 ? `${name} ${short(y)}` : short(y))).join(" · ");
    const right = this.x(x) > this.box.clientWidth / 2;
    const label = svg("text", { x: this.x(x) + (right ? -8 : 8), y: TOP + 12, "text-anchor": right ? "end" : "start" }, `${short(x)}: ${text}`);
    this.cursor.replaceChildren(
      svg("path", { d: `M${this.x(x)} ${TOP}V${HEIGHT - BOTTOM}` }),
      ...said.map(({ y }, i) => svg("circle", { class: `line-${(i % COLOURS) + 1}`, cx: this.x(x), cy: this.y(y), r: 4 })), label);
  }
}
