// Going through one labelling run: a picture at a time, large; one key says what it is, and the next one is there. What
// is said goes to the service behind it, so that nobody waits for the rest to be labelled anew.

import { count, el, icon, pause, saveFile } from "./dom.js";
import { order } from "./latest.js";
import { fileName, sized } from "./picture/entry.js";

const PAGE = 24;
const LATER = 3000; // ms until what does not answer is asked again
const FLIPS = 12; // that are shown
const NONE = " "; // in the address: those without a label

const score = (value) => value.toFixed(2);
const called = (labels) => labels.join(", ") || "none";

const letGo = (source) => source.then((src) => src.startsWith("blob:") && URL.revokeObjectURL(src), () => {});

export class Reviewing {
  constructor(root, app, id) {
    Object.assign(this, { root, app, id, api: app.api, queue: [], pending: [], judged: new Map(), chosen: new Set() });
    this.place = `v1/label-runs/${encodeURIComponent(id)}`;
    this.of = undefined;
    this.version = 0; // of the labels: what was loaded before a review may be called otherwise by now
    this.sending = null; // promise of the review under way
    this.refilling = order();
    this.barring = order();
    this.ended = new AbortController();
    this.#build();
    addEventListener("keydown", (event) => this.#key(event), { signal: this.ended.signal });
  }

  end() {
    this.ended.abort();
    this.#letGo();
  }

  get current() {
    return this.queue[0] ?? null;
  }

  // `of`: the label whose pictures are looked at, or none; null: all
  async show(of) {
    if (of === this.of) return;
    this.of = of;
    this.queue = [];
    this.#forgetBars();
    this.work.setAttribute("aria-busy", "true");
    try {
      this.run = await this.api.get(this.place, { signal: this.ended.signal });
      if (!this.labels.children.length) this.#describe();
      await this.#refill();
      if (this.of !== of) return;
      this.work.setAttribute("aria-busy", "false");
      if (this.bulk.open) this.#bars();
    } catch (error) {
      if (this.ended.signal.aborted) return;
      if (this.of !== of) return;
      if (error.status !== 404) {
        this.of = undefined;
        this.app.failed(error, () => this.show(of));
        return;
      }
      this.root.replaceChildren(el("div", { class: "empty" }, el("h1", {}, "There is no such run"), el("p", {}, "It may have been forgotten."), el("a", { class: "button", href: this.app.href({ run: null, of: null }) }, "All runs")));
    }
  }

  // --- what it is made of ---

  #build() {
    const button = (text, key, act, more = "") => el("button", { type: "button", class: `button ${more}`, onclick: act }, el("span", {}, text), key && el("kbd", { "aria-hidden": "true" }, key));
    const acts = !this.app.info?.read_only;
    this.image = el("img", { alt: "", draggable: "false" });
    this.stage = el("div", { class: "stage", tabindex: "-1", role: "group", "aria-label": "Picture" }, this.image);
    this.name = el("p", { class: "hint path" });
    this.next = el("div", { class: "next", "aria-hidden": "true" });
    this.heading = el("h1", {});
    this.asks = el("p", { class: "asks", "aria-live": "polite" });
    this.labels = el("ul", { class: "labels" });
    this.find = el("input", { class: "input", type: "search", placeholder: "Find a label", "aria-label": "Find a label", hidden: true });
    this.find.addEventListener("input", () => this.#list());
    this.find.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      const first = [...this.labels.querySelectorAll("li:not([hidden]) button")][0];
      this.find.value = "";
      this.find.blur();
      first?.click();
      this.#list();
    });
    this.accept = button("Accept", "↵", (event) => this.#click(event, () => this.#accept()), "main");
    this.none = button("None of these", "N", (event) => this.#click(event, () => this.#say("none")));
    this.skip = button("Skip", "S", (event) => this.#click(event, () => this.#say("skip")));
    this.back = button("Undo", "U", () => this.#undo());
    this.progress = el("progress", { "aria-label": "Looked at" });
    this.far = el("p", { class: "hint" });
    this.which = el("select", { class: "input", "aria-label": "Which pictures" });
    this.which.addEventListener("change", () => {
      this.stage.focus({ preventScroll: true }); // the next key is about the picture
      this.app.navigate({ of: this.which.value || null });
    });
    this.flips = el("section", { class: "flips", "aria-live": "polite", hidden: true });
    this.bulk = this.#bulk();
    this.done = el("div", { class: "all-done", hidden: true });
    this.work = el("div", { class: "work" },
      el("div", { class: "large" }, this.stage, el("div", { class: "below" }, this.name, this.next)),
      el("div", { class: "panel" }, this.asks, acts && el("div", { class: "acts" }, this.accept, this.none, this.skip),
        this.find, this.labels, this.flips, acts && this.bulk));
    this.root.replaceChildren(el("div", { class: "session" },
      el("header", {}, el("a", { class: "back-link", href: this.app.href({ run: null, of: null }) }, "‹ All runs"), this.heading,
        el("div", { class: "so-far" }, this.progress, this.far),
        el("div", { class: "tools" }, this.which, acts && this.back, this.#more(acts))),
      this.work, this.done));
  }

  // What is done with the run as a whole.
  #more(acts) {
    const download = el("button", { type: "button", class: "button", onclick: () => this.#download() }, icon("download"), "Labels as CSV");
    const name = el("input", { class: "input", placeholder: "name", "aria-label": "Name of the label set", pattern: "[a-z0-9][a-z0-9._\\-]{0,63}", required: true, autocomplete: "off", title: "small letters, digits, . _ -" });
    const save = el("form", { class: "save" }, name, el("button", { type: "submit", class: "button" }, "Save as label set"));
    save.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#try(async () => {
        await this.api.post(`${this.place}/save-label-set`, { name: name.value.trim() });
        this.app.say(`The labels, with what you said as examples, are kept as the label set ${name.value.trim()}.`);
      });
    });
    this.write = el("button", { type: "button", class: "button", hidden: true, onclick: () => this.#apply() }, "Bring outputs in step");
    const menu = el("details", { class: "menu" }, el("summary", { class: "button" }, "More"), el("div", { class: "menu-box" }, download, acts && this.write, acts && save));
    document.addEventListener("pointerdown", (event) => menu.contains(event.target) || (menu.open = false), { signal: this.ended.signal });
    menu.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      menu.open = false;
      menu.firstChild.focus();
    });
    return menu;
  }

  #bulk() {
    this.slider = el("input", { type: "range", min: 0, max: 0, value: 0, step: 1, "aria-label": "How many of the surest pictures" });
    this.slider.addEventListener("input", () => this.#bar());
    this.barSaid = el("p", { class: "hint", "aria-live": "polite" });
    this.acceptAll = el("button", { type: "button", class: "button", disabled: true }, "Accept");
    this.acceptAll.addEventListener("click", () => this.#acceptAbove());
    this.least = el("span", { class: "least" });
    const box = el("details", { class: "bulk" }, el("summary", {}, "Accept the surest at once"),
      el("div", {}, this.slider, el("div", { class: "bar" }, this.least, this.barSaid), this.acceptAll));
    box.addEventListener("toggle", () => box.open && this.#bars());
    return box;
  }

  // What the run is, once.
  #describe() {
    const { run } = this;
    this.heading.textContent = run.collection ?? fileName(run.folder) ?? run.id;
    this.labels.replaceChildren(...run.labels.map((label) => {
      const button = el("button", { type: "button", "aria-pressed": "false", onclick: (event) => this.#click(event, () => this.#choose(label)) },
        el("kbd", { "aria-hidden": "true" }), el("span", { class: "label" }, label), el("span", { class: "score" }), el("span", { class: "meter", "aria-hidden": "true" }, el("i")));
      button.dataset.label = label;
      return el("li", {}, button);
    }));
    this.find.hidden = run.labels.length <= 9;
    this.which.replaceChildren(new Option("all pictures", ""), ...run.labels.map((label) => new Option(label, label)), new Option("without a label", NONE));
    this.write.hidden = !this.#writes();
    this.#list();
  }

  #writes() {
    const { files = [], to = null, words = null, metadata = null } = this.run.outputs;
    return Boolean(files.length || to || words || metadata);
  }

  // --- the queue ---

  async #refill() {
    const shown = this.of;
    const of = shown === NONE ? "&abstained=true" : shown ? `&label=${encodeURIComponent(shown)}` : "";
    const version = this.version;
    const isNews = this.refilling();
    const { images } = await this.api.get(`${this.place}/images?reviewed=false&order=uncertain&limit=${PAGE}${of}`, { signal: this.ended.signal });
    if (shown !== this.of || !isNews()) return; // others are looked at by now, or more has been said of these
    this.lacking = false;
    const waiting = new Set([...this.pending, ...(this.under ?? [])].map(({ image }) => image.id));
    const fresh = images.filter(({ id }) => !waiting.has(id)).map((image) => ({ ...image, version }));
    const kept = this.current && (fresh.find(({ id }) => id === this.current.id) ?? (this.current.wanted ? this.current : null));
    this.queue = kept ? [kept, ...fresh.filter(({ id }) => id !== kept.id)] : fresh;
    this.#draw();
  }

  // What is said counts for the labels that were seen: where they may be others by now, they are said outright.
  #accept() {
    const image = this.current;
    if (!image) return;
    const shown = image.answers.map(({ label }) => label);
    const wanted = this.run.mode === "multi" ? this.run.labels.filter((label) => this.chosen.has(label)) : shown;
    const same = wanted.length === shown.length && wanted.every((label) => shown.includes(label));
    if (same && image.version === this.version && !this.sending) this.#say("accept");
    else if (wanted.length) this.#say("correct", wanted);
    else this.#say("none");
  }

  #choose(label) {
    if (!this.current || this.app.info?.read_only) return;
    if (this.run.mode === "multi") {
      if (!this.chosen.delete(label)) this.chosen.add(label);
      this.#mark();
    } else if (this.current.answers[0]?.label === label) this.#accept();
    else this.#say("correct", [label]);
  }

  #say(verdict, labels = []) {
    if (this.app.info?.read_only) return;
    const image = this.queue.shift();
    if (!image) return;
    this.judged.set(image.id, { ...image, wanted: true });
    this.pending.push({ image, item: { image: image.id, verdict, labels } });
    this.#draw();
    this.#send();
  }

  #send() {
    if (this.sending || !this.pending.length) return;
    this.under = this.pending.splice(0);
    this.sending = (async () => {
      const { under } = this;
      try {
        const answer = await this.api.post(`${this.place}/review`, { items: under.map(({ item }) => item) });
        this.#answered(answer);
        this.under = null;
        if (!this.pending.length) await this.#goOn();
      } catch (error) {
        if (this.ended.signal.aborted) {
          const lost = this.under ? under.length + this.pending.splice(0).length : 0;
          if (lost) this.app.say(`What was said of ${count(lost, "picture")} last was not kept: ${error.message}`, { kind: "bad" });
          return;
        }
        this.under = null;
        this.queue.unshift(...under.map(({ image }) => image)); // nothing of it was kept
        this.#draw();
        this.app.say(error.message, { kind: "bad" });
      } finally {
        this.sending = null;
      }
      if (!this.pending.length && !this.current) this.#draw();
      this.#send();
    })();
  }

  #answered(answer) {
    this.run = answer.run;
    if (answer.relabelled) this.version += 1;
    this.#showFlips(answer);
    if (this.bulk.open) this.#bars();
  }

  async #undo() {
    while (this.sending || this.pending.length) await this.sending;
    if (!this.run?.undoable) return this.app.say("There is nothing to undo.");
    await this.#try(async () => {
      const answer = await this.api.post(`${this.place}/review/undo`);
      this.#answered(answer);
      const back = answer.images.map((id) => this.judged.get(id)).filter(Boolean).map((image) => ({ ...image, version: -1 }));
      const ids = new Set(answer.images);
      this.queue = [...back, ...this.queue.filter(({ id }) => !ids.has(id))];
      if (back.length !== 1) this.app.say(`Taken back: ${count(answer.by_rule || answer.images.length, "picture")} can be looked at again.`);
      await this.#goOn();
    });
  }

  // What was said is kept, whether more to look at can be had or not.
  #goOn() {
    return this.#refill().catch((error) => {
      if (this.ended.signal.aborted) return;
      this.lacking = true;
      this.app.failed(error, () => this.#goOn());
    });
  }

  async #try(work) {
    try {
      await work();
    } catch (error) {
      if (!this.ended.signal.aborted) this.app.say(error.message, { kind: "bad" });
    }
  }

  // --- what is shown ---

  #draw() {
    const { run, current } = this;
    if (!run) return;
    const total = run.images - run.unread;
    const looked = Object.values(run.reviewed).reduce((sum, images) => sum + images, 0);
    Object.assign(this.progress, { max: total || 1, value: Math.min(total, looked + this.pending.length) });
    this.far.textContent = `${looked.toLocaleString("en")} of ${total.toLocaleString("en")} looked at`;
    this.back.disabled = !run.undoable && !this.pending.length && !this.sending;
    this.which.value = this.of ?? "";
    this.work.hidden = !current;
    this.done.hidden = Boolean(current || this.sending || this.pending.length || this.lacking); // else there may be more
    if (!current) return this.#finish();
    this.chosen = new Set(current.answers.map(({ label }) => label));
    const labels = current.answers.map(({ label }) => label);
    const guess = current.guess?.label;
    this.asks.replaceChildren(...(labels.length
      ? [el("span", { class: "hint" }, "This is "), el("strong", {}, called(labels)), el("span", { class: "hint" }, "?")]
      : [el("span", { class: "hint" }, "None of the labels? Nearest is "), el("strong", {}, guess ?? "none")]));
    this.accept.firstChild.textContent = labels.length ? "Accept" : "Accept: none";
    this.#mark();
    this.#picture();
  }

  // The labels: pressed is what the picture has, or gets.
  #mark() {
    const scores = new Map([...(this.current?.guess ? [this.current.guess] : []), ...(this.current?.answers ?? [])].map((one) => [one.label, one.score]));
    for (const button of this.labels.querySelectorAll("button")) {
      const { label } = button.dataset;
      button.setAttribute("aria-pressed", String(this.chosen.has(label)));
      const value = scores.get(label);
      const known = value !== undefined && value !== null;
      button.querySelector(".score").textContent = known ? score(value) : "";
      button.querySelector(".meter i").style.width = known ? `${100 * Math.min(1, Math.max(0, value))}%` : "0";
    }
  }

  // Those that are looked for; the first nine have a digit.
  #list() {
    const words = this.find.value.trim().toLowerCase();
    let digit = 0;
    for (const item of this.labels.children) {
      const button = item.firstChild;
      item.hidden = words !== "" && !button.dataset.label.toLowerCase().includes(words);
      if (!item.hidden) digit += 1;
      button.firstChild.textContent = !item.hidden && digit <= 9 ? digit : "";
      button.dataset.digit = !item.hidden && digit <= 9 ? digit : "";
    }
  }

  async #picture() {
    const { current, queue } = this;
    this.name.replaceChildren(el("bdi", {}, current.path)); // cut at its beginning
    this.name.title = current.path;
    const key = `${current.id}`;
    if (this.shownKey !== key) {
      this.shownKey = key;
      this.stage.classList.remove("gone", "there");
      this.image.alt = fileName(current.path) ?? "";
      try {
        if (!current.thumbnail_url) throw new Error("it lies elsewhere");
        const src = await this.#large(current);
        if (this.shownKey !== key) return;
        this.image.src = src;
        this.stage.classList.add("there");
      } catch {
        if (this.shownKey !== key) return;
        this.image.removeAttribute("src");
        this.stage.dataset.why = current.thumbnail_url ? "The picture cannot be shown" : "It lies where the service may not show it";
        this.stage.classList.add("gone");
        this.#again(current, key);
      }
    }
    this.#strip(queue.slice(1, 7));
    for (const image of queue.slice(1, 3)) if (image.thumbnail_url) this.#large(image).catch(() => {}); // they are ready then
  }

  // What may be there in a while is asked for again.
  async #again(image, key) {
    this.larges?.delete(image.id);
    if (!image.thumbnail_url || !(await this.api.comes(sized(image.thumbnail_url, 1024)))) return;
    await pause(LATER);
    if (this.shownKey !== key || this.ended.signal.aborted) return;
    this.shownKey = null;
    this.#picture();
  }

  // An address of the large picture that is decoded already; each is fetched once.
  #large(image) {
    this.larges ??= new Map();
    if (!this.larges.has(image.id)) {
      this.larges.set(image.id, (async () => {
        const loaded = new Image();
        loaded.src = await this.api.source(sized(image.thumbnail_url, 1024));
        await loaded.decode();
        return loaded.src;
      })());
      for (const [id, old] of this.larges) {
        if (this.larges.size <= PAGE) break;
        this.larges.delete(id);
        letGo(old);
      }
    }
    return this.larges.get(image.id);
  }

  #letGo() {
    this.larges?.forEach(letGo);
  }

  #strip(images) {
    const kept = new Map([...this.next.children].map((image) => [image.dataset.id, image]));
    this.next.replaceChildren(...images.filter(({ thumbnail_url }) => thumbnail_url).map((image) => kept.get(String(image.id)) ?? this.#small(image)));
  }

  #small({ id, thumbnail_url: url }) {
    const image = el("img", { alt: "", "data-id": id, width: 44, height: 44 });
    this.api.show(image, sized(url, 128)).catch(() => {});
    return image;
  }

  #showFlips({ flipped, flips }) {
    this.flips.hidden = !flipped;
    const look = (flip) => {
      const image = { ...flip, answers: flip.after.map((label) => ({ label, score: null })), guess: null, version: this.version, wanted: true };
      this.queue = [image, ...this.queue.filter(({ id }) => id !== flip.id)];
      this.#draw();
      this.stage.focus();
    };
    this.flips.replaceChildren(el("h2", {}, `${count(flipped, "picture")} changed by that`),
      el("ul", {}, flips.slice(0, FLIPS).map((flip) => el("li", {}, el("button", { type: "button", title: flip.path, onclick: () => look(flip) },
        flip.thumbnail_url ? this.#small(flip) : "", el("span", {}, el("s", {}, called(flip.before)), " ", el("b", {}, called(flip.after))))))),
      flipped > FLIPS ? el("p", { class: "hint" }, `and ${(flipped - FLIPS).toLocaleString("en")} more`) : "");
  }

  #finish() {
    const { run } = this;
    const left = this.of ? `No picture is left ${this.of === NONE ? "without a label" : `that is called ${this.of}`}.` : "You have been through all of it.";
    const all = this.of && el("button", { type: "button", class: "button main", onclick: () => this.app.navigate({ of: null }) }, "All pictures");
    this.done.replaceChildren(el("div", { class: "empty" }, el("h2", {}, left),
      el("p", {}, Object.entries(run.reviewed).map(([what, images]) => `${images.toLocaleString("en")} ${what}`).join(", ") || "Nothing was looked at yet."),
      el("p", { class: "acts" }, all, el("button", { type: "button", class: this.of ? "button" : "button main", onclick: () => this.#download() }, icon("download"), "Labels as CSV"))));
  }

  // --- many at once ---

  async #bars() {
    await this.#try(async () => {
      const shown = this.of;
      const of = shown && shown !== NONE ? `?label=${encodeURIComponent(shown)}` : "";
      const at = this.bars?.[this.slider.value - 1]?.accept_above;
      const isNews = this.barring();
      const { bars } = await this.api.get(`${this.place}/bars${of}`, { signal: this.ended.signal });
      if (shown !== this.of || !isNews()) return;
      this.bars = bars;
      this.slider.max = this.bars.length;
      this.slider.value = at === undefined ? 0 : this.bars.filter(({ accept_above: above }) => above >= at).length;
      this.#bar();
    });
  }

  // Those of other pictures say nothing of these.
  #forgetBars() {
    this.bars = [];
    Object.assign(this.slider, { max: 0, value: 0 });
    this.least.replaceChildren();
    this.barSaid.textContent = "";
    this.acceptAll.disabled = true;
    this.acceptAll.textContent = "Accept";
  }

  #bar() {
    const bar = this.bars[this.slider.value - 1];
    const of = this.of && this.of !== NONE ? ` that are called ${this.of}` : "";
    this.acceptAll.disabled = !bar;
    this.acceptAll.textContent = bar ? `Accept ${count(bar.images, "picture")}` : "Accept";
    this.least.replaceChildren(...(bar?.least_url ? [this.#small({ id: bar.images, thumbnail_url: bar.least_url })] : []));
    this.slider.setAttribute("aria-valuetext", bar ? `${count(bar.images, "picture")}, score ${score(bar.accept_above)} or more` : "none");
    if (!this.bars.length) this.barSaid.textContent = "There is nothing left to accept.";
    else if (!bar) this.barSaid.textContent = `Of ${count(this.bars.at(-1).images, "picture")}${of} that nobody has looked at.`;
    else this.barSaid.textContent = `With a score of ${bar.accept_above.toFixed(3)} or more${of}: this is the least sure of them. None becomes an example for the rest.`;
  }

  async #acceptAbove() {
    const bar = this.bars[this.slider.value - 1];
    if (!bar) return;
    while (this.sending || this.pending.length) await this.sending;
    await this.#try(async () => {
      const rule = { accept_above: bar.accept_above, ...(this.of && this.of !== NONE ? { label: this.of } : {}) };
      const answer = await this.api.post(`${this.place}/review`, { rules: [rule] });
      this.slider.value = 0;
      this.#answered(answer);
      this.app.say(`${count(answer.by_rule, "picture")} accepted. Undo takes that back.`);
      await this.#goOn();
    });
  }

  // --- the whole ---

  async #download() {
    await this.#try(async () => {
      const blob = await (await this.api.raw(`${this.place}/table`)).blob();
      saveFile(URL.createObjectURL(blob), `${this.id}.csv`);
    });
  }

  async #apply() {
    await this.#try(async () => {
      const { failed, outputs, written } = await this.api.post(`${this.place}/apply`);
      const done = outputs.reduce((sum, output) => sum + Object.values(output.done).reduce((a, b) => a + b, 0), 0) + Object.keys(written).length;
      if (failed.length) this.app.say(`${count(failed.length, "file")} could not be changed, the first is ${failed[0].path}: ${failed[0].reason}`, { kind: "bad" });
      else this.app.say(done ? "What the run writes is as its labels are now." : "Everything was in step already.");
    });
  }

  // --- keys ---

  // Who clicks goes on by keys; who came to a button by keys stays there.
  #click(event, act) {
    if (event.detail) this.stage.focus({ preventScroll: true });
    act();
  }

  #key(event) {
    if (this.root.hidden || document.querySelector("dialog[open]") || event.altKey || event.metaKey) return;
    const field = event.target.closest("input:not([type=range]), select, textarea");
    if (field) return;
    if (event.ctrlKey) {
      if (event.key === "z") this.#take(event, () => this.#undo());
      return;
    }
    const key = event.key.toLowerCase();
    if (key === "u" || key === "backspace") return this.#take(event, () => this.#undo());
    if (!this.current) return;
    if (key === "enter" || key === " ") {
      if (event.target.closest("button, a, summary")) return; // it is theirs
      this.#take(event, () => this.#accept());
    } else if (key === "n") this.#take(event, () => this.#say("none"));
    else if (key === "s") this.#take(event, () => this.#say("skip"));
    else if (key === "/" && !this.find.hidden) this.#take(event, () => this.find.focus());
    else if (/^[1-9]$/.test(key)) {
      const button = this.labels.querySelector(`button[data-digit="${key}"]`);
      if (button) this.#take(event, () => this.#choose(button.dataset.label));
    }
  }

  #take(event, act) {
    event.preventDefault();
    if (!this.app.info?.read_only) act();
  }
}
