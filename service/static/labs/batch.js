// The third lab: what a batch of n can prove at most. Pairs of points in sixteen dimensions, InfoNCE on the first n of
// them, and the bound beside log n.

import { el, svg } from "../parts/dom.js";
import { latest } from "../parts/latest.js";
import { slider } from "../parts/slider.js";
import { forces, section } from "./lab.js";
import { BATCH } from "./lessons.js";
import { partners, scattered } from "./points.js";

const DIMENSIONS = 16;
const SIZES = [2, 4, 8, 16, 32, 64, 128];
const [WIDE, HIGH, LEFT, FOOT] = [340, 240, 34, 30];
const TOP = 5.2; // nats
const POINTS = scattered(SIZES.at(-1), DIMENSIONS, 1);

const across = (i) => LEFT + 8 + (i * (WIDE - LEFT - 24)) / (SIZES.length - 1);
const up = (nats) => HIGH - FOOT - (nats / TOP) * (HIGH - FOOT - 10);
const curve = (values) => values.map((value, i) => `${i ? "L" : "M"}${across(i).toFixed(1)} ${up(value).toFixed(1)}`).join("");
const nearest = (n) => SIZES.reduce((best, size) => (Math.abs(Math.log(size / n)) < Math.abs(Math.log(best / n)) ? size : best));

export function batchLab(app) {
  let found = [];
  let begun = false;
  const size = slider({ label: "Batch size n", low: 2, high: 128, value: 16, log: true, format: (n) => String(nearest(n)), oninput: () => draw() });
  const heat = slider({ label: "Temperature τ", low: 0.02, high: 2, value: 0.1, log: true, format: (t) => t.toPrecision(2), oninput: () => look() });
  const alike = slider({ label: "How alike pairs are", low: 0, high: 1, value: 0.5, format: (share) => share.toFixed(2), oninput: () => look() });
  const limit = svg("path", { class: "limit" });
  const proved = svg("path", { class: "proved" });
  const spots = svg("g");
  const chart = svg("svg", { class: "figure chart", viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": "What InfoNCE proves, by the batch size, beside log n" },
    ...[0, 1, 2, 3, 4, 5].flatMap((nats) => [
      svg("line", { x1: LEFT, x2: WIDE - 8, y1: up(nats), y2: up(nats), class: "grid" }),
      svg("text", { x: LEFT - 6, y: up(nats) + 4, "text-anchor": "end" }, String(nats))]),
    ...SIZES.map((n, i) => svg("text", { x: across(i), y: HIGH - FOOT + 18, "text-anchor": "middle" }, String(n))),
    limit, proved, spots);
  const told = el("p", { class: "value" });
  const element = section({
    id: "labs-batch", heading: "Batch size and log n", says: BATCH.says, formula: BATCH.formula(), sources: [BATCH.source],
    figure: el("div", { class: "stage" }, chart, el("p", { class: "hint legend" }, el("span", {}, el("i", { class: "line limit" }), "log n, the most"), el("span", {}, el("i", { class: "line proved" }), "what is proved, in nats"))),
    controls: el("div", { class: "sliders" }, size.element, heat.element, alike.element),
    told,
  });
  const look = latest(async () => {
    const others = partners(POINTS, alike.value, 2);
    try {
      found = await Promise.all(SIZES.map((n) => forces(app, { loss: "info-nce", temperature: heat.value, anchors: POINTS.slice(0, n), others: others.slice(0, n) })));
      draw();
    } catch (error) {
      if (error.final) told.textContent = error.message;
      else app.failed(error, look);
    }
  });

  function draw() {
    if (!found.length) return;
    const n = nearest(size.value);
    const at = SIZES.indexOf(n);
    const { loss, guess, bound } = found[at];
    limit.setAttribute("d", curve(found.map((each) => each.guess)));
    proved.setAttribute("d", curve(found.map((each) => each.bound)));
    spots.replaceChildren(...found.map((each, i) => svg("circle", { cx: across(i), cy: up(each.bound), r: i === at ? 6 : 3.5, class: i === at ? "spot here" : "spot" })));
    told.replaceChildren(`With ${n} in a batch guessing costs log ${n} = ${guess.toFixed(2)}, and the loss is ${loss.toFixed(2)}. So picture and caption are proved to share `,
      el("strong", {}, bound.toFixed(2)), " nats; more than ", el("strong", {}, guess.toFixed(2)), " no loss could prove here.",
      loss > guess ? " A loss above guessing proves nothing: the vectors are surer than they are right." : "");
  }

  return {
    element,
    show() {
      if (!begun) look();
      begun = true;
    },
    hide() {},
  };
}
