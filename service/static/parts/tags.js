// Tags of pictures, one or many: each with what takes it away, and a field that gives one. A tag is the same in whichever
// form its accents are written.

import { el, fill, icon, words } from "./dom.js";
import { filterText } from "./query.js";

const LONGEST = 100; // characters of a tag
const OFFERED = 1000; // that are there already, while one is written

// A tag, which leads to all pictures that have it. onRemove(text): resolves once it is taken away, or could not be; null:
// it stays.
export function tagChip(app, tag, { count = null, onRemove = null } = {}) {
  const text = words(tag);
  let going = null; // who presses twice means it once
  const remove = () => (going ??= onRemove(text).finally(() => (going = null)));
  return el("span", { class: "chip tag", "data-key": text },
    el("a", { class: "value", dir: "auto", title: `All pictures tagged “${text}”`, href: app.href({ f: filterText("tags", tag), c: app.collection() }, new URLSearchParams()) }, text),
    count !== null && el("span", { class: "count" }, count.toLocaleString("en")),
    onRemove && el("button", { type: "button", "aria-label": `Take away the tag “${text}”`, title: "Take it away", onclick: remove }, icon("close")));
}

// Have these be the chips; where one had the focus, the one in its place has it, or else `other`: no field, for which a
// phone would show its keyboard.
export function showChips(root, chips, other) {
  const inside = () => [...root.querySelectorAll("a, button")];
  const at = inside().indexOf(document.activeElement);
  fill(root, chips);
  const there = inside();
  if (at >= 0) (there[Math.min(at, there.length - 1)] ?? other).focus();
}

// A form of one field; onTag(tag) rejects if it could not be given, and what is written is there again.
export function tagField(app, label, onTag) {
  const list = el("datalist", { id: `tags-${Math.random().toString(36).slice(2)}` });
  let known = null; // the collection whose tags are offered
  const offer = async () => {
    const collection = app.collection();
    if (known === collection) return;
    known = collection;
    const tags = await tagsAmong(app.api, collection, null).catch(() => null); // they are no more than an offer
    if (tags) list.replaceChildren(...tags.map(({ tag }) => new Option(tag)));
    else known = null;
  };
  const input = el("input", {
    class: "input", placeholder: "Add a tag", "aria-label": label, maxlength: LONGEST, autocomplete: "off", dir: "auto", list: list.id, enterkeyhint: "done",
    onfocus: offer,
    onkeydown: (event) => {
      if (event.key !== "Escape" || !input.value) return;
      event.preventDefault(); // closes nothing else
      event.stopPropagation();
      input.value = "";
    },
  });
  const submit = async (event) => {
    event.preventDefault();
    const tag = input.value.trim();
    if (!tag) return;
    input.value = "";
    try {
      await onTag(tag);
      known = null; // there is one more
    } catch (error) {
      input.value ||= tag;
      app.say(error.message, { kind: "bad" });
    }
  };
  return el("form", { class: "tagging", onsubmit: submit }, input, list);
}

// The tags of the pictures that pass a filter, the most frequent first: [{tag, count}].
export async function tagsAmong(api, collection, filter) {
  const { facets } = await api.post(api.of(collection, "facets"), { keys: ["tags"], limit: OFFERED, filter });
  return facets.flatMap(({ hits }) => hits).map(({ value, count }) => ({ tag: value, count }));
}

export const giving = (tag) => ({ change: { add_tags: [tag] }, done: `tagged “${tag}”` });

export const takingAway = (tag) => ({ change: { remove_tags: [tag] }, done: `no longer tagged “${tag}”`, ofChanged: true });
