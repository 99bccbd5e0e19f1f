// What can be done with the pictures that are selected: tags, labels, a list of them, a search by them, deleting.

import { count, el, icon, saveFile } from "../dom.js";
import { calledOf, isUpload, nameOf, tagsOf } from "../picture/entry.js";
import { giving, tagField, takingAway } from "../tags.js";
import { changeAll, labelAll, notDone } from "./changing.js";
import { recordsOf } from "./sources.js";
import { TagsOfSeveral } from "./tags.js";

const AT_ONCE = 4; // requests under way
const NAMED = 3; // of those that could not be deleted
const REFUSED = new Set([401, 403]); // whatever picture it is
const FORMULA = /^[=+\-@\t\r]/; // a spreadsheet takes what begins so for a formula
const LABEL = /^([^:]*[^:\s])\s*:\s*(\S.*)$/; // a key and a value of it
const COLUMNS = ["id", "external_id", "path", "name", "taken", "tags"];

// What one would select instead of each: of a search what fits, or all that it has shown so far.
function wholeOf(source) {
  const n = source?.fitting || (source?.count ?? 0);
  const many = n.toLocaleString("en");
  return { n, text: source?.fitting ? `all ${many} that fit` : source?.ended ? `all ${many}` : `the first ${many}` };
}

export class Selection {
  // onClear(); onAll(ids): they are to be selected; onLike(ids); onLearnt(records, collection): they are so by now;
  // onDeleted(ids)
  constructor(root, { app, onClear, onAll, onLike, onLearnt, onDeleted }) {
    Object.assign(this, { app, onLearnt, onDeleted });
    this.ids = [];
    this.text = el("strong", { role: "status" });
    this.all = el("button", { type: "button", class: "link", onclick: () => {
      const byKeys = this.all.matches(":focus-visible"); // it goes
      onAll(Array.from({ length: wholeOf(this.source).n }, (_, i) => this.source.id(i)));
      if (byKeys) this.root.querySelector("form:not([hidden]) input, .button:not([hidden])").focus();
    } });
    this.tagging = tagField(app, "Add a tag to the selected pictures", (tag) => this.#change(giving(tag), takingAway(tag)));
    this.labelling = this.#labelling();
    this.tags = new TagsOfSeveral(app, (tag) => this.#change(takingAway(tag), giving(tag)));
    this.delete = el("button", { type: "button", class: "button plain bad", onclick: () => this.#delete(), onblur: () => this.#ask(false) }, icon("trash"), el("span", {}, "Delete"));
    this.like = el("button", { type: "button", class: "button plain", onclick: () => onLike(this.ids) }, icon("search"), el("span", {}, "More like these"));
    this.root = el("div", { class: "selection", role: "toolbar", "aria-label": "Selected pictures", hidden: true },
      this.tags.root, this.text, this.all, this.tagging, this.labelling,
      this.tags.button, this.like,
      el("button", { type: "button", class: "button plain", onclick: () => this.#export() }, icon("download"), el("span", {}, "Save list")),
      this.delete,
      el("button", { type: "button", class: "button icon plain", "aria-label": "Clear the selection", onclick: onClear }, icon("close")));
    root.append(this.root);
    new ResizeObserver(() => { // messages are told above it
      const tall = Math.max(...Array.from(document.querySelectorAll(".selection"), (each) => each.offsetHeight)); // of any view
      document.documentElement.style.setProperty("--beneath", `${tall && tall + 8}px`);
    }).observe(this.root);
  }

  show(ids, source) {
    this.ids = [...ids];
    this.source = source;
    this.root.hidden = !this.ids.length;
    this.text.textContent = `${this.ids.length.toLocaleString("en")} selected`;
    const { n, text } = wholeOf(source);
    this.all.hidden = this.ids.length >= n;
    this.all.textContent = text;
    this.all.setAttribute("aria-label", `Select ${text}`);
    this.like.hidden = this.ids.length > 16;
    const changeable = !this.app.info?.read_only;
    this.tagging.hidden = this.labelling.hidden = this.tags.button.hidden = !changeable;
    this.tags.show(this.ids);
    // what is known to be no upload of this page's users cannot be deleted here
    const known = this.ids.map((id) => source?.record(id)).filter(Boolean);
    this.delete.hidden = !changeable || (known.length === this.ids.length && !known.some(isUpload));
    this.#ask(false);
  }

  // Whether the next press deletes.
  #ask(sure) {
    this.sure = sure;
    this.delete.lastChild.textContent = sure ? "Really delete?" : "Delete";
  }

  // As they are now: what the source knows of them may be older than a tag.
  async #records() {
    const found = new Map((await recordsOf(this.app.api, this.app.collection(), this.ids)).map((record) => [record.id, record]));
    return this.ids.map((id) => found.get(id)).filter(Boolean);
  }

  // A form of one field; what is written there is said of the pictures.
  #labelling() {
    const input = el("input", {
      class: "input", autocomplete: "off", dir: "auto", placeholder: "key: label", "aria-label": "Label the selected pictures", maxlength: 401,
      pattern: LABEL.source, title: "A key and a label, as in “kind: boat”",
    });
    return el("form", { onsubmit: async (event) => {
      event.preventDefault();
      const written = input.value.trim();
      const { app, ids } = this;
      if (!written) return;
      input.value = "";
      try {
        await labelAll(app, app.collection(), ids, ...LABEL.exec(written).slice(1), { onChanged: this.#learner() });
      } catch (error) {
        input.value ||= written;
        app.say(error.message, { kind: "bad" });
      }
    } }, input);
  }

  #change(way, back) {
    return changeAll(this.app, this.app.collection(), this.ids, way, { back, onChanged: this.#learner() });
  }

  // Reads anew what is shown of them: others may have tagged them, too.
  #learner() {
    const { app, source } = this;
    const collection = app.collection();
    return async (ids) => {
      const records = await recordsOf(app.api, collection, ids.filter((id) => source?.record(id))).catch(() => null);
      if (!records) return; // what is shown stays
      this.onLearnt(records, collection);
      this.tags.show(this.ids);
    };
  }

  // One after the other as the service takes them, a few at once; says how far it is, and how it ended.
  async #delete() {
    if (!this.sure) {
      this.#ask(true);
      return;
    }
    const { app, ids } = this;
    const collection = app.collection();
    const gone = [];
    const kept = []; // {record, error}: they could not be deleted
    try {
      const records = await this.#records();
      const rest = records.filter(isUpload);
      const total = rest.length;
      const work = async () => {
        for (let record = rest.shift(); record; record = rest.shift()) {
          try {
            await app.api.delete(app.api.of(collection, "images", record.id));
          } catch (error) {
            if (error.status !== 404) { // else somebody else was first
              kept.push({ record, error });
              if (error.passes || REFUSED.has(error.status)) rest.length = 0; // so it would be with all others
              continue;
            }
          }
          gone.push(record.id);
          if (total > 8) app.say(`Deleting ${gone.length.toLocaleString("en")} of ${total.toLocaleString("en")}…`, { kind: "busy" });
        }
      };
      await Promise.all(Array.from({ length: AT_ONCE }, work));
      const others = records.length - total;
      const left = total - gone.length;
      const names = kept.slice(0, NAMED).map(({ record }) => nameOf(record));
      const said = [
        `${count(gone.length, "picture")} deleted`,
        left && notDone(left, names, kept[0].error.message),
        others && `${count(others, "other")} of indexed folders stay: take them out of their folder`,
      ].filter(Boolean);
      app.say(`${said.join(" · ")}.`, { kind: left ? "bad" : "plain" });
    } catch (error) {
      app.say(error.message, { kind: "bad" });
    }
    this.onDeleted(gone);
  }

  async #export() {
    const quoted = (value) => `"${String(value ?? "").replace(FORMULA, "'$&").replaceAll('"', '""')}"`;
    try {
      const rows = (await this.#records()).map((record) =>
        [record.id, record.external_id, isUpload(record) ? calledOf(record) : record.path, nameOf(record), record.taken, tagsOf(record).join(", ")]);
      const text = [COLUMNS, ...rows].map((row) => row.map(quoted).join(",")).join("\r\n");
      saveFile(URL.createObjectURL(new Blob([`${text}\r\n`], { type: "text/csv" })), `${this.app.collection()}-selection.csv`);
    } catch (error) {
      this.app.say(error.message, { kind: "bad" });
    }
  }
}
