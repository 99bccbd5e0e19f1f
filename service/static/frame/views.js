// Which views there are, and their files: each is asked for once, before anything draws it.

import { el } from "../parts/dom.js";

const VIEWS = new Set(["search", "lineup", "map", "review", "runs", "labs"]); // index.html has links to them
export const FIRST = "search";
const ASKING = new Set(["lineup", "labs"]); // which have sliders, and pictures to choose

const fetching = new Map(); // name -> promise of [module]

export function fetched(name) {
  if (!fetching.has(name)) {
    const parts = Promise.all([import(`../views/${name}.js`), ASKING.has(name) && styled("style/asking.css"), styled(`views/${name}.css`)]);
    fetching.set(name, parts);
    parts.catch(() => fetching.delete(name));
  }
  return fetching.get(name);
}

// Resolves once a style of ours is there. One that does not come is asked for once more, and then done without.
export async function styled(path, instead = null) {
  const link = el("link", { rel: "stylesheet", href: `static/${path}` });
  const ended = new Promise((resolve) => ["load", "error"].forEach((event) => link.addEventListener(event, resolve)));
  if (instead) instead.replaceWith(link);
  else document.head.append(link);
  const { type } = await ended;
  if (type === "error" && !instead) await styled(path, link);
}

export function wantedBy(asked) {
  const name = asked.get("v") ?? FIRST;
  return VIEWS.has(name) ? name : FIRST;
}
