// What is drawn over the points of a surface: the lasso, and arrows between one picture and others.

import { el } from "../parts/dom.js";

export class Lines {
  constructor(surface) {
    this.surface = surface;
    this.canvas = el("canvas", { class: "lines" });
  }

  draw() {
    const ratio = devicePixelRatio || 1;
    const { canvas } = this;
    const { width, height, links } = this.surface;
    if (canvas.width !== width * ratio || canvas.height !== height * ratio) Object.assign(canvas, { width: width * ratio, height: height * ratio });
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    const style = getComputedStyle(this.surface.root);
    this.#drawOutline(pen, style);
    if (links) this.#drawLinks(pen, style, links);
  }

  #drawOutline(pen, style) {
    const { drawn, outline } = this.surface;
    const path = drawn ?? outline;
    if (!path || path.length < 2) return;
    pen.beginPath();
    for (const [x, y] of path) pen.lineTo(...this.surface.pixels(x, y));
    if (!drawn) pen.closePath();
    pen.strokeStyle = style.getPropertyValue("--accent");
    pen.lineWidth = 2;
    pen.setLineDash(drawn ? [] : [6, 4]);
    pen.stroke();
    pen.setLineDash([]);
    pen.globalAlpha = 0.08;
    pen.fillStyle = pen.strokeStyle;
    pen.fill();
    pen.globalAlpha = 1;
  }

  // An arrow to the anchor is a pull, one away from it a push; as wide as it is strong.
  #drawLinks(pen, style, links) {
    const { surface } = this;
    const at = (i) => surface.pixels(surface.space.x(i), surface.space.y(i));
    const from = at(links.from);
    for (const { i, weight, kind } of links.to) {
      const to = at(i);
      const [dx, dy] = [to[0] - from[0], to[1] - from[1]];
      const length = Math.hypot(dx, dy);
      pen.strokeStyle = pen.fillStyle = style.getPropertyValue(kind === "pull" ? "--pull" : "--push");
      pen.lineWidth = 1.25 + 5 * weight;
      pen.globalAlpha = 0.35 + 0.6 * weight;
      pen.setLineDash(kind === "push" ? [7, 5] : []);
      pen.beginPath();
      pen.moveTo(...from);
      pen.lineTo(...to);
      pen.stroke();
      pen.setLineDash([]);
      if (length > 24) {
        // pulled ones move to the anchor, pushed ones away from it: the head stands at the picture
        const [ux, uy] = kind === "pull" ? [-dx / length, -dy / length] : [dx / length, dy / length];
        const back = kind === "pull" ? Math.min(26, length / 3) : 0;
        const tip = [to[0] + ux * back + (kind === "pull" ? 0 : ux * 4), to[1] + uy * back + (kind === "pull" ? 0 : uy * 4)];
        const head = 7 + 5 * weight;
        pen.beginPath();
        pen.moveTo(...tip);
        pen.lineTo(tip[0] - ux * head - uy * head * 0.55, tip[1] - uy * head + ux * head * 0.55);
        pen.lineTo(tip[0] - ux * head + uy * head * 0.55, tip[1] - uy * head - ux * head * 0.55);
        pen.fill();
      }
    }
    pen.globalAlpha = 1;
    pen.beginPath();
    pen.arc(...from, 9, 0, 2 * Math.PI);
    pen.lineWidth = 3;
    pen.strokeStyle = style.getPropertyValue("--ink");
    pen.stroke();
  }
}
