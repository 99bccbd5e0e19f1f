// The search: by words, pictures and what to lead away from, among what the filters let through; without a query, the
// collection to look through. The address holds all of it, the open picture too: see parts/query.js.

import { count, el, icon, saveFile } from "../parts/dom.js";
import { chosenChips, Facets } from "../parts/facets.js";
import { noteOf } from "../parts/grid/fit.js";
import { Grid } from "../parts/grid/grid.js";
import { Selection } from "../parts/grid/selection.js";
import { Browse, Hits } from "../parts/grid/sources.js";
import { dropTarget } from "../parts/picture/drop.js";
import { calledOf, folderOf, isUpload } from "../parts/picture/entry.js";
import { filesOf } from "../parts/picture/upload.js";
import { Viewer } from "../parts/picture/viewer.js";
import { AWAY, keep, kept, partsOf, readQuery, withWeight } from "../parts/query.js";
import { cameFrom } from "../router.js";

export const title = "Search";

const IMAGES = "image/*,.heic,.heif,.avif,.tif,.tiff";
const REMEMBERED = 8; // searches whose results are kept for Back
const TOGETHER = 8; // images that are searched by at once

export function mount(root, app) {
  let query = readQuery(new URLSearchParams());
  let asked = null; // the address but for what is open: what `source` answers
  let again = null; // the same of what is there, which others have changed
  let source = null;
  let running = null; // AbortController of the search under way
  const remembered = new Map(); // address -> source

  // --- the form ---

  const input = el("input", {
    id: "q", name: "q", type: "search", placeholder: "Describe a picture", "aria-label": "Search by words", autocomplete: "off",
    maxlength: 10000, enterkeyhint: "search", dir: "auto",
  });
  const file = el("input", { type: "file", accept: IMAGES, multiple: true, "aria-label": "Search by an image", class: "unseen" });
  const pick = el("label", { class: "pick button icon plain", title: "Search by an image: choose, drop or paste one" }, file, icon("picture"));
  const parts = el("div", { class: "parts", hidden: true });
  const not = el("input", { class: "input", type: "search", placeholder: "but not…", "aria-label": "But not", maxlength: 10000, autocomplete: "off", dir: "auto" });
  const status = el("p", { class: "status", role: "status" });
  const change = (changes) => app.navigate({ ...changes, open: null });
  const facets = new Facets({ api: app.api, onChange: change, onFail: (error, again) => app.failed(error, again) });
  const filter = el("button", { type: "button", class: "chip", "aria-expanded": "false", onclick: toggleFacets }, icon("filter"), "Filters");
  const chosen = el("span", { class: "filtered" });
  const selecting = el("button", { type: "button", class: "chip selecting", "aria-pressed": "false", onclick: () => (grid.isChoosing ? grid.clearSelection() : grid.beginChoosing()) }, icon("check"), "Select");
  const form = el("form", { class: "query" },
    el("div", { class: "field" }, input, pick, el("button", { class: "button main go", type: "submit" }, icon("search"), el("span", {}, "Search"))),
    parts,
    el("div", { class: "refine" }, filter, not, selecting, chosen, status),
  );
  const results = el("div", { class: "results" });
  const empty = el("div", { class: "empty", hidden: true });
  const body = el("div", { class: "body" }, facets.root, el("div", {}, results, empty));
  root.append(el("search", { class: "bar" }, form), body);

  const grid = new Grid(results, { api: app.api, label: "Results", onSelect: (ids) => {
    selection.show(ids, source);
    selecting.setAttribute("aria-pressed", String(grid.isChoosing));
  } });
  const selection = new Selection(root, {
    app,
    onClear: () => {
      const byKeys = document.activeElement.matches(":focus-visible"); // its button goes
      grid.clearSelection();
      if (byKeys) grid.focus(grid.at);
    },
    onLike: (ids) => {
      grid.clearSelection();
      app.navigate({ like: ids, q: null, not: null, img: null, open: null });
      scrollTo({ top: 0 });
    },
    onChanged: (_, { deleted }) => {
      grid.refresh();
      if (deleted.length) {
        grid.clearSelection();
        app.changed();
      }
      showFacets();
    },
  });
  const viewer = new Viewer(root, { api: app.api, onStep: step, onClose: close, actions });

  function submit() {
    app.navigate({ q: input.value.trim(), not: not.value.trim(), open: null });
    scrollTo({ top: 0 });
    if (asked === null) show(new URLSearchParams(location.search)); // the same once more, which failed
  }

  // What is being written is not touched, a space at its end neither.
  function write(field, words) {
    if (field.value.trim() !== words) field.value = words;
  }

  function showFacets() {
    const collection = app.collection();
    const total = app.collections().find(({ name }) => name === collection)?.counts.image ?? Infinity;
    if (facets.open) facets.show(collection, query, total);
  }

  function toggleFacets() {
    facets.root.hidden = facets.open;
    filter.setAttribute("aria-expanded", String(facets.open));
    body.classList.toggle("beside", facets.open);
    showFacets();
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  not.addEventListener("change", submit);
  file.addEventListener("change", () => {
    searchBy([...file.files]);
    file.value = "";
  });

  async function searchBy(files) {
    try {
      const keys = await Promise.all(files.slice(0, TOGETHER).map(keep));
      app.navigate({ img: [...query.images.map((each) => withWeight(each.key, each.weight)), ...keys], open: null });
      scrollTo({ top: 0 });
      if (files.length > TOGETHER) app.say(`It is searched by the first ${TOGETHER} of ${count(files.length, "image")}.`);
    } catch (error) {
      app.say(error.message, { kind: "bad" });
    }
  }

  // --- the parts of the query besides its words ---

  function showParts() {
    const chips = [];
    const several = partsOf(query).length > 1;
    if (query.words && several) {
      chips.push(part({ name: `“${query.words}”`, weight: query.weight, weigh: (weight) => app.navigate({ qw: weight === 1 ? null : weight }) }));
    }
    query.images.forEach((image, i) => {
      const { name, url } = kept(image.key);
      const put = (change) => app.navigate({ img: query.images.map((each, j) => (i === j ? change : withWeight(each.key, each.weight))) });
      chips.push(part({ name, url, weight: image.weight, weigh: several && ((weight) => put(withWeight(image.key, weight))), remove: () => put(null), what: "image" }));
    });
    query.likes.forEach((like, i) => {
      const put = (change) => app.navigate({ like: query.likes.map((each, j) => (i === j ? change : withWeight(each.id, each.weight))) });
      const url = `${app.api.of(app.collection(), "images", like.id, "thumbnail")}?size=128`;
      const name = like.weight < 0 ? "less like this" : "like this";
      chips.push(part({ name, url, weight: like.weight, weigh: several && ((weight) => put(withWeight(like.id, weight))), remove: () => put(null), what: "image" }));
    });
    parts.hidden = !chips.length;
    parts.replaceChildren(...chips);
  }

  function part({ name, url, weight, weigh, remove, what }) {
    const image = url && el("img", { alt: "" });
    if (url) app.api.show(image, url).catch(() => image.remove());
    const slider = weigh && el("input", {
      type: "range", min: -1, max: 2, step: 0.1, value: weight, "aria-label": `Weight of ${name}`, title: `Weight ${weight}`,
      onchange: (event) => weigh(Number(event.target.value)),
    });
    const gone = remove && el("button", { type: "button", class: "off", "aria-label": `Remove the ${what} from the search`, onclick: remove }, icon("close"));
    return el("span", { class: "chip part" }, image, el("span", { class: "name" }, name), slider, gone);
  }

  // --- searching ---

  async function search(collection) {
    running?.abort();
    running = new AbortController();
    const { signal } = running;
    const key = asked;
    const same = again === key; // what is shown, as it is by now: what is selected stays, and where one stands
    const had = same ? (source?.count ?? 0) : 0;
    const here = had ? source.id(grid.at) : null;
    again = null;
    if (grid.selected.size && !same) grid.clearSelection();
    showFacets();
    const looks = partsOf(query).length > 0;
    const known = remembered.get(key);
    source = known ?? new (looks ? Hits : Browse)(app, collection, query);
    const next = source;
    next.more = () => more(next);
    next.named = () => next === source && grid.refresh();
    if (!known) {
      status.textContent = looks ? "Searching…" : "";
      results.classList.add("busy");
      try {
        next.told = await next.load(signal, had);
      } catch (error) {
        if (signal.aborted) return;
        results.classList.remove("busy");
        grid.hide();
        explain();
        asked = null;
        status.textContent = error.final ? error.message : "";
        status.classList.add("bad");
        if (error.code === "collection_not_found") await gone(collection, signal);
        else if (!error.final) app.failed(error, () => show(new URLSearchParams(location.search)));
        return;
      }
      remembered.set(key, next);
      if (remembered.size > REMEMBERED) remembered.delete(remembered.keys().next().value);
    }
    results.classList.remove("busy"); // of a search that this one has ended, too
    status.classList.remove("bad");
    tell(next);
    if (next.count) {
      explain();
      const isThere = same && grid.list.contains(document.activeElement);
      const place = here === null ? 0 : next.place(here);
      grid.show(next, { captions: looks, at: place < 0 ? Math.min(grid.at, next.count - 1) : place }); // it may be gone
      if (isThere) grid.focus(grid.at);
      if (same) grid.select([]);
    } else {
      grid.hide();
      nothing(looks);
    }
  }

  // What there is may have changed since the page asked.
  async function gone(collection, signal) {
    const told = `There is no collection ${collection}`;
    status.textContent = `${told}.`; // is read out, as the heading is not
    await app.reload().catch(() => {}); // else it offers what it knows
    if (signal.aborted) return;
    const other = app.collections().find(({ name }) => name !== collection);
    explain(told, "It may have been deleted. Choose another one above, or look for it in the library.",
      other && el("a", { class: "button", href: app.href({ c: other.name }, new URLSearchParams()) }, `Look at ${other.title ?? other.name}`));
  }

  async function more(of) {
    if (of.ended || of.growing) return; // the same page is not asked for twice
    of.growing = true;
    try {
      await of.load();
    } catch (error) {
      if (of === source) app.failed(error, () => more(of));
      return;
    } finally {
      of.growing = false;
    }
    if (of !== source) return;
    tell(of);
    grid.grow();
  }

  function tell(of) {
    const { hits, seconds, warnings = [] } = of.told;
    let text = "";
    if (hits?.length) {
      const time = `${Math.max(1, Math.round(seconds * 1000))} ms`;
      if (of.fitting !== null) text = of.fitting ? `${of.fitting.toLocaleString("en")} fit, found in ${time}` : `Looked in ${time}`;
      else if (of.judged) text = `${of.ended && !of.query.limit ? "" : "At least "}${of.count.toLocaleString("en")} fit, found in ${time}`;
      else text = `${count(of.count, "nearest", "nearest")}${of.ended ? "" : " and more"} in ${time}`;
    } else if (!hits && of.count) text = count(of.count, "picture");
    status.textContent = [text, ...warnings].filter(Boolean).join(" · ");
  }

  function explain(heading, text, ...more) {
    empty.hidden = !heading;
    empty.replaceChildren(...(heading ? [el("h1", {}, heading), el("p", {}, text), ...more.flat().filter(Boolean)] : []));
  }

  function nothing(looks) {
    const filtered = query.filters.length || query.ranges.length || query.folder || query.from || query.to;
    const without = { f: null, r: null, in: null, from: null, to: null };
    if (filtered) explain("Nothing passes these filters", "Take one away to see more.", el("a", { class: "button", href: app.href(without) }, "Take all away"));
    else if (looks) explain("Nothing here yet", "This collection has no pictures to search. Drop some onto the page to add them.");
    else explain("Nothing here yet", "Drop pictures or a folder onto this page to add them to the collection.");
  }

  // --- the open picture ---

  async function sync() {
    const id = query.open;
    if (!id) {
      const last = viewer.close();
      const place = last ? (source?.place(last.id) ?? -1) : -1;
      if (place >= 0) grid.focus(place);
      return;
    }
    let entry = source?.record(id) ?? null;
    if (!entry) {
      const of = app.collection();
      const isOther = () => query.open !== id || app.collection() !== of; // what is wanted by now
      try {
        entry = await app.api.get(app.api.of(of, "images", id));
      } catch (error) {
        if (isOther()) return;
        app.say(error.status === 404 ? "This picture is no longer in the collection." : error.message, { kind: "bad" });
        app.navigate({ open: null }, { replace: true });
        return;
      }
      if (isOther()) return;
    }
    const place = source?.place(id) ?? -1;
    const near = [place + 1, place - 1].filter((each) => place >= 0 && each >= 0 && each < source.count);
    viewer.show(entry, {
      fit: place < 0 ? null : source.fit(place), note: noteOf(entry), previous: place > 0, next: place >= 0 && place < source.count - 1,
      near: near.map((each) => source.thumbnail(each, 1024)),
    });
  }

  function step(by) {
    const place = source.place(query.open) + by;
    if (place < 0 || place >= source.count) return;
    if (place > source.count - 10 && !source.ended) more(source);
    app.navigate({ open: source.id(place) }, { replace: true });
  }

  function close(entry) {
    if (query.open !== entry.id) return;
    const without = app.href({ open: null });
    if (cameFrom(without)) history.back();
    else app.navigate({ open: null }, { replace: true });
  }

  function actions(entry) {
    const like = (weight) => {
      const others = weight < 0 ? query.likes.filter(({ id }) => id !== entry.id).map((each) => withWeight(each.id, each.weight)) : [];
      const changes = { like: [...others, withWeight(entry.id, weight)], open: null };
      app.navigate(weight < 0 ? changes : { ...changes, q: null, qw: null, not: null, img: null, k: query.limit });
      scrollTo({ top: 0 });
    };
    const path = isUpload(entry) ? entry.external_id : (entry.path ?? entry.external_id); // where an upload is kept is no matter of its user
    const download = el("a", { class: "button", href: entry.content_url, download: calledOf(entry), onclick: save }, icon("download"), "Download");
    return [
      el("button", { type: "button", class: "button main", onclick: () => like(1) }, "More like this"),
      el("button", { type: "button", class: "button", onclick: () => like(AWAY) }, "Less like this"),
      el("a", { class: "button", href: app.href({ v: "lineup", c: app.collection(), p: entry.id }, new URLSearchParams()) }, "Line up"),
      entry.path && !isUpload(entry) && el("a", { class: "button", href: app.href({ in: folderOf(entry.path), c: app.collection() }, new URLSearchParams()) }, icon("stack"), "Its folder"),
      path && el("button", { type: "button", class: "button", onclick: () => copy(path) }, icon("copy"), "Copy path"),
      download,
    ].filter(Boolean);
  }

  // A link sends no key: with one the file is fetched here, once it is wanted.
  async function save(event) {
    if (!app.api.keyed()) return;
    event.preventDefault();
    const { download } = event.currentTarget;
    try {
      saveFile(await app.api.source(event.currentTarget.getAttribute("href")), download);
    } catch (error) {
      app.say(error.message, { kind: "bad" });
    }
  }

  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
      app.say("The path is in the clipboard.");
    } catch {
      app.say("The browser did not let the page use the clipboard.", { kind: "bad" });
    }
  }

  // --- keys, and images that are pasted or dropped ---

  const active = () => !root.hidden;
  dropTarget({
    may: () => ({ search: active() && source?.count > 0, add: active() && !app.info?.read_only && app.collection() }),
    onSearch: async (transfer) => searchBy((await filesOf(transfer)).filter((each) => !each.type || each.type.startsWith("image/"))),
    onAdd: async (transfer) => app.add(await filesOf(transfer), app.collection()),
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && active() && !document.querySelector("dialog[open]") && !event.target.closest("input, select, textarea")) {
      event.preventDefault();
      input.focus();
      input.select();
    }
  });
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length && active()) searchBy(files);
  });
  const cover = () => {
    const bar = form.parentElement;
    grid.covered = getComputedStyle(bar).position === "sticky" ? bar.offsetHeight : 0;
    document.documentElement.style.scrollPaddingTop = active() ? `${grid.covered}px` : "";
  };
  new ResizeObserver(cover).observe(form);
  addEventListener("resize", cover);

  async function show(address) {
    const before = query;
    query = readQuery(address);
    const but = new URLSearchParams(address);
    but.delete("open");
    const collection = app.collection();
    but.set("c", collection ?? "");
    document.title = query.words ? `${query.words} · glimpse` : "glimpse";
    if (String(but) !== asked) { // else no more than the open picture is another
      if (query.words !== before.words) write(input, query.words);
      if (query.not !== before.not) write(not, query.not);
      showParts();
      const isThere = chosen.contains(document.activeElement);
      chosen.replaceChildren(...chosenChips(query, change));
      if (isThere) (chosen.querySelector("button") ?? filter).focus();
      asked = String(but);
      if (collection) await search(collection);
    }
    sync();
  }

  return {
    show,
    hide() {
      query = { ...query, open: null }; // what comes late opens nothing over another view
      viewer.close();
    },
    changed() {
      remembered.clear();
      again = asked ?? again;
      asked = null;
    },
  };
}
