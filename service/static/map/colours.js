// What colour each point has, by its cluster or by its value of a key: a number, and what stands for it on the screen.
// The first and most frequent have colours of their own; 0 is that of all others.

import { words } from "../parts/dom.js";
import { nameOfCluster } from "./mapped.js";

const LIGHT = "2f7f6b c2562e 4a6fb3 b08a1e 8a5aa8 3c93a6 b5476b 6f8a2f 7a6048 d17f3a 5a57b8 2e9a5c a04f9a 8f3b3b 4d7a91".split(" ");
const DARK = "63c3a7 f0916b 86a9ef e0bf5f c49be2 74cbdc ee86a8 aecb6a c0a488 f2b173 9d9af2 71d69c dc90d5 dd8585 92bcd4".split(" ");
const OTHER = { light: "a3aaa6", dark: "5d6762" };
const VALUES = 12; // of a key that have a colour

export const dark = matchMedia("(prefers-color-scheme: dark)");

const palette = () => [dark.matches ? OTHER.dark : OTHER.light, ...(dark.matches ? DARK : LIGHT)];

export const css = (code) => `#${palette()[code]}`;

// All of them, [r, g, b] of 0 to 1.
export const rgbs = () => palette().map((hex) => [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255));

// {codes, legend}: the number of each picture's colour, and what has which: [{text, code, size}] with the cluster, or the
// key and value; `other` for the rest.
export const codesBy = (map, key, signal) => (key ? byValue(map, key, signal) : byCluster(map));

function byCluster({ count, columns: { clusters }, about }) {
  const shown = Math.min(about.clusters.length, LIGHT.length);
  const codes = new Uint8Array(count);
  for (let i = 0; i < count; i++) codes[i] = clusters[i] <= shown ? clusters[i] : 0;
  const sizes = new Uint32Array(256);
  for (const each of clusters) sizes[each] += 1; // as they are now: more may have come
  const legend = about.clusters.map((cluster) => (
    { cluster, code: cluster.number <= shown ? cluster.number : 0, size: sizes[cluster.number], text: nameOfCluster(cluster) }));
  return { codes, legend };
}

async function byValue(map, key, signal) {
  const { api } = map.app;
  const { hits } = await api.post(api.of(map.collection, "facet"), { key, limit: VALUES }, { signal });
  const found = await Promise.all(hits.map(({ value }) => map.passing({ must: [{ key, match: { value } }] }, signal)));
  const codes = new Uint8Array(map.count);
  found.forEach((places, i) => places.forEach((place) => (codes[place] ||= i + 1)));
  const legend = hits.map(({ value, count: size }, i) => ({ value, key, code: i + 1, size, text: words(value) }));
  const rest = codes.reduce((sum, code) => sum + (code === 0), 0);
  if (rest) legend.push({ code: 0, size: rest, text: "other", other: true });
  return { codes, legend };
}
