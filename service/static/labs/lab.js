// What the labs have in common: a heading, a figure, controls, sentences with their source; asking for forces; and the
// clock that lets points go where the forces lead.

import { el, pause } from "../parts/dom.js";
import { source } from "./lessons.js";

const BEAT = 45; // ms a step

export function section({ id, heading, says, formula, sources, figure, controls, told }) {
  return el("section", { class: "lab", id, "aria-labelledby": `${id}-title` },
    el("div", { class: "words" }, el("h2", { id: `${id}-title` }, heading), formula, el("div", { class: "says" }, says.map((text) => el("p", {}, text))),
      el("div", { class: "sources" }, sources.map(([text, href]) => source(text, href)))),
    el("div", { class: "bench" }, figure, el("div", { class: "desk" }, controls, told)));
}

// A choice of a few, as radio buttons that look like one control.
export function choice(name, legend, options, onchange) {
  const inputs = options.map(([value]) => el("input", { type: "radio", name, value, onchange: () => onchange(value) }));
  const element = el("fieldset", { class: "choice" }, el("legend", { class: "unseen" }, legend),
    options.map(([, text], i) => el("label", {}, inputs[i], text)));
  return {
    element,
    set value(chosen) { for (const input of inputs) input.checked = input.value === chosen; },
    get value() { return inputs.find((input) => input.checked)?.value; },
  };
}

export async function forces(app, body) {
  return app.api.post("v1/labs/forces", body);
}

// Calls `step` again and again until it says that all is done, `stop` is called, or what it does goes wrong.
export class Clock {
  constructor({ step, onChange, onError }) {
    Object.assign(this, { step, onChange, onError, running: null });
  }

  toggle() {
    if (this.running) this.stop();
    else this.start();
  }

  stop() {
    this.running = null;
    this.onChange(false);
  }

  async start() {
    if (this.running) return;
    const run = (this.running = Symbol("run")); // one that was stopped does not go on with the next
    this.onChange(true);
    try {
      while (this.running === run) {
        const next = pause(BEAT);
        if (!(await this.step())) break;
        await next;
      }
    } catch (error) {
      if (this.running === run) this.onError(error);
    }
    if (this.running === run) this.stop();
  }
}
