// The tags of the picture that is open: seen, given and taken away in one place.

import { el, fill } from "../dom.js";
import { changeAll } from "../grid/changing.js";
import { recordsOf } from "../grid/sources.js";
import { giving, tagChip, tagField, takingAway } from "../tags.js";

export class TagsOfOne {
  // onLearnt(records): they are so by now
  constructor(app, onLearnt) {
    Object.assign(this, { app, onLearnt });
    this.entry = null; // that is shown
    this.chips = el("div", { class: "chips" });
    this.field = tagField(app, "Add a tag to this picture", (tag) => this.#change(giving(tag), takingAway(tag)));
    this.root = el("div", { class: "tags", role: "group", "aria-label": "Tags" }, this.chips, this.field);
  }

  // null: nothing yet
  show(entry) {
    this.entry = entry;
    this.field.hidden = !entry || Boolean(this.app.info?.read_only);
    this.field.firstChild.value = "";
    this.#draw();
  }

  #draw() {
    const { app, entry } = this;
    const onRemove = this.field.hidden ? null : (tag) => this.#change(takingAway(tag), giving(tag)).catch((error) => app.say(error.message, { kind: "bad" }));
    const { tags } = entry?.metadata ?? {};
    const each = Array.isArray(tags) ? tags : tags ? [tags] : [];
    const at = [...this.chips.querySelectorAll("button")].indexOf(document.activeElement);
    fill(this.chips, ...each.map((tag) => tagChip(app, tag, { onRemove })));
    const buttons = this.chips.querySelectorAll("button");
    if (at >= 0) (buttons[Math.min(at, buttons.length - 1)] ?? this.field.firstChild).focus(); // what was pressed has gone
  }

  #change(way, back) {
    const { app, entry } = this;
    const collection = app.collection();
    const onChanged = async (ids) => {
      const records = await recordsOf(app.api, collection, ids).catch(() => []);
      this.onLearnt(records);
      const [record] = records.filter(({ id }) => id === this.entry?.id);
      if (!record) return;
      Object.assign(this.entry, { metadata: record.metadata });
      this.#draw();
    };
    return changeAll(app, collection, [entry.id], way, { back, onChanged });
  }
}
