// The points in their colours, and the legend that says what each means and is chosen from: a cluster is selected, a
// value is lit.
//
// asked(): {query, sel}, what the address asks.

import { el } from "../parts/dom.js";
import { filterText } from "../parts/query.js";
import { codesBy, dark, rgbs } from "./colours.js";
import { Legend } from "./legend.js";
import { nameOfCluster } from "./mapped.js";

export class Colouring {
  constructor(app, surface, { asked }) {
    Object.assign(this, { app, surface, asked, lines: null });
    this.legend = new Legend({ isChosen: (line) => this.#isChosen(line), onChoose: (line) => this.#choose(line) });
    dark.addEventListener("change", () => this.lines && this.#paint());
  }

  get root() {
    return this.legend.root;
  }

  // Those that are chosen by now look so.
  press() {
    this.legend.press();
  }

  // key: of the metadata; null: by clusters
  async show(map, key, signal) {
    const { codes, legend } = await codesBy(map, key, signal);
    Object.assign(this, { key, lines: legend });
    this.surface?.points.colour(codes);
    this.surface?.setNames(key ? [] : map.about.clusters.filter(({ words }) => words.length).map(nameOnMap));
    this.#paint();
  }

  #paint() {
    this.surface?.points.paint(rgbs());
    this.surface?.draw();
    this.legend.show(this.key ?? "Clusters", this.lines);
  }

  #isChosen({ cluster, key, value }) {
    const { query, sel } = this.asked();
    return cluster ? sel === `c${cluster.number}` : query.filters.some((filter) => filter.key === key && filter.value === value);
  }

  #choose(line) {
    const pressed = this.#isChosen(line);
    if (line.cluster) {
      this.app.navigate({ sel: pressed ? null : `c${line.cluster.number}`, near: null, open: null });
      return;
    }
    const others = this.asked().query.filters.filter(({ key, value }) => key !== line.key || value !== line.value).map(({ text }) => text);
    this.app.navigate({ f: pressed ? others : [...others, filterText(line.key, line.value)], open: null });
  }
}

const nameOnMap = (cluster) => ({ element: el("span", { class: "name", dir: "auto" }, nameOfCluster(cluster)), x: cluster.x, y: cluster.y });
