// All pictures of a collection as the service sends them, the newest first: ids, days and shapes as typed arrays that
// lie in the answer itself. docs/api.md tells the format under Columns. Knows no document.

const PLACES = 1; // flags
const WIDE = 2;
const FIRST_DAY = Date.UTC(1899, 11, 31);
const SHAPES = Float32Array.from({ length: 256 }, (_, code) => (code ? 2 ** ((code - 128) / 32) : 1));

export class Columns {
  constructor(buffer, tag) {
    const head = new DataView(buffer);
    if (buffer.byteLength < 16 || head.getUint32(0, false) !== 0x676c6331) throw new Error("The service sent no columns");
    this.tag = tag;
    this.count = head.getUint32(4, true);
    const flags = head.getUint32(8, true);
    let at = 16;
    const next = (kind, each = 1) => {
      const column = new kind(buffer, at, this.count * each);
      at += column.byteLength;
      return column;
    };
    this.ids = next(flags & WIDE ? Float64Array : Uint32Array);
    this.places = flags & PLACES ? next(Uint16Array, 2) : null;
    this.days = next(Uint16Array);
    this.shapes = next(Uint8Array);
    this.clusters = flags & PLACES ? next(Uint8Array) : null;
  }

  aspect(i) {
    return SHAPES[this.shapes[i]];
  }
}

// Of a day that is known: its first moment, in UTC.
export const dateOf = (day) => new Date(FIRST_DAY + day * 86_400_000);

// The columns of a collection; a browser that has them asks only whether they are still so.
export async function columnsOf(api, collection, options) {
  const early = begun?.collection === collection ? begun.answer : null;
  begun = null;
  const columns = (await early) ?? (await fetched(api, collection, options));
  options?.signal?.throwIfAborted(); // what was asked for early goes on all the same
  return columns;
}

let begun = null; // {collection, answer}: what was asked for before there was a view to take it

export function beginColumns(api, collection) {
  begun = { collection, answer: fetched(api, collection).catch(() => null) }; // why not is told to who asks in earnest
}

async function fetched(api, collection, { signal } = {}) {
  const { body, headers } = await api.raw(api.of(collection, "columns"), "arrayBuffer", { signal });
  return new Columns(body, headers.get("ETag"));
}

// The places, ascending, of the pictures that pass a filter; null if the columns are no longer those of the collection.
export async function placesAmong(api, collection, columns, filter, { signal } = {}) {
  const { body, headers } = await api.raw(`${api.of(collection, "columns")}/bitmap`, "arrayBuffer", {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ filter }), signal,
  });
  if (headers.get("ETag") !== columns.tag) return null;
  const bytes = new Uint8Array(body);
  const places = new Uint32Array(columns.count);
  let found = 0;
  for (let byte = 0; byte < bytes.length; byte++) {
    for (let bits = bytes[byte], place = byte * 8; bits; bits >>= 1, place++) if (bits & 1) places[found++] = place;
  }
  return places.subarray(0, found);
}
