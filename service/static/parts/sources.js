// Where the grid's pictures come from: a search, or the collection's entries page by page. See grid.js for what a
// source is. Each knows the records that it has seen.

import { aspectOf, nameOf, sized } from "./entry.js";
import { FITS, fitOf, noteOf } from "./fit.js";
import { conditionsOf, partsOf } from "./query.js";

const PAGE = 120;

class Records {
  constructor(app, collection) {
    Object.assign(this, { app, collection, records: [], places: new Map(), breaks: [] });
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

  place(id) {
    return this.places.get(id) ?? -1;
  }

  async at(i) {
    return this.records[i];
  }

  add(records) {
    for (const record of records) {
      this.places.set(record.id, this.records.length);
      this.records.push(record);
    }
  }
}

// What a search finds, best first, with a line where the service's automatic cut-off would end the list.
export class Hits extends Records {
  constructor(app, collection, query) {
    super(app, collection);
    this.query = query;
    this.fitting = null; // how many fit; null: not known yet, or not to be told of so small a collection
    this.ended = false;
  }

  async load(signal) {
    const most = this.query.limit ?? Infinity;
    const limit = Math.min(PAGE, most - this.count);
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
}

// All entries that pass the filter, in the order they came in.
export class Listing extends Records {
  constructor(app, collection, query) {
    super(app, collection);
    this.query = query;
    this.after = 0;
    this.ended = false;
  }

  async load(signal) {
    const parameters = new URLSearchParams({ limit: PAGE, after: this.after });
    const filter = conditionsOf(this.query);
    if (filter) parameters.set("filter", JSON.stringify(filter));
    const answer = await this.app.api.get(`${this.app.api.of(this.collection, "images")}?${parameters}`, { signal });
    this.add(answer.entries);
    this.after = answer.next;
    this.ended = answer.next === null;
    return answer;
  }

  fit() {
    return null;
  }
}
