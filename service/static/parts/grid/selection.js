// What can be done with the pictures that are selected: tags, a list of them, a search by them, deleting.

import { count, el, icon, saveFile } from "../dom.js";
import { calledOf, isUpload, nameOf, tagsOf } from "../picture/entry.js";
import { recordsOf } from "./sources.js";

const AT_ONCE = 4; // requests under way
const FORMULA = /^[=+\-@\t\r]/; // a spreadsheet takes what begins so for a formula
const COLUMNS = ["id", "external_id", "path", "name", "tags"];

export class Selection {
  // onClear(); onLike(ids); onChanged(ids, {deleted}): entries have changed, or are gone
  constructor(root, { app, onClear, onLike, onChanged }) {
    Object.assign(this, { app, onChanged });
    this.ids = [];
    this.text = el("strong", { role: "status" });
    this.tag = el("input", { class: "input", placeholder: "Add a tag", "aria-label": "Add a tag to the selected pictures", maxlength: 100, autocomplete: "off" });
    this.tagging = el("form", { onsubmit: (event) => {
      event.preventDefault();
      this.#addTag();
    } }, this.tag);
    this.delete = el("button", { type: "button", class: "button plain bad", onclick: () => this.#delete() }, icon("trash"), el("span", {}, "Delete"));
    this.like = el("button", { type: "button", class: "button plain", onclick: () => onLike(this.ids) }, icon("search"), el("span", {}, "More like these"));
    this.root = el("div", { class: "selection", role: "toolbar", "aria-label": "Selected pictures", hidden: true },
      this.text, this.tagging,
      this.like,
      el("button", { type: "button", class: "button plain", onclick: () => this.#export() }, icon("download"), el("span", {}, "List")),
      this.delete,
      el("button", { type: "button", class: "button icon plain", "aria-label": "Clear the selection", onclick: onClear }, icon("close")));
    root.append(this.root);
  }

  show(ids, source) {
    this.ids = [...ids];
    this.source = source;
    this.root.hidden = !this.ids.length;
    this.text.textContent = `${this.ids.length.toLocaleString("en")} selected`;
    this.like.hidden = this.ids.length > 16;
    const changeable = !this.app.info?.read_only;
    this.tagging.hidden = !changeable;
    // what is known to be no upload of this page's users cannot be deleted here
    const known = this.ids.map((id) => source?.record(id)).filter(Boolean);
    this.delete.hidden = !changeable || (known.length === this.ids.length && !known.some(isUpload));
    this.sure = false;
    this.delete.lastChild.textContent = "Delete";
  }

  // As they are now: what the source knows of them may be older than a tag.
  async #records() {
    const found = new Map((await recordsOf(this.app.api, this.app.collection(), this.ids)).map((record) => [record.id, record]));
    return this.ids.map((id) => found.get(id)).filter(Boolean);
  }

  // One after the other as the service takes them, a few at once; says how far it is, and how it ended.
  async #each(doing, done, act) {
    let records = [];
    let made = 0;
    const gone = [];
    try {
      records = await this.#records();
      const rest = [...records];
      const work = async () => {
        for (let record = rest.shift(); record; record = rest.shift()) {
          if (await act(record)) gone.push(record.id);
          made += 1;
          if (records.length > 8) this.app.say(`${doing} ${made.toLocaleString("en")} of ${records.length.toLocaleString("en")}…`, { kind: "busy" });
        }
      };
      await Promise.all(Array.from({ length: AT_ONCE }, work));
      this.app.say(done(records, gone));
    } catch (error) {
      this.app.say(`${made ? `After ${count(made, "picture")}: ` : ""}${error.message}`, { kind: "bad" });
    }
    return gone;
  }

  async #addTag() {
    const tag = this.tag.value.trim();
    if (!tag) return;
    const { api } = this.app;
    const collection = this.app.collection();
    await this.#each("Tagging", (records) => `${count(records.length, "picture")} tagged “${tag}”.`, async (record) => {
      const tags = tagsOf(record);
      if (tags.includes(tag)) return false;
      const changed = await api.patch(api.of(collection, "images", record.id), { tags: [...tags, tag] });
      this.source?.learn(changed);
      return false;
    });
    this.tag.value = "";
    this.onChanged(this.ids, { deleted: [] });
  }

  async #delete() {
    if (!this.sure) {
      this.sure = true;
      this.delete.lastChild.textContent = "Really delete?";
      return;
    }
    const { api } = this.app;
    const collection = this.app.collection();
    const left = (records, gone) => (records.length - gone.length
      ? `${count(gone.length, "picture")} deleted. ${count(records.length - gone.length, "other")} of indexed folders stay: take them out of their folder.`
      : `${count(gone.length, "picture")} deleted.`);
    const deleted = await this.#each("Deleting", left, async (record) => {
      if (!isUpload(record)) return false;
      await api.delete(api.of(collection, "images", record.id));
      return true;
    });
    this.onChanged(this.ids, { deleted });
  }

  async #export() {
    const quoted = (value) => `"${String(value ?? "").replace(FORMULA, "'$&").replaceAll('"', '""')}"`;
    try {
      const rows = (await this.#records()).map((record) =>
        [record.id, record.external_id, isUpload(record) ? calledOf(record) : record.path, nameOf(record), tagsOf(record).join(", ")]);
      const text = [COLUMNS, ...rows].map((row) => row.map(quoted).join(",")).join("\r\n");
      saveFile(URL.createObjectURL(new Blob([`${text}\r\n`], { type: "text/csv" })), `${this.app.collection()}-selection.csv`);
    } catch (error) {
      this.app.say(error.message, { kind: "bad" });
    }
  }
}
