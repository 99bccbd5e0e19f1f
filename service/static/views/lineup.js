// The lineup: pictures before labels that a person types, with the chance of each as a bar. The service gives cosines
// and logits; the temperature is applied here. The address holds all but pictures that were dropped:
//
//   p=12, p=i3      a picture of the collection, or one that this tab holds; at=1: which of them is looked at
//   l=cat, l=dog    labels; or set=pets: those of a label set, with all that it learned
//   tpl=a {}.       templates, or the name of a set of them; mode=multi; none=1: it may be none of them
//   t=0.05          the temperature, where it is not the learned one; right=cat: the label whose loss is told

import { chancesAt, learnedTemperature, percent } from "../parts/chances.js";
import { count, el, icon } from "../parts/dom.js";
import { nameOf, sized } from "../parts/picture/entry.js";
import { pickPictures } from "../parts/picture/picker.js";
import { keep, kept } from "../parts/query.js";
import { slider } from "../parts/slider.js";

export const title = "Lineup";

const MOST = 8; // pictures at a time
const SHOWN = 60; // bars
const WAIT = 250; // ms without a key until the service is asked
const REMEMBERED = 200; // answers
const TEMPLATES = { "": "a photo of a …, a picture of a …, …", plain: "the word alone", many: "nine sentences", own: "sentences of my own" };
const TRIES = ["a photo, a drawing", "indoors, outdoors", "one thing, many things", "red, green, blue, black, white"];
const NAME = "[a-z0-9][a-z0-9._\\-]{0,63}";

// One a line, or with commas between; one with a comma in it stands in quotes.
export function labelsOf(text) {
  const found = text.match(/"[^"\n]*"|[^,\n]+/g) ?? [];
  return [...new Set(found.map((each) => each.trim().replace(/^"(.*)"$/, "$1").trim()).filter(Boolean))];
}

const nameOfLabel = (label) => (typeof label === "string" ? label : [label.name, ...label.synonyms].join("|"));
const listed = (labels) => `${labels.slice(0, 5).join(", ")}${labels.length > 5 ? ` and ${labels.length - 5} more` : ""}`;
const asText = (labels) => labels.map((label) => (label.includes(",") ? `"${label}"` : label)).join("\n");

function read(address) {
  const temperature = Number(address.get("t"));
  return {
    pictures: address.getAll("p").filter((p) => /^i?\d+$/.test(p)).slice(0, MOST),
    at: Math.max(0, Number(address.get("at")) || 0),
    labels: address.getAll("l"),
    set: address.get("set"),
    templates: address.getAll("tpl"),
    mode: address.get("mode") === "multi" ? "multi" : address.get("mode") === "single" ? "single" : null,
    none: address.get("none") === "1",
    temperature: temperature > 0 ? temperature : null,
    right: address.get("right"),
  };
}

export function mount(root, app) {
  let asked = read(new URLSearchParams());
  let running = null; // AbortController of what is asked
  let looking = new AbortController(); // of the picture that is fetched to be looked at
  let timer = null;
  let opened = null; // the label set that is open, as the service tells it
  let began = false; // pictures were put here for who came without any
  let collection = null; // what ids are of
  const answers = new Map(); // question -> answer
  const entries = new Map(); // picture -> {name, url}
  const vectors = new Map(); // picture of this tab -> promise of its vector
  const rows = new Map(); // label -> its bar
  let here = false; // whether this view is the one that is wanted

  // --- the pictures ---

  const strip = el("ul", { class: "strip", "aria-label": "Pictures in the lineup" });
  const files = el("input", { type: "file", accept: "image/*,.heic,.heif,.avif,.tif,.tiff", multiple: true, class: "unseen", "aria-label": "Pictures of this computer" });
  const fromCollection = el("button", { type: "button", class: "button", onclick: choose }, icon("plus"), "Choose pictures");
  const fromHere = el("label", { class: "button" }, files, icon("upload"), "Use files");
  const large = el("img", { class: "large", alt: "" });
  const stage = el("figure", { class: "stage" }, large, el("figcaption", {}));
  const nobody = el("p", { class: "hint nobody" }, "Choose pictures of the collection, or drop or paste some here.");
  const suspects = el("section", { class: "suspects", "aria-label": "Pictures" },
    stage, nobody, strip, el("div", { class: "acts" }, fromCollection, fromHere));

  // --- the labels ---

  const text = el("textarea", {
    id: "lineup-labels", class: "input", rows: 4, spellcheck: "false", placeholder: "cat\ndog\nhot air balloon", "aria-describedby": "lineup-labels-help",
  });
  const tries = el("p", { class: "tries" }, el("span", { class: "hint" }, "Try"), TRIES.map((each) =>
    el("button", { type: "button", class: "chip", onclick: () => app.navigate({ l: labelsOf(each), set: null }) }, each)));
  const sets = el("select", { class: "input", "aria-label": "Open a label set" });
  const save = el("button", { type: "button", class: "button", onclick: saveSet }, "Save as a set");
  const learned = el("p", { class: "hint", hidden: true });
  const modes = el("fieldset", { class: "modes" }, el("legend", { class: "unseen" }, "How many fit"),
    [["single", "One of them"], ["multi", "Each on its own"]].map(([value, name]) =>
      el("label", {}, el("input", { type: "radio", name: "lineup-mode", value, onchange: () => app.navigate({ mode: value === "single" && !asked.set ? null : value }) }), name)));
  const none = el("input", { type: "checkbox", onchange: () => app.navigate({ none: none.checked ? 1 : null }) });
  const templates = el("select", { class: "input", id: "lineup-templates" }, Object.entries(TEMPLATES).map(([value, name]) => el("option", { value }, name)));
  const own = el("textarea", { class: "input", rows: 2, spellcheck: "false", placeholder: "a sketch of a {}.", "aria-label": "Sentences with {} for the label, one a line", hidden: true });
  const question = el("section", { class: "question", "aria-label": "What is asked" },
    el("div", { class: "field" }, el("label", { for: "lineup-labels" }, "Labels"),
      el("div", { class: "sets" }, sets, save)),
    text, el("p", { id: "lineup-labels-help", class: "hint" }, "One a line, or with commas between. sofa|couch is one label with two words for it."),
    learned, tries,
    el("div", { class: "how" }, modes, el("label", { class: "none" }, none, "or none of these"),
      el("label", { class: "asked-with", for: "lineup-templates" }, el("span", {}, "asked as"), templates)),
    own);

  // --- the answer ---

  const status = el("p", { class: "status", role: "status" });
  const bars = el("ol", { class: "bars", "aria-label": "Chances" });
  const verdict = el("p", { class: "verdict" });
  const known = el("div", { class: "known", hidden: true });
  const heat = slider({
    label: "Temperature", low: 0.001, high: 1, value: 0.01, log: true, format: (t) => t.toPrecision(2),
    oninput: (t) => {
      asked = { ...asked, temperature: t };
      draw();
      clearTimeout(heat.timer);
      heat.timer = setTimeout(() => here && app.navigate({ t: isLearned(t) ? null : t.toPrecision(3) }, { replace: true }), WAIT);
    },
  });
  const taught = el("p", { class: "hint" });
  const loss = el("p", { class: "loss" });
  const answer = el("section", { class: "answer", "aria-label": "Answer" }, status, verdict, known, bars, heat.element, taught, loss);
  root.append(el("h1", { class: "unseen" }, "Lineup"), el("div", { class: "lineup" }, suspects, el("div", { class: "side" }, question, answer)));

  // --- choosing pictures ---

  async function choose() {
    const found = await pickPictures(app, { title: "Pictures for the lineup", most: MOST - asked.pictures.length || 1 });
    for (const entry of found) remember(entry);
    add(found.map(({ id }) => String(id)));
  }

  function remember(entry) {
    entries.set(String(entry.id), { name: nameOf(entry), url: sized(entry.thumbnail_url, 512), small: sized(entry.thumbnail_url, 128) });
  }

  function add(pictures) {
    if (!pictures.length) return;
    const all = [...new Set([...asked.pictures, ...pictures])].slice(-MOST);
    app.navigate({ p: all, at: all.indexOf(pictures[0]) || null });
  }

  async function take(chosen) {
    const pictures = chosen.filter((file) => file.type.startsWith("image/") || /\.(heic|heif|avif|tiff?)$/i.test(file.name));
    if (!pictures.length) return;
    try {
      add((await Promise.all(pictures.slice(0, MOST).map(keep))).map((key) => `i${key}`));
    } catch (error) {
      app.say(error.message, { kind: "bad" });
    }
  }

  files.addEventListener("change", () => {
    take([...files.files]);
    files.value = "";
  });
  const active = () => !root.hidden && !document.querySelector("dialog[open]");
  document.addEventListener("paste", (event) => active() && take([...(event.clipboardData?.files ?? [])]));
  document.addEventListener("dragover", (event) => active() && event.preventDefault());
  document.addEventListener("drop", (event) => {
    if (!active()) return;
    event.preventDefault();
    take([...(event.dataTransfer?.files ?? [])]);
  });

  // What a picture is called and where it is to be had; one that is gone is left out of the lineup.
  async function pictured(picture) {
    if (picture.startsWith("i")) {
      const mine = kept(picture.slice(1));
      return mine ? { name: mine.name, url: mine.url, small: mine.url } : null;
    }
    if (!entries.has(picture)) {
      const of = collection;
      const found = await app.api.get(app.api.of(of, "images", picture));
      if (of !== collection) return null; // its id is another picture's there
      remember(found);
    }
    return entries.get(picture);
  }

  async function begin() {
    began = true;
    if (!collection) return;
    const of = collection;
    let found;
    try {
      ({ entries: found } = await app.api.get(`${app.api.of(of, "images")}?limit=4`));
    } catch (error) {
      if (of !== collection) return;
      began = false;
      app.failed(error, begin);
      return;
    }
    if (of !== collection) return;
    found.forEach(remember);
    if (here && found.length && !asked.pictures.length) app.navigate({ p: found.map(({ id }) => String(id)) }, { replace: true });
  }

  async function showPictures() {
    const { pictures } = asked;
    const at = Math.min(asked.at, pictures.length - 1);
    const each = await Promise.all(pictures.map((picture) => pictured(picture).catch(() => null)));
    if (pictures !== asked.pictures) return;
    looking.abort();
    looking = new AbortController();
    const takes = () => [...strip.querySelectorAll(".off")];
    const there = takes().indexOf(document.activeElement); // of those that take one out
    strip.replaceChildren(...pictures.map((picture, i) => {
      const image = el("img", { alt: each[i]?.name ?? "a picture that is gone" });
      if (each[i]) app.api.show(image, each[i].small).catch(() => {});
      return el("li", { "data-picture": picture },
        el("a", { href: app.href({ at: i || null }), "aria-current": i === at ? "true" : null }, image, el("span", { class: "best" })),
        el("button", { type: "button", class: "off", "aria-label": `Take ${each[i]?.name ?? "it"} out of the lineup`,
          onclick: () => app.navigate({ p: pictures.filter((one) => one !== picture), at: null }) }, icon("close")));
    }));
    strip.hidden = pictures.length < 2;
    if (there >= 0) (strip.hidden ? fromCollection : takes()[Math.min(there, pictures.length - 1)]).focus();
    nobody.hidden = pictures.length > 0;
    stage.hidden = !pictures.length;
    const it = each[at];
    if (it) {
      large.alt = it.name;
      stage.querySelector("figcaption").textContent = it.name;
      app.api.show(large, it.url, { signal: looking.signal }).catch((error) => error.name === "AbortError" || large.removeAttribute("src"));
    } else if (pictures.length) {
      large.removeAttribute("src");
      stage.querySelector("figcaption").textContent = pictures[at].startsWith("i") ? "A picture that was dropped is gone when its tab is." : "This picture is no longer in the collection.";
    }
    fromCollection.hidden = !collection;
    drawStrip();
  }

  // --- label sets ---

  async function listSets() {
    const { label_sets: names } = await app.api.get("v1/label-sets");
    sets.replaceChildren(new Option("Open a label set…", ""), ...names.map((name) => new Option(name, name)));
    sets.hidden = !names.length;
    sets.value = asked.set ?? "";
  }

  sets.addEventListener("change", () => app.navigate({ set: sets.value, l: null, tpl: null, mode: null, right: null }));

  async function openSet(signal) {
    if (!asked.set) {
      learned.hidden = true;
      opened = null;
      return;
    }
    if (opened?.name !== asked.set) {
      const found = await app.api.get(`v1/label-sets/${encodeURIComponent(asked.set)}`, { signal });
      opened = found;
    }
    const names = opened.labels.map(nameOfLabel);
    if (document.activeElement !== text) text.value = asText(names);
    const { learned: by } = opened;
    const examples = Object.values(by?.examples ?? {}).reduce((sum, n) => sum + n, 0);
    const parts = [
      examples && `learned from ${count(examples, "example")}`,
      by?.calibrated && "calibrated",
      opened.labels.some((label) => label.prompts?.length) && "some labels have sentences of their own, which are lost when you edit",
    ].filter(Boolean);
    learned.hidden = !parts.length;
    learned.textContent = parts.length ? `${opened.name}: ${parts.join(", ")}.` : "";
  }

  function saveSet() {
    const name = el("input", { class: "input", id: "lineup-name", required: true, pattern: NAME, maxlength: 64, autocomplete: "off", value: asked.set ?? opened?.name ?? "" });
    const said = el("p", { class: "hint", role: "alert" });
    const button = el("button", { class: "button main" }, "Save");
    let known = asked.set; // the set that may be replaced: the open one, or one of which was told what it has
    const dialog = el("dialog", { class: "sheet save", "aria-label": "Save a label set" });
    const form = el("form", {}, el("h2", {}, "Save a label set"),
      el("label", { for: "lineup-name" }, "Name"), name,
      el("p", { class: "hint" }, "Small letters, digits, dots, dashes. Classifying and labelling name it from then on."),
      said,
      el("div", { class: "acts" }, button,
        el("button", { type: "button", class: "button plain", onclick: () => dialog.close() }, "Cancel")));
    name.addEventListener("input", () => {
      button.textContent = "Save";
      said.textContent = "";
      known = asked.set;
    });
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const place = `v1/label-sets/${encodeURIComponent(name.value)}`;
      const body = { labels: asked.set ? opened.labels : asked.labels, templates: asked.templates, mode: asked.mode ?? opened?.mode ?? "single", abstains: asked.none };
      if (asked.set && !asked.templates.length) body.templates = opened.templates;
      try {
        const made = await app.api.put(place, body, { headers: name.value === known ? {} : { "If-None-Match": "*" } });
        opened = null;
        answers.clear();
        dialog.close();
        app.say([`Label set ${made.name} is saved.`, ...made.warnings].join(" "));
        await listSets().catch(() => {}); // it is saved all the same
        app.navigate({ set: made.name, l: null, tpl: null, mode: null });
      } catch (error) {
        if (error.status === 412) {
          const before = await app.api.get(place).catch(() => null); // one that is damaged is replaced, too
          const labels = before?.labels.map(nameOfLabel) ?? [];
          known = name.value;
          button.textContent = "Replace it";
          said.textContent = `There is a set ${known} already${labels.length ? `, of ${listed(labels)}` : ""}. ${before?.learned ? "What it has learned goes with other labels. " : ""}Replace it, or choose another name.`;
          return;
        }
        said.textContent = error.status === 403 ? "This key may only read: a key with the scope admin saves label sets." : error.message;
      }
    });
    dialog.append(form);
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
  }

  // --- typing ---

  text.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => here && app.navigate({ l: labelsOf(text.value), set: null }, { replace: true }), WAIT);
  });
  templates.addEventListener("change", () => {
    own.hidden = templates.value !== "own";
    if (templates.value === "own") own.focus();
    else app.navigate({ tpl: templates.value || null });
  });
  own.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => here && app.navigate({ tpl: own.value.split("\n").map((line) => line.trim()).filter(Boolean) }, { replace: true }), WAIT);
  });

  // --- asking ---

  const modelOf = () => app.collections().find(({ name }) => name === collection)?.model;

  function questionOf(picture) {
    const body = asked.set ? { label_set: asked.set } : { labels: asked.labels };
    if (asked.templates.length) body.templates = asked.templates;
    if (asked.mode) body.mode = asked.mode;
    if (asked.none) body.abstain = true;
    return picture.startsWith("i") ? body : { ...body, collection, id: Number(picture) };
  }

  const keyOf = (picture) => JSON.stringify([picture, questionOf(picture)]);

  // Pictures of this tab are encoded once; then their vector is asked about.
  function vectorOf(picture) {
    if (!vectors.has(picture)) {
      const model = modelOf();
      const input = [{ image: kept(picture.slice(1)).base64 }];
      const asking = app.api.post("v1/embeddings", { input, ...(model && { model }) }).then(({ data }) => data[0].embedding);
      asking.catch(() => vectors.delete(picture));
      vectors.set(picture, asking);
    }
    return vectors.get(picture);
  }

  async function answerFor(picture, signal) {
    const key = keyOf(picture);
    if (!answers.has(key)) {
      const body = questionOf(picture);
      const model = picture.startsWith("i") && !opened?.learned ? modelOf() : null;
      if (picture.startsWith("i")) Object.assign(body, { vector: await vectorOf(picture) }, model && { model });
      answers.set(key, await app.api.post("v1/classify", body, { signal }));
      if (answers.size > REMEMBERED) answers.delete(answers.keys().next().value);
    }
    return answers.get(key);
  }

  const looked = () => asked.pictures[Math.min(asked.at, asked.pictures.length - 1)];

  async function ask() {
    running?.abort();
    running = new AbortController();
    const { signal } = running;
    const ready = asked.pictures.length && (asked.set || asked.labels.length);
    answer.hidden = !ready;
    if (!ready) return;
    const slow = setTimeout(() => {
      answer.classList.add("busy");
      status.textContent = asked.none || asked.mode === "multi" ? "Reading the words that labels are held against; once for each model and template…" : "Asking…";
    }, 600);
    try {
      await openSet(signal);
      const first = looked();
      await answerFor(first, signal);
      if (signal.aborted) return;
      clearTimeout(slow);
      status.textContent = "";
      answer.classList.remove("busy");
      draw();
      for (const picture of asked.pictures) {
        if (picture !== first) await answerFor(picture, signal).catch((error) => { if (signal.aborted) throw error; });
        drawStrip();
      }
    } catch (error) {
      if (signal.aborted) return;
      if (!error.final) app.failed(error, ask);
      status.textContent = error.final ? error.message : "";
      status.classList.add("bad");
      answer.classList.remove("busy");
      rows.clear();
      for (const part of [bars, verdict, loss, taught]) part.replaceChildren();
      known.hidden = heat.element.hidden = true;
      return;
    } finally {
      clearTimeout(slow);
    }
    status.classList.remove("bad");
  }

  // --- drawing ---

  const answered = () => (asked.pictures.length ? answers.get(keyOf(looked())) : null);
  const isLearned = (t) => {
    const now = answered();
    return now && Math.abs(Math.log(t / learnedTemperature(now))) < 0.01;
  };

  function draw() {
    const now = answered();
    if (!now) return;
    const [result] = now.results;
    const learnedAt = learnedTemperature(now);
    const temperature = asked.temperature ?? learnedAt;
    const { chances, losses } = chancesAt(temperature, now, result.scores);
    const given = new Set(result.labels.map(({ label }) => label));
    drawBars(now, result, chances, given);
    drawVerdict(now, result, given);
    const ranked = now.scored_by === "rank";
    heat.element.hidden = ranked;
    heat.value = temperature;
    heat.mark([{ at: learnedAt, text: `learned ${learnedAt.toPrecision(2)}` }]);
    taught.textContent = ranked
      ? "One label alone has nothing to be held against but other words: its score is how far the picture is that label."
      : "Cosines are divided by the temperature before they become chances. Lower sharpens until the nearest takes all, higher flattens until all are alike; the order stays.";
    drawLoss(now, result, chances, losses, temperature);
    drawStrip();
  }

  function drawBars(now, result, chances, given) {
    const shown = result.scores.slice(0, SHOWN);
    const before = new Map([...rows].map(([label, row]) => [label, row.offsetTop]));
    const wanted = shown.map(({ label, cosine }, i) => {
      let row = rows.get(label);
      if (!row) {
        row = el("li", {}, el("button", { type: "button", onclick: () => app.navigate({ right: asked.right === label ? null : label }, { replace: true }) },
          el("span", { class: "name", dir: "auto" }, label), el("span", { class: "cosine" }), el("span", { class: "chance" }), el("span", { class: "bar" }, el("i", {}))));
        rows.set(label, row);
      }
      const button = row.firstChild;
      const is = given.has(label);
      button.classList.toggle("given", is);
      button.setAttribute("aria-pressed", label === asked.right);
      button.title = label === asked.right ? "The right one" : "Say that this is the right one";
      row.querySelector(".chance").textContent = percent(chances[i]);
      row.querySelector(".cosine").textContent = `cosine ${cosine.toFixed(3).replace("-", "−")}`;
      row.querySelector("i").style.transform = `scaleX(${chances[i]})`;
      return row;
    });
    const here = new Set(shown.map(({ label }) => label));
    for (const label of rows.keys()) if (!here.has(label)) rows.delete(label);
    if (wanted.some((row, i) => bars.children[i] !== row) || bars.children.length !== wanted.length) {
      const focused = bars.contains(document.activeElement) ? document.activeElement : null;
      bars.replaceChildren(...wanted);
      focused?.focus();
      glide(before);
    }
    const left = result.scores.length - shown.length;
    if (left) bars.append(el("li", { class: "hint" }, `and ${count(left, "label")} below`));
    bars.classList.toggle("each", now.scored_by === "sigmoid");
  }

  // Rows that change places go there, so that one can follow.
  function glide(before) {
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    for (const [label, top] of before) {
      const row = rows.get(label);
      const by = row ? top - row.offsetTop : 0;
      if (by) row.animate([{ transform: `translateY(${by}px)` }, { transform: "none" }], { duration: 180, easing: "ease-out" });
    }
  }

  function drawVerdict(now, result, given) {
    verdict.replaceChildren(...(given.size
      ? [...[...given].flatMap((label, i) => [i ? ", " : "", el("strong", {}, label)])]
      : [el("strong", {}, "None of these")]));
    known.hidden = result.known === null;
    if (result.known === null) return;
    const level = el("i", {});
    level.style.transform = `scaleX(${result.known})`;
    const line = el("b", {});
    line.style.left = `${100 * now.known_threshold}%`;
    known.replaceChildren(
      el("span", {}, "Any of these at all"), el("span", { class: "chance" }, result.known.toFixed(2)),
      el("span", { class: "bar" }, level, line),
      el("span", { class: "hint" }, `The best label against words that have nothing to do with them; from ${now.known_threshold.toFixed(2)} on one is given.`));
  }

  function drawLoss(now, result, chances, losses, temperature) {
    const i = result.scores.findIndex(({ label }) => label === asked.right);
    const n = result.scores.length;
    if (i < 0 || now.scored_by === "rank") {
      loss.replaceChildren(n > 1 || now.scored_by === "sigmoid" ? "Click the label that is right, to see its loss." : "");
      return;
    }
    const guess = now.scored_by === "softmax" ? ` Guessing among ${n} costs log ${n} = ${Math.log(n).toFixed(2)}.` : "";
    const how = isLearned(temperature) ? "" : ` at temperature ${temperature.toPrecision(2)}`;
    loss.replaceChildren("If ", el("strong", {}, asked.right), ` is right, the loss${how} is −log p = `, el("strong", {}, losses[i].toFixed(losses[i] < 0.1 ? 4 : 2)), " nats.", guess);
  }

  function drawStrip() {
    for (const item of strip.children) {
      const now = answers.get(keyOf(item.dataset.picture));
      const best = now?.results[0];
      const temperature = asked.temperature ?? (now && learnedTemperature(now));
      const label = best?.labels[0]?.label;
      const at = best?.scores.findIndex((one) => one.label === label);
      item.querySelector(".best").textContent = !best ? "" : label ? `${label}\n${percent(chancesAt(temperature, now, best.scores).chances[at])}` : "none of these";
    }
  }

  listSets().catch(() => (sets.hidden = true)); // without it one can still type
  save.hidden = Boolean(app.info?.read_only);

  return {
    async show(address) {
      here = true;
      asked = read(address);
      if (collection !== app.collection()) {
        collection = app.collection();
        began = false;
        for (const one of [entries, answers, vectors]) one.clear();
      }
      if (!asked.pictures.length && !began) begin();
      if (!asked.set && document.activeElement !== text && labelsOf(text.value).join("\n") !== asked.labels.join("\n")) text.value = asText(asked.labels);
      tries.hidden = asked.labels.length > 0 || Boolean(asked.set);
      save.disabled = !asked.labels.length && !asked.set;
      sets.value = asked.set ?? "";
      const [one] = asked.templates;
      const named = asked.templates.length === 1 && Object.hasOwn(TEMPLATES, one) && one !== "own";
      templates.value = !asked.templates.length ? (templates.value === "own" ? "own" : "") : named ? one : "own";
      own.hidden = templates.value !== "own";
      if (!named && document.activeElement !== own) own.value = asked.templates.join("\n");
      none.checked = asked.none;
      await showPictures();
      if (!here) return;
      await ask();
      const mode = asked.mode ?? opened?.mode ?? "single";
      for (const radio of modes.querySelectorAll("input")) radio.checked = radio.value === mode;
      if (opened?.abstains) none.checked = true;
    },
    hide() {
      here = false;
      running?.abort();
      clearTimeout(timer); // what was typed last is no matter of another view's address
      clearTimeout(heat.timer);
    },
  };
}
