// The search page. The address holds the query (?q=words&c=collection&k=24&like=id), so it can be kept and shared;
// an image that was dropped or pasted lives only in this tab. Everything it shows comes from the REST API.

import { givenKey, request } from "./key.js";

const $ = (id) => document.getElementById(id);
const ui = Object.fromEntries(
  ["form", "q", "file", "collection", "limit", "status", "results", "viewer", "drop", "chip"].map((id) => [id, $(id)]),
);

let query = { like: null, image: null }; // besides the words: an entry's id, or {name, base64, url} of an image
let hits = [];
let shown = -1; // index of the hit in the viewer
let running = null; // AbortController of the search under way
let dragDepth = 0;

// --- the service ---

// What an <img> can load: it sends no key itself.
async function sourceOf(url) {
  if (!givenKey() || url.startsWith("blob:")) return url;
  const response = await request(url);
  if (!response.ok) throw new Error(`The service answered ${response.status}`);
  return URL.createObjectURL(await response.blob());
}

async function api(path, options) {
  let response;
  try {
    response = await request(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The service does not answer. Is it still running?");
  }
  const answer = await response.json().catch(() => null);
  if (!response.ok) {
    const error = new Error(answer?.error?.message ?? `The service answered ${response.status}`);
    throw Object.assign(error, { status: response.status, code: answer?.error?.code });
  }
  return answer;
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function untilReady() {
  for (;;) {
    try {
      return await api("health/ready");
    } catch (error) {
      if (error.status !== 503) throw error;
      say("Starting: the model is being loaded…");
      await pause(1000);
    }
  }
}

// --- what is asked ---

function readAddress() {
  const address = new URLSearchParams(location.search);
  ui.q.value = address.get("q") ?? "";
  const collection = address.get("c");
  if (collection) {
    // a collection that is gone is kept in the list, so that the search can say so
    if (![...ui.collection.options].some((option) => option.value === collection)) addOption(collection, collection);
    ui.collection.value = collection;
  }
  if ([...ui.limit.options].some((option) => option.value === address.get("k"))) ui.limit.value = address.get("k");
  const like = Number(address.get("like"));
  query = { like: Number.isSafeInteger(like) && like > 0 ? like : null, image: null };
}

function writeAddress() {
  const address = new URLSearchParams();
  if (ui.q.value.trim()) address.set("q", ui.q.value.trim());
  if (query.like) address.set("like", query.like);
  if (ui.collection.value) address.set("c", ui.collection.value);
  if (ui.limit.value !== "24") address.set("k", ui.limit.value);
  const url = `${location.pathname}?${address}`;
  if (url !== location.pathname + location.search) history.pushState(null, "", url);
}

function submit() {
  writeAddress();
  search();
}

async function search() {
  running?.abort();
  showChip();
  const text = ui.q.value.trim();
  document.title = text ? `${text} · glimpse` : "glimpse";
  if (!ui.collection.value) return;
  if (!text && !query.like && !query.image) return welcome();

  const body = { limit: Number(ui.limit.value) };
  if (text) body.text = text;
  if (query.like) body.id = query.like;
  if (query.image) body.image = query.image.base64;
  running = new AbortController();
  const { signal } = running;
  say("Searching…");
  ui.results.classList.add("busy");
  try {
    const collection = encodeURIComponent(ui.collection.value);
    const answer = await api(`v1/collections/${collection}/search`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
      signal,
    });
    show(answer);
  } catch (error) {
    if (signal.aborted) return;
    show({ hits: [] }, error);
  }
  ui.results.classList.remove("busy");
}

// --- what is shown ---

function say(text, bad = false) {
  ui.status.textContent = text;
  ui.status.classList.toggle("bad", bad);
}

function explain(title, text) {
  $("empty").hidden = !title;
  $("empty-title").textContent = title ?? "";
  $("empty-text").replaceChildren(...(text ?? "").split("`").map((part, i) => (i % 2 ? code(part) : part)));
}

function code(text) {
  return Object.assign(document.createElement("code"), { textContent: text });
}

function welcome() {
  hits = [];
  ui.results.replaceChildren();
  ui.results.classList.remove("busy");
  say("");
  explain("What are you looking for?", "Describe it in your own words, or choose, drop or paste an image to find others like it.");
}

function show(answer, error) {
  hits = answer.hits;
  ui.results.replaceChildren(...hits.map(card));
  if (error) {
    explain(null);
    say(error.message, true);
  } else if (!hits.length) {
    say("");
    explain("Nothing here yet", "This collection has no images. `glimpse index FOLDER` adds some.");
  } else {
    explain(null);
    const found = `${hits.length} nearest in ${Math.max(1, Math.round(answer.seconds * 1000))} ms`;
    say([found, ...answer.warnings].join(" · "));
  }
}

function card(hit, index) {
  const item = $("card").content.cloneNode(true);
  const image = item.querySelector("img");
  const gone = () => image.parentElement.classList.add("gone");
  image.addEventListener("error", gone);
  image.addEventListener("load", () => URL.revokeObjectURL(image.src)); // does nothing to other addresses
  sourceOf(hit.thumbnail_url).then((source) => (image.src = source), gone);
  item.querySelector(".caption").textContent = captionOf(hit);
  item.querySelector(".score").textContent = hit.score.toFixed(3);
  item.querySelector("button").addEventListener("click", () => view(index));
  return item;
}

const captionKey = (hit) => ["caption", "title"].find((key) => hit.metadata[key]);

function captionOf(hit) {
  return words(hit.metadata[captionKey(hit)] ?? hit.text ?? hit.external_id ?? fileName(hit.path) ?? `#${hit.id}`);
}

/* Metadata are the user's: an object need not know how to become a string. */
const words = (value) => (typeof value === "object" ? JSON.stringify(value) : String(value));

const fileName = (path) => path?.split(/[\\/]/).pop();

function showChip() {
  const { like, image } = query;
  ui.chip.hidden = !like && !image;
  if (ui.chip.hidden) return;
  $("chip-text").textContent = image ? image.name : `like #${like}`;
  const collection = encodeURIComponent(ui.collection.value);
  const url = image ? image.url : `v1/collections/${collection}/images/${like}/thumbnail?size=64`;
  sourceOf(url).then((source) => ($("chip-image").src = source), () => $("chip-image").removeAttribute("src"));
}

// --- one result, large ---

function view(index) {
  const hit = hits[index];
  shown = index;
  const image = $("viewer-image");
  const put = (url, use) => sourceOf(url).then((source) => hit === hits[shown] && use(source), () => image.onerror?.());
  // what the browser cannot show itself (HEIC, TIFF) it gets as a large thumbnail
  image.onerror = () => {
    image.onerror = null;
    put(`${hit.thumbnail_url}${hit.thumbnail_url.includes("?") ? "&" : "?"}size=1024`, (source) => (image.src = source));
  };
  URL.revokeObjectURL($("original").href);
  put(hit.content_url, (source) => ($("original").href = image.src = source));
  image.alt = captionOf(hit);
  $("viewer-title").textContent = captionOf(hit);
  $("viewer-path").textContent = hit.external_id ?? hit.path ?? "";
  const size = hit.width ? `${hit.width} × ${hit.height}` : null;
  const { [captionKey(hit)]: _, ...metadata } = hit.metadata; // that one is the heading
  const facts = { Score: hit.score.toFixed(4), Size: size, ...metadata };
  $("viewer-facts").replaceChildren(...Object.entries(facts).flatMap(([name, value]) => fact(name, value)));
  $("previous").disabled = index === 0;
  $("next").disabled = index === hits.length - 1;
  if (!ui.viewer.open) ui.viewer.showModal();
}

function fact(name, value) {
  if (value === null || value === "") return [];
  const term = Object.assign(document.createElement("dt"), { textContent: name });
  const text = words(value);
  return [term, Object.assign(document.createElement("dd"), { textContent: text })];
}

function step(by) {
  if (shown + by >= 0 && shown + by < hits.length) view(shown + by);
}

function moreLikeThis() {
  query = { like: hits[shown].id, image: null };
  ui.q.value = "";
  ui.viewer.close();
  scrollTo({ top: 0 });
  submit();
}

// --- an image as the query ---

function takeImage(file) {
  const reader = new FileReader();
  reader.addEventListener("load", () => {
    const base64 = reader.result.slice(reader.result.indexOf(",") + 1);
    query = { like: null, image: { name: file.name || "image", base64, url: URL.createObjectURL(file) } };
    submit();
  });
  reader.addEventListener("error", () => say(`${file.name} cannot be read`, true));
  reader.readAsDataURL(file);
}

const firstFile = (transfer) => transfer?.files?.[0];

function listen() {
  ui.form.addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  ui.collection.addEventListener("change", () => {
    query.like = null; // an id means nothing in another collection
    submit();
  });
  ui.limit.addEventListener("change", submit);
  ui.file.addEventListener("change", () => {
    if (ui.file.files[0]) takeImage(ui.file.files[0]);
    ui.file.value = "";
  });
  $("chip-clear").addEventListener("click", () => {
    query = { like: null, image: null };
    ui.q.focus();
    submit();
  });

  $("more").addEventListener("click", moreLikeThis);
  $("previous").addEventListener("click", () => step(-1));
  $("next").addEventListener("click", () => step(1));
  $("close").addEventListener("click", () => ui.viewer.close());
  ui.viewer.addEventListener("click", (event) => {
    if (event.target === ui.viewer) ui.viewer.close(); // its backdrop
  });
  ui.viewer.addEventListener("close", () => ui.results.querySelectorAll("button")[shown]?.focus());
  ui.viewer.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });

  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !ui.viewer.open && !event.target.closest("input, select, textarea")) {
      event.preventDefault();
      ui.q.focus();
    }
  });
  document.addEventListener("paste", (event) => {
    if (firstFile(event.clipboardData)) takeImage(firstFile(event.clipboardData));
  });
  document.addEventListener("dragenter", (event) => {
    dragDepth += 1;
    ui.drop.hidden = !event.dataTransfer.types.includes("Files");
  });
  document.addEventListener("dragleave", () => {
    dragDepth -= 1;
    if (dragDepth === 0) ui.drop.hidden = true;
  });
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    dragDepth = 0;
    ui.drop.hidden = true;
    if (firstFile(event.dataTransfer)) takeImage(firstFile(event.dataTransfer));
  });
  addEventListener("popstate", () => {
    ui.viewer.close();
    readAddress();
    search();
  });
}

// --- start ---

function addOption(value, label) {
  ui.collection.add(new Option(label, value));
}

async function start() {
  listen();
  try {
    await untilReady();
    const { collections } = await api("v1/collections");
    for (const { name, counts, problem } of collections) {
      addOption(name, problem ? `${name} (cannot be opened)` : `${name} (${counts.image.toLocaleString()})`);
    }
    if (!collections.length) {
      say("");
      explain("No collection yet", "Make one from a folder of images: `glimpse index FOLDER --collection photos`, then reload.");
      return;
    }
    const { image } = query; // one that was chosen while the model was being loaded
    readAddress();
    if (image) query = { like: null, image };
    search();
  } catch (error) {
    say(error.message, true);
  }
}

start();
