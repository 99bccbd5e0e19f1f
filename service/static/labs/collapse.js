// The second lab: what becomes of a space without negatives. Pictures and captions follow the forces of the pairwise
// loss; with the margin at nothing there are only pulls, and the warning is that of a training.

import { el } from "../parts/dom.js";
import { order } from "../parts/latest.js";
import { Figure } from "./figure.js";
import { Clock, forces, section } from "./lab.js";
import { COLLAPSE } from "./lessons.js";
import { descend, scattered } from "./points.js";

const PAIRS = 12;
const RIGHT = Array.from({ length: PAIRS }, (_, i) => [i, (i + 1) % PAIRS, (i + 5) % PAIRS]);
const MARGIN = 1.4; // that of `glimpse train --loss contrastive`
const STEPS = 120;
const RATE = 0.1 * PAIRS; // the loss is a mean over pictures
const SHOWN = 4; // times as strong arrows are drawn
const MARKS = [...Array(2 * PAIRS)].map((_, i) => ({ kind: i < PAIRS ? "anchor" : "caption", text: "", name: "" }));
const LINES = RIGHT.flatMap((own, i) => own.map((j) => [i, PAIRS + j]));

export function collapseLab(app) {
  let pictures;
  let captions;
  let start; // records, as a training keeps them of its epochs
  let previous;
  let epoch;
  let felt; // of the points as they lie now
  let beginning; // promise of what is felt where they lie first
  const figure = new Figure({ label: "Pictures and captions on the circle" });
  const negatives = el("input", { type: "checkbox", checked: true, role: "switch", onchange: () => app.navigate({ negatives: negatives.checked ? null : "off" }, { replace: true }) });
  const go = el("button", { type: "button", class: "button main", onclick: () => (epoch >= STEPS ? restart().then(() => here && clock.start()) : clock.toggle()) }, "Train");
  const again = el("button", { type: "button", class: "button", onclick: () => restart() }, "Start again");
  const facts = el("dl", { class: "facts" });
  const warning = el("div", { class: "warning", role: "status" });
  const element = section({
    id: "labs-collapse", heading: "Without negatives", says: COLLAPSE.says, sources: [COLLAPSE.source],
    figure: el("div", { class: "stage" }, figure.element, el("p", { class: "hint legend" }, el("span", {}, el("i", { class: "dot anchor" }), "pictures"), el("span", {}, el("i", { class: "dot caption" }), "captions"), el("span", {}, "a line joins what belongs together"))),
    controls: el("div", { class: "acts" }, el("label", { class: "switch" }, negatives, "Negatives"), go, again),
    told: el("div", { class: "told" }, facts, warning),
  });

  const asking = order();

  // Whether what was felt is of the points as they lie now.
  async function look() {
    const isNews = asking();
    const of = pictures;
    const now = await forces(app, {
      loss: "contrastive", margin: negatives.checked ? MARGIN : 0, anchors: pictures, others: captions, right: RIGHT, epoch,
      earlier: [start, previous].filter(Boolean),
    });
    if (!isNews() || of !== pictures) return false;
    felt = now;
    draw();
    return true;
  }

  function draw() {
    const gradients = [...felt.gradients.anchors, ...felt.gradients.others].map((slopes) => slopes.map((slope) => slope * SHOWN));
    figure.draw({ points: [...pictures, ...captions], marks: MARKS, gradients, lines: LINES });
    const { health } = felt.record;
    const number = (value) => value.toFixed(2).replace("-", "−");
    const each = [["Step", epoch], ["Loss", felt.loss.toFixed(3)], ["Cosine of what belongs together", number(health.positive_similarity)],
      ["Cosine of what does not", number(health.negative_similarity)], ["Spread of the pictures", number(-health.uniformity_images)]];
    facts.replaceChildren(...each.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, String(value)))));
    warning.hidden = !felt.warnings.length;
    warning.replaceChildren(...(felt.warnings.length ? [el("p", {}, "A training would say now:"), ...felt.warnings.map((text) => el("p", {}, text))] : []));
  }

  function restart() {
    clock.stop();
    return (beginning = begin());
  }

  async function begin() {
    [pictures, captions, start, previous, epoch] = [scattered(PAIRS, 2, 3), scattered(PAIRS, 2, 8), null, null, 0];
    try {
      if (await look()) start = felt.record;
    } catch (error) {
      shown = null;
      app.failed(error, restart);
    }
  }

  async function step() {
    await beginning; // what a training warns of is told by it
    if (!start) return false;
    if (epoch) previous = felt.record;
    pictures = descend(pictures, felt.gradients.anchors, RATE);
    captions = descend(captions, felt.gradients.others, RATE);
    epoch += 1;
    return (await look()) && epoch < STEPS;
  }

  const clock = new Clock({
    step,
    onChange: (runs) => (go.textContent = runs ? "Hold" : "Train"),
    onError: (error) => app.say(error.message, { kind: "bad" }),
  });

  let shown = null;
  let here = false; // whether the labs are shown
  return {
    element,
    show(address) {
      here = true;
      const on = address.get("negatives") !== "off";
      if (shown === on) return;
      shown = on;
      negatives.checked = on;
      restart();
    },
    hide: () => {
      here = false;
      clock.stop();
    },
  };
}
