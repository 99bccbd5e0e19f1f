// What is asked, between the address and the REST API. Knows no document.
//
//   q=words, qw=their weight     not=words to lead away from
//   like=12, like=12:-0.5        an entry, with a weight: below 0 for "less like this"; may be there several times
//   img=3:0.5                    an image that this tab holds, likewise
//   f=colour:red                 a value of a key of the metadata; several of one key: any of them
//   r=year:2010..2012            a range of a key's numbers
//   in=/photos/2024              a folder and all below it; from=2024-05-01, to=2024-06-30: when it was taken
//   k=24                         at most so many results; open=12: the picture that is open

export const AWAY = -0.5; // the weight of what is led away from: at -1 little is left of what is looked for

const images = new Map(); // key -> {name, base64, url}: what was dropped or pasted lives only in this tab
let next = 1;

// The key of an image that was dropped, pasted or chosen. Rejects with what to tell if it cannot be read.
export function keep(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => {
      const base64 = reader.result.slice(reader.result.indexOf(",") + 1);
      images.set(String(next), { name: file.name || "image", base64, url: URL.createObjectURL(file) });
      resolve(String(next++));
    });
    reader.addEventListener("error", () => reject(new Error(`${file.name} cannot be read`)));
    reader.readAsDataURL(file);
  });
}

export const kept = (key) => images.get(key);

// "12:-0.5" to ["12", -0.5]
function weighted(text) {
  const [id, weight] = text.split(":");
  const number = Number(weight ?? 1);
  return [id, Number.isFinite(number) ? Math.max(-2, Math.min(2, number)) : 1];
}

export const withWeight = (id, weight) => (weight === 1 ? String(id) : `${id}:${Math.round(weight * 100) / 100}`);

// A value of the metadata keeps its kind: 5 is a number, "5" in quotes a text.
export function filterText(key, value) {
  return `${quoted(key)}:${typeof value === "string" && isPlain(value) ? value : JSON.stringify(value)}`;
}

export const rangeText = (key, low, high) => `${quoted(key)}:${low}..${high}`;

const quoted = (key) => key.replaceAll("%", "%25").replaceAll(":", "%3A");

function isPlain(text) {
  try {
    return typeof JSON.parse(text) === "object" && JSON.parse(text) !== null;
  } catch {
    return true;
  }
}

function pairOf(text) {
  const at = text.indexOf(":");
  return at < 0 ? [text, ""] : [text.slice(0, at).replaceAll("%3A", ":").replaceAll("%25", "%"), text.slice(at + 1)];
}

function filterOf(text) {
  const [key, value] = pairOf(text);
  let parsed = value;
  if (!isPlain(value)) parsed = JSON.parse(value);
  return { key, value: parsed, text };
}

function rangeOf(text) {
  const [key, bounds] = pairOf(text);
  const [low, high] = bounds.split("..").map((each) => (each === "" || each === undefined ? null : Number(each)));
  return { key, low: Number.isFinite(low) ? low : null, high: Number.isFinite(high) ? high : null, text };
}

export function readQuery(address) {
  const weight = Number(address.get("qw") ?? 1);
  const ids = address.getAll("like").map(weighted).map(([id, w]) => ({ id: Number(id), weight: w }));
  const limit = Number(address.get("k"));
  const open = Number(address.get("open"));
  return {
    words: (address.get("q") ?? "").trim(),
    weight: Number.isFinite(weight) ? weight : 1,
    not: (address.get("not") ?? "").trim(),
    likes: ids.filter(({ id }) => Number.isSafeInteger(id) && id > 0),
    images: address.getAll("img").map(weighted).map(([key, w]) => ({ key, weight: w })).filter(({ key }) => images.has(key)),
    filters: address.getAll("f").map(filterOf),
    ranges: address.getAll("r").map(rangeOf),
    folder: address.get("in"),
    from: address.get("from"),
    to: address.get("to"),
    limit: Number.isSafeInteger(limit) && limit > 0 ? limit : null,
    open: Number.isSafeInteger(open) && open > 0 ? open : null,
  };
}

// The parts of a search, as the API takes them; empty: nothing is looked for.
export function partsOf(query) {
  return [
    query.words && { text: query.words, weight: query.weight },
    ...query.images.map(({ key, weight }) => ({ image: images.get(key).base64, weight })),
    ...query.likes,
    query.not && { text: query.not, weight: AWAY },
  ].filter(Boolean);
}

// The filter, in the API's grammar; null: none. `except`: without what is asked of that key.
export function conditionsOf(query, except = null) {
  const any = new Map();
  for (const { key, value } of query.filters) any.set(key, [...(any.get(key) ?? []), value]);
  const must = [...any].map(([key, values]) => ({ key, match: { any: values } }));
  for (const { key, low, high } of query.ranges) {
    const range = { ...(low !== null && { gte: low }), ...(high !== null && { lte: high }) };
    if (Object.keys(range).length) must.push({ key, range });
  }
  if (query.folder) must.push({ key: "file.folder", match: { value: query.folder } });
  const taken = { ...(query.from && { gte: query.from }), ...(query.to && { lt: `${query.to}T24` }) };
  if (query.from || query.to) must.push({ key: "file.taken", range: taken });
  const wanted = must.filter(({ key }) => key !== except);
  return wanted.length ? { must: wanted } : null;
}
