// One picture of the map and what is around it: which of its neighbours a loss would pull nearer and which it would push
// away, as lines on the surface and as a card that lies over it.

import { el, fill, set, tool, words } from "../parts/dom.js";
import { noteOf } from "../parts/grid/fit.js";
import { nameOf } from "../parts/picture/entry.js";
import { forcesOf } from "./forces.js";
import { nameOfCluster } from "./mapped.js";

const AROUND = 200; // neighbours of a picture that are looked at

export class Neighbours {
  // surface: null where none can be drawn
  constructor(app, surface) {
    Object.assign(this, { app, surface });
    this.card = el("aside", { class: "card", "aria-label": "The chosen picture", hidden: true });
  }

  hide() {
    if (this.card.contains(document.activeElement)) this.surface?.root.focus();
    this.card.hidden = true;
    this.surface?.setLinks(null);
  }

  // Those of the picture in a place of the columns; what belongs together has the same value of a key, or by default the
  // same cluster.
  async show(map, from, key, signal) {
    const { api, info } = this.app;
    this.card.hidden = false;
    const id = map.columns.ids[from];
    const [record] = await map.remembered([id]);
    signal.throwIfAborted();
    if (!record) return;
    const { hits } = await api.post(api.of(map.collection, "search"), { query: [{ id }], limit: AROUND }, { signal });
    hits.forEach((hit) => map.records.set(hit.id, hit));
    const places = map.placesOf(hits.map((hit) => hit.id));
    const near = hits.filter((hit) => places.has(hit.id) && map.hasPlace(places.get(hit.id)));
    const own = key ? valueOf(record, key) : map.columns.clusters[from];
    const belongs = (each) => (key ? own !== undefined && valueOf(map.records.get(each), key) === own : map.columns.clusters[places.get(each)] === own);
    const { positives, negatives } = forcesOf(near, belongs, info?.logit_scale ?? 100);
    const link = (kind) => (each) => ({ i: places.get(each.id), weight: each.share, kind });
    this.#fill(map, record, key, own, positives, negatives);
    if (!this.surface) return;
    this.surface.setLinks({ from, to: [...negatives.map(link("push")), ...positives.map(link("pull"))] });
    const beside = this.card.offsetWidth < this.surface.width * 0.8;
    this.surface.reveal(beside ? { right: this.card.offsetWidth } : { bottom: this.card.offsetHeight });
    this.surface.moved({ told: false });
  }

  #fill(map, record, key, own, positives, negatives) {
    const { app } = this;
    const picture = el("img", { class: "large", alt: nameOf(record) });
    app.api.show(picture, map.thumbnail(record.id, 256)).catch(() => picture.remove());
    const cluster = !key && map.cluster(own);
    const what = key ? (own === undefined ? `This picture has no ${key}.` : `${key}: ${own}`) : cluster ? nameOfCluster(cluster) : "";
    const list = (heading, each, kind, text) => [
      el("h3", { class: kind }, heading), el("p", { class: "hint" }, text),
      el("ul", { class: "forces" }, each.map((one) => this.#row(map, one, kind)))];
    const focused = this.card.contains(document.activeElement); // what is replaced takes the keyboard with it
    set(this.card, { hidden: false });
    fill(this.card,
      el("header", {}, el("h2", {}, nameOf(record)), tool("close", "Close", () => app.navigate({ near: null }))),
      picture, what && el("p", { class: "what" }, what),
      el("p", { class: "acts" },
        el("a", { class: "button", href: app.href({ open: record.id }) }, "Open"),
        el("a", { class: "button", href: app.href({ v: null, c: map.collection, like: record.id }, new URLSearchParams()) }, "More like this")),
      ...list("Pulled nearer", positives, "pull", positives.length ? (key ? `Nearest with the same ${key}` : "Nearest of the same cluster") : (key ? `No near picture has the same ${key}.` : "No near picture is of its cluster.")),
      ...list("Pushed away", negatives, "push", negatives.length ? (key ? `Hardest negatives: nearest with another ${key}` : "Hardest negatives: nearest of other clusters") : "None of the nearest is another."),
      el("p", { class: "hint" }, "What a contrastive loss would do, at this model's temperature: each push is its share of all, each pull what is missing to certainty."));
    if (focused) this.card.querySelector("button").focus();
  }

  #row(map, one, kind) {
    const image = el("img", { alt: "", width: 44, height: 44 });
    this.app.api.show(image, map.thumbnail(one.id, 128)).catch(() => image.remove());
    return el("li", {}, el("a", { href: this.app.href({ near: one.id, open: null }), title: noteOf(one) }, image,
      el("span", { class: "text" }, nameOf(one)), el("span", { class: "size" }, `${kind} ${Math.round(one.share * 100)} %`)));
  }
}

// The value at a dotted key of a record's metadata, as words.
function valueOf(record, key) {
  const value = key.split(".").reduce((inside, part) => inside?.[part], record?.metadata);
  return value === undefined ? undefined : words(value);
}
