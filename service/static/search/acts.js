// What can be done with the picture that is open.

import { el, icon, saveFile } from "../parts/dom.js";
import { calledOf, folderOf, isUpload } from "../parts/picture/entry.js";
import { AWAY, partsOf, withWeight } from "../parts/query.js";

// Elements for it; `query` is what is asked.
export function acts(app, entry, query) {
  const others = query.likes.filter(({ id }) => id !== entry.id);
  const leads = partsOf({ ...query, likes: others }).some(({ weight }) => weight > 0); // to something, from which one can be led away
  const like = (weight) => {
    const kept = weight < 0 ? others.map((each) => withWeight(each.id, each.weight)) : [];
    const changes = { like: [...kept, withWeight(entry.id, weight)], open: null };
    app.navigate(weight < 0 ? changes : { ...changes, q: null, qw: null, not: null, img: null, k: query.limit });
    scrollTo({ top: 0 });
  };
  const path = isUpload(entry) ? entry.external_id : (entry.path ?? entry.external_id); // where an upload is kept is no matter of its user
  const download = el("a", { class: "button", href: entry.content_url, download: calledOf(entry), onclick: (event) => save(app, event) }, icon("download"), "Download");
  return [
    el("button", { type: "button", class: "button main", onclick: () => like(1) }, "More like this"),
    leads && el("button", { type: "button", class: "button", onclick: () => like(AWAY) }, "Less like this"),
    el("a", { class: "button", href: app.href({ v: "lineup", c: app.collection(), p: entry.id }, new URLSearchParams()) }, "Line up"),
    entry.path && !isUpload(entry) && el("a", { class: "button", href: app.href({ in: folderOf(entry.path), c: app.collection() }, new URLSearchParams()) }, icon("stack"), "Its folder"),
    path && el("button", { type: "button", class: "button", onclick: () => copy(app, path) }, icon("copy"), "Copy path"),
    download,
  ].filter(Boolean);
}

// A link sends no key, so that with one the file is fetched here; and it says nothing of a file that is not to be had.
async function save(app, event) {
  event.preventDefault();
  const { download } = event.currentTarget;
  const url = event.currentTarget.getAttribute("href");
  try {
    if (!app.api.keyed()) await app.api.raw(url, "blob", { method: "HEAD" }).catch(() => app.api.raw(url, "blob")); // which says why
    saveFile(await app.api.source(url), download);
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
