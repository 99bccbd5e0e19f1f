// What stands where there is no picture left to look at, or no run.

import { el, icon } from "../parts/dom.js";
import { NONE } from "./words.js";

// All of `of` were looked at.
export function nothingLeft(app, run, of, download) {
  const heading = of ? `No picture is left ${of === NONE ? "without a label" : `that is called ${of}`}.` : "You have been through all of it.";
  const all = of && el("button", { type: "button", class: "button main", onclick: () => app.navigate({ of: null }) }, "All pictures");
  return el("div", { class: "empty" }, el("h2", { dir: "auto" }, heading),
    el("p", {}, Object.entries(run.reviewed).map(([what, images]) => `${images.toLocaleString("en")} ${what}`).join(", ") || "Nothing was looked at yet."),
    el("p", { class: "acts" }, all, el("button", { type: "button", class: of ? "button" : "button main", onclick: download }, icon("download"), "Labels as CSV")));
}

export const noRun = (app) =>
  el("div", { class: "empty" }, el("h1", {}, "There is no such run"), el("p", {}, "It may have been forgotten."),
    el("a", { class: "button", href: app.href({ run: null, of: null }) }, "All runs"));
