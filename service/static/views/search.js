// The search: by words, pictures and what to lead away from, among what the filters let through; without a query, the
// collection to look through. The address holds all of it, the open picture too: see parts/query.js.

import { loaded } from "../api.js";
import { count, el, icon } from "../parts/dom.js";
import { toldOf } from "../parts/grid/fit.js";
import { Grid } from "../parts/grid/grid.js";
import { Browse, Hits } from "../parts/grid/sources.js";
import { dropTarget } from "../parts/picture/drop.js";
import { filesOf, pasted } from "../parts/picture/given.js";
import { Opened } from "../parts/picture/opened.js";
import { keep, partsOf, readQuery, withWeight } from "../parts/query.js";
import { Filters } from "../search/filters.js";
import { Selecting } from "../search/selecting.js";
import { weighed } from "../search/weights.js";

export const title = "Search";

const IMAGES = "image/*,.heic,.heif,.avif,.tif,.tiff";
const REMEMBERED = 8; // searches whose results are kept for Back
const TOGETHER = 8; // images that are searched by at once
const AFTER = 1000; // ms after the first pictures until what else may be wanted is loaded

const isFiltered = ({ filters, ranges }) => filters.length > 0 || ranges.length > 0; // by metadata

export function mount(root, app) {
  let query = readQuery(new URLSearchParams());
  let asked = null; // the address but for what is open: what `source` answers
  let again = null; // the same of what is there, which others have changed
  let source = null;
  let running = null; // AbortController of the search under way
  let isWanted = false; // this view, of all
  let isOtherwise = false; // records have changed, and the filters may let through others than are shown
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
  const filters = new Filters(app, { asked: () => query, onChange: change, onToggle: (open) => body.classList.toggle("beside", open) });
  const selecting = new Selecting(root, app, { grid: () => grid, source: () => source, onLearnt: learn });
  const form = el("form", { class: "query" },
    el("div", { class: "field" }, input, pick, el("button", { class: "button main go", type: "submit" }, icon("search"), el("span", {}, "Search"))),
    parts,
    el("div", { class: "refine" }, filters.button, not, selecting.button, filters.chosen, status),
  );
  const results = el("div", { class: "results" });
  const empty = el("div", { class: "empty", hidden: true });
  const body = el("div", { class: "body" }, filters.root, el("div", {}, results, empty));
  root.append(el("h1", { class: "unseen" }, title), el("search", { class: "bar" }, form), body);

  const grid = new Grid(results, { api: app.api, label: "Results", onSelect: (ids) => selecting.show(ids) });
  const opened = new Opened(root, app, {
    find: (id) => source?.record(id) ?? app.api.get(app.api.of(app.collection(), "images", id)),
    of: () => app.collection(),
    source: () => source,
    actions: async () => {
      const { acts } = await loaded(import("../search/acts.js"));
      return (entry) => acts(app, entry, query);
    },
    onLearnt: learn,
    onClosed: ({ id }) => {
      const place = source?.place(id) ?? -1;
      if (place >= 0) grid.focus(place);
      if (isOtherwise) askAgain(); // of which the place that has the focus is kept
    },
  });

  // What records of a collection are by now: they are shown so wherever they are, and may be let through by other filters.
  function learn(records, of) {
    for (const [key, each] of remembered) if (each !== source && each.collection === of && isFiltered(each.query)) remembered.delete(key);
    for (const each of new Set([source, ...remembered.values()])) if (each?.collection === of) for (const record of records) each.learn(record);
    if (source?.collection !== of) return; // an id means another picture there
    grid.refresh();
    filters.count();
    isOtherwise ||= isFiltered(query);
    if (isOtherwise && !isWanted) forget();
    else if (isOtherwise && !query.open) askAgain(); // else once it is closed: one steps on through what there was
  }

  function askAgain() {
    forget();
    show(new URLSearchParams(location.search));
  }

  // What is shown is asked for by the next show.
  function forget() {
    remembered.delete(asked);
    again = asked ?? again;
    asked = null;
  }

  let loading = null; // timer

  // What is for who does something with the pictures.
  function loadRest() {
    loading ??= setTimeout(() => Promise.all([opened.load(), selecting.load(), filters.load()]).catch(() => {}), AFTER); // else once it is wanted
  }

  // --- asking ---

  function submit() {
    app.navigate({ q: input.value.trim(), not: not.value.trim(), open: null });
    scrollTo({ top: 0 });
    if (asked === null) show(new URLSearchParams(location.search)); // the same once more, which failed
  }

  // What is being written is not touched, a space at its end neither.
  function write(field, words) {
    if (field.value.trim() !== words) field.value = words;
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
    isOtherwise = false;
    if (grid.selected.size && !same) grid.clearSelection();
    filters.count();
    const parts = partsOf(query);
    const looks = parts.length > 0;
    if (looks && !parts.some(({ weight }) => weight > 0)) {
      lacking();
      return;
    }
    const known = remembered.get(key);
    source = known ?? new (looks ? Hits : Browse)(app, collection, query);
    const next = source;
    next.more = () => more(next);
    next.named = () => next === source && grid.refresh();
    if (!known) {
      status.textContent = looks ? "Searching…" : "";
      status.classList.remove("unseen");
      results.classList.add("busy");
      try {
        next.told = await (looks ? next.load(signal, had) : app.waited(next.load(signal, had), "Loading…"));
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
    status.textContent = toldOf(next);
    if (same) grid.selectAmong(next);
    if (next.count) {
      explain();
      const isThere = same && grid.list.contains(document.activeElement);
      const place = here === null ? 0 : next.place(here);
      grid.show(next, { captions: looks, at: place < 0 ? Math.min(grid.at, next.count - 1) : place }); // it may be gone
      if (isThere) grid.focus(grid.at);
      loadRest();
    } else {
      grid.hide();
      nothing(looks);
    }
  }

  // All that is asked leads away from something.
  function lacking() {
    source = null;
    grid.hide();
    results.classList.remove("busy");
    status.classList.remove("bad");
    status.textContent = "";
    explain("Nothing to look for yet", "“But not” and “less like this” lead away from what is looked for: describe a picture, too, or choose one.");
  }

  // What there is may have changed since the page asked.
  async function gone(collection, signal) {
    const told = `There is no collection ${collection}`;
    status.textContent = `${told}.`; // is read out, as the heading is not
    await app.reload().catch(() => {}); // else it offers what it knows
    if (signal.aborted) return;
    const other = app.collections().find(({ name }) => name !== collection);
    explain(told, "It may have been deleted. Choose another one above, or look for it in the library.",
      other && el("a", { class: "button", href: app.href({ c: other.name }, new URLSearchParams()) }, `Look at ${app.titled(other.name)}`));
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
    status.textContent = toldOf(of);
    grid.grow();
  }

  function explain(heading, text, ...more) {
    empty.hidden = !heading;
    const untold = Boolean(heading) && !status.textContent;
    if (untold) status.textContent = `${heading}.`; // is read out, as the heading is not
    status.classList.toggle("unseen", untold);
    empty.replaceChildren(...(heading ? [el("h1", {}, heading), el("p", {}, text), ...more.flat().filter(Boolean)] : []));
  }

  function nothing(looks) {
    const filtered = isFiltered(query) || query.folder || query.from || query.to;
    const without = { f: null, r: null, in: null, from: null, to: null };
    if (filtered) explain("Nothing passes these filters", "Take one away to see more.", el("a", { class: "button", href: app.href(without) }, "Take all away"));
    else if (looks) explain("Nothing here yet", "This collection has no pictures to search.");
    else if (app.info?.read_only) explain("Nothing here yet", "This collection has no pictures.");
    else explain("Nothing here yet", "Drop pictures or a folder onto this page to add them, or choose them.", el("button", { type: "button", class: "button main", onclick: () => app.library() }, "Add pictures"));
  }

  // --- keys, and images that are pasted or dropped ---

  const active = () => !root.hidden;
  dropTarget({
    may: () => ({ search: active() && source?.count > 0, add: active() && !app.info?.read_only && app.titled(app.collection()) }),
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
    const files = pasted(event);
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
    isWanted = true;
    const before = query;
    query = readQuery(address);
    if (query.open) opened.load().catch(() => {}); // while the rest comes; it is tried again once it is opened
    const but = new URLSearchParams(address);
    but.delete("open");
    const collection = app.collection();
    but.set("c", collection ?? "");
    document.title = query.words ? `${query.words} · glimpse` : "glimpse";
    if (String(but) !== asked) { // else no more than the open picture is another
      if (query.words !== before.words) write(input, query.words);
      if (query.not !== before.not) write(not, query.not);
      const chips = weighed(app, query);
      parts.hidden = !chips.length;
      parts.replaceChildren(...chips);
      filters.write();
      asked = String(but);
      if (collection) await search(collection);
    }
    opened.show(query.open);
  }

  return {
    show,
    hide() {
      isWanted = false;
      if (isOtherwise) forget();
      query = { ...query, open: null }; // what comes late opens nothing over another view
      opened.leave();
    },
    changed() {
      remembered.clear();
      forget();
    },
  };
}
