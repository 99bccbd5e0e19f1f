// The lineup: pictures before labels that a person types, with the chance of each as a bar. The service gives cosines
// and logits; the temperature is applied here. The address holds all but pictures that were dropped:
//
//   p=12, p=i3      a picture of the collection, or one that this tab holds; at=1: which of them is looked at
//   l=cat, l=dog    labels; or set=pets: those of a label set, with all that it learned
//   tpl=a {}.       templates, or the name of a set of them; mode=multi; none=1: it may be none of them
//   t=0.05          the temperature, where it is not the learned one; right=cat: the label whose loss is told
//
// Each part of it is a file of lineup/; here is what one writes, and they are told when the address says something else.

import { Answers } from "../lineup/answers.js";
import { asText, labelsOf, lookedAt, readAsked, TEMPLATES } from "../lineup/asked.js";
import { Bars, bestOf } from "../lineup/bars.js";
import { Pictures } from "../lineup/pictures.js";
import { Sets } from "../lineup/sets.js";
import { el } from "../parts/dom.js";

export const title = "Lineup";

const WAIT = 250; // ms without a key until the service is asked
const SLOW = 600; // ms until it is said that one waits
const TRIES = ["a photo, a drawing", "indoors, outdoors", "one thing, many things", "red, green, blue, black, white"];

export function mount(root, app) {
  let asked = readAsked(new URLSearchParams());
  let running = null; // AbortController of what is asked
  let timer = null;
  let collection = null; // what ids are of
  let here = false; // whether this view is the one that is wanted

  const pictures = new Pictures(root, app, { asked: () => asked, isWanted: () => here });
  const sets = new Sets(app, { asked: () => asked, onSaved });
  const answers = new Answers(app.api, {
    asked: () => asked, opened: () => sets.opened, model: () => app.collections().find(({ name }) => name === collection)?.model,
  });
  const bars = new Bars({
    onRight: (label) => app.navigate({ right: label }, { replace: true }),
    onHeat: (temperature) => {
      asked = { ...asked, temperature };
      draw();
    },
    onHeated: (t) => here && app.navigate({ t: t && t.toPrecision(3) }, { replace: true }),
  });

  // --- the labels ---

  const text = el("textarea", {
    id: "lineup-labels", class: "input", rows: 4, spellcheck: "false", dir: "auto", placeholder: "cat\ndog\nhot air balloon", "aria-describedby": "lineup-labels-help",
  });
  const tries = el("p", { class: "tries" }, el("span", { class: "hint" }, "Try"), TRIES.map((each) =>
    el("button", { type: "button", class: "chip", onclick: () => app.navigate({ l: labelsOf(each), set: null }) }, each)));
  const modes = el("fieldset", { class: "modes" }, el("legend", { class: "unseen" }, "How many fit"),
    [["single", "One of them"], ["multi", "Each on its own"]].map(([value, name]) =>
      el("label", {}, el("input", { type: "radio", name: "lineup-mode", value, onchange: () => app.navigate({ mode: value === "single" && !asked.set ? null : value }) }), name)));
  const none = el("input", { type: "checkbox", onchange: () => app.navigate({ none: none.checked ? 1 : null }) });
  const templates = el("select", { class: "input", id: "lineup-templates" }, Object.entries(TEMPLATES).map(([value, name]) => el("option", { value }, name)));
  const own = el("textarea", { class: "input", rows: 2, spellcheck: "false", placeholder: "a sketch of a {}.", "aria-label": "Sentences with {} for the label, one a line", hidden: true });
  const question = el("section", { class: "question", "aria-label": "What is asked" },
    el("div", { class: "field" }, el("label", { for: "lineup-labels" }, "Labels"),
      el("div", { class: "sets" }, sets.choice, sets.save)),
    text, el("p", { id: "lineup-labels-help", class: "hint" }, "One a line, or with commas between. sofa|couch is one label with two words for it."),
    sets.learned, tries,
    el("div", { class: "how" }, modes, el("label", { class: "none" }, none, "or none of these"),
      el("label", { class: "asked-with", for: "lineup-templates" }, el("span", {}, "asked as"), templates)),
    own);
  root.append(el("h1", { class: "unseen" }, "Lineup"), el("div", { class: "lineup" }, pictures.root, el("div", { class: "side" }, question, bars.root)));

  const soon = (changes) => {
    clearTimeout(timer);
    timer = setTimeout(() => here && app.navigate(changes(), { replace: true }), WAIT);
  };
  text.addEventListener("input", () => soon(() => ({ l: labelsOf(text.value), set: null })));
  own.addEventListener("input", () => soon(() => ({ tpl: own.value.split("\n").map((line) => line.trim()).filter(Boolean) })));
  templates.addEventListener("change", () => {
    own.hidden = templates.value !== "own";
    if (templates.value === "own") own.focus();
    else app.navigate({ tpl: templates.value || null });
  });

  // --- asking ---

  async function openSet(signal, more) {
    const labels = await sets.open(signal, more);
    if (labels && document.activeElement !== text) text.value = asText(labels);
  }

  // What is shown is asked anew, of the set as it is by now.
  function onSaved() {
    answers.forget();
    if (here) ask();
  }

  async function ask() {
    running?.abort();
    running = new AbortController();
    const { signal } = running;
    const ready = asked.pictures.length && (asked.set || asked.labels.length);
    bars.root.hidden = !ready;
    if (!ready) return;
    const slow = setTimeout(() =>
      bars.tell(asked.none || asked.mode === "multi" ? "Reading the words that labels are held against; once for each model and template…" : "Asking…", { busy: true }), SLOW);
    try {
      await openSet(signal);
      const first = lookedAt(asked);
      const answer = await answers.about(first, signal);
      if (!sets.isOf(answer)) await openSet(signal, { anew: true });
      if (signal.aborted) return;
      clearTimeout(slow);
      bars.tell(answer.warnings.join(" · "));
      draw();
      for (const picture of asked.pictures) {
        if (picture !== first) await answers.about(picture, signal).catch((error) => { if (signal.aborted) throw error; });
        mark();
      }
    } catch (error) {
      if (signal.aborted) return;
      if (!error.final) app.failed(error, ask);
      bars.tell(error.final ? error.message : "", { bad: true });
      bars.clear();
    } finally {
      clearTimeout(slow);
    }
  }

  function draw() {
    const answer = answers.known(lookedAt(asked));
    if (answer) bars.show(answer, asked);
    mark();
  }

  const mark = () => pictures.mark((picture) => bestOf(answers.known(picture), asked.temperature));

  // --- the address ---

  function write() {
    if (!asked.set && document.activeElement !== text && labelsOf(text.value).join("\n") !== asked.labels.join("\n")) text.value = asText(asked.labels);
    tries.hidden = asked.labels.length > 0 || Boolean(asked.set);
    sets.press();
    const [one] = asked.templates;
    const named = asked.templates.length === 1 && Object.hasOwn(TEMPLATES, one) && one !== "own";
    templates.value = !asked.templates.length ? (templates.value === "own" ? "own" : "") : named ? one : "own";
    own.hidden = templates.value !== "own";
    if (!named && document.activeElement !== own) own.value = asked.templates.join("\n");
    none.checked = asked.none;
  }

  return {
    async show(address) {
      here = true;
      asked = readAsked(address);
      if (collection !== app.collection()) {
        collection = app.collection();
        pictures.of(collection);
        answers.of(collection);
      }
      pictures.begin();
      write();
      await pictures.show();
      mark();
      if (!here) return;
      await ask();
      const mode = asked.mode ?? sets.opened?.mode ?? "single";
      for (const radio of modes.querySelectorAll("input")) radio.checked = radio.value === mode;
      if (sets.opened?.abstains) none.checked = true;
    },
    hide() {
      here = false;
      running?.abort();
      clearTimeout(timer); // what was typed last is no matter of another view's address
      bars.leave();
    },
  };
}
