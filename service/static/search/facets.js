// Filters as chips made of the collection's own metadata: the values of each key with how many have them, ranges of
// numbers, when pictures were taken. It shows what the address has, and asks for it to be changed. Each time it is drawn
// anew what is there stays, and so does what somebody writes there meanwhile: all that listens goes by `this.query`.

import { el, words } from "../parts/dom.js";
import { folderOf } from "../parts/picture/entry.js";
import { conditionsOf, filterText, rangeText } from "../parts/query.js";
import { renew } from "../parts/renew.js";

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
    Object.assign(this, { collection, query, total });
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
      renew(this.root, el("p", { class: "hint" }, error.message));
      if (!error.final) this.onFail(error, () => !this.root.hidden && this.#again());
      return;
    }
    const numbers = keys.filter((key) => isNumeric(key) && !NOT_SHOWN.has(key.key));
    const keyed = () => [...this.root.querySelectorAll(".chips > [data-key], .chip[data-key]")];
    const focused = this.root.contains(document.activeElement) ? document.activeElement : null;
    const before = new Set(keyed().map((one) => one.dataset.key));
    renew(this.root,
      ...this.#folders(folder),
      ...counted.filter(({ hits }) => hits.length).map((facet) => this.#values(facet)),
      hidden > 0 && this.#more(`${hidden} more…`, "more keys", ALL),
      ...numbers.map((key) => this.#range(key)),
      this.#taken(),
    );
    for (const input of this.root.querySelectorAll("input")) if (input !== document.activeElement) input.value = input.getAttribute("value") ?? "";
    // what showed more is gone: one goes on at the first that it has shown
    if (focused && !focused.isConnected) keyed().find((one) => !before.has(one.dataset.key))?.focus();
  }

  #again() {
    this.show(this.collection, this.query, this.total);
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
  #folders({ path, folders }) {
    const { query } = this;
    if (!folders.length && !query.folder) return [];
    const chip = (to, value, more) => el("button", { type: "button", class: "chip", title: to, "data-key": `in ${to}`, onclick: () => this.onChange({ in: to }) },
      el("span", { class: "value", dir: "auto" }, value), more);
    const shown = this.all.has(FOLDER) ? folders : folders.slice(0, FEW);
    const chips = shown.map(({ name, path: to, entries }) => chip(to, name, [" ", el("span", { class: "count" }, entries.toLocaleString("en"))]));
    const up = query.folder && folderOf(path);
    if (up && up !== path) chips.unshift(chip(up, "Up", []));
    const more = folders.length > shown.length && this.#more("More…", "more folders", FOLDER);
    return [this.#part("Folder", FOLDER, chips, more)];
  }

  #values({ key, hits }) {
    const chosen = new Set(this.query.filters.filter((filter) => filter.key === key).map(({ text }) => text));
    const shown = this.all.has(key) ? hits : hits.slice(0, FEW);
    const toggle = (text) => {
      const all = this.query.filters.map((filter) => filter.text);
      this.onChange({ f: all.includes(text) ? all.filter((each) => each !== text) : [...all, text] });
    };
    const chips = shown.map(({ value, count }) => {
      const text = filterText(key, value);
      return el("button", { type: "button", class: "chip", "data-key": text, "aria-pressed": String(chosen.has(text)), onclick: () => toggle(text) },
        el("span", { class: "value", dir: "auto" }, words(value)), " ", el("span", { class: "count" }, count.toLocaleString("en")));
    });
    const more = hits.length > shown.length && this.#more("More…", `more ${key}`, key);
    const another = shown.length >= MANY && el("input", {
      class: "input", placeholder: "another…", "aria-label": `${key}: another value`, "data-key": `another ${key}`, autocomplete: "off", dir: "auto",
      onchange: (event) => event.target.value.trim() && toggle(filterText(key, event.target.value.trim())),
    });
    return this.#part(key, `key ${key}`, chips, more, another);
  }

  #part(title, of, ...inside) {
    return el("fieldset", { "data-key": of }, el("legend", { dir: "auto" }, title), el("div", { class: "chips" }, ...inside));
  }

  // What shows all of something.
  #more(text, name, of) {
    return el("button", { type: "button", class: "chip more", "data-key": name, onclick: () => {
      this.all.add(of);
      this.#again();
    } }, text);
  }

  #range({ key, min, max }) {
    const { low = null, high = null } = this.query.ranges.find((range) => range.key === key) ?? {};
    const field = (label, value, placeholder) => el("input", {
      class: "input", type: "number", step: "any", value, placeholder, "aria-label": `${key}: ${label}`, "data-key": label, onchange: (event) => put(event.target.parentElement),
    });
    const put = (fields) => {
      const [from, to] = [...fields.querySelectorAll("input")].map(({ value }) => value);
      const others = this.query.ranges.filter((range) => range.key !== key).map(({ text }) => text);
      this.onChange({ r: from || to ? [...others, rangeText(key, from, to)] : others });
    };
    return this.#part(key, `range ${key}`, field("from", low, min), "to", field("to", high, max));
  }

  #taken() {
    return this.#part("Taken", "taken", ["from", "to"].map((name) => el("label", { "data-key": name }, el("span", {}, name), this.#day(name))));
  }

  // A browser tells of each key that makes a day of what is written, as of the year 20 on the way to 2024: that counts once
  // it is left, or Enter is pressed. What is chosen from a calendar counts at once.
  #day(name) {
    let writing = false;
    const put = ({ target }) => {
      if (target.validity.badInput || target.value === (this.query[name] ?? "")) return;
      this.onChange({ [name]: target.value });
    };
    return el("input", {
      class: "input", type: "date", value: this.query[name], "aria-label": `Taken ${name}`,
      onpointerdown: () => (writing = false),
      onkeydown: (event) => {
        writing = event.key !== "Enter";
        if (!writing) put(event);
      },
      onchange: (event) => writing || put(event),
      onblur: put,
    });
  }
}

// Numbers are chosen by a range, unless there are few.
const isNumeric = ({ min, max, values }) => min !== null && min < max && values > FEW;

// A value that all pictures have says nothing of any.
const isSorting = (key, total) =>
  !NOT_SHOWN.has(key.key) && !isNumeric(key) && key.values <= TOO_MANY && (key.values > 1 || key.entries < total);
