// The picture that the address has open: over the view in the viewer, one after the other of what the view shows, and
// closed by going back where that leads to the view as it was. The viewer is loaded after what the view shows at first.
// What cannot be had stays in the address, which is a link that somebody may have been given.

import { loaded } from "../../api.js";
import { cameFrom } from "../../router.js";
import { noteOf } from "../grid/fit.js";

const NEAR_END = 10; // pictures before the end of a source from which on more of it is asked for
const GONE = "This picture is no longer in the collection.";

export class Opened {
  // find(id): its entry, or a promise of it; of(): what ids are of, by now; source(): what is stepped through, if there
  // is something; actions(): a promise of what gives the elements below the facts of an entry; onLearnt(records,
  // collection): they are so by now; onClosed(entry)
  constructor(root, app, { find, of, source, actions, onLearnt, onClosed = () => {} }) {
    Object.assign(this, { root, app, find, of, source, actions, onLearnt, onClosed });
    this.id = null; // that is wanted
    this.viewer = null;
  }

  // Have the viewer at hand.
  async load() {
    const [{ Viewer }, actions] = await Promise.all([loaded(import("./viewer.js")), this.actions()]);
    this.viewer ??= new Viewer(this.root, {
      app: this.app, onStep: (by) => this.#step(by), onClose: () => this.#close(), onLearnt: this.onLearnt, actions,
    });
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

  // null: it is gone, of which is told; or another is wanted by now; or it is asked for again
  async #entry(id) {
    const of = this.of();
    const isWanted = () => this.id === id && this.of() === of;
    let told = GONE;
    try {
      const both = Promise.all([this.find(id), this.viewer ?? this.load()]);
      const [entry] = await this.app.waited(both, "Opening the picture…", () => this.#callOff());
      if (!isWanted()) return null;
      if (entry) return entry;
    } catch (error) {
      if (!isWanted()) return null;
      if (!error.final) {
        this.app.failed(error, () => this.show(id));
        return null;
      }
      if (error.status !== 404) told = error.message;
    }
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

  // Somebody has closed it, maybe while the one after it was on its way.
  #close() {
    if (this.id && !this.viewer.open) this.#callOff();
  }

  #callOff() {
    this.id = null;
    const without = this.app.href({ open: null });
    if (cameFrom(without)) history.back();
    else this.app.navigate({ open: null }, { replace: true });
  }
}
