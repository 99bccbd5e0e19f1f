// What stands in the place of a map that is not there: how one is made, or why there is none; and making one anew.
//
// isWanted(collection): whether the view still shows that one.

import { el, fill, set } from "../parts/dom.js";

export class Missing {
  constructor(app, { isWanted }) {
    Object.assign(this, { app, isWanted });
    this.root = el("div", { class: "empty", hidden: true });
  }

  // The collection has none yet.
  offer({ collection, count }) {
    const few = count < 3;
    const read = this.app.info?.read_only;
    const make = (method, text, main) =>
      el("button", { type: "button", class: main ? "button main" : "button", onclick: () => this.#make({ collection, count }, method) }, text);
    fill(this.root,
      el("h1", {}, "No map yet"),
      el("p", {}, "A map lays out this collection so that pictures that are alike lie together. It is made once; pictures that come later find their place by themselves."),
      few ? el("p", {}, "It needs three pictures at least: add some first.")
        : read ? el("p", {}, "This service only reads; a map is made where the collection is written: glimpse collections map.")
          : el("p", { class: "makes" }, make("pca", "Make the map", true), make("umap", "Make it by neighbourhoods")),
      !few && !read && el("p", { class: "hint" }, "The first takes seconds and shows the directions in which the pictures differ most. The second (UMAP) takes minutes and keeps neighbours together; the service needs umap-learn for it."),
    );
  }

  // It could not be read; whether asking again would be of no use.
  explain(error, collection) {
    const say = (heading, text) => this.root.replaceChildren(el("h1", {}, heading), el("p", {}, text));
    if (error.status === 501) say("No map here", error.message); // a store that gives no columns
    else if (error.code === "collection_not_found") say(`There is no collection ${collection}`, "It may have been deleted. Choose another one above.");
    else say("The map could not be fetched", "The collection and its map are as they were.");
    return error.status === 501 || error.code === "collection_not_found";
  }

  async #make(of, method) {
    const progress = el("progress", { "aria-label": "Progress of the map" });
    this.root.replaceChildren(el("h1", {}, "Making the map"), progress, el("p", { class: "hint", role: "status" }, "The words that name its clusters are looked up once a model, which takes a while the first time."));
    try {
      const job = await this.app.jobs.ask({ kind: "map", collection: of.collection, method });
      // main.js tells of its end to all views, and they read what there is then
      await this.app.jobs.ended(job.id, ({ done, total }) => total && set(progress, { max: total, value: done }));
    } catch (error) {
      if (!this.isWanted(of.collection)) return;
      this.offer(of);
      this.app.say(`There is no map: ${error.message}`, { kind: "bad" });
    }
  }
}

// While the old one is shown.
export async function renew(app, { collection, about }) {
  const tell = ({ done = 0, total = 0 } = {}) => app.say(`The map is being made anew${total ? `: ${done.toLocaleString("en")} of ${total.toLocaleString("en")}` : ""}…`, { kind: "busy" });
  try {
    tell();
    const job = await app.jobs.ask({ kind: "map", collection, method: about.method });
    await app.jobs.ended(job.id, tell); // all views are told of its end, and read what there is then
    app.say("The map is made anew.");
  } catch (error) {
    app.say(`The map stays as it was: ${error.message}`, { kind: "bad" });
  }
}
