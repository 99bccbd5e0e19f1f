// The tags of the picture that is open: seen, given and taken away in one place.

import { el } from "../dom.js";
import { changeAll } from "../grid/changing.js";
import { recordsOf } from "../grid/sources.js";
import { giving, showChips, tagChip, tagField, takingAway } from "../tags.js";

export class TagsOfOne {
  // onLearnt(records, collection): they are so by now
  constructor(app, onLearnt) {
    Object.assign(this, { app, onLearnt });
    this.entry = null; // that is shown
    this.chips = el("div", { class: "chips" });
    this.field = tagField(app, "Add a tag to this picture", (tag) => this.#change(giving(tag), takingAway(tag)));
    this.root = el("div", { class: "tags", role: "group", "aria-label": "Tags", tabindex: "-1" }, this.chips, this.field);
  }

  // null: nothing yet
  show(entry) {
    const isAnother = entry?.id !== this.entry?.id;
    this.entry = entry;
    this.field.hidden = !entry || Boolean(this.app.info?.read_only);
    if (isAnother) this.field.firstChild.value = ""; // else somebody may be writing there
    this.#draw();
  }

  #draw() {
    const { app, entry } = this;
    const onRemove = this.field.hidden ? null : (tag) => this.#change(takingAway(tag), giving(tag)).catch((error) => app.say(error.message, { kind: "bad" }));
    const { tags } = entry?.metadata ?? {};
    const each = Array.isArray(tags) ? tags : tags ? [tags] : [];
    showChips(this.chips, each.map((tag) => tagChip(app, tag, { onRemove })), this.root);
  }

  #change(way, back) {
    const { app, entry } = this;
    const collection = app.collection();
    const onChanged = async (ids) => {
      const records = await recordsOf(app.api, collection, ids).catch(() => null);
      if (!records) return; // what is shown stays
      this.onLearnt(records, collection);
      const [record] = records.filter(({ id }) => id === this.entry?.id);
      if (!record || collection !== app.collection()) return;
      Object.assign(this.entry, { metadata: record.metadata });
      this.#draw();
    };
    return changeAll(app, collection, [entry.id], way, { back, onChanged });
  }
}
