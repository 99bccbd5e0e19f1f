// A collection's map as it is at one moment: its pictures as columns, with places; what the service tells of the map;
// the keys that sort its pictures; and the records that were seen of them. Knows no document.

import { columnsOf, placesAmong } from "../parts/grid/columns.js";
import { recordsOf } from "../parts/grid/sources.js";
import { NOWHERE } from "./space.js";

const SORTING = 400; // different values; a key with more names pictures rather than sorts them

export class Changed extends Error {} // the collection is another than its columns say

export class Mapped {
  static async read(app, collection, signal) {
    const { api } = app;
    const columns = await columnsOf(api, collection, { signal });
    const about = columns.places ? await api.get(api.of(collection, "map"), { signal }) : null; // null: there is no map
    const { keys } = await api.get(api.of(collection, "facets"), { signal });
    const sorting = keys.filter(({ values, entries }) => values <= SORTING && (values > 1 || entries < columns.count)).map(({ key }) => key);
    return Object.assign(new Mapped(), { app, collection, columns, about, keys: sorting, records: new Map() });
  }

  get count() {
    return this.columns.count;
  }

  hasPlace(i) {
    return this.columns.places[2 * i] !== NOWHERE;
  }

  // Where in the columns the pictures of these ids stand: {id: i}, as a Map.
  placesOf(ids) {
    const wanted = new Set(ids);
    const places = new Map();
    this.columns.ids.forEach((id, i) => wanted.has(id) && places.set(id, i));
    return places;
  }

  // The pictures that pass a filter; Changed if the collection is another by now.
  async passing(filter, signal) {
    const places = await placesAmong(this.app.api, this.collection, this.columns, filter, { signal });
    if (!places) throw new Changed();
    return places;
  }

  inCluster(number) {
    const found = [];
    this.columns.clusters.forEach((each, i) => each === number && found.push(i));
    return Uint32Array.from(found);
  }

  cluster(number) {
    return this.about.clusters.find((each) => each.number === number);
  }

  thumbnail(id, side) {
    return `${this.app.api.of(this.collection, "images", id, "thumbnail")}?size=${side}`;
  }

  // The records of these ids that are still there; each is asked for once.
  async remembered(ids) {
    const missing = ids.filter((id) => !this.records.has(id));
    for (const record of missing.length ? await recordsOf(this.app.api, this.collection, missing) : []) this.records.set(record.id, record);
    return ids.map((id) => this.records.get(id)).filter(Boolean);
  }
}

export const nameOfCluster = (cluster) => cluster.words.slice(0, 2).join(", ") || `Cluster ${cluster.number}`;
