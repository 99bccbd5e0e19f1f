// Training runs of the folder that the operator names: a list; one with its curves, which grow while it trains; two beside
// each other. The address has `run`, and `with` for the one that it is compared to.

import { count, el } from "../parts/dom.js";
import { Lines, short, smoothed } from "../parts/lines.js";

export const title = "Runs";

const LIST = "v1/training-runs";
const LOOK = 2000; // ms from one look at a run that trains to the next
const STATES = { training: "training", stopped: "stopped", done: "done" };
const GROUPS = { "text_to_image": "from text to image", "image_to_text": "from image to text", "view_to_view": "from view to view" };
const RECALLS = ["recall@1", "recall@5", "recall@10"];

const place = (name, ...rest) => [LIST, encodeURIComponent(name), ...rest].join("/");
const figure = (value) => (value === null || value === undefined ? "–" : value.toFixed(3));

// "2 minutes ago"
function ago(iso) {
  const seconds = Math.max(0, (Date.now() - Date.parse(iso)) / 1000);
  for (const [unit, size] of [["day", 86400], ["hour", 3600], ["minute", 60]]) {
    if (seconds >= size) return `${count(Math.floor(seconds / size), unit)} ago`;
  }
  return "just now";
}

const lasted = (minutes) => (minutes < 1 ? `${Math.round(minutes * 60)} s` : minutes < 120 ? `${minutes.toFixed(minutes < 10 ? 1 : 0)} min` : `${(minutes / 60).toFixed(1)} h`);
const setting = (value) => (value === null || value === undefined ? "–" : typeof value === "string" ? value : JSON.stringify(value));

function state(run) {
  const epoch = run.epoch === null ? "begins" : run.epoch === 0 ? "first epoch" : `epoch ${run.epoch}`;
  const of = run.epochs ? ` of ${run.epochs}` : "";
  return el("span", { class: `state ${run.state}` }, el("i", { "aria-hidden": "true" }), `${STATES[run.state] ?? run.state} · ${run.state === "done" ? `epoch ${run.epoch}` : epoch + of}`);
}

// Before and after as one bar: what training added.
function gain({ before, after, measure }) {
  if (after === null) return el("span", { class: "hint" }, "not measured yet");
  const parts = [Math.min(before ?? 0, after), Math.abs(after - (before ?? 0))].map((part) => `${(100 * Math.max(0, Math.min(1, part))).toFixed(1)}%`);
  const bar = el("span", { class: after < (before ?? 0) ? "gain fell" : "gain", role: "img", "aria-label": `${measure}: ${figure(before)} before, ${figure(after)} after` },
    el("i", {}), el("b", {}));
  bar.firstChild.style.width = parts[0];
  bar.lastChild.style.width = parts[1];
  return el("span", { class: "measured", title: `${measure}, before training and after` }, bar, el("span", {}, `${figure(before)} → `, el("strong", {}, figure(after))));
}

// What a run noted, as far as it was read: it is asked for what comes after.
class Diary {
  constructor(api, name) {
    Object.assign(this, { api, name, next: 0 });
    this.forget();
  }

  forget() {
    this.steps = {};
    this.epochs = new Map();
  }

  async read(signal) {
    let told;
    let grew = false;
    do {
      told = await this.api.get(`${place(this.name, "diary")}?offset=${this.next}`, { signal });
      if (told.anew) this.forget();
      const had = this.steps.step?.length ?? 0;
      const more = told.steps.step?.length ?? 0;
      for (const [key, values] of Object.entries(told.steps)) (this.steps[key] ??= new Array(had).fill(null)).push(...values);
      for (const values of Object.values(this.steps)) while (values.length < had + more) values.push(null);
      for (const record of told.epochs) this.epochs.set(record.epoch, record);
      grew ||= more > 0 || told.epochs.length > 0;
      this.next = told.next;
    } while (told.more);
    return grew;
  }

  overSteps(key) {
    return (this.steps[key] ?? []).map((y, i) => [this.steps.step[i], y]).filter(([x, y]) => x !== null && y !== null);
  }

  overEpochs(key) {
    return [...this.epochs.values()].map((record) => [record.epoch, record[key]]).filter(([, y]) => typeof y === "number");
  }
}

export function mount(root, app) {
  const { api } = app;
  let running = null; // AbortController of what is shown
  let timer = null;
  let shown = null; // the run, and what it is compared to; "": the list

  // Shows something that is asked for again and again: `look` gives whether to go on.
  function follow(look) {
    running?.abort();
    clearTimeout(timer);
    running = new AbortController();
    const { signal } = running;
    const again = async () => {
      try {
        if ((await look(signal)) && !signal.aborted) timer = setTimeout(again, LOOK);
      } catch (error) {
        if (signal.aborted) return;
        if (error.status === 404) explain("There is no such run", "Its folder may have been moved or deleted.", el("a", { class: "button", href: app.href({ run: null, with: null }) }, "All runs"));
        else app.failed(error, again);
      }
    };
    again();
  }

  function explain(heading, ...more) {
    root.replaceChildren(el("div", { class: "empty" }, el("h1", {}, heading), ...more.map((one) => (typeof one === "string" ? el("p", {}, one) : one))));
  }

  // --- all of them ---

  function list() {
    const chosen = new Set();
    const rows = el("ul", { class: "rows" });
    const compare = el("a", { class: "button", hidden: true }, "Compare");
    const where = el("p", { class: "hint" });
    let told = "";
    const choose = () => {
      const [a, b] = chosen;
      compare.hidden = chosen.size !== 2;
      if (b) compare.href = app.href({ run: a, with: b });
    };
    const sheet = el("div", { class: "sheet" }, el("header", {}, el("div", {}, el("h1", {}, "Training runs"), where), compare), rows);
    root.replaceChildren(sheet);
    follow(async (signal) => {
      const { named, folder, training_runs: runs } = await api.get(LIST, { signal });
      if (!named) {
        explain("No folder of training runs", el("p", {}, "Start the service with one, and its runs are shown here as they train: ", el("code", {}, "glimpse serve --runs runs")));
        return false;
      }
      if (!runs.length) {
        explain("No run yet", el("p", {}, `A run that is written below ${folder ?? "the operator's folder"} appears here: `, el("code", {}, `glimpse train pairs.csv --out ${folder ?? "RUNS"}/first`)));
        return true;
      }
      if (!sheet.isConnected) root.replaceChildren(sheet); // it was said that there is none yet
      where.textContent = `${count(runs.length, "run")}${folder ? ` in ${folder}` : ""}.${runs.length > 1 ? " Choose two to compare them." : ""}`;
      const said = JSON.stringify(runs);
      if (said !== told) rows.replaceChildren(...runs.map((run) => row(run, chosen, choose)));
      told = said;
      return true;
    });
  }

  function row(run, chosen, choose) {
    const box = el("input", { type: "checkbox", checked: chosen.has(run.name), "aria-label": `Compare ${run.name}` });
    box.addEventListener("change", () => {
      if (box.checked) chosen.add(run.name);
      else chosen.delete(run.name);
      for (const name of chosen) if (chosen.size > 2 && name !== run.name) { // the one chosen first makes way
        chosen.delete(name);
        root.querySelectorAll("input").forEach((other) => other.dataset.run === name && (other.checked = false));
        break;
      }
      choose();
    });
    box.dataset.run = run.name;
    return el("li", {}, box,
      el("a", { href: app.href({ run: run.name }), class: "name" }, run.name, el("span", { class: "hint" }, `${lasted(run.minutes)} · ${ago(run.written_at)}`)),
      state(run), el("span", { class: "figures" }, gain(run), run.after !== null && el("span", { class: "hint" }, run.measure)),
      el("span", { class: "hint warned" }, run.warnings.length ? count(run.warnings.length, "warning") : ""));
  }

  // --- one ---

  function one(name) {
    const parts = { head: el("header", { class: "head" }), warnings: el("div"), tables: el("div", { class: "tables" }), settings: el("dl", { class: "settings" }) };
    const charts = makeCharts();
    const serving = el("div", { class: "serve" });
    root.replaceChildren(el("div", { class: "sheet" }, back(), parts.head, parts.warnings, serving,
      el("section", { "aria-labelledby": "run-learning" }, el("h2", { id: "run-learning" }, "Learning"), el("div", { class: "charts" }, charts.learning.map(({ root: chart }) => chart))),
      el("section", { "aria-labelledby": "run-space" }, el("h2", { id: "run-space" }, "The space"), el("div", { class: "charts" }, charts.space.map(({ root: chart }) => chart))),
      el("section", { "aria-labelledby": "run-numbers" }, el("h2", { id: "run-numbers" }, "Before and after"), parts.tables),
      el("details", {}, el("summary", {}, "Settings"), parts.settings)));
    const diary = new Diary(api, name);
    let told = null;
    follow(async (signal) => {
      const run = await api.get(place(name), { signal });
      const { report_url: report, ...lasting } = run; // which is signed anew each time
      if (JSON.stringify(lasting) !== told) describe(run, parts, told === null ? serving : null);
      told = JSON.stringify(lasting);
      if (await diary.read(signal)) charts.show(diary, run);
      return run.state === "training";
    });
  }

  const back = () => el("a", { class: "back", href: app.href({ run: null, with: null }) }, "‹ All runs");

  function describe(run, parts, serving) {
    const report = run.report_url && el("a", { class: "button", href: run.report_url, target: "_blank", rel: "noopener" }, "Report");
    parts.head.replaceChildren(el("div", {}, el("h1", {}, run.name),
      el("p", { class: "facts" }, state(run), run.started_from && el("span", {}, `from ${run.started_from}`), el("span", {}, lasted(run.minutes)), el("span", {}, `written ${ago(run.written_at)}`))),
    report ?? "");
    parts.head.append(el("p", { class: "verdict" }, el("span", {}, run.measure), gain(run), run.score === null ? "" : el("span", { class: "hint" }, `score ${figure(run.score)}${run.best_epoch === null ? "" : `, best in epoch ${run.best_epoch}`}`)));
    parts.warnings.replaceChildren(notes(run.warnings));
    parts.tables.replaceChildren(...run.tables.map(table));
    parts.settings.replaceChildren(...Object.entries(run.settings).flatMap(([key, value]) => [el("dt", {}, key), el("dd", {}, setting(value))]));
    if (serving) serve(run, serving);
    else if (run.state !== "training" && parts.wasTraining) serve(run, root.querySelector(".serve"));
    parts.wasTraining = run.state === "training";
  }

  const notes = (warnings) => (warnings.length ? el("ul", { class: "notes", "aria-label": "Warnings" }, warnings.map((text) => el("li", {}, text))) : "");

  function table({ title: caption, rows }) {
    return scrolled(caption, ["", "before", "after", "change"], rows.map(({ name, before, after }) => {
      const digits = name === "median rank" ? 1 : 3;
      const by = before === null ? null : after - before;
      return [name, before === null ? "–" : before.toFixed(digits), after.toFixed(digits), by === null ? "–" : `${by < 0 ? "−" : "+"}${Math.abs(by).toFixed(digits)}`];
    }));
  }

  // A table may be wider than a phone: then it can be scrolled, by keys too.
  function scrolled(caption, head, rows) {
    return el("div", { class: "table", tabindex: 0, role: "region", "aria-label": caption }, el("table", {}, el("caption", {}, caption),
      el("thead", {}, el("tr", {}, head.map((text) => (text ? el("th", { scope: "col" }, text) : el("td"))))),
      el("tbody", {}, rows.map(([first, ...rest]) => el("tr", {}, el("th", { scope: "row" }, first), rest.map((text) => el("td", {}, text)))))));
  }

  // --- its curves ---

  function makeCharts() {
    const steps = (name) => new Lines({ title: name, across: "step" });
    const epochs = (name, more) => new Lines({ title: name, across: "epoch", ...more });
    const loss = steps("Loss");
    const recalls = Object.entries(GROUPS).map(([key, name]) => ({ key, chart: epochs(`Recall ${name}`, { fromZero: true }) }));
    const accuracy = epochs("Accuracy", { fromZero: true });
    const score = epochs("Score", { fromZero: true });
    const rate = steps("Learning rate");
    const scale = steps("Logit scale, 1 / temperature");
    const gradient = steps("Norm of the gradient");
    const speed = steps("Samples a second");
    const cosine = steps("Cosine in the batch");
    const shared = steps("Information shared, at least (nats)");
    const even = epochs("Alignment and uniformity");
    const rank = epochs("Effective rank");
    const learning = [loss, ...recalls.map(({ chart }) => chart), accuracy, score, rate, scale, gradient, speed];
    const space = [cosine, shared, even, rank];
    const raw = (diary, key) => {
      const points = diary.overSteps(key);
      return [{ name: "each step", points, faint: true }, { name: "smoothed", points: smoothed(points) }];
    };
    return {
      learning,
      space,
      show(diary, run) {
        const best = run.best_epoch === null ? null : { x: run.best_epoch, text: "best" };
        const over = (names) => Object.entries(names).map(([key, name]) => ({ name, points: diary.overEpochs(key) }));
        const along = (names) => Object.entries(names).map(([key, name]) => ({ name, points: diary.overSteps(key) }));
        loss.show(raw(diary, "loss"));
        for (const { key, chart } of recalls) chart.show(over(Object.fromEntries(RECALLS.map((name) => [`${key}/${name}`, name]))), best);
        accuracy.show(over({ top1: "top-1", top5: "top-5" }), best);
        score.show(over({ score: "score", probe: "probe" }), best);
        rate.show(along({ lr: "learning rate" }));
        scale.show(along({ logit_scale: "logit scale" }));
        gradient.show(raw(diary, "grad_norm"));
        speed.show(raw(diary, "samples_per_second"));
        cosine.show(along({ positive_similarity: "positives", hardest_negative_similarity: "hardest negatives" }));
        shared.show(raw(diary, "mutual_information"));
        even.show(over({ "health/alignment": "alignment", "health/uniformity_images": "uniformity of images", "health/uniformity_texts": "of texts" }));
        rank.show(over({ "health/effective_rank_images": "images", "health/effective_rank_texts": "texts" }));
      },
    };
  }

  // --- to be served ---

  function serve(run, box) {
    const collections = app.collections().filter(({ problem }) => !problem);
    if (app.info?.read_only || !collections.length) return box.replaceChildren();
    if (run.state === "training") {
      return box.replaceChildren(el("p", { class: "hint" }, "It can be served once it has ended: until then its model changes."));
    }
    if (!run.has_model) return box.replaceChildren();
    const select = el("select", { class: "input", "aria-label": "Collection to serve it for" }, collections.map(({ name }) => el("option", {}, name)));
    if (collections.some(({ name }) => name === app.collection())) select.value = app.collection();
    const said = el("p", { class: "hint", "aria-live": "polite" });
    const button = el("button", { type: "button", class: "button main" }, "Serve this one");
    const explainIt = () => {
      const { counts, model } = collections.find(({ name }) => name === select.value) ?? collections[0];
      said.textContent = `Reads ${count(counts.image, "picture")} anew with this model. Until all are done, ${select.value} goes on with ${model}.`;
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
        serve(run, box);
        app.say(`${collection} is searched by ${run.name} now.`);
      } catch (error) {
        said.textContent = "";
        app.say(error.message, { kind: "bad" });
      }
      button.disabled = false;
    });
    return box.replaceChildren(button, el("label", {}, "for ", select), said);
  }

  // --- two ---

  function two(names) {
    const charts = { loss: new Lines({ title: "Loss, smoothed", across: "step" }), recall: new Lines({ title: "Recall@10 from text to image", across: "epoch", fromZero: true }), score: new Lines({ title: "Score", across: "epoch", fromZero: true }), rate: new Lines({ title: "Learning rate", across: "step" }) };
    const said = el("p", { class: "verdict" });
    const warnings = el("div");
    const tables = el("div", { class: "tables wide" });
    root.replaceChildren(el("div", { class: "sheet" }, back(), el("header", { class: "head" }, el("h1", {}, names.join(" and ")), said), warnings, tables,
      el("section", { "aria-labelledby": "run-curves" }, el("h2", { id: "run-curves" }, "Curves"), el("div", { class: "charts" }, Object.values(charts).map(({ root: chart }) => chart)))));
    const diaries = names.map((name) => new Diary(api, name));
    let told = null;
    follow(async (signal) => {
      const runs = await Promise.all(names.map((name) => api.get(place(name), { signal })));
      const grew = await Promise.all(diaries.map((diary) => diary.read(signal)));
      const trains = runs.some((run) => run.state === "training");
      const now = JSON.stringify(runs.map(({ report_url: _, ...lasting }) => lasting));
      if (now === told && !grew.some(Boolean)) return trains; // a comparison reads both logs whole
      const found = await api.get(`${place(names[0], "compare")}?with=${encodeURIComponent(names[1])}`, { signal });
      told = now;
      said.textContent = found.verdict;
      warnings.replaceChildren(notes([...found.objections, ...found.runs.flatMap((run) => run.warnings.map((text) => `${run.name}: ${text}`))]));
      const line = (name, of) => [name, ...found.runs.map(of)];
      tables.replaceChildren(
        scrolled("What came of them", ["", ...found.runs.map((run) => run.name)], [
          line(`${found.measure}, before`, (run) => figure(run.before)), line("after", (run) => figure(run.after)), line("score", (run) => figure(run.score)),
          line("best epoch", (run) => (run.best_epoch === null ? "–" : `${run.best_epoch} of ${run.epochs}`)), line("time", (run) => lasted(run.seconds / 60)),
          line("samples a second", (run) => (run.samples_per_second === null ? "–" : short(Math.round(run.samples_per_second))))]),
        Object.keys(found.settings).length
          ? scrolled("Settings that differ", ["", ...found.runs.map((run) => run.name)], Object.entries(found.settings).map(([key, values]) => [key, ...values.map(setting)]))
          : el("p", { class: "hint" }, "They were asked the same."));
      if (diaries.some((diary) => diary.steps.step || diary.epochs.size)) {
        const each = (points) => diaries.map((diary, i) => ({ name: names[i], points: points(diary) }));
        charts.loss.show(each((diary) => smoothed(diary.overSteps("loss"))));
        charts.recall.show(each((diary) => diary.overEpochs("text_to_image/recall@10")));
        charts.score.show(each((diary) => diary.overEpochs("score")));
        charts.rate.show(each((diary) => diary.overSteps("lr")));
      }
      return trains;
    });
  }

  return {
    show(address) {
      const [run, other] = [address.get("run"), address.get("with")];
      const next = `${run ?? ""}/${other ?? ""}`;
      if (next === shown) return; // it follows by itself what becomes of it
      shown = next;
      if (run && other && other !== run) two([run, other]);
      else if (run) one(run);
      else list();
    },
    hide() {
      shown = null;
      running?.abort();
      clearTimeout(timer);
    },
  };
}
