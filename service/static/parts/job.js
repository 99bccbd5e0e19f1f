// One job as a person reads it: what it does, how far it is, how it ended.

import { told } from "../refusals.js";
import { count, el } from "./dom.js";
import { isRunning } from "./jobs.js";

const STATES = { queued: "waits", running: "", cancelling: "is being cancelled", succeeded: "is done", failed: "has failed", cancelled: "was cancelled" };

const DOING = { upload: "Sending pictures to", index: "Adding pictures to", watch: "Following folders into", label: "Labelling", reindex: "Changing the model of", map: "Making the map of" };

const titleOf = ({ kind, state, collection }, app) =>
  `${DOING[kind] ?? "A damaged job"} ${app.titled(collection) ?? (DOING[kind] ? "a folder" : "")} ${STATES[state]}`;

const moreOf = ({ report }) => [report?.skipped && `${count(report.skipped, "file")} left out`, ...(report?.warnings ?? [])].filter(Boolean);

// Of one that has ended.
export const endOf = (job, app) => (job.error ? `${titleOf(job, app)}: ${told(job.error)}` : `${[titleOf(job, app), ...moreOf(job)].join(" · ")}.`);

// As a row, with the button that ends it.
export function jobRow(job, jobs, app) {
  const { kind, state, done, total, error, waiting } = job;
  const far = total ? `${done.toLocaleString("en")} of ${total.toLocaleString("en")}` : done ? done.toLocaleString("en") : "";
  const bar = isRunning(job) && el("progress", { max: total || 1, value: total ? done : null, "aria-label": `Progress of the ${kind} job` });
  return el("li", { "data-key": job.id },
    el("div", {},
      el("span", { class: "name" }, titleOf(job, app)),
      bar,
      el("p", { class: "hint" }, (error && told(error)) ?? waiting ?? [far, ...moreOf(job)].filter(Boolean).join(" · "))),
    isRunning(job) && state !== "cancelling" && !app.info?.read_only && el("button", { type: "button", class: "button plain",
      onclick: () => jobs.cancel(job.id).catch((failure) => app.say(failure.message, { kind: "bad" })) }, "Cancel"));
}
