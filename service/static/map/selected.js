// The pictures that are selected on the map, as a grid below it, to be labelled all at once.
//
// onLabelled(key): they have a value of that key now; onLearnt(records, collection): they are so by now.

import { count, el, icon, set, tool } from "../parts/dom.js";
import { labelAll } from "../parts/grid/changing.js";
import { Grid } from "../parts/grid/grid.js";
import { Selection } from "../parts/grid/selection.js";
import { Browse } from "../parts/grid/sources.js";

const CLUSTER = /^c(\d+)$/;

// What `sel` of the address means on a surface: {places, outline}, the pictures and what was drawn around them, if anything.
export function selectedBy(sel, map, surface) {
  const cluster = CLUSTER.exec(sel);
  if (cluster) return { places: map.inCluster(Number(cluster[1])), outline: null };
  const outline = sel.split(";").map((corner) => corner.split(",").map(Number)).filter((corner) => corner.length === 2 && corner.every(Number.isFinite));
  return { places: surface && outline.length > 2 ? surface.space.within(outline) : new Uint32Array(0), outline };
}

export class Selected {
  constructor(root, app, { onLabelled, onLearnt }) {
    Object.assign(this, { app, onLabelled });
    this.picked = null; // what the grid shows
    this.heading = el("h2", { tabindex: "-1" });
    this.key = el("input", { class: "input", "aria-label": "Key of the label", placeholder: "key", maxlength: 200, required: true, list: "map-label-keys", autocomplete: "off" });
    this.value = el("input", { class: "input", "aria-label": "Label", placeholder: "label", maxlength: 200, required: true, autocomplete: "off" });
    this.keys = el("datalist", { id: "map-label-keys" });
    this.labelling = el("form", { class: "labelling", onsubmit: (event) => {
      event.preventDefault();
      this.#label();
    } }, this.key, this.keys, this.value, el("button", { type: "submit", class: "button" }, icon("tag"), "Label them"));
    const results = el("div", { class: "results" });
    this.root = el("section", { class: "below", "aria-label": "Selected on the map", hidden: true },
      el("header", {}, this.heading, this.labelling, tool("close", "Close the selection", () => app.navigate({ sel: null, open: null }))), results);
    this.grid = new Grid(results, { api: app.api, label: "Selected pictures", onSelect: (ids) => this.marked.show(ids, this.grid.source) });
    this.marked = new Selection(root, {
      app,
      onClear: () => this.grid.clearSelection(),
      onAll: (ids) => this.grid.select(ids, { add: false }),
      onLike: (ids) => app.navigate({ v: null, c: this.map.collection, like: ids }, { from: new URLSearchParams() }),
      onLearnt,
      onDeleted: (ids) => ids.length && app.changed(),
    });
  }

  // Nothing is selected.
  hide() {
    this.root.hidden = true;
    this.#empty();
    this.picked = null;
  }

  // Make room for `found`, of selectedBy; `key` is what one would label by. The pictures come with showGrid.
  show(map, query, found, key) {
    this.map = map;
    this.root.hidden = false;
    this.#empty();
    this.picked = new Picked(this, map, query, found);
    const { places } = found;
    this.heading.textContent = places.length ? `${count(places.length, "picture")} selected` : "Nothing lies there";
    set(this.labelling, { hidden: !places.length || this.app.info?.read_only });
    this.keys.replaceChildren(...map.keys.map((each) => new Option(each)));
    this.key.value ||= key ?? "";
  }

  showGrid() {
    if (this.picked?.count) this.grid.show(this.picked);
  }

  #empty() {
    this.grid.clearSelection();
    this.grid.hide();
  }

  async #label() {
    const { app, map } = this;
    const [key, value] = [this.key.value.trim(), this.value.value.trim()];
    if (!key || !value) return;
    const chosen = this.grid.selected.size ? [...this.grid.selected] : Array.from(this.picked.places, (i) => map.columns.ids[i]);
    try {
      await labelAll(app, map.collection, chosen, key, value);
      this.value.value = "";
      this.onLabelled(key);
    } catch (error) {
      app.say(error.message, { kind: "bad" });
    }
  }
}

// What the grid shows of them; their outline is drawn on the map.
class Picked extends Browse {
  constructor(selected, map, query, { places, outline }) {
    super(selected.app, map.collection, query);
    Object.assign(this, { columns: map.columns, places, outline, known: map.records });
    this.named = () => selected.grid.refresh();
  }
}
