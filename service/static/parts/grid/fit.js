// What a search's numbers mean, in words. A cosine tells a person nothing; relevance is the service's own estimate.

import { count } from "../dom.js";

export const FITS = 0.5; // from this relevance on the service's automatic cut-off keeps a hit

export function fitOf({ relevance }) {
  if (relevance === null || relevance === undefined) return null;
  if (relevance >= 0.8) return "fits well";
  if (relevance >= FITS) return "fits";
  return relevance >= 0.2 ? "perhaps" : "probably not";
}

export function noteOf(hit) {
  if (hit.score === undefined) return null;
  const fit = fitOf(hit);
  return `${fit ? `${fit[0].toUpperCase()}${fit.slice(1)} · ` : ""}cosine ${hit.score.toFixed(3)}`;
}

// What is said of all that a source has found.
export function toldOf(source) {
  const { hits, seconds, warnings = [] } = source.told;
  let text = "";
  if (hits?.length) {
    const time = `${Math.max(1, Math.round(seconds * 1000))} ms`;
    if (source.fitting !== null) text = source.fitting ? `${source.fitting.toLocaleString("en")} fit, found in ${time}` : `Looked in ${time}`;
    else if (source.judged) text = `${source.ended && !source.query.limit ? "" : "At least "}${source.count.toLocaleString("en")} fit, found in ${time}`;
    else text = `${count(source.count, "nearest", "nearest")}${source.ended ? "" : " and more"} in ${time}`;
  } else if (!hits && source.count) text = count(source.count, "picture");
  return [text, ...warnings].filter(Boolean).join(" · ");
}
