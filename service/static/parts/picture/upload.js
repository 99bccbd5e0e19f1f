// Files of this machine into a collection: sent a few at a time so that the page can say how far it is.

import { pause } from "../dom.js";
import { isPicture } from "./given.js";

const FILES = 8; // in one request
const TRIES = 10; // of one that broke off: what came of it all the same is there already
const WAIT = 3000; // ms between them
const BYTES = 24_000_000; // together, unless one alone is larger

// Send them. tell({done, total}) after each request. Resolves to {added, had, failed: [{name, error}], other, left,
// error}: `had` were there already, `other` were no pictures; `left` are the files that were not sent, since `signal`
// ended it, or an error.
export async function upload(api, collection, files, { tell = () => {}, signal } = {}) {
  const pictures = files.filter(isPicture);
  const report = { added: 0, had: 0, failed: [], other: files.length - pictures.length, left: [], error: null };
  const settled = new Set();
  const told = () => tell({ done: settled.size, total: pictures.length });
  try {
    signal?.throwIfAborted();
    told();
    for (const some of batches(pictures)) {
      for await (const [file, { name, error, created }] of send(api, collection, some, signal)) {
        settled.add(file);
        if (error) report.failed.push({ name, error });
        else report[created ? "added" : "had"] += 1;
      }
      told();
    }
  } catch (error) {
    report.left = pictures.filter((file) => !settled.has(file));
    if (!signal?.aborted) report.error = error;
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

// Each file with what came of it, once that is known.
async function* send(api, collection, files, signal) {
  const form = new FormData();
  for (const file of files) form.append("file", file, file.name);
  for (let tries = 0; ; tries++) {
    try {
      const { results } = await api.post(api.of(collection, "images"), form, { signal });
      yield* files.map((file, i) => [file, results[i]]);
      return;
    } catch (error) {
      signal?.throwIfAborted();
      const lost = error.status ? [] : await unreadable(files); // the browser says no more than that nothing was sent
      if (lost.length) {
        yield* lost.map((file) => [file, { name: file.name, error: "it is no longer there, or may not be opened" }]);
        const rest = files.filter((file) => !lost.includes(file));
        if (rest.length) yield* send(api, collection, rest, signal);
        return;
      }
      if (error.passes && tries < TRIES) await pause(WAIT, signal);
      else if (error.status !== 422 && error.status !== 413) throw error;
      else if (files.length > 1) {
        for (const file of files) yield* send(api, collection, [file], signal);
        return;
      } else if (error.code === "quota_exceeded") throw error; // so it would be with all others
      else {
        yield [files[0], { name: files[0].name, error: error.message }];
        return;
      }
    }
  }
}

async function unreadable(files) {
  const isLost = await Promise.all(files.map((file) => file.slice(0, 1).arrayBuffer().then(() => false, () => true)));
  return files.filter((_, i) => isLost[i]);
}
