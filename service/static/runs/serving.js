// Having a run serve a collection: its entries are read anew with its model.

import { count, el } from "../parts/dom.js";

export function serve(app, run, box) {
  const collections = app.collections().filter(({ problem }) => !problem);
  if (app.info?.read_only || !collections.length) return box.replaceChildren();
  if (run.state === "training") {
    return box.replaceChildren(el("p", { class: "hint" }, "It can be served once it has ended: until then its model changes."));
  }
  if (!run.has_model) return box.replaceChildren();
  const select = el("select", { class: "input", "aria-label": "Collection to serve it for" }, collections.map(({ name }) => new Option(app.titled(name), name)));
  if (collections.some(({ name }) => name === app.collection())) select.value = app.collection();
  const said = el("p", { class: "hint", "aria-live": "polite" });
  const button = el("button", { type: "button", class: "button main" }, "Serve this one");
  const explainIt = () => {
    const { counts, model } = collections.find(({ name }) => name === select.value) ?? collections[0];
    said.textContent = `Reads ${count(counts.image, "picture")} anew with this model. Until all are done, ${app.titled(select.value)} goes on with ${model}.`;
  };
  select.addEventListener("change", explainIt);
  explainIt();
  button.addEventListener("click", async () => {
    button.disabled = true;
    const collection = select.value;
    try {
      const job = await app.jobs.ask({ kind: "reindex", collection, training_run: run.name });
      await app.jobs.ended(job.id, (told) => (said.textContent = told.total ? `${told.done.toLocaleString("en")} of ${count(told.total, "entry", "entries")} read…` : "Waiting for its turn…"));
      await app.reload().catch(() => {}); // it is served all the same
      serve(app, run, box);
      app.say(`${app.titled(collection)} is searched by ${run.name} now.`);
    } catch (error) {
      said.textContent = "";
      app.say(error.message, { kind: "bad" });
    }
    button.disabled = false;
  });
  return box.replaceChildren(button, el("label", {}, "for ", select), said);
}
