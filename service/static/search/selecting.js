// Choosing among the results: the button that begins it, and what can then be done with them, which is loaded after what
// the search shows at first.

import { loaded } from "../api.js";
import { el, icon } from "../parts/dom.js";

export class Selecting {
  // grid(), source(): as they are by now; onLearnt(records, collection): they are so by now
  constructor(root, app, { grid, source, onLearnt }) {
    Object.assign(this, { root, app, grid, source, onLearnt });
    this.selection = null;
    this.button = el("button", { type: "button", class: "chip selecting", "aria-pressed": "false",
      onclick: () => (grid().isChoosing ? grid().clearSelection() : grid().beginChoosing()) }, icon("check"), "Select");
  }

  // Have at hand what can be done.
  async load() {
    const { Selection } = await loaded(import("../parts/grid/selection.js"));
    const { app, grid } = this;
    this.selection ??= new Selection(this.root, {
      app,
      onClear: () => {
        const byKeys = document.activeElement.matches(":focus-visible"); // its button goes
        grid().clearSelection();
        if (byKeys) grid().focus(grid().at);
      },
      onAll: (ids) => grid().select(ids, { add: false }),
      onLike: (ids) => {
        grid().clearSelection();
        app.navigate({ like: ids, q: null, not: null, img: null, open: null });
        scrollTo({ top: 0 });
      },
      onLearnt: this.onLearnt,
      onDeleted: (ids) => {
        if (!ids.length) return;
        grid().clearSelection();
        app.changed();
      },
    });
  }

  // ids: a Set, as it is by now
  async show(ids) {
    this.button.setAttribute("aria-pressed", String(this.grid().isChoosing));
    if (!this.selection && !ids.size) return;
    try {
      if (!this.selection) await this.app.waited(this.load(), "Loading what can be done with them…");
      this.selection.show(ids, this.source());
    } catch (error) {
      this.app.failed(error, () => this.show(this.grid().selected));
    }
  }
}
