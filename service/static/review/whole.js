// What is done with a run as a whole: its labels as a table or as a label set, and its outputs brought in step.
//
// attempt(work): do it, and tell if it cannot be done.

import { count, el, icon, saveFile } from "../parts/dom.js";

const CHANGED = "changed_meanwhile"; // code of the service

export class Whole {
  constructor(app, { id, place, attempt, ended }) {
    Object.assign(this, { app, id, place, attempt });
    const acts = !app.info?.read_only;
    const download = el("button", { type: "button", class: "button", onclick: () => this.download() }, icon("download"), "Labels as CSV");
    this.write = el("button", { type: "button", class: "button", hidden: true, onclick: () => this.#apply() }, "Bring outputs in step");
    this.root = el("details", { class: "menu" }, el("summary", { class: "button" }, "More"),
      el("div", { class: "menu-box" }, download, acts && this.write, acts && this.#saving()));
    document.addEventListener("pointerdown", (event) => this.root.contains(event.target) || (this.root.open = false), { signal: ended });
    this.root.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      this.root.open = false;
      this.root.firstChild.focus();
    });
  }

  show({ outputs: { files = [], to = null, words = null, metadata = null } }) {
    this.write.hidden = !(files.length || to || words || metadata);
  }

  #saving() {
    const name = el("input", { class: "input", placeholder: "name", "aria-label": "Name of the label set", pattern: "[a-z0-9][a-z0-9._\\-]{0,63}", required: true, autocomplete: "off", title: "small letters, digits, . _ -" });
    const button = el("button", { type: "submit", class: "button" }, "Save as label set");
    let known = null; // the set that may be replaced, by its tag
    const offer = (set) => {
      known = set;
      button.textContent = set ? "Replace it" : "Save as label set";
    };
    name.addEventListener("input", () => offer(null));
    return el("form", { class: "save", onsubmit: (event) => {
      event.preventDefault();
      const wanted = name.value.trim();
      this.attempt(async () => {
        const headers = known ? known.tag && { "If-Match": known.tag } : { "If-None-Match": "*" };
        await this.app.api.post(`${this.place}/save-label-set`, { name: wanted }, { headers }).catch(async (error) => {
          const tag = error.status === 412 ? await this.#tag(wanted) : undefined;
          offer(tag === undefined ? null : { tag });
          if (error.code !== CHANGED) throw error;
          throw new Error(tag === undefined ? `The label set ${wanted} is gone meanwhile. Save it anew, or choose another name.`
            : `Somebody has changed the label set ${wanted} meanwhile. Replace it, or choose another name.`);
        });
        offer(null);
        this.app.say(`The labels, with what you said as examples, are kept as the label set ${wanted}.`);
      });
    } }, name, button);
  }

  // Of a label set as it is by now; null: it is damaged, undefined: it is gone.
  async #tag(name) {
    try {
      return (await this.app.api.raw(`v1/label-sets/${encodeURIComponent(name)}`, "blob")).headers.get("ETag");
    } catch (error) {
      if (error.passes) throw error; // it may be there
      return error.status === 404 ? undefined : null;
    }
  }

  download() {
    return this.attempt(async () => {
      const { body } = await this.app.api.raw(`${this.place}/table`, "blob");
      saveFile(URL.createObjectURL(body), `${this.id}.csv`);
    });
  }

  #apply() {
    return this.attempt(async () => {
      const { failed, outputs, written } = await this.app.api.post(`${this.place}/apply`);
      const done = outputs.reduce((sum, output) => sum + Object.values(output.done).reduce((a, b) => a + b, 0), 0) + Object.keys(written).length;
      if (failed.length) this.app.say(`${count(failed.length, "file")} could not be changed, the first is ${failed[0].path}: ${failed[0].reason}`, { kind: "bad" });
      else this.app.say(done ? "What the run writes is as its labels are now." : "Everything was in step already.");
    });
  }
}
