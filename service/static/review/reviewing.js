// Going through one labelling run: a picture at a time, large; one key says what it is, and the next one is there. What
// is said goes to the service behind it, so that nobody waits for the rest to be labelled anew.

import { count, el } from "../parts/dom.js";
import { order } from "../parts/latest.js";
import { fileName } from "../parts/picture/entry.js";
import { Flips } from "./flips.js";
import { listen } from "./keys.js";
import { Labels } from "./labels.js";
import { noRun, nothingLeft } from "./left.js";
import { Outbox } from "./outbox.js";
import { Picture } from "./picture.js";
import { Surest } from "./surest.js";
import { Whole } from "./whole.js";
import { listed, NONE } from "./words.js";

const PAGE = 24;
const CHANGED = "changed_meanwhile"; // codes of the service
const FORGOTTEN = "label_run_not_found";

// Where one begins among those that come next. Of two who met at a picture one goes on from behind, so that they meet
// again at the last; who meets somebody there as well, somewhere.
const AS_ASKED = (images) => images;
const FROM_BEHIND = (images) => [...images].reverse();
function fromSomewhere() {
  const share = Math.random();
  return (images) => {
    const from = Math.floor(share * images.length);
    return [...images.slice(from), ...images.slice(0, from)];
  };
}

export class Reviewing {
  constructor(root, app, id) {
    Object.assign(this, { root, app, id, api: app.api, queue: [], judged: new Map(), chosen: new Set(), arrange: AS_ASKED });
    this.place = `v1/label-runs/${encodeURIComponent(id)}`;
    this.of = undefined;
    this.outbox = new Outbox({
      post: (items) => this.api.post(`${this.place}/review`, { items }),
      onKept: (answer) => this.#kept(answer), onRefused: (error, images) => this.#refused(error, images),
      onRest: () => this.outbox.pending.length || this.current || this.#draw(),
    });
    this.refilling = order();
    this.ended = new AbortController();
    this.#build();
    listen(this, this.ended.signal);
    document.addEventListener("visibilitychange", () => document.hidden || this.outbox.isBusy || !this.run || this.#lookAgain(), { signal: this.ended.signal });
  }

  end() {
    this.ended.abort();
  }

  get current() {
    return this.queue[0] ?? null;
  }

  // `of`: the label whose pictures are looked at, or none; null: all
  async show(of) {
    if (of === this.of) return;
    this.of = of;
    this.queue = [];
    this.surest.show(of);
    this.work.setAttribute("aria-busy", "true");
    try {
      this.run = await this.api.get(this.place, { signal: this.ended.signal });
      if (this.labels.isEmpty) this.#describe();
      await this.#refill();
      if (this.of !== of) return;
      this.work.setAttribute("aria-busy", "false");
      this.surest.look();
    } catch (error) {
      if (this.ended.signal.aborted || this.of !== of) return;
      if (error.code === FORGOTTEN) return this.#explain();
      this.of = undefined;
      this.app.failed(error, () => this.show(of));
    }
  }

  #explain() {
    this.end();
    this.root.replaceChildren(noRun(this.app));
  }

  #build() {
    const { app, api, ended: { signal } } = this;
    const button = (text, key, act, more = "") => el("button", { type: "button", class: `button ${more}`, onclick: act }, el("span", {}, text), key && el("kbd", { "aria-hidden": "true" }, key));
    const acts = !app.info?.read_only;
    this.picture = new Picture(api, signal);
    this.labels = new Labels({ onChoose: (event, label) => this.#click(event, () => this.choose(label)) });
    this.flips = new Flips(api, { onLook: (flip) => this.#look(flip) });
    this.surest = new Surest(api, { bars: (label) => this.#bars(label), onAccept: (rule) => this.#acceptAbove(rule) });
    this.whole = new Whole(app, { id: this.id, place: this.place, attempt: (work) => this.#try(work), ended: signal });
    this.heading = el("h1", { dir: "auto" });
    this.asks = el("p", { class: "asks", "aria-live": "polite" });
    this.acceptance = button("Accept", "↵", (event) => this.#click(event, () => this.accept()), "main");
    const none = button("None of these", "N", (event) => this.#click(event, () => this.say("none")));
    const skip = button("Skip", "S", (event) => this.#click(event, () => this.say("skip")));
    this.back = button("Undo", "U", () => this.undo());
    this.progress = el("progress", { "aria-label": "Looked at" });
    this.far = el("p", { class: "hint" });
    this.which = el("select", { class: "input", "aria-label": "Which pictures", hidden: true });
    this.which.addEventListener("change", () => {
      this.picture.focus();
      app.navigate({ of: this.which.value || null });
    });
    this.done = el("div", { class: "all-done", hidden: true });
    this.work = el("div", { class: "work" }, this.picture.root,
      el("div", { class: "panel" }, this.asks, acts && el("div", { class: "acts" }, this.acceptance, none, skip),
        this.labels.find, this.labels.list, this.flips.root, acts && this.surest.root));
    this.root.replaceChildren(el("div", { class: "session" },
      el("header", {}, el("a", { class: "back-link", href: app.href({ run: null, of: null }) }, "‹ All runs"), this.heading,
        el("div", { class: "so-far" }, this.progress, this.far),
        el("div", { class: "tools" }, this.which, acts && this.back, this.whole.root)),
      this.work, this.done));
  }

  // What the run is, once.
  #describe() {
    const { run } = this;
    this.heading.textContent = this.app.titled(run.collection) ?? fileName(run.folder) ?? run.id;
    this.labels.show(run.labels);
    this.which.replaceChildren(new Option("all pictures", ""), ...run.labels.map((label) => new Option(label, label)), new Option("without a label", NONE));
    this.which.hidden = false;
    this.whole.show(run);
  }

  // --- the queue ---

  async #refill() {
    const shown = this.of;
    const of = shown === NONE ? "&abstained=true" : shown ? `&label=${encodeURIComponent(shown)}` : "";
    const isNews = this.refilling();
    const { images } = await this.api.get(`${this.place}/images?reviewed=false&order=uncertain&limit=${PAGE}${of}`, { signal: this.ended.signal });
    if (shown !== this.of || !isNews()) return; // others are looked at by now, or more has been said of these
    this.lacking = false;
    const { ids: waiting } = this.outbox;
    const fresh = images.filter(({ id }) => !waiting.has(id));
    const ordered = this.arrange(fresh);
    const kept = this.current && (fresh.find(({ id }) => id === this.current.id) ?? (this.current.wanted ? this.current : null));
    this.queue = kept ? [kept, ...ordered.filter(({ id }) => id !== kept.id)] : ordered;
    this.#draw();
  }

  // What is said counts for the labels that were seen, be they others by now.
  accept() {
    if (!this.current) return;
    const shown = this.current.answers.map(({ label }) => label);
    const wanted = this.run.mode === "multi" ? this.run.labels.filter((label) => this.chosen.has(label)) : shown;
    const same = wanted.length === shown.length && wanted.every((label) => shown.includes(label));
    if (wanted.length) this.say(same ? "accept" : "correct", wanted);
    else this.say("none");
  }

  choose(label) {
    if (!this.current || this.app.info?.read_only) return;
    if (this.run.mode === "multi") {
      this.touched = this.current.id;
      if (!this.chosen.delete(label)) this.chosen.add(label);
      this.#mark();
    } else if (this.current.answers[0]?.label === label) this.accept();
    else this.say("correct", [label]);
  }

  say(verdict, labels = []) {
    if (this.app.info?.read_only) return;
    const image = this.queue.shift();
    if (!image) return;
    this.judged.set(image.id, { ...image, wanted: true });
    this.outbox.add(image, { image: image.id, verdict, labels, expected_reviewed: image.reviewed ?? null });
    this.#draw();
  }

  async #kept(answer) {
    this.#answered(answer);
    if (!this.outbox.pending.length) await this.#goOn();
  }

  // Nothing of it was kept.
  async #refused(error, images) {
    const { aborted } = this.ended.signal;
    if (aborted || error.code === FORGOTTEN) {
      const lost = images.length + this.outbox.drop();
      if (aborted) this.app.say(`What was said of ${count(lost, "picture")} last was not kept: ${error.message}`, { kind: "bad" });
      else this.#explain();
      return;
    }
    const isChanged = error.code === CHANGED; // and is looked at again by nobody
    if (isChanged) this.arrange = this.arrange === AS_ASKED ? FROM_BEHIND : fromSomewhere();
    this.queue.unshift(...(isChanged ? images.map((image) => ({ ...image, wanted: false })) : images));
    this.#draw();
    this.app.say(isChanged ? "Somebody else has said meanwhile what this is: that is kept, and what you said is not. You go on at other pictures than they." : error.message, { kind: "bad" });
    if (isChanged) await this.#lookAgain();
  }

  // A review was kept, or taken back.
  #answered(answer) {
    this.run = answer.run;
    this.flips.show(answer);
    this.surest.look();
  }

  async undo() {
    await this.outbox.settled();
    if (!this.run?.undoable) return this.app.say("There is nothing to undo.");
    await this.#try(async () => {
      const answer = await this.api.post(`${this.place}/review/undo?review=${this.run.last_review}`).catch(async (error) => {
        if (error.code !== CHANGED) throw error;
        await this.#lookAgain();
        throw new Error("Somebody else has reviewed this run meanwhile, and nothing is taken back. Undo again takes back what they said last.");
      });
      this.#answered(answer);
      const back = answer.images.map((id) => this.judged.get(id)).filter(Boolean);
      const ids = new Set(answer.images);
      this.queue = [...back, ...this.queue.filter(({ id }) => !ids.has(id))];
      if (back.length !== 1) this.app.say(`Taken back: ${count(answer.by_rule || answer.images.length, "picture")} can be looked at again.`);
      await this.#goOn();
    });
  }

  // What others have said meanwhile counts, too.
  async #lookAgain() {
    try {
      this.run = await this.api.get(this.place, { signal: this.ended.signal });
    } catch (error) {
      if (error.code === FORGOTTEN) this.#explain();
      return; // nobody has asked for it
    }
    await this.#goOn();
  }

  // What was said is kept, whether more to look at can be had or not.
  #goOn() {
    return this.#refill().catch((error) => {
      if (this.ended.signal.aborted) return;
      if (error.code === FORGOTTEN) return this.#explain();
      this.lacking = true;
      this.app.failed(error, () => this.#goOn());
    });
  }

  async #try(work) {
    try {
      return await work();
    } catch (error) {
      if (this.ended.signal.aborted) return;
      if (error.code === FORGOTTEN) this.#explain();
      else this.app.say(error.message, { kind: "bad" });
    }
  }

  #bars(label) {
    const of = label === null ? "" : `?label=${encodeURIComponent(label)}`;
    return this.#try(async () => (await this.api.get(`${this.place}/bars${of}`, { signal: this.ended.signal })).bars);
  }

  async #acceptAbove(rule) {
    await this.outbox.settled();
    await this.#try(async () => {
      const answer = await this.api.post(`${this.place}/review`, { rules: [rule] });
      this.surest.done();
      this.#answered(answer);
      this.app.say(`${count(answer.by_rule, "picture")} accepted. Undo takes that back.`);
      await this.#goOn();
    });
  }

  #look(flip) {
    const image = { ...flip, answers: flip.after.map((label) => ({ label, score: null })), guess: null, wanted: true };
    this.queue = [image, ...this.queue.filter(({ id }) => id !== flip.id)];
    this.#draw();
    this.picture.stage.focus(); // and into view
  }

  // Who clicks goes on by keys; who came to a button by keys stays there.
  #click(event, act) {
    if (event.detail) this.picture.focus();
    act();
  }

  #draw() {
    const { run, current } = this;
    if (!run) return;
    const total = run.images - run.unread;
    const looked = Object.values(run.reviewed).reduce((sum, images) => sum + images, 0);
    Object.assign(this.progress, { max: total || 1, value: Math.min(total, looked + this.outbox.ids.size) });
    this.far.textContent = `${looked.toLocaleString("en")} of ${total.toLocaleString("en")} looked at`;
    this.back.disabled = !run.undoable && !this.outbox.isBusy;
    this.which.value = this.of ?? "";
    this.work.hidden = !current;
    this.done.hidden = Boolean(current || this.outbox.isBusy || this.lacking); // else there may be more
    const labels = current?.answers.map(({ label }) => label) ?? [];
    if (!current || this.touched !== current.id) { // else somebody is choosing
      this.chosen = new Set(labels);
      this.touched = null;
    }
    if (!current) return this.done.replaceChildren(nothingLeft(this.app, run, this.of, () => this.whole.download()));
    this.asks.replaceChildren(...(labels.length
      ? [el("span", { class: "hint" }, "This is "), el("strong", {}, listed(labels)), el("span", { class: "hint" }, "?")]
      : [el("span", { class: "hint" }, "None of the labels? Nearest is "), el("strong", { dir: "auto" }, current.guess?.label ?? "none")]));
    this.acceptance.firstChild.textContent = labels.length ? "Accept" : "Accept: none";
    this.#mark();
    this.picture.show(this.queue);
  }

  #mark() {
    const { guess, answers = [] } = this.current ?? {};
    this.labels.mark(this.chosen, [...(guess ? [guess] : []), ...answers]);
  }
}
