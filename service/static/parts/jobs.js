// The service's jobs: asked for now and then while one runs, for whoever shows them.

import { pause } from "./dom.js";

const EVERY = 1000; // ms between looks while a job runs
const SOON = 500; // the same for one that somebody waits for
const RUNNING = new Set(["queued", "running", "cancelling"]);

export const isRunning = (job) => RUNNING.has(job.state);

export class Jobs {
  constructor(api) {
    this.api = api;
    this.jobs = [];
    this.listeners = new Set();
    this.turn = 0; // of looks: an answer that another has overtaken is older than what is known
  }

  get running() {
    return this.jobs.filter(isRunning);
  }

  // Called with the list at each look; gives what ends that.
  follow(listener) {
    this.listeners.add(listener);
    listener(this.jobs, []);
    return () => this.listeners.delete(listener);
  }

  // Look now, and go on while one runs.
  async look() {
    clearTimeout(this.timer);
    const turn = ++this.turn;
    let jobs;
    try {
      jobs = (await this.api.get("v1/jobs?limit=20")).jobs;
    } catch {
      if (turn === this.turn && this.jobs.length) this.timer = setTimeout(() => this.look(), EVERY * 5);
      return;
    }
    if (turn !== this.turn) return;
    const before = new Map(this.jobs.map((job) => [job.id, job]));
    const ended = jobs.filter((job) => !isRunning(job) && before.has(job.id) && isRunning(before.get(job.id)));
    this.jobs = jobs;
    for (const listener of this.listeners) listener(jobs, ended);
    if (this.running.length) this.timer = setTimeout(() => this.look(), EVERY);
  }

  async ask(job) {
    const asked = await this.api.post("v1/jobs", job);
    this.jobs = [asked, ...this.jobs];
    this.look();
    return asked;
  }

  // The job, once it has succeeded; `tell` is given it at each look before. An Error with why it did not.
  async ended(id, tell) {
    for (;;) {
      const job = await this.api.get(`v1/jobs/${id}`);
      if (job.state === "succeeded") return job;
      if (!isRunning(job)) throw new Error(job.error?.message ?? "The job was cancelled.");
      tell(job);
      await pause(SOON);
    }
  }

  async cancel(id) {
    await this.api.delete(`v1/jobs/${id}`);
    this.look();
  }
}
