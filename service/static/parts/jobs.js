// The service's jobs: asked for now and then while one runs and somebody can see it, once for all who show them or wait
// for one. They are asked for, not streamed: a browser has six connections to a host for all of its tabs, and a stream
// holds one for as long as a job takes; a look holds one for a moment, and two a second are as live as a bar can be.

import { order } from "./latest.js";

const EVERY = 1000; // ms between looks while a job runs
const SOON = 500; // the same for one that somebody waits for
const LATER = 5000; // the same while the service does not answer
const LISTED = 20;
const RUNNING = new Set(["queued", "running", "cancelling"]);

export const isRunning = (job) => RUNNING.has(job.state);

export class Jobs {
  // `say` tells that the service does not answer.
  constructor(api, say) {
    Object.assign(this, { api, say });
    this.jobs = null; // not known yet
    this.own = []; // of this page itself
    this.listeners = new Set();
    this.awaited = new Set(); // ids
    this.waiting = []; // {resolve, reject}, called once with what the next look finds
    this.asking = order();
  }

  get running() {
    return (this.jobs ?? []).filter(isRunning);
  }

  get all() {
    return [...this.own, ...(this.jobs ?? [])];
  }

  // What the page itself does, shown among them as they are by now: jobs, with a `stop` of their own.
  show(own) {
    this.own = own;
    for (const listener of this.listeners) listener(this.all, []);
  }

  // Called with the list at each look, and with those of it that have ended since the one before; gives what ends that.
  follow(listener) {
    this.listeners.add(listener);
    listener(this.all, []);
    return () => this.listeners.delete(listener);
  }

  // Look now, and go on while one runs; whether some have ended.
  async look() {
    clearTimeout(this.timer);
    const isNews = this.asking();
    let jobs;
    try {
      jobs = (await this.api.get(`v1/jobs?limit=${LISTED}`, { patient: false })).jobs;
      const listed = new Set(jobs.map(({ id }) => id));
      for (const id of this.awaited) if (!listed.has(id)) jobs.push(await this.#one(id));
    } catch (error) {
      if (isNews()) this.#failed(error);
      return;
    }
    if (!isNews()) return;
    const before = this.jobs && new Map(this.jobs.map((job) => [job.id, job]));
    const hadEnded = (id) => before.has(id) && !isRunning(before.get(id)); // else it may have begun meanwhile, too
    const ended = before ? jobs.filter((job) => !isRunning(job) && !hadEnded(job.id)) : [];
    this.jobs = jobs;
    for (const listener of this.listeners) listener(this.all, ended);
    for (const { resolve } of this.waiting.splice(0)) resolve(jobs);
    if (this.awaited.size) this.#again(SOON);
    else if (this.running.length) this.#again(EVERY);
    return ended.length > 0;
  }

  // What does not pass by itself ends the waiting, and the looks, until somebody has reason for another.
  #failed(error) {
    if (!this.running.length && !this.awaited.size) return;
    if (error.passes) {
      this.say(error.message);
      this.#again(LATER);
    } else if (this.waiting.length) {
      for (const { reject } of this.waiting.splice(0)) reject(error); // who waits tells of it
    } else this.say(error.message, { kind: "bad" });
  }

  // Where nobody sees it, not until somebody does.
  #again(ms) {
    clearTimeout(this.timer);
    if (!document.hidden) this.timer = setTimeout(() => this.look(), ms);
  }

  async #one(id) {
    try {
      return await this.api.get(`v1/jobs/${id}`, { patient: false });
    } catch (error) {
      if (error.status !== 404) throw error;
      return { id, state: "failed", error: { message: "The job was forgotten before its end was seen" } };
    }
  }

  async ask(job) {
    const asked = await this.api.post("v1/jobs", job);
    this.asking()(); // a look that began before knows nothing of it
    this.jobs = [asked, ...(this.jobs ?? [])];
    this.look();
    return asked;
  }

  // The job that was just asked for, once it has succeeded; `tell` is given it at each look before. An Error with why it
  // did not, or why that cannot be known.
  async ended(id, tell) {
    this.awaited.add(id);
    try {
      for (;;) {
        const jobs = await new Promise((resolve, reject) => this.waiting.push({ resolve, reject }));
        const job = jobs.find((each) => each.id === id);
        if (!job) continue; // that look was begun before
        if (job.state === "succeeded") return job;
        if (!isRunning(job)) throw new Error(job.error ? await this.api.inWords(job.error) : "The job was cancelled");
        tell(job);
      }
    } finally {
      this.awaited.delete(id);
    }
  }

  async cancel(id) {
    const own = this.own.find((job) => job.id === id);
    if (own) return own.stop();
    await this.api.delete(`v1/jobs/${id}`);
    this.look();
  }
}
