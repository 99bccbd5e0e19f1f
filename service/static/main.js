// The page's frame: it knows which views there are, loads one when it is first shown, and gives each what it needs.
//
// A view NAME is views/NAME.js with its style views/NAME.css, its name in VIEWS of frame/views.js and a link in index.html;
// one that makes sense without any collection stands in ALONE too. Its module has
//
//   export const title = "Map";                   // of the document, as the navigation has it
//   export function mount(root, app) {            // once; root is an empty <section id="view-NAME"> of its own
//     return {
//       show(address),                            // at first, and whenever the address changes: a URLSearchParams
//       hide(),                                   // optional: another view is wanted now; stop what runs
//       changed(),                                // optional: entries have come or gone; show comes next
//     };
//   }
//
// app is {api, navigate(changes, {replace}), href(changes), say(text, {kind}), waited(work, text, off),
// failed(error, again), collection(), collections(), titled(name), reload(), add(files, words), changed(), jobs, library(),
// info}: `say` tells in a line at the bottom, what is "bad" or "busy" stays; `waited` tells so that somebody waits for
// something, which they can call off; `failed` tells what could not be had, and has it asked for again by calling
// `again`, unless the view is no longer that of the address; `collection()` is the name that the address or the select
// has, or null; `collections()` are those of /v1/info, which `info` has whole, `titled` is what people call one;
// `reload()` asks for it anew, `changed()` says that entries have come or gone; `add` has pictures added and tells of it.
// A view keeps its state in the address: it calls navigate, and draws when show comes. Keys other than v and c are its
// own; a link to another view drops them.

import { api, loaded } from "./api.js";
import * as early from "./early.js";
import { Header } from "./frame/header.js";
import { failed, letGo, noUndo, say, waited, withdraw } from "./frame/messages.js";
import { fetched, FIRST, styled, wantedBy } from "./frame/views.js";
import { el, pause } from "./parts/dom.js";
import { Jobs } from "./parts/jobs.js";
import { order } from "./parts/latest.js";
import { hasFiles } from "./parts/picture/given.js";
import { address, href, leftAt, navigate, onNavigate } from "./router.js";

const WELCOME = "welcome"; // what is shown in the place of a view that needs a collection, where there is none
const ALONE = new Set(["labs", "runs"]); // views that need none

const $ = (id) => document.getElementById(id);
const mounted = new Map(); // name -> {root, module, view}
let shown = null; // the name of the view that is shown
let known = []; // collections
let first = early.info; // asked for already

const jobs = new Jobs(api, say);

const app = {
  api,
  jobs,
  navigate,
  href,
  say,
  failed,
  waited,
  collection: () => address().get("c") || known[0]?.name || null,
  collections: () => known,
  titled: (name) => known.find((each) => each.name === name)?.title ?? name,
  reload,
  library: openLibrary,
  add,
  changed,
};

const header = new Header({ first: FIRST, collection: app.collection, jobs, onLibrary: openLibrary });
const frame = () => header.frame(wantedBy(address()));
onNavigate(frame); // also before it is known what there is to be shown
frame();
jobs.follow((_, ended) => ended.length && ends(ended));

// --- views ---

async function load(name) {
  if (mounted.has(name)) return mounted.get(name);
  const root = el("section", { id: `view-${name}`, class: "view", hidden: true });
  const [module] = await fetched(name);
  const before = mounted.get(name); // it was asked for twice meanwhile
  if (before) return before;
  $("main").append(root);
  const its = Object.create(app, {
    failed: { value: (error, again) => name === due && failed(error, again) },
    say: { value: (text, more) => say(text, name === due ? more : { ...more, undo: null }) }, // see noUndo
  });
  mounted.set(name, { root, module, view: module.mount(root, its) });
  return mounted.get(name);
}

let due = null; // the name of the view of the address; `shown` is what is to be seen until that is there

async function show() {
  letGo();
  const asked = address();
  const y = leftAt();
  const wanted = wantedBy(asked);
  const name = known.length || asked.get("c") || ALONE.has(wanted) ? wanted : WELCOME;
  due = name;
  if (shown && shown !== name) {
    noUndo();
    mounted.get(shown).view.hide?.(); // its timers are no matter of this address
  }
  let next;
  try {
    next = await waited(load(name), "Loading…");
  } catch {
    if (name !== due) return;
    failed(Object.assign(new Error("This view cannot be loaded: the service does not answer."), { passes: true }), show);
    return;
  }
  if (String(address()) !== String(asked)) return; // it has changed meanwhile, and is shown by who changed it
  if (shown !== name) {
    const last = mounted.get(shown);
    if (last) last.root.hidden = true;
    next.root.hidden = false;
    shown = name;
    header.intoView(wanted);
    if (last) scrollTo({ top: 0 });
  }
  if (name !== FIRST) document.title = name === WELCOME ? "glimpse" : `${next.module.title} · glimpse`; // the search names its own
  await next.view.show(asked);
  if (y !== null && String(address()) === String(asked)) scrollTo({ top: y, behavior: "instant" });
}

// --- the library, and what is added ---

let library = null;
let wish = null; // that it opens
let unopened = null; // what was said of it last

async function openLibrary() {
  withdraw(unopened);
  say("");
  const asked = String(address());
  const mine = (wish = {});
  if (!app.info) await reload().catch(() => {}); // it asks for the key that was not given
  if (!app.info) return;
  if (!library) {
    const both = Promise.all([import("./parts/library.js"), styled("style/library.css")]).catch(() => null);
    const found = await waited(both, "Opening the library…", () => (wish = null));
    if (wish !== mine || String(address()) !== asked) return; // somebody has thought better of it
    if (!found) {
      unopened = say("The library cannot be loaded: the service does not answer.", { kind: "bad", again: openLibrary });
      return;
    }
    library ??= new found[0].Library(document.body, { app, jobs, onUpload: add });
  }
  library.show();
}

async function add(files, words) {
  try {
    const { addAll } = await waited(loaded(import("./frame/adding.js")), "Adding pictures…");
    await addAll(app, files, words);
  } catch (error) {
    say(`The pictures could not be added: ${error.message}`, { kind: "bad", again: error.final ? null : () => add(files, words) });
  }
}

// Who waits for one is told by what waits, who has cancelled one knows, and who has the library open sees it.
async function ends(jobsEnded) {
  const unawaited = jobsEnded.filter(({ id, state }) => !jobs.awaited.has(id) && state !== "cancelled");
  changed();
  if (!unawaited.length || library?.dialog.open) return;
  const { endOf } = await import("./parts/job.js");
  for (const job of unawaited) say(endOf(job, app), { kind: job.error ? "bad" : "plain" });
}

// Entries have changed: what is shown is asked for anew, in the collection that is named.
async function changed(collection = app.collection()) {
  try {
    await reload();
  } catch (error) {
    failed(error, () => changed(collection));
    return;
  }
  for (const { view } of mounted.values()) view.changed?.();
  if (!known.some(({ name }) => name === app.collection())) navigate({ c: null, open: null }, { replace: true });
  if (collection && collection !== app.collection()) navigate({ c: collection }, { from: new URLSearchParams() });
  else show();
}

// Others may have added pictures, or begun and ended a job, while nobody looked here.
const TOGETHER = 100; // ms within which a window is both seen and focused
let coming = null; // timer

function back() {
  clearTimeout(coming);
  coming = setTimeout(lookAgain, TOGETHER);
}

async function lookAgain() {
  if (document.hidden) return;
  const counts = () => JSON.stringify(known.find(({ name }) => name === app.collection())?.counts);
  const before = counts();
  if (await jobs.look()) return; // some have ended: all is asked for anew
  await reload().catch(() => {}); // nobody has asked for it
  const now = counts();
  if (before && now && now !== before) redraw();
}

function redraw() {
  for (const { view } of mounted.values()) view.changed?.();
  show();
}

const asking = order();

async function reload() {
  const isNews = asking();
  const asked = first ?? api.get("v1/info", { patient: false });
  first = null;
  const info = await asked;
  if (!isNews()) return known;
  app.info = info;
  known = app.info.collections;
  header.offer(known);
  return known;
}

// --- start ---

// Who gives no key is told what the page lacks without it, and how it is given later.
const locked = el("section", { class: "empty", hidden: true }, el("h1", {}, "This service needs a key"),
  el("p", {}, "Without one no collection can be looked at, searched or added to. Whoever runs the service can give you a key; the page keeps it until this tab is closed."),
  el("button", { type: "button", class: "button main", onclick: () => reload().catch(() => {}) }, "Give the key"));
$("main").append(locked);

async function untilReady() {
  for (;;) {
    try {
      return await reload();
    } catch (error) {
      if (error.status !== 503) throw error;
      say("Starting: the model is being loaded…");
      await pause(1000);
      say("");
    }
  }
}

async function start() {
  try {
    await waited(untilReady(), "Loading…");
  } catch (error) {
    locked.hidden = !error.lacksKey;
    if (error.lacksKey) addEventListener("key", start, { once: true });
    else failed(error, start);
    return;
  }
  locked.hidden = true;
  say("");
  onNavigate(show);
  await pause(0); // what is known already is not all drawn in the task of its arrival
  show();
  jobs.look();
  document.addEventListener("visibilitychange", back);
  addEventListener("focus", back);
}

// A file that is dropped where nothing takes it does not take the page's place.
addEventListener("dragover", (event) => {
  if (event.defaultPrevented || !hasFiles(event)) return;
  event.preventDefault();
  event.dataTransfer.dropEffect = "none";
});

history.scrollRestoration = "manual";
$("main").querySelector(".loading").remove();
start();
