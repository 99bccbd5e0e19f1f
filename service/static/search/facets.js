// Filters as chips made of the collection's own metadata: the values of each key with how many have them, ranges of
// numbers, when pictures were taken. It shows what the address has, and asks for it to be changed.

import { el, fill, words } from "../parts/dom.js";
import { folderOf } from "../parts/picture/entry.js";
import { conditionsOf, filterText, rangeText } from "../parts/query.js";

const FEW = 8; // values of a key that are shown at first
const MANY = 100;
const TOO_MANY = 400; // different values from which on a key names pictures rather than sorts them
const KEYS = 24; // that are shown at first
const ALL = "file.keys"; // all of them are
const FOLDER = "file.folder";
const NOT_SHOWN = new Set(["filename"]);

export class Facets {
  // onChange(changes): changes of the address; onFail(error, again): they could not be had
  constructor(root, { api, onChange, onFail }) {
    Object.assign(this, { root, api, onChange, onFail });
    this.all = new Set(); // keys of which all values are shown
  }

  // Show what there is to choose from, under what is chosen, in a collection of `total` pictures.
  async show(collection, query, total) {
    this.leaving?.abort();
    this.leaving = new AbortController();
    const { signal } = this.leaving;
    const of = (path) => this.api.of(collection, path);
    let keys;
    let counted;
    let folder;
    let hidden = 0; // keys that are not shown
    try {
      folder = await this.api.get(`${of("folders")}${query.folder ? `?in=${encodeURIComponent(query.folder)}` : ""}`, { signal });
      keys = (await this.api.get(of("facets"), { signal })).keys;
      const sorting = keys.filter((key) => isSorting(key, total)).sort((a, b) => a.values - b.values);
      const shown = this.all.has(ALL) ? sorting : sorting.slice(0, KEYS);
      hidden = sorting.length - shown.length;
      counted = shown.length ? await this.#count(of("facets"), shown.map(({ key }) => key), query, signal) : [];
    } catch (error) {
      if (error.name === "AbortError") return;
      this.root.replaceChildren(el("p", { class: "hint" }, error.message));
      if (!error.final) this.onFail(error, () => !this.root.hidden && this.show(collection, query, total));
      return;
    }
    const numbers = keys.filter((key) => isNumeric(key) && !NOT_SHOWN.has(key.key));
    const named = () => [...this.root.querySelectorAll("[data-name]")];
    const focused = this.root.contains(document.activeElement) ? document.activeElement.dataset.name : null;
    const before = new Set(named().map((one) => one.dataset.name));
    fill(this.root,
      ...this.#folders(folder, query, () => this.show(collection, query, total)),
      ...counted.filter(({ hits }) => hits.length).map((facet) => this.#values(facet, query, () => this.show(collection, query, total))),
      hidden > 0 && this.#more(`${hidden} more…`, "more keys", ALL, () => this.show(collection, query, total)),
      ...numbers.map((key) => this.#range(key, query)),
      this.#taken(query),
    );
    // what showed more is gone: one goes on at the first that it has shown
    if (focused) (named().find((one) => one.dataset.name === focused) ?? named().find((one) => !before.has(one.dataset.name)))?.focus();
  }

  // A key that is chosen from is counted as if it were not: its other values can be chosen too.
  async #count(path, keys, query, signal) {
    const chosen = new Set(query.filters.map(({ key }) => key));
    const ask = (some, filter) => this.api.post(path, { keys: some, limit: this.all.size ? MANY : FEW + 1, filter }, { signal });
    const rest = keys.filter((key) => !chosen.has(key));
    const asked = [rest.length && ask(rest, conditionsOf(query))];
    for (const key of keys) if (chosen.has(key)) asked.push(ask([key], conditionsOf(query, key)));
    const answers = (await Promise.all(asked)).filter(Boolean).flatMap(({ facets }) => facets);
    return keys.map((key) => answers.find((facet) => facet.key === key)).filter(Boolean);
  }

  // The folders right below the one that is chosen, and the way up; nothing where all pictures lie in one.
  #folders({ path, folders }, query, again) {
    if (!folders.length && !query.folder) return [];
    const chip = (to, value, more) => el("button", { type: "button", class: "chip", title: to, "data-name": `in ${to}`, onclick: () => this.onChange({ in: to }) },
      el("span", { class: "value", dir: "auto" }, value), more);
    const shown = this.all.has(FOLDER) ? folders : folders.slice(0, FEW);
    const chips = shown.map(({ name, path: to, entries }) => chip(to, name, [" ", el("span", { class: "count" }, entries.toLocaleString("en"))]));
    const up = query.folder && folderOf(path);
    if (up && up !== path) chips.unshift(chip(up, "Up", []));
    const more = folders.length > shown.length && this.#more("More…", "more folders", FOLDER, again);
    return [el("fieldset", {}, el("legend", {}, "Folder"), el("div", { class: "chips" }, chips, more))];
  }

  #values({ key, hits }, query, again) {
    const chosen = new Set(query.filters.filter((filter) => filter.key === key).map(({ text }) => text));
    const shown = this.all.has(key) ? hits : hits.slice(0, FEW);
    const toggle = (text) => {
      const others = query.filters.map((filter) => filter.text).filter((each) => each !== text);
      this.onChange({ f: chosen.has(text) ? others : [...others, text] });
    };
    const chips = shown.map(({ value, count }) => {
      const text = filterText(key, value);
      return el("button", { type: "button", class: "chip", "data-name": text, "aria-pressed": String(chosen.has(text)), onclick: () => toggle(text) },
        el("span", { class: "value", dir: "auto" }, words(value)), " ", el("span", { class: "count" }, count.toLocaleString("en")));
    });
    const more = hits.length > shown.length && this.#more("More…", `more ${key}`, key, again);
    const another = shown.length >= MANY && el("input", {
      class: "input", placeholder: "another…", "aria-label": `${key}: another value`, "data-name": `another ${key}`, autocomplete: "off", dir: "auto",
      onchange: (event) => event.target.value.trim() && toggle(filterText(key, event.target.value.trim())),
    });
    return el("fieldset", {}, el("legend", { dir: "auto" }, key), el("div", { class: "chips" }, chips, more, another));
  }

  // What shows all of something.
  #more(text, name, of, again) {
    return el("button", { type: "button", class: "chip more", "data-name": name, onclick: () => {
      this.all.add(of);
      again();
    } }, text);
  }

  #range({ key, min, max }, query) {
    const { low = null, high = null } = query.ranges.find((range) => range.key === key) ?? {};
    const field = (label, value, placeholder) => el("input", {
      class: "input", type: "number", step: "any", value, placeholder, "aria-label": `${key}: ${label}`, "data-name": `${label} ${key}`,
    });
    const from = field("from", low, min);
    const to = field("to", high, max);
    const put = () => {
      const others = query.ranges.filter((range) => range.key !== key).map(({ text }) => text);
      const own = from.value || to.value ? [rangeText(key, from.value, to.value)] : [];
      this.onChange({ r: [...others, ...own] });
    };
    for (const input of [from, to]) input.addEventListener("change", put);
    return el("fieldset", {}, el("legend", {}, key), el("div", { class: "chips" }, from, "to", to));
  }

  #taken(query) {
    const field = (name, label) => el("input", {
      class: "input", type: "date", value: query[name], "aria-label": `Taken ${label}`, "data-name": `taken ${name}`,
      onchange: (event) => this.onChange({ [name]: event.target.value }),
    });
    return el("fieldset", {}, el("legend", {}, "Taken"), el("div", { class: "chips" }, field("from", "from"), "to", field("to", "to")));
  }
}

// Numbers are chosen by a range, unless there are few.
const isNumeric = ({ min, max, values }) => min !== null && min < max && values > FEW;

// A value that all pictures have says nothing of any.
const isSorting = (key, total) =>
  !NOT_SHOWN.has(key.key) && !isNumeric(key) && key.values <= TOO_MANY && (key.values > 1 || key.entries < total);
