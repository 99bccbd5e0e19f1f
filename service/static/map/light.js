// Which pictures a query lights, and how strongly: those that pass its filters, or those that its words find.

import { count } from "../parts/dom.js";
import { FITS } from "../parts/grid/fit.js";
import { conditionsOf } from "../parts/query.js";

const NEAREST = 300; // hits that are lit by words
const FEW = 30; // of the nearest, where none fits

// {places, strength, told, link}: the lit ones, null if nothing was asked for; strength(i) of 1 to 255; what is to be said
// of them; and what the address of the search view has to hold to show the same, if there is any.
export async function litBy(map, query, signal) {
  const filter = conditionsOf(query);
  const text = (each) => each.text;
  const filters = { f: query.filters.map(text), r: query.ranges.map(text), in: query.folder, from: query.from, to: query.to };
  if (query.words) return byWords(map, query.words, filter, filters, signal);
  const places = filter && (await map.passing(filter, signal));
  return {
    places, strength: () => 255,
    told: places && `${count(places.length, "picture")} of ${map.count.toLocaleString("en")} lit`,
    link: places?.length ? filters : null,
  };
}

async function byWords(map, words, filter, filters, signal) {
  const { api } = map.app;
  const body = { query: [{ text: words }], limit: NEAREST, ...(filter && { filter }) };
  const { hits, warnings } = await api.post(api.of(map.collection, "search"), body, { signal });
  const judged = hits.some(({ relevance }) => relevance !== null);
  const fitting = judged ? hits.filter(({ relevance }) => relevance >= FITS) : hits;
  const shown = fitting.length ? fitting : hits.slice(0, FEW);
  const strength = new Map(shown.map(({ id }, rank) => [id, 255 - Math.round((180 * rank) / shown.length)]));
  const most = hits.length === NEAREST && fitting.length === hits.length ? "at least " : "";
  const told = !hits.length ? "There is nothing to light"
    : fitting.length ? `${most}${fitting.length.toLocaleString("en")} ${judged ? "fit" : "nearest"}` : "Nothing fits well; the nearest are lit";
  return {
    places: [...map.placesOf(strength.keys()).values()],
    strength: (i) => strength.get(map.columns.ids[i]),
    told: [told, ...warnings].join(" · "),
    link: hits.length ? { q: words, ...filters } : null,
  };
}
