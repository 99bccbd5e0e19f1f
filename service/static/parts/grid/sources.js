// Where the grid's pictures come from: a search, or the whole collection. See grid.js for what a source is. Each knows
// the records that it has seen.

import { pause } from "../dom.js";
import { aspectOf, nameOf, sized } from "../picture/entry.js";
import { conditionsOf, partsOf } from "../query.js";
import { columnsOf, dateOf, placesAmong } from "./columns.js";
import { FITS, fitOf, noteOf } from "./fit.js";

const PAGE = 120;
const MOST = 1000; // that a search gives at once

// What a search finds, best first, with a line where the service's automatic cut-off would end the list.
export class Hits {
  constructor(app, collection, query) {
    Object.assign(this, { app, collection, query, records: [], places: new Map(), breaks: [] });
    this.fitting = null; // how many fit; null: not known yet, or not to be told of so small a collection
    this.ended = false;
  }

  // The next page of them; of one that is asked for anew, as many as there were.
  async load(signal, had = 0) {
    const most = this.query.limit ?? Infinity;
    const limit = Math.min(Math.max(PAGE, Math.min(had, MOST)), most - this.count);
    const body = { query: partsOf(this.query), limit, offset: this.count };
    const filter = conditionsOf(this.query);
    if (filter) body.filter = filter;
    const answer = await this.app.api.post(this.app.api.of(this.collection, "search"), body, { signal });
    const before = this.count;
    this.add(answer.hits);
    this.ended = answer.hits.length < limit || this.count >= most;
    const cut = answer.hits.findIndex((hit) => hit.relevance !== null && hit.relevance < FITS);
    if (cut >= 0 && this.fitting === null) {
      this.fitting = before + cut;
      this.breaks.push({
        at: this.fitting,
        title: this.fitting ? "Below: probably not" : "Nothing here fits well",
        text: this.fitting ? "Nearest first all the same." : "These are the nearest all the same.",
      });
    }
    this.judged ??= answer.hits.some((hit) => hit.relevance !== null);
    return answer;
  }

  fit(i) {
    return fitOf(this.records[i]);
  }

  get count() {
    return this.records.length;
  }

  id(i) {
    return this.records[i].id;
  }

  aspect(i) {
    return aspectOf(this.records[i]);
  }

  name(i) {
    return nameOf(this.records[i]);
  }

  note(i) {
    return noteOf(this.records[i]);
  }

  href(i) {
    return this.app.href({ open: this.id(i) });
  }

  thumbnail(i, side) {
    return sized(this.records[i].thumbnail_url, side);
  }

  // The record of an id, if it is among them; and its place.
  record(id) {
    return this.records[this.places.get(id)] ?? null;
  }

  // What a record is by now, if it is among them.
  learn({ id, metadata }) {
    Object.assign(this.record(id) ?? {}, { metadata });
  }

  place(id) {
    return this.places.get(id) ?? -1;
  }

  add(records) {
    for (const record of records) {
      this.places.set(record.id, this.records.length);
      this.records.push(record);
    }
  }
}

const SEVERAL = 24; // pictures a month, on average, from which on months have headings of their own, else years
const FEW = 4; // the same of a year, below which there are no headings: each would begin a row for a picture or two
const ASKED = 200; // records at a time

// The collection itself, the newest first: by its columns, so that a million are there at once. What pictures are
// called is asked for once they come to rest in view.
export class Browse {
  constructor(app, collection, query) {
    Object.assign(this, { app, collection, query, known: new Map(), breaks: [], places: null, columns: null });
    this.ended = true;
  }

  async load(signal) {
    const { api } = this.app;
    const filter = conditionsOf(this.query);
    do {
      this.columns = await columnsOf(api, this.collection, { signal });
      if (filter) this.places = await placesAmong(api, this.collection, this.columns, filter, { signal });
    } while (filter && !this.places); // it changed in between
    await pause(0); // neither in the task that took them in, nor in that which lays them out
    this.breaks = this.#months();
    await pause(0);
    signal?.throwIfAborted();
    return {};
  }

  get count() {
    return this.places ? this.places.length : (this.columns?.count ?? 0);
  }

  // Where place i is in the columns.
  column(i) {
    return this.places ? this.places[i] : i;
  }

  id(i) {
    return this.columns.ids[this.column(i)];
  }

  aspect(i) {
    return this.columns.aspect(this.column(i));
  }

  name(i) {
    const record = this.known.get(this.id(i));
    return record ? nameOf(record) : null;
  }

  href(i) {
    return this.app.href({ open: this.id(i) });
  }

  thumbnail(i, side) {
    const id = this.id(i);
    return this.known.get(id)?.thumbnail_url
      ? sized(this.known.get(id).thumbnail_url, side)
      : `${this.app.api.of(this.collection, "images", id, "thumbnail")}?size=${side}`;
  }

  fit() {
    return null;
  }

  record(id) {
    return this.known.get(id) ?? null;
  }

  learn(record) {
    this.known.set(record.id, record);
  }

  place(id) {
    const column = this.columns?.ids.indexOf(id) ?? -1;
    if (column < 0 || !this.places) return column;
    const { places } = this;
    let [low, high] = [0, places.length - 1];
    while (low <= high) {
      const middle = (low + high) >> 1;
      if (places[middle] === column) return middle;
      if (places[middle] < column) low = middle + 1;
      else high = middle - 1;
    }
    return -1;
  }

  async look(first, last) {
    const ids = [];
    for (let i = first; i <= last && ids.length < ASKED; i++) if (!this.known.has(this.id(i))) ids.push(this.id(i));
    if (!ids.length) return;
    clearTimeout(this.soon);
    this.soon = setTimeout(async () => {
      const records = await recordsOf(this.app.api, this.collection, ids).catch(() => []); // names are no more than that
      for (const record of records) if (!this.known.has(record.id)) this.known.set(record.id, record); // else learnt since
      if (records.length) this.named?.();
    }, 150);
  }

  #months() {
    const { days } = this.columns;
    const at = (unit) => {
      const found = [];
      let day = -1;
      let before = null;
      for (let i = 0; i < this.count; i++) {
        const now = days[this.column(i)];
        if (now === day) continue; // a day is looked at once, whatever number of pictures it has
        day = now;
        const title = now ? unit.format(dateOf(now)) : "No day known";
        if (title !== before) found.push({ at: i, title });
        before = title;
      }
      return found;
    };
    let found = at(MONTH);
    if (found.length > 1 && this.count / found.length < SEVERAL) found = at(YEAR);
    return found.length > 1 && this.count / found.length >= FEW ? found : [];
  }
}

const MONTH = new Intl.DateTimeFormat("en", { month: "long", year: "numeric", timeZone: "UTC" });
const YEAR = new Intl.DateTimeFormat("en", { year: "numeric", timeZone: "UTC" });

// The records of some ids, in no order; those that are gone are left out.
export async function recordsOf(api, collection, ids) {
  const found = [];
  for (let at = 0; at < ids.length; at += ASKED) {
    const some = ids.slice(at, at + ASKED);
    const parameters = new URLSearchParams({ limit: some.length, filter: JSON.stringify({ must: [{ has_id: some }] }) });
    found.push(...(await api.get(`${api.of(collection, "images")}?${parameters}`)).entries);
  }
  return found;
}
