// Two runs beside each other: what differs, what came of it, and their curves in one.

import { el } from "../parts/dom.js";
import { Lines, short, smoothed } from "../parts/lines.js";
import { renew } from "../parts/renew.js";
import { Diary, place } from "./diary.js";
import { figure, lasted, notes, scrolled, setting } from "./facts.js";

export function two({ root, app, follow, back }, names) {
  const { api } = app;
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
    renew(said, found.verdict);
    renew(warnings, notes([...found.objections, ...found.runs.flatMap((run) => run.warnings.map((text) => `${run.name}: ${text}`))]));
    const line = (name, of) => [name, ...found.runs.map(of)];
    renew(tables, [
      scrolled("What came of them", ["", ...found.runs.map((run) => run.name)], [
        line(`${found.measure}, before`, (run) => figure(run.before)), line("after", (run) => figure(run.after)), line("score", (run) => figure(run.score)),
        line("best epoch", (run) => (run.best_epoch === null ? "–" : `${run.best_epoch} of ${run.epochs}`)), line("time", (run) => lasted(run.seconds / 60)),
        line("samples a second", (run) => (run.samples_per_second === null ? "–" : short(Math.round(run.samples_per_second))))]),
      Object.keys(found.settings).length
        ? scrolled("Settings that differ", ["", ...found.runs.map((run) => run.name)], Object.entries(found.settings).map(([key, values]) => [key, ...values.map(setting)]))
        : el("p", { class: "hint" }, "They were asked the same.")]);
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
