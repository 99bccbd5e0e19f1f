// What is said of what a search has found.

import { count } from "../parts/dom.js";

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
