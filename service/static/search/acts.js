// What can be done with the picture that is open.

import { el, icon, saveFile } from "../parts/dom.js";
import { calledOf, folderOf, isUpload } from "../parts/picture/entry.js";
import { AWAY, withWeight } from "../parts/query.js";

// Elements for it; `query` is what is asked.
export function acts(app, entry, query) {
  const like = (weight) => {
    const others = weight < 0 ? query.likes.filter(({ id }) => id !== entry.id).map((each) => withWeight(each.id, each.weight)) : [];
    const changes = { like: [...others, withWeight(entry.id, weight)], open: null };
    app.navigate(weight < 0 ? changes : { ...changes, q: null, qw: null, not: null, img: null, k: query.limit });
    scrollTo({ top: 0 });
  };
  const path = isUpload(entry) ? entry.external_id : (entry.path ?? entry.external_id); // where an upload is kept is no matter of its user
  const download = el("a", { class: "button", href: entry.content_url, download: calledOf(entry), onclick: (event) => save(app, event) }, icon("download"), "Download");
  return [
    el("button", { type: "button", class: "button main", onclick: () => like(1) }, "More like this"),
    el("button", { type: "button", class: "button", onclick: () => like(AWAY) }, "Less like this"),
    el("a", { class: "button", href: app.href({ v: "lineup", c: app.collection(), p: entry.id }, new URLSearchParams()) }, "Line up"),
    entry.path && !isUpload(entry) && el("a", { class: "button", href: app.href({ in: folderOf(entry.path), c: app.collection() }, new URLSearchParams()) }, icon("stack"), "Its folder"),
    path && el("button", { type: "button", class: "button", onclick: () => copy(app, path) }, icon("copy"), "Copy path"),
    download,
  ].filter(Boolean);
}

// A link sends no key: with one the file is fetched here, once it is wanted.
async function save(app, event) {
  if (!app.api.keyed()) return;
  event.preventDefault();
  const { download } = event.currentTarget;
  try {
    saveFile(await app.api.source(event.currentTarget.getAttribute("href")), download);
  } catch (error) {
    app.say(error.message, { kind: "bad" });
  }
}

async function copy(app, text) {
  try {
    await navigator.clipboard.writeText(text);
    app.say("The path is in the clipboard.");
  } catch {
    app.say("The browser did not let the page use the clipboard.", { kind: "bad" });
  }
}
