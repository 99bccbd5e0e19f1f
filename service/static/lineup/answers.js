// What the service says of pictures and labels, each asked for once.
//
// asked(): what the address asks; opened(): the label set that is open; model(): the model of the collection.

import { kept } from "../parts/query.js";

const REMEMBERED = 200; // answers

export class Answers {
  constructor(api, { asked, opened, model }) {
    Object.assign(this, { api, asked, opened, model });
    this.collection = null; // what ids are of
    this.answers = new Map(); // question -> answer
    this.vectors = new Map(); // picture of this tab -> promise of its vector
  }

  of(collection) {
    this.collection = collection;
    this.vectors.clear();
    this.forget();
  }

  forget() {
    this.answers.clear();
  }

  #question(picture) {
    const { set, labels, templates, mode, none } = this.asked();
    const body = set ? { label_set: set } : { labels };
    if (templates.length) body.templates = templates;
    if (mode) body.mode = mode;
    if (none) body.abstain = true;
    return picture.startsWith("i") ? body : { ...body, collection: this.collection, id: Number(picture) };
  }

  #key(picture) {
    return JSON.stringify([picture, this.#question(picture)]);
  }

  // The one that is there; undefined: it was not asked for yet.
  known(picture) {
    return picture === undefined ? undefined : this.answers.get(this.#key(picture));
  }

  async about(picture, signal) {
    const key = this.#key(picture);
    if (!this.answers.has(key)) {
      const body = this.#question(picture);
      const isMine = picture.startsWith("i");
      const model = isMine && !this.opened()?.learned ? this.model() : null;
      if (isMine) Object.assign(body, { vector: await this.#vector(picture) }, model && { model });
      this.answers.set(key, await this.api.post("v1/classify", body, { signal }));
      if (this.answers.size > REMEMBERED) this.answers.delete(this.answers.keys().next().value);
    }
    return this.answers.get(key);
  }

  // Pictures of this tab are encoded once; then their vector is asked about.
  #vector(picture) {
    if (!this.vectors.has(picture)) {
      const model = this.model();
      const input = [{ image: kept(picture.slice(1)).base64 }];
      const asking = this.api.post("v1/embeddings", { input, ...(model && { model }) }).then(({ data }) => data[0].embedding);
      asking.catch(() => this.vectors.delete(picture));
      this.vectors.set(picture, asking);
    }
    return this.vectors.get(picture);
  }
}
