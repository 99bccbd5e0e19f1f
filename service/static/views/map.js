// The map: the collection in two dimensions, each picture a point among those that are like it. The address holds what
// is seen of it:
//
//   at=x,y,zoom        where one looks
//   by=colour          the key of the metadata that colours the points; none: their clusters
//   q=words            what fits is lit; so is what passes the filters of parts/query.js (f, r, in, from, to)
//   sel=x,y;x,y;x,y    the pictures in this outline, shown below as a grid; sel=c3: those of cluster 3
//   near=12            the picture whose neighbours are pulled and pushed
//   open=12            the picture that is open

import { forcesOf } from "../map/forces.js";
import { simplified } from "../map/space.js";
import { Surface } from "../map/surface.js";
import { afterPaint, count, el, fill, icon, set, words } from "../parts/dom.js";
import { columnsOf, placesAmong } from "../parts/grid/columns.js";
import { FITS, noteOf } from "../parts/grid/fit.js";
import { Grid } from "../parts/grid/grid.js";
import { Selection } from "../parts/grid/selection.js";
import { Browse, changeAll, recordsOf } from "../parts/grid/sources.js";
import { nameOf } from "../parts/picture/entry.js";
import { Viewer } from "../parts/picture/viewer.js";
import { conditionsOf, filterText, readQuery } from "../parts/query.js";
import { cameFrom } from "../router.js";

export const title = "Map";

const LIGHT = "2f7f6b c2562e 4a6fb3 b08a1e 8a5aa8 3c93a6 b5476b 6f8a2f 7a6048 d17f3a 5a57b8 2e9a5c a04f9a 8f3b3b 4d7a91".split(" ");
const DARK = "63c3a7 f0916b 86a9ef e0bf5f c49be2 74cbdc ee86a8 aecb6a c0a488 f2b173 9d9af2 71d69c dc90d5 dd8585 92bcd4".split(" ");
const OTHER = { light: "a3aaa6", dark: "5d6762" };
const VALUES = 12; // of a key that have a colour
const SORTING = 400; // different values; a key with more names pictures rather than sorts them
const NEAREST = 300; // hits that are lit by words
const AROUND = 200; // neighbours of a picture that are looked at

export function mount(root, app) {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let collection = null;
  let columns = null; // of the collection that is shown, with places
  let about = null; // GET .../map
  let keys = []; // of the metadata, that sort pictures
  let legend = []; // [{text, code, size, cluster | value}]
  let query = readQuery(new URLSearchParams());
  let now = {}; // what the address says of the map, by key
  const owed = new Set(); // keys of it that are not drawn yet: what was broken off is asked for again
  let running = null; // AbortController of what is asked for
  let here = false; // whether this view is the one that is wanted
  let picked = null; // source of the selection below
  let records = new Map(); // id -> record, of the collection that is shown

  // --- the frame ---

  const input = el("input", { class: "input", type: "search", name: "q", placeholder: "Light up what fits…", "aria-label": "Light up what fits these words", maxlength: 10000, autocomplete: "off" });
  const by = el("select", { class: "input", "aria-label": "Colour by", onchange: () => app.navigate({ by: by.value }) });
  const status = el("p", { class: "status", role: "status" });
  const tool = (name, label, act) => el("button", { type: "button", class: "button icon", "aria-label": label, title: label, onclick: act }, typeof name === "string" ? icon(name) : name);
  const lasso = el("button", { type: "button", class: "button", title: "Draw around pictures to select them; Shift and a drag do so too", "aria-pressed": "false", onclick: () => drawing(!surface.drawing) }, lassoSign(), el("span", {}, "Lasso"));
  const seen = el("button", { type: "button", class: "button", title: "Select what is in view", onclick: () => selected(surface.frame()) }, wholeSign(), el("span", {}, "Select the view"));
  const form = el("form", { class: "tools", onsubmit: (event) => {
    event.preventDefault();
    app.navigate({ q: input.value.trim(), sel: null, near: null, open: null });
  } }, input, el("label", { class: "by" }, el("span", {}, "Colour by"), by), lasso, seen, status);
  const legendBox = el("div", { class: "legend" });
  const hover = el("div", { class: "hover", hidden: true, "aria-hidden": "true" });
  const card = el("aside", { class: "card", "aria-label": "The chosen picture", hidden: true });
  const help = el("p", { class: "unseen", id: "map-keys" },
    "Arrow keys move the map, plus and minus zoom, 0 shows the whole. Enter chooses the picture nearest to the middle, S selects all that is in view.");
  const stage = el("div", { class: "stage" });
  const below = el("section", { class: "below", "aria-label": "Selected on the map", hidden: true });
  const empty = el("div", { class: "empty", hidden: true });
  root.append(el("search", {}, form), stage, below, empty, help);

  let surface = null;
  try {
    surface = new Surface({
      api: app.api,
      onMove: ({ x, y, zoom }) => app.navigate({ at: [x, y, zoom].map((each) => Math.round(each * 1000) / 1000).join(",") }, { replace: true }),
      onPick: (i) => app.navigate({ near: i < 0 ? null : columns.ids[i], sel: null, open: null }),
      onLasso: selected,
      onHover: hovered,
      thumbnail: (i) => thumbnail(columns.ids[i], 128),
    });
    stage.append(surface.root, legendBox, el("div", { class: "zooms" },
      tool("plus", "Zoom in", () => surface.zoomBy(1.6)), tool("minus", "Zoom out", () => surface.zoomBy(1 / 1.6)), tool(wholeSign(), "Show the whole", () => surface.whole())),
    hover, card);
  } catch (error) {
    surface = null;
    root.classList.add("flat");
    stage.append(el("p", { class: "flat" }, `This browser cannot draw the map (${error.message}). Its clusters, in words:`), legendBox);
    set(lasso, { hidden: true });
    set(seen, { hidden: true });
  }

  const thumbnail = (id, side) => `${app.api.of(collection, "images", id, "thumbnail")}?size=${side}`;

  function lassoSign() {
    return sign("M12 5c4.500 0 8 2 8 5s-3.500 5-8 5-8-2-8-5 3.500-5 8-5M7 14c-2 1-2 4 0 4s2 3 1 4");
  }

  function wholeSign() {
    return sign("M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5");
  }

  function sign(path) {
    const svg = icon("picture");
    svg.querySelector("path").setAttribute("d", path);
    return svg;
  }

  // --- the collection's map ---

  async function load(signal) {
    root.classList.add("busy");
    const next = await columnsOf(app.api, collection, { signal });
    about = next.places ? await app.api.get(app.api.of(collection, "map"), { signal }) : null;
    keys = (await app.api.get(app.api.of(collection, "facets"), { signal })).keys.filter(({ values }) => values > 1 && values <= SORTING);
    columns = next;
    records = new Map(); // what was asked of another collection comes into its own
    root.classList.remove("busy");
    set(form, { hidden: !about });
    set(stage, { hidden: !about });
    empty.hidden = Boolean(about);
    if (!about) {
      explain();
      return;
    }
    by.replaceChildren(new Option("cluster", ""), ...keys.map(({ key }) => new Option(key, key)));
    surface?.show(columns.places);
  }

  function explain() {
    const few = columns.count < 3;
    const read = app.info?.read_only;
    const make = (method, text, main) => el("button", { type: "button", class: main ? "button main" : "button", onclick: () => make_(method) }, text);
    fill(empty,
      el("h1", {}, "No map yet"),
      el("p", {}, "A map lays out this collection so that pictures that are alike lie together. It is made once; pictures that come later find their place by themselves."),
      few ? el("p", {}, "It needs three pictures at least: add some first.")
        : read ? el("p", {}, "This service only reads; a map is made where the collection is written: glimpse collections map.")
          : el("p", { class: "makes" }, make("pca", "Make the map", true), make("umap", "Make it by neighbourhoods")),
      !few && !read && el("p", { class: "hint" }, "The first takes seconds and shows the directions in which the pictures differ most. The second (UMAP) takes minutes and keeps neighbours together; the service needs umap-learn for it."),
    );
  }

  async function make_(method) {
    const progress = el("progress", { "aria-label": "Progress of the map" });
    empty.replaceChildren(el("h1", {}, "Making the map"), progress, el("p", { class: "hint", role: "status" }, "The words that name its clusters are looked up once a model, which takes a while the first time."));
    const of = collection;
    try {
      const job = await app.jobs.ask({ kind: "map", collection, method });
      // main.js tells of its end to all views: see changed
      await app.jobs.ended(job.id, ({ done, total }) => total && set(progress, { max: total, value: done }));
    } catch (error) {
      if (of !== collection) return;
      explain();
      app.say(`There is no map: ${error.message}`, { kind: "bad" });
    }
  }

  // What is there is asked for anew.
  function again() {
    columns = null;
    now = {};
    if (here) show(new URLSearchParams(location.search)); // else once it is: the address is another view's
  }

  // --- colours ---

  const palette = () => [dark.matches ? OTHER.dark : OTHER.light, ...(dark.matches ? DARK : LIGHT)];
  const css = (code) => `#${palette()[code]}`;
  const rgb = (hex) => [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255);

  function painted() {
    surface?.points.paint(palette().map(rgb));
    surface?.draw();
    showLegend();
  }

  dark.addEventListener("change", () => about && painted());

  async function colour(key, signal) {
    const codes = new Uint8Array(columns.count);
    if (!key) {
      const shown = Math.min(about.clusters.length, LIGHT.length);
      for (let i = 0; i < codes.length; i++) codes[i] = columns.clusters[i] <= shown ? columns.clusters[i] : 0;
      const sizes = new Uint32Array(256);
      for (const each of columns.clusters) sizes[each] += 1; // as they are now: more may have come
      legend = about.clusters.map((cluster) => ({ cluster, code: cluster.number <= shown ? cluster.number : 0, size: sizes[cluster.number], text: nameOfCluster(cluster) }));
    } else {
      const { hits } = await app.api.post(app.api.of(collection, "facet"), { key, limit: VALUES }, { signal });
      const found = await Promise.all(hits.map(({ value }) =>
        placesAmong(app.api, collection, columns, { must: [{ key, match: { value } }] }, { signal })));
      if (found.includes(null)) throw new Changed();
      found.forEach((places, i) => places.forEach((place) => (codes[place] ||= i + 1)));
      legend = hits.map(({ value, count: size }, i) => ({ value, key, code: i + 1, size, text: words(value) }));
      const rest = codes.reduce((sum, code) => sum + (code === 0), 0);
      if (rest) legend.push({ code: 0, size: rest, text: "other", other: true });
    }
    surface?.points.colour(codes);
    surface?.setNames(key ? [] : about.clusters.filter(({ words: named }) => named.length).map(clusterName));
    painted();
  }

  const nameOfCluster = (cluster) => cluster.words.slice(0, 2).join(", ") || `Cluster ${cluster.number}`;

  function clusterName(cluster) {
    const element = el("span", { class: "name", dir: "auto" }, nameOfCluster(cluster));
    return { element, x: cluster.x, y: cluster.y };
  }

  function showLegend() {
    const entry = (each) => {
      const swatch = el("span", { class: "swatch" });
      swatch.style.background = css(each.code);
      const inside = [swatch, el("span", { class: "text", dir: "auto" }, each.text), el("span", { class: "size" }, each.size.toLocaleString("en"))];
      if (each.other) return el("li", { class: "row" }, inside);
      const button = el("button", { type: "button", class: "row", "data-row": each.text, onclick: () => choose(each) }, inside);
      button.entry = each;
      return el("li", {}, button);
    };
    const focused = legendBox.contains(document.activeElement) ? document.activeElement.dataset.row : null;
    const open = legendBox.querySelector("details")?.open ?? innerWidth > 720;
    legendBox.replaceChildren(el("details", { open },
      el("summary", {}, now.by ? now.by : "Clusters"), el("ul", {}, legend.map(entry))));
    press();
    if (focused) [...legendBox.querySelectorAll("[data-row]")].find((row) => row.dataset.row === focused)?.focus();
  }

  const isChosen = (each) =>
    each.cluster ? now.sel === `c${each.cluster.number}` : query.filters.some(({ key, value }) => key === each.key && value === each.value);

  function press() {
    for (const button of legendBox.querySelectorAll("button.row")) set(button, { "aria-pressed": String(isChosen(button.entry)) });
  }

  // A cluster is selected, a value is lit.
  function choose(each) {
    const pressed = isChosen(each);
    if (each.cluster) app.navigate({ sel: pressed ? null : `c${each.cluster.number}`, near: null, open: null });
    else {
      const others = query.filters.filter(({ key, value }) => key !== each.key || value !== each.value).map(({ text }) => text);
      app.navigate({ f: pressed ? others : [...others, filterText(each.key, each.value)], open: null });
    }
  }

  // --- light: what fits the words and passes the filters ---

  async function light(signal) {
    const filter = conditionsOf(query);
    if (!query.words) {
      const places = filter && (await placesAmong(app.api, collection, columns, filter, { signal }));
      if (filter && !places) throw new Changed();
      lit(places, () => 255);
      const told = places && `${count(places.length, "picture")} of ${columns.count.toLocaleString("en")} lit`;
      tell(told, places?.length && app.href({ v: null, c: collection, f: query.filters.map(({ text }) => text) }, new URLSearchParams()));
      return;
    }
    const body = { query: [{ text: query.words }], limit: NEAREST, ...(filter && { filter }) };
    const { hits, warnings } = await app.api.post(app.api.of(collection, "search"), body, { signal });
    const judged = hits.some(({ relevance }) => relevance !== null);
    const fitting = judged ? hits.filter(({ relevance }) => relevance >= FITS) : hits;
    const shown = fitting.length ? fitting : hits.slice(0, 30);
    const strength = new Map(shown.map(({ id }, rank) => [id, 255 - Math.round((180 * rank) / shown.length)]));
    const places = [];
    columns.ids.forEach((id, i) => strength.has(id) && places.push(i));
    lit(places, (i) => strength.get(columns.ids[i]));
    const most = hits.length === NEAREST && fitting.length === hits.length ? "at least " : "";
    const told = !hits.length ? "There is nothing to light" : fitting.length ? `${most}${fitting.length.toLocaleString("en")} ${judged ? "fit" : "nearest"}` : "Nothing fits well; the nearest are lit";
    tell([told, ...warnings].join(" · "), hits.length && app.href({ v: null, c: collection, q: query.words, f: query.filters.map(({ text }) => text) }, new URLSearchParams()));
  }

  // Those in these places are lit, as strongly as strength(i) says; null: none, and all are as they are.
  function lit(places, strength) {
    if (!surface) return;
    surface.favour(places && query.words ? [...places].sort((a, b) => strength(b) - strength(a)).slice(0, 40) : []);
    const bright = places && new Uint8Array(columns.count);
    places?.forEach((i) => (bright[i] = Math.max(1, strength(i))));
    surface.points.light(bright);
    surface.draw();
  }

  function tell(text, link) {
    const more = about.unplaced ? ` · ${count(about.unplaced, "picture")} came since, too many to be placed: make the map anew` : "";
    status.replaceChildren(text || count(columns.count, "picture") + more);
    if (link) status.append(" · ", el("a", { href: link }, "show as a grid"));
  }

  // --- a selection, and the grid of it ---

  function selected(polygon) {
    drawing(false);
    app.navigate({ sel: simplified(polygon).map((corner) => corner.join(",")).join(";"), near: null, open: null });
  }

  function drawing(on) {
    surface.drawing = on;
    lasso.setAttribute("aria-pressed", String(on));
    surface.root.classList.toggle("drawing", on);
  }

  class Picked extends Browse {
    constructor(places, outline) {
      super(app, collection, query);
      Object.assign(this, { columns, places, outline, known: records });
      this.named = () => grid.refresh();
    }
  }

  const heading = el("h2", { tabindex: "-1" });
  const labelKey = el("input", { class: "input", "aria-label": "Key of the label", placeholder: "key", maxlength: 200, required: true, list: "map-label-keys", autocomplete: "off" });
  const labelValue = el("input", { class: "input", "aria-label": "Label", placeholder: "label", maxlength: 200, required: true, autocomplete: "off" });
  const keyList = el("datalist", { id: "map-label-keys" });
  const labelling = el("form", { class: "labelling", onsubmit: (event) => {
    event.preventDefault();
    label();
  } }, labelKey, keyList, labelValue, el("button", { type: "submit", class: "button" }, icon("tag"), "Label them"));
  const results = el("div", { class: "results" });
  below.append(el("header", {}, heading, labelling, tool("close", "Close the selection", () => app.navigate({ sel: null, open: null }))), results);
  const grid = new Grid(results, { api: app.api, label: "Selected pictures", onSelect: (ids) => selection.show(ids, grid.source) });
  const selection = new Selection(root, {
    app,
    onClear: () => grid.clearSelection(),
    onLike: (ids) => app.navigate({ v: null, c: collection, like: ids }, { from: new URLSearchParams() }),
    onChanged: (_, { deleted }) => {
      if (deleted.length) app.changed();
      else grid.refresh();
    },
  });
  const viewer = new Viewer(root, { api: app.api, onStep: step, onClose: close, actions });

  function placesOf(sel) {
    const cluster = /^c(\d+)$/.exec(sel);
    if (cluster) {
      const number = Number(cluster[1]);
      const found = [];
      columns.clusters.forEach((each, i) => each === number && found.push(i));
      return { places: Uint32Array.from(found), outline: null };
    }
    const outline = sel.split(";").map((corner) => corner.split(",").map(Number)).filter((corner) => corner.length === 2 && corner.every(Number.isFinite));
    return { places: surface && outline.length > 2 ? surface.space.within(outline) : new Uint32Array(0), outline };
  }

  function showSelection() {
    const has = Boolean(now.sel);
    below.hidden = !has;
    root.classList.toggle("split", has);
    grid.clearSelection();
    grid.hide();
    picked = null;
    if (!has) return;
    const { places, outline } = placesOf(now.sel);
    picked = new Picked(places, outline);
    heading.textContent = places.length ? `${count(places.length, "picture")} selected` : "Nothing lies there";
    set(labelling, { hidden: !places.length || app.info?.read_only });
    keyList.replaceChildren(...keys.map(({ key }) => new Option(key)));
    labelKey.value ||= now.by ?? "";
  }

  async function label() {
    const [key, value] = [labelKey.value.trim(), labelValue.value.trim()];
    if (!key || !value) return;
    if (["filename", "tags"].includes(key)) {
      app.say(`The key ${key} is the service's own: choose another${key === "tags" ? ", or select pictures below and tag them" : ""}.`, { kind: "bad" });
      return;
    }
    const chosen = grid.selected.size ? [...grid.selected] : Array.from(picked.places, (i) => columns.ids[i]);
    try {
      await changeAll(app, collection, chosen, { metadata: { [key]: value } }, `labelled ${key}: ${value}`);
      labelValue.value = "";
      const at = new URLSearchParams(location.search).get("at");
      columns = null;
      now = {};
      app.navigate({ by: key, at }, { replace: true });
      if (new URLSearchParams(location.search).get("by") === key) show(new URLSearchParams(location.search));
    } catch (error) {
      app.say(error.message, { kind: "bad" });
    }
  }

  // --- one picture and what is around it ---

  async function anchor(id, signal) {
    card.hidden = !id;
    if (!id) {
      surface?.setLinks(null);
      return;
    }
    const from = columns.ids.indexOf(id);
    if (from < 0 || columns.places[2 * from] === 65_535) {
      app.say("This picture has no place in the map.", { kind: "bad" });
      app.navigate({ near: null }, { replace: true });
      return;
    }
    const record = (await remembered([id]))[0];
    signal.throwIfAborted();
    if (!record) return;
    const own = now.by ? valueOf(record, now.by) : columns.clusters[from];
    const { hits } = await app.api.post(app.api.of(collection, "search"), { query: [{ id }], limit: AROUND }, { signal });
    hits.forEach((hit) => records.set(hit.id, hit));
    const place = new Map();
    const wanted = new Set(hits.map((hit) => hit.id));
    columns.ids.forEach((each, i) => wanted.has(each) && place.set(each, i));
    const near = hits.filter((hit) => place.has(hit.id) && columns.places[2 * place.get(hit.id)] !== 65_535);
    const belongs = (each) => (now.by ? own !== undefined && valueOf(records.get(each), now.by) === own : columns.clusters[place.get(each)] === own);
    const { positives, negatives } = forcesOf(near, belongs, app.info?.logit_scale ?? 100);
    const link = (kind) => (each) => ({ i: place.get(each.id), weight: each.share, kind });
    surface?.setLinks({ from, to: [...negatives.map(link("push")), ...positives.map(link("pull"))] });
    showCard(record, own, positives, negatives);
    const beside = card.offsetWidth < stage.clientWidth * 0.8;
    surface?.reveal(beside ? { right: card.offsetWidth } : { bottom: card.offsetHeight });
    surface?.moved({ told: false });
  }

  const valueOf = (record, key) => {
    const value = key.split(".").reduce((inside, part) => inside?.[part], record?.metadata);
    return value === undefined ? undefined : words(value);
  };

  function showCard(record, own, positives, negatives) {
    const picture = el("img", { class: "large", alt: nameOf(record) });
    app.api.show(picture, thumbnail(record.id, 256)).catch(() => picture.remove());
    const cluster = !now.by && about.clusters.find(({ number }) => number === own);
    const what = now.by ? (own === undefined ? `This picture has no ${now.by}.` : `${now.by}: ${own}`) : cluster ? nameOfCluster(cluster) : "";
    const list = (heading_, each, kind, text) => [
      el("h3", { class: kind }, heading_), el("p", { class: "hint" }, text),
      el("ul", { class: "forces" }, each.map((one) => row(one, kind)))];
    set(card, { hidden: false });
    fill(card,
      el("header", {}, el("h2", {}, nameOf(record)), tool("close", "Close", () => app.navigate({ near: null }))),
      picture, what && el("p", { class: "what" }, what),
      el("p", { class: "acts" },
        el("a", { class: "button", href: app.href({ open: record.id }) }, "Open"),
        el("a", { class: "button", href: app.href({ v: null, c: collection, like: record.id }, new URLSearchParams()) }, "More like this")),
      ...list("Pulled nearer", positives, "pull", positives.length ? (now.by ? `Nearest with the same ${now.by}` : "Nearest of the same cluster") : (now.by ? `No near picture has the same ${now.by}.` : "No near picture is of its cluster.")),
      ...list("Pushed away", negatives, "push", negatives.length ? (now.by ? `Hardest negatives: nearest with another ${now.by}` : "Hardest negatives: nearest of other clusters") : "None of the nearest is another."),
      el("p", { class: "hint" }, "What a contrastive loss would do, at this model's temperature: each push is its share of all, each pull what is missing to certainty."));
  }

  function row(one, kind) {
    const image = el("img", { alt: "", width: 44, height: 44 });
    app.api.show(image, thumbnail(one.id, 128)).catch(() => image.remove());
    const share = `${kind} ${Math.round(one.share * 100)} %`;
    return el("li", {}, el("a", { href: app.href({ near: one.id, open: null }), title: noteOf(one) }, image,
      el("span", { class: "text" }, nameOf(one)), el("span", { class: "size" }, share)));
  }

  async function remembered(ids) {
    const known = records;
    const missing = ids.filter((id) => !known.has(id));
    for (const record of missing.length ? await recordsOf(app.api, collection, missing) : []) known.set(record.id, record);
    return ids.map((id) => known.get(id)).filter(Boolean);
  }

  let hoverAt = -1;

  function hovered(i, at) {
    if (i === hoverAt && i >= 0) return;
    hoverAt = i;
    clearTimeout(hovered.soon);
    hover.hidden = i < 0;
    surface.root.classList.toggle("over", i >= 0);
    if (i < 0) return;
    const image = el("img", { alt: "" });
    const name = el("span");
    hover.replaceChildren(image, name);
    const [x, y] = surface.pixels(surface.space.x(i), surface.space.y(i));
    const left = x + 180 > stage.clientWidth ? x - 176 : x + 16;
    hover.style.transform = `translate(${left}px, ${Math.max(8, Math.min(y - 60, stage.clientHeight - 190))}px)`;
    hovered.soon = setTimeout(async () => {
      const id = columns.ids[i];
      app.api.show(image, thumbnail(id, 256)).catch(() => image.remove()); // of a tip that is gone it is seen by nobody
      const [record] = await remembered([id]).catch(() => []);
      if (record && hoverAt === i) name.textContent = nameOf(record);
    }, 60);
  }

  // --- the open picture ---

  const source = () => picked;

  async function sync() {
    const id = query.open;
    if (!id) {
      viewer.close();
      return;
    }
    const of = records;
    const [entry] = await remembered([id]).catch(() => []);
    if (query.open !== id || records !== of) return;
    if (!entry) {
      app.say("This picture is no longer in the collection.", { kind: "bad" });
      app.navigate({ open: null }, { replace: true });
      return;
    }
    const place = source()?.place(id) ?? -1;
    viewer.show(entry, { previous: place > 0, next: place >= 0 && place < source().count - 1 });
  }

  function step(by_) {
    const place = (source()?.place(query.open) ?? -1) + by_;
    if (place >= 0 && place < source().count) app.navigate({ open: source().id(place) }, { replace: true });
  }

  function close(entry) {
    if (query.open !== entry.id) return;
    const without = app.href({ open: null });
    if (cameFrom(without)) history.back();
    else app.navigate({ open: null }, { replace: true });
  }

  function actions(entry) {
    return [
      el("button", { type: "button", class: "button main", onclick: () => app.navigate({ near: entry.id, sel: null, open: null }) }, "Show on the map"),
      el("a", { class: "button", href: app.href({ v: null, c: collection, like: entry.id }, new URLSearchParams()) }, "More like this")];
  }

  // --- the address ---

  class Changed extends Error {} // the collection is another than its columns say

  async function show(address) {
    here = true;
    query = readQuery(address);
    if (document.activeElement !== input) input.value = query.words;
    const wanted = Object.fromEntries(["at", "by", "sel", "near"].map((key) => [key, address.get(key)]));
    const next = { ...wanted, c: app.collection(), lit: JSON.stringify([query.words, conditionsOf(query)]) };
    const before = now;
    for (const name of Object.keys(next)) if (before[name] !== next[name]) owed.add(name);
    const differs = (...names) => names.some((name) => owed.has(name));
    now = next;
    if (differs("c")) columns = null;
    collection = next.c;
    if (!collection) return;
    const fresh = !columns;
    if (fresh || differs("by", "lit", "sel", "near")) {
      running?.abort();
      running = new AbortController();
      const { signal } = running;
      try {
        if (fresh) await load(signal);
        if (!about) return;
        if (surface && (fresh || differs("at")) && now.at) {
          const [x, y, zoom] = now.at.split(",").map(Number);
          if ([x, y, zoom].every(Number.isFinite)) surface.look({ x, y, zoom });
        } else if (surface && fresh) surface.look({ x: 0.5, y: 0.5, zoom: 1 });
        by.value = keys.some(({ key }) => key === now.by) ? now.by : "";
        if (fresh || differs("by")) await colour(by.value || null, signal);
        if (fresh || differs("lit", "sel")) {
          showSelection();
          if (picked) await new Promise(afterPaint); // the map moves aside first, and is drawn anew then
          signal.throwIfAborted();
          if (picked?.count) grid.show(picked);
          surface?.setOutline(picked?.outline ?? null);
          await light(signal);
          if (picked && !picked.outline) lit(picked.places, () => 255);
        }
        if (fresh || differs("near", "by")) await anchor(Number(now.near) || null, signal);
        press();
        if (!signal.aborted) owed.clear();
      } catch (error) {
        if (signal.aborted) return;
        root.classList.remove("busy");
        if (error instanceof Changed) {
          again();
          return;
        }
        if (fresh) { // nothing of it is there
          for (const each of [form, stage, below]) set(each, { hidden: true });
          set(empty, { hidden: false });
        }
        if (fresh && error.status === 501) { // a store that gives no columns
          empty.replaceChildren(el("h1", {}, "No map here"), el("p", {}, error.message));
          return;
        }
        if (fresh && error.code === "collection_not_found") {
          empty.replaceChildren(el("h1", {}, `There is no collection ${collection}`), el("p", {}, "It may have been deleted. Choose another one above."));
          return;
        }
        if (fresh) empty.replaceChildren(el("h1", {}, "The map could not be fetched"), el("p", {}, "The collection and its map are as they were."));
        now = before;
        app.failed(error, again);
        return;
      }
    } else if (surface && differs("at") && now.at && about) {
      const [x, y, zoom] = now.at.split(",").map(Number);
      const same = ["x", "y", "zoom"].every((name, i) => Math.abs([x, y, zoom][i] - surface.view[name]) < 0.001);
      if (!same && [x, y, zoom].every(Number.isFinite)) surface.look({ x, y, zoom });
      owed.delete("at");
    }
    if (columns && about) await sync();
  }

  return {
    show,
    changed() {
      columns = null;
      now = {};
    },
    hide() {
      here = false;
      running?.abort();
      query = { ...query, open: null }; // what comes late opens nothing over another view
      now = { ...now, lit: null }; // what was broken off is asked for again
      viewer.close();
    },
  };
}
