// Reviewing what a model labelled: the runs there are, starting one, and going through one (review/reviewing.js). The
// address has the `run`, and of what is looked at the label, as `of`.

import { count, el } from "../parts/dom.js";
import { Reviewing } from "../review/reviewing.js";
import { listed } from "../review/words.js";

export const title = "Review";

const RUNS = "v1/label-runs";
const KNOWN = 12; // runs whose progress is asked for
const STATES = { begun: "was ended before it had labels", undoing: "is being taken back", undone: "what it wrote is taken back" };

const sentence = (warnings) => `${warnings.join(" · ")}.`;
const lookedAt = (run) => Object.values(run.reviewed).reduce((sum, images) => sum + images, 0);

export function mount(root, app) {
  const { api } = app;
  let reviewing = null;
  let shown = null; // what is shown, so that an answer that comes late draws nothing
  let form = null; // of the list, which is kept while runs and collections come and go: {root, of}

  const source = (run) => (run.collection ? ["the collection ", el("bdi", {}, app.titled(run.collection))] : run.folder ? ["the folder ", el("bdi", {}, run.folder)] : ["a folder"]);

  // --- all of them ---

  async function list() {
    const mine = (shown = Symbol("list"));
    const collection = app.collection();
    const rows = el("ul", { class: "rows" });
    const box = el("div", { class: "page" },
      el("header", {}, el("h1", {}, "Review"), el("p", { class: "hint" }, "Go through what a model labelled, the least certain pictures first. What you say of them teaches the rest at once.")));
    if (!root.querySelector(".page")) root.replaceChildren(box); // what was shown before is no matter of this address
    let runs;
    let sets;
    try {
      [{ label_runs: runs }, { label_sets: sets }] = await Promise.all([api.get(RUNS), api.get("v1/label-sets")]);
    } catch (error) {
      if (mine === shown) app.failed(error, list);
      return;
    }
    if (mine !== shown) return;
    const of = JSON.stringify([collection, sets]);
    if (form?.of !== of) form = { root: starting(collection, sets), of };
    const focused = document.activeElement; // which is moved with its form
    if (!app.info?.read_only) box.append(form.root);
    if (runs.length) box.append(el("section", { "aria-labelledby": "review-runs" }, el("h2", { id: "review-runs" }, "Labelled so far"), rows));
    else box.append(el("p", { class: "hint" }, app.info?.read_only ? "There is nothing to review here yet." : "Nothing is labelled yet: give some labels above, or use ", !app.info?.read_only && el("code", {}, "glimpse label")));
    rows.replaceChildren(...runs.map(row));
    root.replaceChildren(box);
    if (form.root.contains(focused)) focused.focus({ preventScroll: true });
    for (const [i, run] of runs.slice(0, KNOWN).entries()) {
      api.get(`${RUNS}/${run.id}`).then((told) => mine === shown && progress(rows.children[i], told), () => {});
    }
  }

  function row(run) {
    const forget = el("button", { type: "button", class: "button plain bad", "aria-label": `Forget the run ${run.id}` }, "Forget");
    forget.addEventListener("click", async () => {
      if (forget.dataset.sure === undefined) {
        forget.dataset.sure = "";
        forget.textContent = "Really forget what was reviewed?";
        forget.addEventListener("blur", () => {
          delete forget.dataset.sure;
          forget.textContent = "Forget";
        }, { once: true });
        return;
      }
      try {
        await api.delete(`${RUNS}/${run.id}`);
        app.say("The run is forgotten. What it wrote stays as it is.");
        list();
      } catch (error) {
        app.say(error.message, { kind: "bad" });
      }
    });
    return el("li", {},
      el("div", {}, el("a", { class: "name", dir: "auto", href: app.href({ run: run.id, of: null }) }, app.titled(run.collection) ?? run.folder?.split("/").pop() ?? run.id),
        el("p", { class: "hint facts" }, `${count(run.images, "picture")} of `, source(run), STATES[run.state] && ` · ${STATES[run.state]}`)),
      !app.info?.read_only && forget);
  }

  function progress(item, run) {
    const total = run.images - run.unread;
    const looked = lookedAt(run);
    item.querySelector(".facts").append(" · ", ...listed(run.labels));
    if (total) item.firstChild.append(el("p", { class: "far" }, el("progress", { max: total, value: looked, "aria-label": "Looked at" }), el("span", { class: "hint" }, `${looked.toLocaleString("en")} of ${total.toLocaleString("en")} looked at`)));
  }

  // --- starting one ---

  function starting(collection, sets) {
    const labels = el("input", { class: "input", id: "review-labels", placeholder: "shoes, t-shirt, watch", autocomplete: "off", spellcheck: "false", maxlength: 10000 });
    const set = el("select", { class: "input", id: "review-set" }, el("option", { value: "" }, "labels that you type"), sets.map((name) => el("option", {}, name)));
    const typed = el("span", { class: "field" }, el("label", { for: "review-labels" }, "Labels"), labels);
    const several = el("input", { type: "checkbox" });
    const none = el("input", { type: "checkbox" });
    const button = el("button", { type: "submit", class: "button main" }, el("span", {}, "Label ", collection ? el("bdi", {}, app.titled(collection)) : "it"));
    const said = el("p", { class: "hint", "aria-live": "polite" });
    const bar = el("progress", { hidden: true, "aria-label": "Labelling" });
    set.addEventListener("change", () => (typed.hidden = set.value !== ""));
    const box = el("form", { class: "start" }, el("h2", {}, "Label a collection"),
      el("div", { class: "line" }, sets.length > 0 && el("span", { class: "field" }, el("label", { for: "review-set" }, "By"), set), typed),
      el("div", { class: "line" }, el("label", {}, several, " several labels a picture"), el("label", {}, none, " none, where no label fits"), button), bar, said);
    box.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (app.collections().find(({ name }) => name === collection)?.counts.image === 0) {
        said.textContent = "There are no pictures in it yet.";
        return;
      }
      const names = [...new Set(labels.value.split(",").map((one) => one.trim()).filter(Boolean))];
      if (!set.value && !names.length) {
        said.textContent = "Give one label or more, with commas between.";
        labels.focus();
        return;
      }
      const asked = { kind: "label", collection, abstain: none.checked, ...(set.value ? { label_set: set.value } : { labels: names }), ...(several.checked ? { mode: "multi" } : {}) };
      button.disabled = true;
      bar.hidden = false;
      try {
        const { id } = await app.jobs.ask(asked);
        const done = await app.jobs.ended(id, (job) => {
          said.textContent = job.state === "queued" ? "Waits for another job…" : job.total ? `${job.done.toLocaleString("en")} of ${count(job.total, "picture")}…` : "Begins…";
          if (job.total) Object.assign(bar, { max: job.total, value: job.done });
        });
        said.textContent = "";
        if (!root.hidden && !reviewing) app.navigate({ run: done.report.run, of: null });
        if (done.report.warnings.length) app.say(sentence(done.report.warnings), { kind: "bad" }); // which stays until it is read
      } catch (error) {
        said.textContent = "";
        app.say(error.message, { kind: "bad" });
      }
      button.disabled = false;
      bar.hidden = true;
    });
    return box;
  }

  return {
    show(address) {
      const run = address.get("run");
      if (!run) {
        reviewing?.end();
        reviewing = null;
        list();
        return;
      }
      if (reviewing?.id !== run) {
        reviewing?.end();
        shown = null;
        reviewing = new Reviewing(root, app, run);
      }
      reviewing.show(address.get("of"));
    },
    hide() {
      reviewing?.end();
      reviewing = null;
      shown = null;
    },
  };
}
