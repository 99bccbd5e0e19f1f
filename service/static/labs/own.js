// Pictures of the collection as anchor, positive and negatives: chosen by a person, else an anchor with its neighbours.
// The anchor lies in the middle, each other as far from it as the angle between their own vectors.

import { el, fill, icon, svg } from "../parts/dom.js";
import { nameOf, sized } from "../parts/picture/entry.js";
import { pickPictures } from "../parts/picture/picker.js";
import { tips } from "./figure.js";
import { forces } from "./lab.js";
import { reach } from "./points.js";

const NEGATIVES = 8;
const EDGE = 148;
const RADIUS = 116; // of the widest angle
const NARROWEST = 0.5; // radians that are drawn at least
const SIDE = 40;
const RANKS = [1, 6, 20, 58]; // of the anchor's neighbours, which are its negatives where nobody chose

const all = ({ anchor, positive, negatives }) => [anchor, positive, ...negatives];

export class OwnPictures {
  constructor(app, { onChange }) {
    Object.assign(this, { app, onChange, ids: null, learned: null, entries: new Map(), sources: new Map() });
    this.rings = svg("g");
    this.marks = svg("g");
    this.tips = tips("own");
    this.element = svg("svg", { class: "figure own", viewBox: `${-EDGE} ${-EDGE} ${2 * EDGE} ${2 * EDGE}`, role: "img", "aria-label": "Pictures by their angle from the anchor" },
      this.tips.element,
      this.rings, this.marks);
    this.choosing = el("div", { class: "choosing" });
  }

  // What the address names, else an anchor of the collection with its neighbours; the model's learned temperature. null:
  // none are wanted.
  async show(address, signal) {
    const { app } = this;
    const collection = app.collection();
    if (address.get("space") !== "pictures" || !collection) return null;
    if (this.collection !== collection) {
      Object.assign(this, { collection, learned: null, ids: null });
      this.entries.clear();
    }
    const ids = (key) => address.getAll(key).map(Number).filter((id) => Number.isSafeInteger(id) && id > 0).slice(0, NEGATIVES);
    let wanted = { anchor: ids("a")[0], positive: ids("pos")[0], negatives: ids("neg") };
    if (!wanted.anchor || !wanted.positive || !wanted.negatives.length) wanted = await this.#begin(wanted, signal);
    const learned = this.learned ?? (await this.#learned(collection, signal));
    await Promise.all(all(wanted).map((id) => this.#entry(id, signal)));
    signal.throwIfAborted(); // others are wanted by now
    Object.assign(this, { ids: wanted, learned });
    this.letGo(all(wanted));
    this.#choices();
    return learned;
  }

  async #begin({ anchor, positive, negatives }, signal) {
    const { api } = this.app;
    if (!anchor) {
      const { entries } = await api.get(`${api.of(this.collection, "images")}?limit=1`, { signal });
      if (!entries.length) throw new Error("There are no pictures in this collection yet.");
      anchor = entries[0].id;
    }
    const { hits } = await api.post(api.of(this.collection, "search"), { id: anchor, limit: 60 }, { signal });
    if (hits.length < 2) throw new Error("A collection of three pictures or more is needed here.");
    for (const hit of hits) this.entries.set(hit.id, hit);
    return {
      anchor,
      positive: positive ?? hits[0].id,
      negatives: negatives.length ? negatives : [...new Set(RANKS.map((rank) => hits[Math.min(rank, hits.length - 1)].id))],
    };
  }

  async #learned(collection, signal) {
    const name = this.app.collections().find((each) => each.name === collection)?.model;
    const { data } = await this.app.api.get("v1/models", { signal });
    const scale = data.find(({ id }) => id === name)?.logit_scale;
    return scale ? 1 / scale : null;
  }

  async #entry(id, signal) {
    const { api } = this.app;
    if (!this.entries.has(id)) this.entries.set(id, await api.get(api.of(this.collection, "images", id), { signal }));
    const url = sized(this.entries.get(id).thumbnail_url, 128);
    if (!this.sources.has(url)) this.sources.set(url, await api.source(url, { signal }));
  }

  #source(id) {
    return this.sources.get(sized(this.entries.get(id)?.thumbnail_url ?? "", 128)) ?? "";
  }

  // What was fetched with a key is held for as long as it is drawn again and again: all but that of some pictures goes.
  letGo(but = []) {
    const wanted = new Set(but.map((id) => this.#source(id)));
    for (const [url, source] of this.sources) {
      if (wanted.has(source)) continue;
      if (source !== url) URL.revokeObjectURL(source);
      this.sources.delete(url);
    }
  }

  async look(settings) {
    if (!this.ids) return null;
    const { anchor, positive, negatives } = this.ids;
    return forces(this.app, { ...settings, pictures: { collection: this.collection, anchors: [anchor], others: [positive, ...negatives] } });
  }

  #choices() {
    const { anchor, positive, negatives } = this.ids;
    const put = (changes) => this.app.navigate({ space: "pictures", a: anchor, pos: positive, neg: negatives, ...changes });
    const pick = async (title, most, use) => {
      const found = await pickPictures(this.app, { title, most });
      for (const entry of found) this.entries.set(entry.id, entry);
      if (found.length) put(use(found.map(({ id }) => id)));
    };
    const one = (id, kind, name, use, remove) => {
      const entry = this.entries.get(id);
      return el("span", { class: `one ${kind}` },
        el("button", { type: "button", title: `${name}: ${nameOf(entry)}. Choose another.`, "aria-label": `${name}: ${nameOf(entry)}. Choose another.`, onclick: () => pick(`Choose the ${name.toLowerCase()}`, 1, use) },
          el("img", { src: this.#source(id), alt: "" }), el("span", {}, name)),
        remove && el("button", { type: "button", class: "off", "aria-label": `Take ${name.toLowerCase()} away`, onclick: remove }, icon("close")));
    };
    fill(this.choosing,
      one(anchor, "anchor", "Anchor", ([a]) => ({ a, pos: null, neg: null })),
      one(positive, "positive", "Positive", ([pos]) => ({ pos })),
      ...negatives.map((id, i) => one(id, "negative", `Negative ${i + 1}`, ([neg]) => ({ neg: negatives.map((each) => (each === id ? neg : each)) }),
        negatives.length > 1 && (() => put({ neg: negatives.filter((each) => each !== id) })))),
      negatives.length < NEGATIVES && el("button", { type: "button", class: "button icon", "aria-label": "Add negatives", title: "Add negatives",
        onclick: () => pick("Choose negatives", NEGATIVES - negatives.length, (ids) => ({ neg: [...new Set([...negatives, ...ids])] })) }, icon("plus")));
  }

  draw(felt) {
    if (!felt || felt.gradients || !this.ids) {
      this.marks.replaceChildren();
      return;
    }
    const picture = (id, x, y, kind, side) => [
      svg("rect", { x: x - side / 2 - 2, y: y - side / 2 - 2, width: side + 4, height: side + 4, rx: 7, class: `frame ${kind}` }),
      svg("image", { x: x - side / 2, y: y - side / 2, width: side, height: side, href: this.#source(id), preserveAspectRatio: "xMidYMid meet" }),
    ];
    const [, ...others] = all(this.ids);
    const angles = felt.cosines.map((cosine) => Math.acos(Math.max(-1, Math.min(1, cosine))));
    const scale = RADIUS / Math.max(NARROWEST, ...angles);
    this.#ring(scale);
    const lines = [];
    const drawn = others.map((id, i) => {
      const kind = i ? "negative" : "positive";
      const around = ((i / others.length) * 2 - 0.5) * Math.PI + 0.6;
      const [along, across] = [Math.cos(around), Math.sin(around)];
      const far = angles[i] * scale;
      const force = felt.pulls[i] * Math.sin(angles[i]); // of the vector itself, along the great circle to the anchor
      const long = reach(Math.abs(force)) * 60 * -Math.sign(force);
      if (Math.abs(long) > 1.5) {
        const from = far + Math.sign(long) * (SIDE / 2 - 6);
        lines.push(svg("line", { x1: along * from, y1: across * from, x2: along * (from + long), y2: across * (from + long), class: kind, "marker-end": this.tips.of(kind) }));
      }
      return svg("g", {}, svg("title", {}, nameOf(this.entries.get(id))), ...picture(id, along * far, across * far, kind, SIDE));
    });
    this.marks.replaceChildren(svg("g", {}, ...picture(this.ids.anchor, 0, 0, "anchor", SIDE)), ...drawn, ...lines);
  }

  // Circles of equal angle, as many as fit.
  #ring(scale) {
    const fit = [15, 30, 45, 60, 90, 120, 150].map((degrees) => [degrees, (degrees * Math.PI * scale) / 180]).filter(([, r]) => r > 34 && r < EDGE - 12);
    const some = fit.filter((_, i) => fit.length <= 3 || i % 2 === fit.length % 2);
    this.rings.replaceChildren(...some.flatMap(([degrees, r]) => [svg("circle", { r, class: "net" }), svg("text", { y: -r - 3, class: "degrees" }, `${degrees}°`)]));
  }
}
