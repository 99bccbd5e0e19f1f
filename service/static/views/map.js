// The map: the collection in two dimensions, each picture a point among those that are like it. The address holds what
// is seen of it:
//
//   at=x,y,zoom        where one looks
//   by=colour          the key of the metadata that colours the points; none: their clusters
//   q=words            what fits is lit; so is what passes the filters of parts/query.js (f, r, in, from, to)
//   sel=x,y;x,y;x,y    the pictures in this outline, shown below as a grid; sel=c3: those of cluster 3
//   near=12            the picture whose neighbours are pulled and pushed
//   open=12            the picture that is open
//
// Each part of it is a file of map/; here they are put together, and told when the address says something else.

import { Colouring } from "../map/colouring.js";
import { litBy } from "../map/light.js";
import { Changed, Mapped } from "../map/mapped.js";
import { Missing, renew } from "../map/missing.js";
import { Neighbours } from "../map/neighbours.js";
import { Selected, selectedBy } from "../map/selected.js";
import { simplified } from "../map/space.js";
import { Surface } from "../map/surface.js";
import { Tip } from "../map/tip.js";
import { afterPaint, count, el, icon, set, tool } from "../parts/dom.js";
import { Opened } from "../parts/picture/opened.js";
import { conditionsOf, readQuery } from "../parts/query.js";

export const title = "Map";

const FAVOURED = 40; // of the best by words, shown as pictures wherever one looks

export function mount(root, app) {
  let map = null; // Mapped: what is shown
  let stale = true; // it is to be read anew
  let collection = null; // that is wanted
  let query = readQuery(new URLSearchParams());
  let now = {}; // what the address says of the map, by key
  const owed = new Set(); // keys of it that are not drawn yet: what was broken off is asked for again
  let running = null; // AbortController of what is asked for
  let here = false; // whether this view is the one that is wanted

  // --- the frame ---

  const input = el("input", { class: "input", type: "search", name: "q", placeholder: "Light up what fits…", "aria-label": "Light up what fits these words", maxlength: 10000, autocomplete: "off" });
  const by = el("select", { class: "input", "aria-label": "Colour by", onchange: () => app.navigate({ by: by.value }) });
  const status = el("p", { class: "status", role: "status" });
  const lasso = el("button", { type: "button", class: "button", title: "Draw around pictures to select them; Shift and a drag do so too", "aria-pressed": "false", onclick: () => drawing(!surface.drawing) }, icon("lasso"), el("span", {}, "Lasso"));
  const seen = el("button", { type: "button", class: "button", title: "Select what is in view", onclick: () => outlined(surface.frame()) }, icon("whole"), el("span", {}, "Select the view"));
  const form = el("form", { class: "tools", onsubmit: (event) => {
    event.preventDefault();
    app.navigate({ q: input.value.trim(), sel: null, near: null, open: null });
  } }, input, el("label", { class: "by" }, el("span", {}, "Colour by"), by), lasso, seen, status);
  const help = el("p", { class: "unseen", id: "map-keys" },
    "Arrow keys move the map, plus and minus zoom, 0 shows the whole. Enter chooses the picture nearest to the middle, S selects all that is in view, Escape leaves what is chosen.");
  const stage = el("div", { class: "stage" });
  const surface = surfaceOf();
  const colouring = new Colouring(app, surface, { asked: () => ({ query, sel: now.sel }) });
  const tip = new Tip(app.api);
  const neighbours = new Neighbours(app, surface);
  const selected = new Selected(root, app, { onLabelled, onLearnt: learn });
  const missing = new Missing(app, { isWanted: (name) => name === collection });
  const opened = new Opened(root, app, {
    find: async (id) => (await map.remembered([id]))[0], of: () => map, source: () => selected.picked, actions: async () => actions,
    onLearnt: learn,
  });
  if (surface) {
    stage.append(surface.root, colouring.root, el("div", { class: "zooms" },
      tool("plus", "Zoom in", () => surface.zoomBy(1.6)), tool("minus", "Zoom out", () => surface.zoomBy(1 / 1.6)), tool("whole", "Show the whole", () => surface.whole())),
    tip.root, neighbours.card);
  } else stage.append(colouring.root);
  root.prepend(el("h1", { class: "unseen" }, title), el("search", {}, form), stage, selected.root, missing.root, help);

  // null where the browser has no WebGL: the map's clusters are there in words.
  function surfaceOf() {
    try {
      return new Surface({
        api: app.api,
        onMove: ({ x, y, zoom }) => app.navigate({ at: [x, y, zoom].map((each) => Math.round(each * 1000) / 1000).join(",") }, { replace: true }),
        onPick: (i) => app.navigate({ near: i < 0 ? null : map.columns.ids[i], sel: null, open: null }),
        onLasso: outlined,
        onHover: (i) => tip.show(map, surface, i),
        thumbnail: (i) => map.thumbnail(map.columns.ids[i], 128),
      });
    } catch (error) {
      root.classList.add("flat");
      stage.append(el("p", { class: "flat" }, `This browser cannot draw the map (${error.message}). Its clusters, in words:`));
      set(lasso, { hidden: true });
      set(seen, { hidden: true });
      return null;
    }
  }

  stage.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    if (surface?.drawing) drawing(false);
    else if (now.near) app.navigate({ near: null });
    else if (now.sel) app.navigate({ sel: null });
  });

  function outlined(polygon) {
    drawing(false);
    app.navigate({ sel: simplified(polygon).map((corner) => corner.join(",")).join(";"), near: null, open: null });
  }

  function drawing(on) {
    surface.drawing = on;
    lasso.setAttribute("aria-pressed", String(on));
    surface.root.classList.toggle("drawing", on);
  }

  // --- the collection's map ---

  async function read(signal) {
    root.classList.add("busy");
    map = await Mapped.read(app, collection, signal);
    stale = false;
    root.classList.remove("busy");
    set(form, { hidden: !map.about });
    set(stage, { hidden: !map.about });
    missing.root.hidden = Boolean(map.about);
    if (!map.about) {
      missing.offer(map);
      return;
    }
    by.replaceChildren(new Option("cluster", ""), ...map.keys.map((key) => new Option(key, key)));
    surface?.show(map.columns.places);
  }

  // What is there is asked for anew, by the next show.
  function forget() {
    stale = true;
    now = {};
  }

  function again() {
    forget();
    if (here) show(new URLSearchParams(location.search)); // else once it is: the address is another view's
  }

  // --- light ---

  async function light(signal) {
    const { places, strength, told, link } = await litBy(map, query, signal);
    lit(places, strength);
    const { unplaced } = map.about;
    const more = unplaced ? ` · ${count(unplaced, "picture")} came since, too many to be placed` : "";
    status.replaceChildren(told || count(map.count, "picture") + more);
    if (unplaced && !told && !app.info?.read_only) status.append(" · ", el("button", { type: "button", class: "link", onclick: () => renew(app, map) }, "make the map anew"));
    if (link) status.append(" · ", el("a", { href: app.href({ v: null, c: map.collection, ...link }, new URLSearchParams()) }, "show as a grid"));
  }

  // Those in these places are lit, as strongly as strength(i) says; null: none, and all are as they are.
  function lit(places, strength) {
    if (!surface) return;
    surface.favour(places && query.words ? [...places].sort((a, b) => strength(b) - strength(a)).slice(0, FAVOURED) : []);
    const bright = places && new Uint8Array(map.count);
    places?.forEach((i) => (bright[i] = Math.max(1, strength(i))));
    surface.points.light(bright);
    surface.draw();
  }

  // --- what is selected, and what is around a picture ---

  async function select(signal) {
    root.classList.toggle("split", Boolean(now.sel));
    if (now.sel) {
      selected.show(map, query, selectedBy(now.sel, map, surface), by.value);
      await new Promise(afterPaint); // the map moves aside first, and is drawn anew then
    } else {
      if (selected.root.contains(document.activeElement)) surface?.root.focus();
      selected.hide();
    }
    signal.throwIfAborted();
    selected.showGrid();
    surface?.setOutline(selected.picked?.outline ?? null);
    await light(signal);
    if (selected.picked && !selected.picked.outline) lit(selected.picked.places, () => 255);
  }

  // The label may colour the map at once.
  function onLabelled(key) {
    const isColour = now.by === key;
    forget();
    if (!here) return; // it is read anew once it is shown, and the address is another view's
    if (isColour) show(new URLSearchParams(location.search));
    else app.navigate({ by: key }, { replace: true });
  }

  // What records of a collection are by now.
  function learn(records, of) {
    if (map?.collection !== of) return;
    for (const record of records) map.records.set(record.id, record);
    selected.grid.refresh();
  }

  async function surround(id, signal) {
    if (!id) {
      neighbours.hide();
      return;
    }
    const place = map.columns.ids.indexOf(id);
    if (place < 0 || !map.hasPlace(place)) {
      app.say("This picture has no place in the map.", { kind: "bad" });
      app.navigate({ near: null }, { replace: true });
      return;
    }
    await neighbours.show(map, place, by.value, signal);
  }

  function actions(entry) {
    return [
      el("button", { type: "button", class: "button main", onclick: () => app.navigate({ near: entry.id, sel: null, open: null }) }, "Show on the map"),
      el("a", { class: "button", href: app.href({ v: null, c: collection, like: entry.id }, new URLSearchParams()) }, "More like this")];
  }

  // --- the address ---

  const owes = (...keys) => keys.some((key) => owed.has(key));

  async function show(address) {
    here = true;
    query = readQuery(address);
    if (document.activeElement !== input) input.value = query.words;
    const before = now;
    now = Object.fromEntries(["at", "by", "sel", "near"].map((key) => [key, address.get(key)]));
    Object.assign(now, { c: app.collection(), lit: JSON.stringify([query.words, conditionsOf(query)]) });
    for (const key of Object.keys(now)) if (before[key] !== now[key]) owed.add(key);
    if (owes("c")) stale = true;
    collection = now.c;
    if (!collection) return;
    if (stale || owes("by", "lit", "sel", "near")) {
      running?.abort();
      running = new AbortController();
      const { signal } = running;
      const fresh = stale;
      try {
        if (fresh) await read(signal);
        if (!map.about) return;
        await draw(fresh, signal);
        if (!signal.aborted) owed.clear();
      } catch (error) {
        if (!signal.aborted) failed(error, fresh, before);
        return;
      }
    } else if (surface && owes("at") && now.at && map.about) {
      const place = placeOf(now.at);
      const same = ["x", "y", "zoom"].every((name) => Math.abs(place?.[name] - surface.view[name]) < 0.001);
      if (place && !same) surface.look(place);
      owed.delete("at");
    }
    if (!stale && map.about) await opened.show(query.open);
  }

  // What is owed of a map that is read; all of it, where it was read just now.
  async function draw(fresh, signal) {
    if (surface && now.at && (fresh || owes("at"))) {
      const place = placeOf(now.at);
      if (place) surface.look(place);
    } else if (surface && fresh) surface.look({ x: 0.5, y: 0.5, zoom: 1 });
    by.value = map.keys.includes(now.by) ? now.by : "";
    if (fresh || owes("by")) await colouring.show(map, by.value || null, signal);
    if (fresh || owes("lit", "sel")) await select(signal);
    if (fresh || owes("near", "by")) await surround(Number(now.near) || null, signal);
    colouring.press();
  }

  function placeOf(at) {
    const [x, y, zoom] = at.split(",").map(Number);
    return [x, y, zoom].every(Number.isFinite) ? { x, y, zoom } : null;
  }

  function failed(error, fresh, before) {
    root.classList.remove("busy");
    if (error instanceof Changed) {
      again();
      return;
    }
    if (fresh) { // nothing of it is there
      for (const each of [form, stage, selected.root]) set(each, { hidden: true });
      set(missing.root, { hidden: false });
      if (missing.explain(error, collection)) return;
    }
    now = before;
    app.failed(error, again);
  }

  return {
    show,
    changed: forget,
    hide() {
      here = false;
      running?.abort();
      now = { ...now, lit: null }; // what was broken off is asked for again
      query = { ...query, open: null }; // what comes late opens nothing over another view
      opened.leave();
    },
  };
}
