// Changing many pictures at once, and what is told of it.

import { count } from "../dom.js";
import { nameOf } from "../picture/entry.js";
import { recordsOf } from "./sources.js";

const CHANGED = 5000; // entries in one request
const NAMED = 3; // of those that could not be changed

// Change pictures, and say how far it is and how it ended. A way is {change, done, ofChanged}: a change as the API's PATCH
// takes it, what the pictures are then, as in "tagged “sea”", and whether that is said of those alone that were otherwise
// before. Where there is a way `back` it is offered to take the change back, from those pictures alone that it has
// changed. onChanged(ids): they may be otherwise; it is called of each way.
export async function changeAll(app, collection, ids, way, { back = null, onChanged = () => {} } = {}) {
  let there = 0;
  let told = 0;
  let refused = 0;
  const changed = [];
  const first = []; // of those that were refused
  const undo = () => changeAll(app, collection, changed, back, { back: way, onChanged })
    .catch((error) => app.say(error.message, { kind: "bad", again: error.final ? null : undo }));
  try {
    for (let at = 0; at < ids.length; at += CHANGED) {
      const body = { ...way.change, filter: { must: [{ has_id: ids.slice(at, at + CHANGED) }] }, list_changed: Boolean(back) };
      const answer = await app.api.patch(app.api.of(collection, "entries"), body);
      there += answer.changed + answer.unchanged;
      told += way.ofChanged ? answer.changed : answer.changed + answer.unchanged;
      refused += answer.refused;
      changed.push(...answer.changed_ids);
      first.push(...answer.first_refused.slice(0, NAMED - first.length));
      if (ids.length > CHANGED) app.say(`${there.toLocaleString("en")} of ${ids.length.toLocaleString("en")} ${way.done}…`, { kind: "busy" });
    }
    const gone = ids.length - there - refused;
    const said = [
      (told || !(refused || gone)) && `${count(told, "picture")} ${way.done}`,
      refused && notDone(refused, await namesOf(app.api, collection, first.map(({ id }) => id)), await app.api.inWords(first[0].error)),
      gone && `${count(gone, "is", "are")} no longer there`,
    ].filter(Boolean);
    app.say(`${said.join(" · ")}.`, { kind: refused ? "bad" : "plain", undo: changed.length ? undo : null });
  } finally {
    await onChanged(ids);
  }
}

const KEPT = new Set(["filename", "tags"]); // keys of the service's own

// A label: a value of a key of the metadata.
export async function labelAll(app, collection, ids, key, value, more) {
  if (KEPT.has(key)) throw new Error(`The key ${key} is the service's own: choose another${key === "tags" ? ", or select pictures and tag them" : ""}.`);
  await changeAll(app, collection, ids, { change: { metadata: { [key]: value } }, done: `labelled ${key}: ${value}` }, more);
}

// What could not be done with some pictures, the first of which have these names, and why not.
export function notDone(number, names, why) {
  const rest = number - names.length;
  return `${number.toLocaleString("en")} could not be: ${names.join(", ")}${rest ? ` and ${rest.toLocaleString("en")} more` : ""} (${why})`;
}

async function namesOf(api, collection, ids) {
  const records = await recordsOf(api, collection, ids).catch(() => []);
  return ids.map((id) => nameOf(records.find((record) => record.id === id) ?? { id, metadata: {} }));
}
