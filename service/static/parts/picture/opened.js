// The picture that the address has open: over the view in the viewer, one after the other of what the view shows, and
// closed by going back where that leads to the view as it was. The viewer is loaded after what the view shows at first.

import { loaded } from "../../api.js";
import { cameFrom } from "../../router.js";
import { noteOf } from "../grid/fit.js";

const NEAR_END = 10; // pictures before the end of a source from which on more of it is asked for
const GONE = "This picture is no longer in the collection.";

export class Opened {
  // find(id): its entry, or a promise of it; of(): what ids are of, by now; source(): what is stepped through, if there
  // is something; actions(): a promise of what gives the elements below the facts of an entry; onClosed(entry)
  constructor(root, app, { find, of, source, actions, onClosed = () => {} }) {
    Object.assign(this, { root, app, find, of, source, actions, onClosed });
    this.id = null; // that is wanted
    this.viewer = null;
  }

  // Have the viewer at hand.
  async load() {
    const [{ Viewer }, actions] = await Promise.all([loaded(import("./viewer.js")), this.actions()]);
    this.viewer ??= new Viewer(this.root, { api: this.app.api, onStep: (by) => this.#step(by), onClose: (entry) => this.#close(entry), actions });
  }

  // What comes late opens nothing over another view.
  leave() {
    this.id = null;
    this.viewer?.close();
  }

  // null: none is open
  async show(id) {
    this.id = id;
    if (!id) {
      const last = this.viewer?.close();
      if (last) this.onClosed(last);
      return;
    }
    const entry = await this.#entry(id);
    if (!entry) return;
    const source = this.source();
    const place = source?.place(id) ?? -1;
    const near = [place + 1, place - 1].filter((each) => place >= 0 && each >= 0 && each < source.count);
    this.viewer.show(entry, {
      fit: place < 0 ? null : source.fit(place), note: noteOf(entry), previous: place > 0, next: place >= 0 && place < source.count - 1,
      near: near.map((each) => source.thumbnail(each, 1024)),
    });
  }

  // null: it is gone, of which is told, or another is wanted by now
  async #entry(id) {
    const of = this.of();
    let told = GONE;
    let entry = null;
    try {
      [entry] = await Promise.all([this.find(id), this.viewer ?? this.load()]);
    } catch (error) {
      if (error.status !== 404) told = error.message;
    }
    if (this.id !== id || this.of() !== of) return null;
    if (entry) return entry;
    this.app.say(told, { kind: "bad" });
    this.app.navigate({ open: null }, { replace: true });
    return null;
  }

  #step(by) {
    const source = this.source();
    const place = (source?.place(this.id) ?? -1) + by;
    if (!source || place < 0 || place >= source.count) return;
    if (place > source.count - NEAR_END && !source.ended) source.more();
    this.app.navigate({ open: source.id(place) }, { replace: true });
  }

  #close(entry) {
    if (this.id !== entry.id) return;
    const without = this.app.href({ open: null });
    if (cameFrom(without)) history.back();
    else this.app.navigate({ open: null }, { replace: true });
  }
}
