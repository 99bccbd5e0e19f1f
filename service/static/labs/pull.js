// The first lab: an anchor, its positive and its negatives, to be dragged; a loss, and the force on each. The points are
// made up, on a circle or a sphere, or they are pictures of the collection with their own vectors.

import { softmax } from "../parts/chances.js";
import { el, icon } from "../parts/dom.js";
import { latest, order } from "../parts/latest.js";
import { slider } from "../parts/slider.js";
import { Figure } from "./figure.js";
import { choice, Clock, forces, section } from "./lab.js";
import { formula, LOSSES, source } from "./lessons.js";
import { OwnPictures } from "./own.js";
import { degreesOf, descend, onCircle, unit } from "./points.js";

const START = [90, 42, 118, 205, 318]; // degrees: the anchor, its positive, negatives
const ON_SPHERE = [[0.2, 0.6, 0.77], [0.85, 0.3, 0.43], [-0.35, 0.75, 0.56], [-0.6, -0.5, 0.62], [0.4, -0.8, 0.45]].map(unit);
const NEGATIVES = 8;
const RATE = 0.1;
const STILL = 0.0005; // what moves less has come to rest
const DEFAULTS = { temperature: 0.2, margin: { triplet: 0.4, contrastive: 1 }, bias: -2 };

const marksOf = (points) => points.map((_, i) =>
  i === 0 ? { kind: "anchor", text: "a", name: "The anchor" }
    : i === 1 ? { kind: "positive", text: "+", name: "The positive" }
      : { kind: "negative", text: "−", name: `Negative ${i - 1}` });

export function pullLab(app) {
  let loss = "info-nce";
  let space = "circle";
  let circle = START.map(onCircle);
  let sphere = ON_SPHERE;
  let angles = START.join(",");
  let written = null; // timer of the address
  let here = false; // whether the labs are shown
  let felt = null;
  let running = null; // AbortController of the pictures that are looked up
  const asking = order();

  const points = () => (space === "sphere" ? sphere : circle);
  const put = (next) => {
    if (space === "sphere") sphere = next;
    else circle = next;
  };

  // --- what is asked ---

  const settings = () => ({
    loss,
    temperature: heat.value,
    margin: margin.value,
    bias: bias.value,
    mining: mining.value,
  });

  const ask = () => forces(app, { ...settings(), anchors: points().slice(0, 1), others: points().slice(1) });

  const look = latest(async () => {
    const isNews = asking();
    let now = null;
    let trouble = "";
    try {
      now = space === "pictures" ? await own.look(settings()) : await ask();
    } catch (error) {
      if (error.final) trouble = error.message;
      else app.failed(error, look);
    }
    if (!isNews()) return; // a step has been felt meanwhile
    felt = now;
    status.textContent = trouble;
    if (!now) clock.stop();
    draw();
  });

  // --- controls ---

  const change = (changes) => app.navigate(changes, { replace: true });
  const soon = (changes) => {
    clearTimeout(written);
    written = setTimeout(() => change(changes), 300);
  };
  const losses = choice("labs-loss", "Loss", Object.entries(LOSSES).map(([value, { short, name }]) => [value, short ?? name]), (value) =>
    app.navigate({ loss: value === "info-nce" ? null : value, m: null, mining: null }));
  const spaces = choice("labs-space", "Points", [["circle", "Circle"], ["sphere", "Sphere"], ["pictures", "My pictures"]], (value) =>
    app.navigate({ space: value === "circle" ? null : value }));
  const heat = slider({ label: "Temperature τ", low: 0.01, high: 2, value: DEFAULTS.temperature, log: true, format: (t) => t.toPrecision(2),
    oninput: (t) => { look(); soon({ t: t.toPrecision(3) }); } });
  const margin = slider({ label: "Margin m", low: 0, high: 2, value: 1, format: (m) => m.toFixed(2), oninput: (m) => { look(); soon({ m: m.toFixed(2) }); } });
  const bias = slider({ label: "Bias b", low: -10, high: 10, value: DEFAULTS.bias, format: (b) => b.toFixed(1).replace("-", "−"), oninput: (b) => { look(); soon({ b: b.toFixed(1) }); } });
  const mining = choice("labs-mining", "Mining", [["semi-hard", "Semi-hard"], ["batch-hard", "Batch-hard"]], (value) => app.navigate({ mining: value === "semi-hard" ? null : value }));

  const go = el("button", { type: "button", class: "button main", onclick: () => clock.toggle() }, "Let go");
  const once = el("button", { type: "button", class: "button", onclick: () => step().catch((error) => app.say(error.message, { kind: "bad" })) }, "One step");
  const again = el("button", { type: "button", class: "button", onclick: () => { clock.stop(); put(space === "sphere" ? ON_SPHERE : START.map(onCircle)); keep(); look(); } }, "Start again");
  const more = el("button", { type: "button", class: "button icon", "aria-label": "One more negative", title: "One more negative", onclick: () => add(1) }, icon("plus"));
  const fewer = el("button", { type: "button", class: "button icon", "aria-label": "One negative less", title: "One negative less", onclick: () => add(-1) }, icon("minus"));
  const moves = el("div", { class: "acts" }, go, once, again, el("span", { class: "several" }, fewer, more, "negatives"));
  const status = el("p", { class: "bad", role: "status" });

  function add(by) {
    clock.stop();
    const now = points();
    if (by > 0 && now.length < NEGATIVES + 2) put([...now, space === "sphere" ? unit([Math.sin(now.length * 2), -0.4, Math.cos(now.length * 3)]) : onCircle(now.length * 67)]);
    if (by < 0 && now.length > 3) put(now.slice(0, -1));
    keep();
    look();
  }

  // The circle's points are in the address, so that a link shows the same figure.
  function keep() {
    if (space !== "circle" || !here) return;
    angles = circle.map(degreesOf).join(",");
    change({ x: angles === START.join(",") ? null : angles });
  }

  // --- moving ---

  const figure = new Figure({ label: "Anchor, positive and negatives", onMove: (i, point, done) => {
    clock.stop();
    put(points().map((each, j) => (j === i ? point : each)));
    draw();
    look();
    if (done) keep();
  } });

  async function step() {
    const before = points();
    if (!felt?.gradients) felt = await ask();
    const moved = descend(before, [...felt.gradients.anchors, ...felt.gradients.others], RATE);
    put(moved);
    const isNews = asking();
    const now = await ask();
    if (isNews()) felt = now;
    if (points() !== moved) return false; // others moved them meanwhile
    draw();
    return moved.some((point, i) => Math.hypot(...point.map((value, j) => value - before[i][j])) > STILL);
  }

  const clock = new Clock({
    step,
    onChange: (runs) => {
      go.textContent = runs ? "Hold" : "Let go";
      if (!runs) keep();
    },
    onError: (error) => (status.textContent = error.message),
  });

  const own = new OwnPictures(app, { onChange: () => look() });

  // --- what is told ---

  const value = el("p", { class: "value" });
  const rows = el("tbody", {});
  const head = el("tr", {});
  const table = el("table", { class: "pulls" }, el("thead", {}, head), rows);

  function draw() {
    if (space === "pictures") own.draw(felt);
    else {
      const now = points();
      const fit = felt?.gradients && felt.gradients.others.length === now.length - 1 && felt.gradients.anchors[0].length === now[0].length;
      figure.draw({ points: now, marks: marksOf(now), gradients: fit ? [...felt.gradients.anchors, ...felt.gradients.others] : null });
    }
    if (!felt) {
      value.textContent = "";
      rows.replaceChildren();
      return;
    }
    value.replaceChildren("Loss ", el("strong", {}, felt.loss.toFixed(3)), felt.guess === null ? "" : ` nats; guessing costs log ${felt.cosines.length} = ${felt.guess.toFixed(2)}`);
    const shares = loss === "info-nce" ? softmax(felt.cosines.map((cosine) => cosine / heat.value)) : null;
    const most = Math.max(...felt.pulls.map(Math.abs), 1e-9);
    head.replaceChildren(...["", "cosine", shares && "chance", "pushed · pulled"].filter((text) => text !== null).map((text) => el("th", { scope: "col" }, text)));
    rows.replaceChildren(...felt.cosines.map((cosine, i) => {
      const pull = felt.pulls[i];
      const bar = el("i", { class: pull < 0 ? "push" : "pull" });
      bar.style.width = `${(50 * Math.abs(pull)) / most}%`;
      return el("tr", {}, el("th", { scope: "row" }, i ? `Negative ${i}` : "Positive"), el("td", {}, cosine.toFixed(3).replace("-", "−")),
        shares && el("td", {}, shares[i].toFixed(3)),
        el("td", { class: "force" }, el("span", { class: "unseen" }, Math.abs(pull) < 1e-6 ? "no force" : `${pull < 0 ? "pushed" : "pulled"} ${Math.abs(pull).toFixed(3)}`), bar));
    }));
  }

  const lesson = el("div", { class: "words" });
  const howto = el("p", { class: "hint" });
  const stage = el("div", { class: "stage" }, figure.element, own.element, howto);
  const element = el("section", { class: "lab", id: "labs-pull", "aria-labelledby": "labs-pull-title" },
    lesson,
    el("div", { class: "bench" }, stage,
      el("div", { class: "desk" }, losses.element, spaces.element, own.choosing, heat.element, margin.element, mining.element, bias.element, moves, status, value, table)));

  function teach() {
    const { formula: write, says, sources, name } = LOSSES[loss];
    if (lesson.dataset.loss === loss) return;
    lesson.dataset.loss = loss;
    lesson.replaceChildren(el("h2", { id: "labs-pull-title" }, "Pull and push"), el("h3", {}, name), write(), el("div", { class: "says" }, says.map((text) => el("p", {}, text))),
      el("div", { class: "sources" }, sources.map(([text, href]) => source(text, href))));
  }

  return {
    element,
    show(address) {
      here = true;
      const number = (key, low, high, otherwise) => {
        const given = Number(address.get(key));
        return address.get(key) !== null && given >= low && given <= high ? given : otherwise;
      };
      loss = Object.hasOwn(LOSSES, address.get("loss")) ? address.get("loss") : "info-nce";
      space = ["sphere", "pictures"].includes(address.get("space")) && (address.get("space") !== "pictures" || app.collection()) ? address.get("space") : "circle";
      const wanted = (address.get("x") ?? START.join(",")).split(",").map(Number);
      if (address.get("x") !== angles && wanted.every(Number.isFinite) && wanted.length >= 3 && wanted.length <= NEGATIVES + 2 && wanted.join(",") !== angles) {
        circle = wanted.map(onCircle);
        angles = wanted.join(",");
      }
      teach();
      losses.value = loss;
      spaces.value = space;
      heat.value = number("t", 0.01, 2, space === "pictures" ? own.learned ?? DEFAULTS.temperature : DEFAULTS.temperature);
      margin.value = number("m", 0, 2, DEFAULTS.margin[loss] ?? 1);
      bias.value = number("b", -10, 10, DEFAULTS.bias);
      mining.value = address.get("mining") === "batch-hard" ? "batch-hard" : "semi-hard";
      heat.element.hidden = !["info-nce", "siglip"].includes(loss);
      margin.element.hidden = !["triplet", "contrastive"].includes(loss);
      mining.element.hidden = loss !== "triplet";
      bias.element.hidden = loss !== "siglip";
      const pictures = space === "pictures";
      figure.element.toggleAttribute("hidden", pictures);
      own.element.toggleAttribute("hidden", !pictures);
      own.choosing.hidden = !pictures;
      moves.hidden = pictures;
      if (pictures) clock.stop();
      howto.textContent = pictures
        ? "The distance from the middle is the angle between the two pictures' own vectors, and an arrow is the force along it. Where around the middle a picture lies means nothing."
        : space === "sphere"
          ? "Drag a point, or turn the sphere by dragging beside it. Arrow keys move the point that is chosen."
          : "Drag a point, or move it by the arrow keys. Off the circle only its direction counts, and the farther out it is the less a step turns it.";
      spaces.element.querySelector("[value=pictures]").disabled = !app.collection();
      running?.abort();
      running = new AbortController();
      const { signal } = running;
      own.show(address, signal).then((learned) => {
        heat.mark(pictures && learned ? [{ at: learned, text: `learned ${learned.toPrecision(2)}` }] : []);
        if (pictures && address.get("t") === null && learned) heat.value = learned;
        look();
      }, (error) => signal.aborted || (status.textContent = error.message));
    },
    hide: () => {
      here = false;
      clock.stop();
      running?.abort();
      own.letGo();
      clearTimeout(written); // where the points are is no matter of another view's address
    },
  };
}
