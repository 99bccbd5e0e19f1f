// The figure of the labs: points on the unit circle or the unit sphere, with their forces as arrows. Points are dragged,
// or moved by the arrow keys; the sphere is turned by dragging beside them. It draws what it is given and asks nobody.

import { svg } from "../parts/dom.js";
import { arrow, degreesOf, onCircle, turned, turnedBack, unit } from "./points.js";

const RADIUS = 100;
const EDGE = 148; // half of what is seen
const TURN = 4; // degrees a key
const CENTRE = 0.08; // no point is dragged into the centre, from where it has no direction

// The heads of arrows, one for each kind of point, for each has a colour of its own.
export function tips(label) {
  const id = (kind) => `tip-${label.replace(/\W+/g, "-")}-${kind}`;
  const heads = ["anchor", "positive", "negative", "caption"].map((kind) =>
    svg("marker", { id: id(kind), class: kind, viewBox: "0 0 8 8", refX: 6, refY: 4, markerWidth: 5, markerHeight: 5, orient: "auto" },
      svg("path", { d: "M0 0.500L7.500 4L0 7.500z", class: "head" })));
  return { element: svg("defs", {}, ...heads), of: (kind) => `url(#${id(kind)})` };
}

const at = (value) => Math.round(value * RADIUS * 100) / 100;

// onMove(i, point, isDone): a person moves point i.
export class Figure {
  constructor({ label, onMove = null }) {
    this.onMove = onMove;
    this.camera = { yaw: 0.5, pitch: 0.35 };
    this.points = [];
    this.marks = [];
    this.ground = svg("g");
    this.lines = svg("g", { class: "lines" });
    this.arrows = svg("g", { class: "arrows" });
    this.dots = svg("g");
    this.tips = tips(label);
    this.element = svg("svg", { class: "figure", viewBox: `${-EDGE} ${-EDGE} ${2 * EDGE} ${2 * EDGE}`, role: "group", "aria-label": label },
      this.tips.element, this.ground, this.lines, this.arrows, this.dots);
    this.#turnable();
  }

  get dimensions() {
    return this.points[0]?.length ?? 2;
  }

  // points: of 2 or 3 numbers; marks: [{kind, text, name}] of each; gradients: of each, or null; lines: [[i, j]].
  draw({ points, marks, gradients = null, lines = [] }) {
    const flat = points.length && points[0].length === 2;
    const changed = this.points.length !== points.length || this.dimensions !== (points[0]?.length ?? 2)
      || marks.some((mark, i) => mark.text !== this.marks[i]?.text || mark.kind !== this.marks[i]?.kind);
    Object.assign(this, { points, marks, gradients, joined: lines });
    this.element.classList.toggle("sphere", !flat);
    if (changed) this.#dots();
    this.#place();
  }

  // Where a point is seen: x, y and how near, -1 to 1.
  seen(point) {
    if (point.length === 2) return [point[0], point[1], 1];
    return turned(point, this.camera);
  }

  #place() {
    const sphere = this.dimensions === 3;
    this.ground.replaceChildren(svg("circle", { r: RADIUS, class: "circle" }), ...(sphere ? this.#net() : []));
    this.lines.replaceChildren(...this.joined.map(([i, j]) => {
      const [[x, y], [u, v]] = [this.seen(unit(this.points[i])), this.seen(unit(this.points[j]))];
      return svg("line", { x1: at(x), y1: -at(y), x2: at(u), y2: -at(v) });
    }));
    this.arrows.replaceChildren(...this.points.flatMap((point, i) => {
      const drawn = this.gradients && arrow(point, this.gradients[i]);
      if (!drawn) return [];
      const [[x, y, near], [u, v]] = drawn.map((end) => this.seen(end));
      return [svg("line", { x1: at(x), y1: -at(y), x2: at(u), y2: -at(v), class: `${this.marks[i].kind}${near < 0 ? " behind" : ""}`, "marker-end": this.tips.of(this.marks[i].kind) })];
    }));
    this.points.forEach((point, i) => {
      const [x, y, near] = this.seen(point);
      const dot = this.dots.children[i];
      dot.setAttribute("transform", `translate(${at(x)} ${-at(y)})`);
      dot.classList.toggle("behind", near < 0);
      if (!this.onMove) return;
      const [first, second, third] = point;
      const where = sphere ? [first, second, third].map((value) => value.toFixed(2)).join(", ") : `${degreesOf(point)} degrees`;
      dot.setAttribute("aria-valuenow", sphere ? Math.round(100 * first) : degreesOf(point));
      dot.setAttribute("aria-valuetext", where);
    });
  }

  #net() {
    const ring = (of) => {
      const [near, far] = [[], []];
      let last = null;
      for (let degrees = 0; degrees <= 360; degrees += 6) {
        const [x, y, z] = turned(of(onCircle(degrees)), this.camera);
        const to = `${at(x)} ${-at(y)}`;
        (z >= 0 ? near : far).push(last === null ? `M${to}` : `M${last}L${to}`);
        last = to;
      }
      return [svg("path", { d: far.join(""), class: "net far" }), svg("path", { d: near.join(""), class: "net" })];
    };
    return [...ring(([a, b]) => [a, 0, b]), ...ring(([a, b]) => [a, b, 0]), ...ring(([a, b]) => [0, b, a])];
  }

  #dots() {
    const movable = Boolean(this.onMove);
    this.dots.replaceChildren(...this.marks.map(({ kind, text, name }, i) => {
      const size = text ? 11 : 5;
      const dot = svg("g", {
        class: `dot ${kind}${movable ? " movable" : ""}`, tabindex: movable ? 0 : null, role: movable ? "slider" : null, "aria-label": movable ? name : null,
        "aria-valuemin": movable ? (this.dimensions === 3 ? -100 : 0) : null, "aria-valuemax": movable ? (this.dimensions === 3 ? 100 : 360) : null,
      }, ...(movable ? [svg("circle", { r: 22, class: "hit" })] : []), svg("circle", { r: size }), ...(text ? [svg("text", { "aria-hidden": "true" }, text)] : []));
      if (movable) this.#movable(dot, i);
      return dot;
    }));
  }

  #pointer(event) {
    const box = this.element.getBoundingClientRect();
    const scale = (2 * EDGE) / (RADIUS * box.width);
    return [(event.clientX - box.left - box.width / 2) * scale, (box.top + box.height / 2 - event.clientY) * scale];
  }

  #movable(dot, i) {
    const move = (event, done) => {
      const [x, y] = this.#pointer(event);
      this.onMove(i, this.dimensions === 3 ? this.#onSphere(x, y, i) : this.#onPlane(x, y), done);
    };
    // what moves a point scrolls no page; browsers take no touch-action of a part of a drawing
    dot.addEventListener("touchstart", (event) => event.preventDefault(), { passive: false });
    dot.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      event.stopPropagation();
      dot.focus({ preventScroll: true });
      dot.setPointerCapture(event.pointerId);
      const drag = (moved) => move(moved, false);
      const end = (ended) => {
        dot.removeEventListener("pointermove", drag);
        if (ended.type === "pointerup") move(ended, true);
      };
      dot.addEventListener("pointermove", drag);
      dot.addEventListener("pointerup", end, { once: true });
      dot.addEventListener("pointercancel", end, { once: true });
    });
    dot.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: [TURN, 0], ArrowRight: [-TURN, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
      if (!by) return;
      event.preventDefault();
      this.onMove(i, this.#turnedBy(this.points[i], ...by), true);
    });
  }

  #onPlane(x, y) {
    const far = Math.hypot(x, y);
    if (far < CENTRE) return unit(this.points[0]).map((value) => value * CENTRE);
    const most = Math.min(far, 1.35);
    return [(x / far) * most, (y / far) * most];
  }

  #onSphere(x, y, i) {
    const far = Math.hypot(x, y);
    const [u, v] = far > 0.999 ? [x / far, y / far] : [x, y];
    const side = this.seen(this.points[i])[2] < 0 ? -1 : 1;
    return turnedBack([u, v, side * Math.sqrt(Math.max(0, 1 - u * u - v * v))], this.camera);
  }

  // Around the circle by degrees, or to and from its centre; on the sphere to the left and right, up and down.
  #turnedBy(point, degrees, up) {
    if (point.length === 2) {
      const far = Math.min(1.35, Math.max(0.2, Math.hypot(...point) + 0.05 * up));
      return onCircle(degreesOf(point) + degrees).map((value) => value * far);
    }
    const [x, y, z] = this.seen(point);
    const turn = (-degrees * Math.PI) / 180;
    return turnedBack(turned([x, y, z], { yaw: turn, pitch: (-up * TURN * Math.PI) / 180 }), this.camera);
  }

  #turnable() {
    this.element.addEventListener("pointerdown", (event) => {
      if (this.dimensions !== 3) return;
      this.element.setPointerCapture(event.pointerId);
      let [x, y] = [event.clientX, event.clientY];
      const drag = (moved) => {
        this.camera.yaw += (moved.clientX - x) / 120;
        this.camera.pitch = Math.max(-1.5, Math.min(1.5, this.camera.pitch + (moved.clientY - y) / 120));
        [x, y] = [moved.clientX, moved.clientY];
        this.#place();
      };
      this.element.addEventListener("pointermove", drag);
      const end = () => this.element.removeEventListener("pointermove", drag);
      this.element.addEventListener("pointerup", end, { once: true });
      this.element.addEventListener("pointercancel", end, { once: true });
    });
  }
}
