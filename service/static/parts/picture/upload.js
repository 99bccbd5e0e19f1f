// Files of this machine into a collection: sent a few at a time so that the page can say how far it is.

import { pause } from "../dom.js";
import { isPicture } from "./given.js";

const FILES = 8; // in one request
const TRIES = 10; // of one that broke off: what came of it all the same is there already
const WAIT = 3000; // ms between them
const BYTES = 24_000_000; // together, unless one alone is larger

// Send them. tell({done, total, failed}) after each request. Resolves to {added, had, failed: [{name, error}], other}:
// `had` were there already, `other` were no pictures.
export async function upload(api, collection, files, { tell = () => {}, signal } = {}) {
  const pictures = files.filter(isPicture);
  const report = { added: 0, had: 0, failed: [], other: files.length - pictures.length };
  let done = 0;
  tell({ done, total: pictures.length, failed: 0 });
  for (const some of batches(pictures)) {
    for (const result of await send(api, collection, some, signal)) {
      if (result.error) report.failed.push(result);
      else report[result.created ? "added" : "had"] += 1;
    }
    done += some.length;
    tell({ done, total: pictures.length, failed: report.failed.length });
  }
  return report;
}

function* batches(files) {
  let some = [];
  let bytes = 0;
  for (const file of files) {
    if (some.length && (some.length === FILES || bytes + file.size > BYTES)) {
      yield some;
      some = [];
      bytes = 0;
    }
    some.push(file);
    bytes += file.size;
  }
  if (some.length) yield some;
}

async function send(api, collection, files, signal) {
  const form = new FormData();
  for (const file of files) form.append("file", file, file.name);
  for (let tries = 0; ; tries++) {
    try {
      return (await api.post(api.of(collection, "images"), form, { signal })).results;
    } catch (error) {
      const lost = error.status ? [] : await unreadable(files); // the browser says no more than that nothing was sent
      if (lost.length) {
        const rest = files.filter((file) => !lost.includes(file));
        const told = lost.map(({ name }) => ({ name, error: "it is no longer there, or may not be opened" }));
        return rest.length ? [...told, ...(await send(api, collection, rest, signal))] : told;
      }
      if (error.passes && tries < TRIES) await pause(WAIT);
      else if (error.status === 422 || error.status === 413) {
        if (files.length === 1) return [{ name: files[0].name, error: error.message }];
        const each = [];
        for (const file of files) each.push(...(await send(api, collection, [file], signal)));
        return each;
      } else throw error;
    }
  }
}

async function unreadable(files) {
  const isLost = await Promise.all(files.map((file) => file.slice(0, 1).arrayBuffer().then(() => false, () => true)));
  return files.filter((_, i) => isLost[i]);
}
