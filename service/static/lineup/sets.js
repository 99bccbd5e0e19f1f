// Label sets of the lineup: one is opened, with all that it learned, and what is asked is kept as one.
//
// asked(): what the address asks; onSaved(): what was answered before may be otherwise by now.

import { count, el } from "../parts/dom.js";
import { nameOfLabel } from "./asked.js";

const NAME = "[a-z0-9][a-z0-9._\\-]{0,63}";

const listed = (labels) => `${labels.slice(0, 5).join(", ")}${labels.length > 5 ? ` and ${labels.length - 5} more` : ""}`;

export class Sets {
  constructor(app, { asked, onSaved }) {
    Object.assign(this, { app, asked, onSaved });
    this.opened = null; // the one that is open, as the service tells it
    this.choice = el("select", { class: "input", "aria-label": "Open a label set" });
    this.choice.addEventListener("change", () => app.navigate({ set: this.choice.value, l: null, tpl: null, mode: null, right: null }));
    this.save = el("button", { type: "button", class: "button", hidden: Boolean(app.info?.read_only), onclick: () => this.#ask() }, "Save as a set");
    this.learned = el("p", { class: "hint", hidden: true });
    this.list().catch(() => (this.choice.hidden = true)); // without it one can still type
  }

  async list() {
    const { label_sets: names } = await this.app.api.get("v1/label-sets");
    this.choice.replaceChildren(new Option("Open a label set…", ""), ...names.map((name) => new Option(name, name)));
    this.choice.hidden = !names.length;
    this.press();
  }

  press() {
    const { set, labels } = this.asked();
    this.choice.value = set ?? "";
    this.save.disabled = !labels.length && !set;
  }

  #place(name) {
    return `v1/label-sets/${encodeURIComponent(name)}`;
  }

  // Have the one of the address open; gives its labels in words, null where the address has none. `anew`: somebody has
  // changed it.
  async open(signal, { anew = false } = {}) {
    const { set } = this.asked();
    if (!set) {
      this.learned.hidden = true;
      this.opened = null;
      return null;
    }
    if (anew || this.opened?.name !== set) this.opened = await this.#read(set, { signal });
    const { labels, learned: by, name } = this.opened;
    const examples = Object.values(by?.examples ?? {}).reduce((sum, n) => sum + n, 0);
    const parts = [
      examples && `learned from ${count(examples, "example")}`,
      by?.calibrated && "calibrated",
      labels.some((label) => label.prompts?.length) && "some labels have sentences of their own, which are lost when you edit",
    ].filter(Boolean);
    this.learned.hidden = !parts.length;
    this.learned.textContent = parts.length ? `${name}: ${parts.join(", ")}.` : "";
    return labels.map(nameOfLabel);
  }

  // Whether an answer is of the labels that are shown; somebody may have changed the set meanwhile.
  isOf({ results: [{ scores }] }) {
    if (!this.opened) return true;
    const shown = new Set(this.opened.labels.map((label) => label.name ?? label));
    return scores.length === shown.size && scores.every(({ label }) => shown.has(label));
  }

  #ask() {
    const name = el("input", { class: "input", id: "lineup-name", required: true, pattern: NAME, maxlength: 64, autocomplete: "off", value: this.asked().set ?? this.opened?.name ?? "" });
    const said = el("p", { class: "hint", role: "alert" });
    const button = el("button", { class: "button main" }, "Save");
    const dialog = el("dialog", { class: "sheet save", "aria-label": "Save a label set" });
    let known = null; // the set that may be replaced: one of which was told what it has; its tag is null if it is gone
    const form = el("form", {}, el("h2", {}, "Save a label set"),
      el("label", { for: "lineup-name" }, "Name"), name,
      el("p", { class: "hint" }, "Small letters, digits, dots, dashes. Classifying and labelling name it from then on."),
      said,
      el("div", { class: "acts" }, button,
        el("button", { type: "button", class: "button plain", onclick: () => dialog.close() }, "Cancel")));
    name.addEventListener("input", () => {
      button.textContent = "Save";
      said.textContent = "";
      known = null;
    });
    const tell = async (isOther) => {
      known = await this.#read(name.value).catch((error) => {
        if (error.passes) throw error; // it may be there
        return { name: name.value, labels: [], tag: null, isGone: error.status === 404 }; // else damaged
      });
      const { labels, learned } = known;
      const of = labels.length ? `, of ${listed(labels.map(nameOfLabel))}` : "";
      button.textContent = isOther || known.tag ? "Replace it" : "Save it anew";
      said.textContent = [
        isOther ? `There is a set ${known.name} already${of}.`
          : known.tag ? `Somebody has changed the set ${known.name} meanwhile${of.replace(",", ": it is")} now.`
            : `The set ${known.name} is gone meanwhile, or cannot be read.`,
        learned && "What it has learned goes with other labels.", `${button.textContent}, or choose another name.`].filter(Boolean).join(" ");
    };
    const refused = (error) => (said.textContent = error.message);
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const isOther = name.value !== this.asked().set;
      try {
        const made = await this.#put(name.value, known);
        dialog.close();
        this.app.say([`Label set ${made.name} is saved.`, ...made.warnings].join(" "));
        await this.list().catch(() => {}); // it is saved all the same
        this.app.navigate({ set: made.name, l: null, tpl: null, mode: null });
      } catch (error) {
        if (error.status === 412) await tell(isOther).catch(refused);
        else refused(error);
      }
    });
    dialog.append(form);
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
  }

  // As the service answers, with the tag that it has as long as it is that.
  async #read(name, options) {
    const { body, headers } = await this.app.api.raw(this.#place(name), "json", options);
    return { ...body, tag: headers.get("ETag") };
  }

  // In place of `known` and no other; null: of the one that is open, or else of none.
  async #put(name, known) {
    await this.open(); // which nobody has yet where there is no picture to ask about
    const { set, labels, templates, mode, none } = this.asked();
    const { opened } = this;
    const seen = known ?? (name === set ? opened : null);
    const body = { labels: set ? opened.labels : labels, templates, mode: mode ?? opened?.mode ?? "single", abstains: none };
    if (set && !templates.length) body.templates = opened.templates;
    const condition = seen && !seen.isGone ? seen.tag && { "If-Match": seen.tag } : { "If-None-Match": "*" };
    const headers = { "Content-Type": "application/json", ...condition };
    this.opened = await this.#read(name, { method: "PUT", body: JSON.stringify(body), headers });
    const made = this.opened;
    this.onSaved();
    return made;
  }
}
