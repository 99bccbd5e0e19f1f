// What is told of a run: its state, what it gained, how long it took, its settings and tables.

import { count, el } from "../parts/dom.js";

const STATES = { training: "training", stopped: "stopped", done: "done" };

export const figure = (value) => (value === null || value === undefined ? "–" : value.toFixed(3));

// "2 minutes ago"
export function ago(iso) {
  const seconds = Math.max(0, (Date.now() - Date.parse(iso)) / 1000);
  for (const [unit, size] of [["day", 86400], ["hour", 3600], ["minute", 60]]) {
    if (seconds >= size) return `${count(Math.floor(seconds / size), unit)} ago`;
  }
  return "just now";
}

export const lasted = (minutes) => (minutes < 1 ? `${Math.round(minutes * 60)} s` : minutes < 120 ? `${minutes.toFixed(minutes < 10 ? 1 : 0)} min` : `${(minutes / 60).toFixed(1)} h`);
export const setting = (value) => (value === null || value === undefined ? "–" : typeof value === "string" ? value : JSON.stringify(value));

export function state(run) {
  const epoch = run.epoch === null ? "begins" : run.epoch === 0 ? "first epoch" : `epoch ${run.epoch}`;
  const of = run.epochs ? ` of ${run.epochs}` : "";
  return el("span", { class: `state ${run.state}` }, el("i", { "aria-hidden": "true" }), `${STATES[run.state] ?? run.state} · ${run.state === "done" ? `epoch ${run.epoch}` : epoch + of}`);
}

// Before and after as one bar: what training added.
export function gain({ before, after, measure }) {
  if (after === null) return el("span", { class: "hint" }, "not measured yet");
  const parts = [Math.min(before ?? 0, after), Math.abs(after - (before ?? 0))].map((part) => `${(100 * Math.max(0, Math.min(1, part))).toFixed(1)}%`);
  const bar = el("span", { class: after < (before ?? 0) ? "gain fell" : "gain", role: "img", "aria-label": `${measure}: ${figure(before)} before, ${figure(after)} after` },
    el("i", {}), el("b", {}));
  bar.firstChild.style.width = parts[0];
  bar.lastChild.style.width = parts[1];
  return el("span", { class: "measured", title: `${measure}, before training and after` }, bar, el("span", {}, `${figure(before)} → `, el("strong", {}, figure(after))));
}

export const notes = (warnings) => (warnings.length ? el("ul", { class: "notes", "aria-label": "Warnings" }, warnings.map((text) => el("li", {}, text))) : "");

// A table may be wider than a phone: then it can be scrolled, by keys too.
export function scrolled(caption, head, rows) {
  return el("div", { class: "table", tabindex: 0, role: "region", "aria-label": caption }, el("table", {}, el("caption", {}, caption),
    el("thead", {}, el("tr", {}, head.map((text) => (text ? el("th", { scope: "col" }, text) : el("td"))))),
    el("tbody", {}, rows.map(([first, ...rest]) => el("tr", {}, el("th", { scope: "row" }, first), rest.map((text) => el("td", {}, text)))))));
}
