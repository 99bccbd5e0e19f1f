// One run: what came of it, its curves, which grow while it trains, and having it serve.

import { el, set } from "../parts/dom.js";
import { renew } from "../parts/renew.js";
import { curves } from "./curves.js";
import { Diary, place } from "./diary.js";
import { ago, figure, gain, lasted, notes, scrolled, setting, state } from "./facts.js";
import { serve } from "./serving.js";

export function one({ root, app, follow, back }, name) {
  const { api } = app;
  const report = el("a", { class: "button", target: "_blank", rel: "noopener", hidden: true }, "Report");
  const parts = { told: el("div"), report, verdict: el("p", { class: "verdict" }), warnings: el("div"), tables: el("div", { class: "tables" }), settings: el("dl", { class: "settings" }) };
  const charts = curves();
  const serving = el("div", { class: "serve" });
  root.replaceChildren(el("div", { class: "sheet" }, back(), el("header", { class: "head" }, parts.told, report, parts.verdict), parts.warnings, serving,
    el("section", { "aria-labelledby": "run-learning" }, el("h2", { id: "run-learning" }, "Learning"), el("div", { class: "charts" }, charts.learning.map(({ root: chart }) => chart))),
    el("section", { "aria-labelledby": "run-space" }, el("h2", { id: "run-space" }, "The space"), el("div", { class: "charts" }, charts.space.map(({ root: chart }) => chart))),
    el("section", { "aria-labelledby": "run-numbers" }, el("h2", { id: "run-numbers" }, "Before and after"), parts.tables),
    el("details", {}, el("summary", {}, "Settings"), parts.settings)));
  const diary = new Diary(api, name);
  let told = null;
  let wasTraining = null; // not known yet
  follow(async (signal) => {
    const run = await api.get(place(name), { signal });
    const { report_url: report, ...lasting } = run; // which is signed anew each time
    set(parts.report, { href: report, hidden: !report });
    if (JSON.stringify(lasting) !== told) describe(run, parts);
    const isTraining = run.state === "training";
    if (isTraining !== wasTraining) serve(app, run, serving);
    wasTraining = isTraining;
    told = JSON.stringify(lasting);
    if (await diary.read(signal)) charts.show(diary, run);
    return isTraining;
  });
}

function describe(run, parts) {
  renew(parts.told, el("h1", {}, run.name),
    el("p", { class: "facts" }, state(run), run.started_from && el("span", {}, `from ${run.started_from}`), el("span", {}, lasted(run.minutes)), el("span", {}, `written ${ago(run.written_at)}`)));
  renew(parts.verdict, el("span", {}, run.measure), gain(run), run.score === null ? "" : el("span", { class: "hint" }, `score ${figure(run.score)}${run.best_epoch === null ? "" : `, best in epoch ${run.best_epoch}`}`));
  renew(parts.warnings, notes(run.warnings));
  renew(parts.tables, run.tables.map(table));
  renew(parts.settings, Object.entries(run.settings).flatMap(([key, value]) => [el("dt", {}, key), el("dd", {}, setting(value))]));
}

function table({ title: caption, rows }) {
  return scrolled(caption, ["", "before", "after", "change"], rows.map(({ name, before, after }) => {
    const digits = name === "median rank" ? 1 : 3;
    const by = before === null ? null : after - before;
    return [name, before === null ? "–" : before.toFixed(digits), after.toFixed(digits), by === null ? "–" : `${by < 0 ? "−" : "+"}${Math.abs(by).toFixed(digits)}`];
  }));
}
