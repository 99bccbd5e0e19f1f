// An entry of a collection as a person knows it: what it is called, what is known of it, where its pictures are.

import { words } from "../dom.js";

const NAMING = ["caption", "title"];
const HIDDEN = new Set(["filename", "tags"]); // shown as name and as chips
// an uploaded file is called by its hash on disk, by its own name in its metadata
const UPLOADED = /(?:^|[\\/])uploads[\\/][^\\/]+[\\/][0-9a-f]{2}[\\/][0-9a-f]{64}[^\\/]*$/;

const namingKey = (entry) => NAMING.find((key) => entry.metadata[key]);

export const isUpload = (entry) => UPLOADED.test(entry.path ?? "");

// What its file is called where it is kept as a file.
export const calledOf = (entry) => words(entry.metadata.filename ?? fileName(entry.path) ?? `picture-${entry.id}`);

export const folderOf = (path) => path.replace(/[\\/][^\\/]*$/, "") || "/";

export const fileName = (path) => path?.split(/[\\/]/).pop();

export function nameOf(entry) {
  const { metadata } = entry;
  const file = metadata.filename || (isUpload(entry) ? null : fileName(entry.path));
  return words(metadata[namingKey(entry)] ?? entry.text ?? entry.external_id ?? file ?? `Picture ${entry.id}`);
}

// When it was taken, on the clock of that place, and where that was only if its file names it.
export const takenOf = (entry) => entry.taken?.replace("T", " ").replace(/[+-]\d\d:\d\d$/, " UTC$&") ?? null;

// What else there is to say: pairs of a word and a text, without what the name says already.
export function factsOf(entry) {
  const naming = namingKey(entry);
  const rest = Object.entries(entry.metadata).filter(([key]) => key !== naming && !HIDDEN.has(key));
  return [
    entry.taken ? ["Taken", takenOf(entry)] : null,
    entry.width ? ["Size", `${entry.width} × ${entry.height} pixels`] : null,
    ...rest.map(([key, value]) => [key, value === null ? "" : words(value)]),
  ].filter((fact) => fact && fact[1] !== "");
}

export const tagsOf = (entry) => {
  const { tags } = entry.metadata;
  return (Array.isArray(tags) ? tags : tags ? [tags] : []).map(words);
};

export function sized(url, side) {
  return `${url}${url.includes("?") ? "&" : "?"}size=${side}`;
}

export const aspectOf = (entry) => (entry.width && entry.height ? entry.width / entry.height : 1);
