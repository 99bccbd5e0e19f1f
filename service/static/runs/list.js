// All training runs, of which two are chosen to be compared.

import { count, el } from "../parts/dom.js";
import { renew } from "../parts/renew.js";
import { LIST } from "./diary.js";
import { ago, gain, lasted, state } from "./facts.js";

export function list({ root, app, follow, explain }) {
  const chosen = new Set();
  const rows = el("ul", { class: "rows" });
  const compare = el("a", { class: "button", hidden: true }, "Compare");
  const where = el("p", { class: "hint" });
  const choose = () => {
    const [a, b] = chosen;
    compare.hidden = chosen.size !== 2;
    if (b) compare.href = app.href({ run: a, with: b });
  };
  const sheet = el("div", { class: "sheet" }, el("header", {}, el("div", {}, el("h1", {}, "Training runs"), where), compare), rows);
  root.replaceChildren(sheet);
  follow(async (signal) => {
    const { named, folder, training_runs: runs } = await app.api.get(LIST, { signal });
    if (!named) {
      explain("No folder of training runs", el("p", {}, "Start the service with one, and its runs are shown here as they train: ", el("code", {}, "glimpse serve --runs runs")));
      return false;
    }
    if (!runs.length) {
      explain("No run yet", el("p", {}, `A run that is written below ${folder ?? "the operator's folder"} appears here: `, el("code", {}, `glimpse train pairs.csv --out ${folder ?? "RUNS"}/first`)));
      return true;
    }
    if (!sheet.isConnected) root.replaceChildren(sheet); // it was said that there is none yet
    renew(where, `${count(runs.length, "run")}${folder ? ` in ${folder}` : ""}.${runs.length > 1 ? " Choose two to compare them." : ""}`);
    renew(rows, runs.map((run) => row(run, { app, chosen, rows, choose })));
    return true;
  });
}

function row(run, { app, chosen, rows, choose }) {
  const box = el("input", { type: "checkbox", checked: chosen.has(run.name), "aria-label": `Compare ${run.name}` });
  box.addEventListener("change", () => {
    if (box.checked) chosen.add(run.name);
    else chosen.delete(run.name);
    for (const name of chosen) if (chosen.size > 2 && name !== run.name) { // the one chosen first makes way
      chosen.delete(name);
      rows.querySelectorAll("input").forEach((other) => other.closest("li").dataset.key === name && (other.checked = false));
      break;
    }
    choose();
  });
  return el("li", { "data-key": run.name }, box,
    el("a", { href: app.href({ run: run.name }), class: "name" }, run.name, el("span", { class: "hint" }, `${lasted(run.minutes)} · ${ago(run.written_at)}`)),
    state(run), el("span", { class: "figures" }, gain(run), run.after !== null && el("span", { class: "hint" }, run.measure)),
    el("span", { class: "hint warned" }, run.warnings.length ? count(run.warnings.length, "warning") : ""));
}
