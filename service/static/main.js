// The page's frame: it knows which views there are, loads one when it is first shown, and gives each what it needs.
//
// A view NAME is views/NAME.js with its style views/NAME.css, and a line in VIEWS; one that makes sense without any
// collection stands in ALONE too. Its module has
//
//   export const title = "Map";                   // of the document; the navigation has that of VIEWS
//   export function mount(root, app) {            // once; root is an empty <section id="view-NAME"> of its own
//     return {
//       show(address),                            // at first, and whenever the address changes: a URLSearchParams
//       hide(),                                   // optional: another view is wanted now; stop what runs
//       changed(),                                // optional: entries have come or gone; show comes next
//     };
//   }
//
// app is {api, navigate(changes, {replace}), href(changes), say(text, {kind}), failed(error, again), collection(),
// collections(), reload(), add(files, words), changed(), jobs, library(), info}: `say` tells in a line at the bottom, what
// is "bad" or "busy" stays; `failed` tells what could not be had, and has it asked for again by calling `again`, unless
// the view is no longer that of the address; `collection()` is the name that the address or the select has, or null;
// `collections()` are those of /v1/info, which `info` has whole; `reload()` asks for it anew, `changed()` says that
// entries have come or gone.
// A view keeps its state in the address: it calls navigate, and draws when show comes. Keys other than v and c are its
// own; a link to another view drops them.

import { api } from "./api.js";
import * as early from "./early.js";
import { count, el, icon, pause } from "./parts/dom.js";
import { Jobs } from "./parts/jobs.js";
import { order } from "./parts/latest.js";
import { address, href, leftAt, navigate, onNavigate } from "./router.js";

const VIEWS = {
  search: "Search",
  lineup: "Lineup",
  map: "Map",
  review: "Review",
  runs: "Runs",
  labs: "Labs",
};
const FIRST = "search";
const WELCOME = "welcome"; // what is shown in the place of a view that needs a collection, where there is none
const ALONE = new Set(["labs", "runs"]); // views that need none

const $ = (id) => document.getElementById(id);
const mounted = new Map(); // name -> {root, module, view}
let shown = null; // the name of the view that is shown
let known = []; // collections
let first = early.info; // asked for already
let silence = null; // timer that takes a message away

const jobs = new Jobs(api, say);

const app = {
  api,
  jobs,
  navigate,
  href,
  say,
  failed,
  collection: () => address().get("c") || known[0]?.name || null,
  collections: () => known,
  reload,
  library: openLibrary,
  add,
  changed,
};

// --- messages ---

function say(text, { kind = "plain", again = null, how = "Try again" } = {}) {
  clearTimeout(silence);
  const bad = kind === "bad";
  if (text && $("said").parentElement !== uppermost()) moveSaid();
  aloud(text, kind);
  $("said").hidden = !text;
  $("said").classList.toggle("bad", bad);
  $("said-text").textContent = text ?? "";
  $("said-again").hidden = !again;
  $("said-again").textContent = how;
  $("said-again").onclick = again;
  if (text && kind === "plain") silence = setTimeout(() => say(""), 6000);
}

// A dialog leaves nothing outside of it to be seen, pressed or read out: what is said lies in the one that is open.
const uppermost = () => [...document.querySelectorAll("dialog[open]")].at(-1) ?? document.body;
const moveSaid = () => uppermost().append($("aloud"), $("said"));
document.addEventListener("close", (event) => event.target.contains($("said")) && moveSaid(), true);

let reading = null; // timer
let busy = false; // what was said last was how far something is, which is not read out again and again

// What is read out is known to be, before it has words.
function aloud(text, kind) {
  if (busy && kind === "busy") return;
  busy = kind === "busy";
  clearTimeout(reading);
  $("aloud").textContent = "";
  if (text) reading = setTimeout(() => ($("aloud").textContent = text), 150);
}

const LATER = 5000; // ms after which what may be well by itself is asked for again
let later = null;
const undone = new Set(); // what asks again for each thing that could not be had

// What could not be had: it is told, and asked for again by itself or once somebody wants it, where that may help, with
// all else that could not be. Another address ends that.
function failed(error, again) {
  if (!error.final) undone.add(again);
  const ask = () => {
    clearTimeout(later);
    if (!$("said-again").hidden) say("");
    const all = [...undone];
    undone.clear();
    for (const each of all) each();
  };
  say(error.message, { kind: "bad", again: error.final ? null : ask, how: error.lacksKey ? "Give the key" : "Try again" });
  if (!error.passes) return;
  clearTimeout(later);
  const whenSeen = () => (document.hidden ? (later = setTimeout(whenSeen, LATER)) : ask());
  later = setTimeout(whenSeen, (error.after ?? 0) * 1000 || LATER);
}

addEventListener("wait", () => $("said").hidden && say("The service is busy, and is asked again in a moment…"));

// --- views ---

async function load(name) {
  if (mounted.has(name)) return mounted.get(name);
  const root = el("section", { id: `view-${name}`, class: "view", hidden: true });
  const [module] = await fetched(name);
  const before = mounted.get(name); // it was asked for twice meanwhile
  if (before) return before;
  $("main").append(root);
  const its = Object.create(app, { failed: { value: (error, again) => name === due && failed(error, again) } });
  const loaded = { root, module, view: module.mount(root, its) };
  mounted.set(name, loaded);
  return loaded;
}

const fetching = new Map(); // name -> promise of [module]

function fetched(name) {
  if (!fetching.has(name)) {
    const parts = Promise.all([import(`./views/${name}.js`), styled(name)]);
    fetching.set(name, parts);
    parts.catch(() => fetching.delete(name));
  }
  return fetching.get(name);
}

function styled(name) {
  const link = el("link", { rel: "stylesheet", href: `static/views/${name}.css` });
  const loaded = new Promise((resolve) => ["load", "error"].forEach((event) => link.addEventListener(event, resolve)));
  document.head.append(link);
  return loaded;
}

function wantedBy(asked) {
  const name = asked.get("v") ?? FIRST;
  return Object.hasOwn(VIEWS, name) ? name : FIRST;
}

let due = null; // the name of the view of the address; `shown` is what is to be seen until that is there

async function show() {
  clearTimeout(later);
  undone.clear();
  if (!$("said-again").hidden) say("");
  const asked = address();
  const y = leftAt();
  const wanted = wantedBy(asked);
  const name = known.length || asked.get("c") || ALONE.has(wanted) ? wanted : WELCOME;
  due = name;
  frame(wanted);
  if (shown && shown !== name) mounted.get(shown).view.hide?.(); // its timers are no matter of this address
  let next;
  try {
    next = await load(name);
  } catch (error) {
    failed(Object.assign(new Error(`This view cannot be loaded: ${error.message}`), { passes: true }), show);
    return;
  }
  if (String(address()) !== String(asked)) return; // it has changed meanwhile, and is shown by who changed it
  if (shown !== name) {
    const last = mounted.get(shown);
    if (last) last.root.hidden = true;
    next.root.hidden = false;
    shown = name;
    intoView(wanted);
    if (last) scrollTo({ top: 0 });
  }
  if (name !== FIRST) document.title = name === WELCOME ? "glimpse" : `${next.module.title} · glimpse`; // the search names its own
  await next.view.show(asked);
  if (y !== null && String(address()) === String(asked)) scrollTo({ top: y, behavior: "instant" });
}

// --- the header ---

let framed = null; // what the links of the header are of

function frame(name) {
  const of = `${name} ${address().get("c")}`;
  if (framed === of) return;
  framed = of;
  const at = (view) => href({ v: view === FIRST ? null : view, c: address().get("c") }, new URLSearchParams());
  for (const link of $("views").querySelectorAll("a")) {
    link.href = at(link.dataset.view);
    if (link.dataset.view === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  $("brand").href = at(FIRST);
  choose();
}

// On a phone the navigation is wider than the window: the view that is shown is in the middle of it.
function intoView(name) {
  const list = $("views");
  if (list.scrollWidth <= list.clientWidth) return;
  const [outer, inner] = [list, list.querySelector(`[data-view=${name}]`)].map((each) => each.getBoundingClientRect());
  list.scrollBy({ left: inner.left + inner.width / 2 - outer.left - outer.width / 2, behavior: "instant" });
}

// The select shows the collection that is shown; one that is gone stays in its list, so that the search can say so.
function choose() {
  const select = $("collection");
  const collection = app.collection() ?? "";
  if (collection && ![...select.options].some((option) => option.value === collection)) select.add(new Option(collection));
  select.value = collection;
}

function header() {
  $("views").replaceChildren(
    ...Object.entries(VIEWS).map(([name, title]) => el("li", {}, el("a", { "data-view": name, href: "./" }, title))),
  );
  const select = el("select", { id: "collection", "aria-label": "Collection", hidden: true });
  // what another collection keeps of the address is the view alone
  select.addEventListener("change", () =>
    navigate({ v: address().get("v"), c: select.value, q: address().get("q") }, { from: new URLSearchParams() }));
  const badge = el("span", { class: "badge", hidden: true });
  const open = el("button", { type: "button", class: "button plain", id: "open-library", onclick: openLibrary }, icon("stack"), el("span", {}, "Library"), badge);
  $("of").append(select, open);
  jobs.follow((_, ended) => {
    badge.hidden = !jobs.running.length;
    badge.textContent = jobs.running.length;
    badge.setAttribute("aria-label", `${jobs.running.length} running`);
    if (ended.length) changed();
  });
}

let library = null;

async function openLibrary() {
  say("");
  if (!app.info) await reload().catch(() => {}); // it asks for the key that was not given
  if (!app.info) return;
  try {
    const { Library } = await import("./parts/library.js");
    library ??= new Library(document.body, { app, jobs, onUpload: add });
  } catch {
    say("The library cannot be loaded: the service does not answer.", { kind: "bad", again: openLibrary });
    return;
  }
  library.show();
}

const unread = ([{ name, error }, ...more]) =>
  more.length ? `${more.length + 1} files cannot be read, the first is ${name}: ${error}` : `${name} cannot be read: ${error}`;

// Pictures of this machine into the collection of that name or title, which is made if there is none: see parts/naming.js.
async function add(files, words) {
  let shownOnce = false;
  try {
    const [{ upload }, { make }] = await Promise.all([import("./parts/picture/upload.js"), import("./parts/naming.js")]);
    const wanted = await make(app, words);
    const collection = wanted.name;
    const tell = ({ done, total }) => say(`Adding pictures to ${wanted.title ?? collection}: ${done.toLocaleString("en")} of ${total.toLocaleString("en")}…`, { kind: "busy" });
    const report = await upload(api, collection, files, {
      tell: (far) => {
        tell(far);
        if (far.done && !shownOnce) { // the first are there to be seen while the rest comes
          shownOnce = true;
          changed(collection);
        }
      },
    });
    await changed(collection);
    const said = [
      report.added && `${count(report.added, "picture")} added`,
      report.had && `${report.had.toLocaleString("en")} were there already`,
      report.other && `${count(report.other, "file")} left out: no picture`,
      report.failed.length && unread(report.failed),
    ].filter(Boolean);
    say(`${said.join(" · ") || "There was no picture among these files"}.`, { kind: report.failed.length || !said.length ? "bad" : "plain" });
  } catch (error) {
    say(`The pictures could not be added: ${error.message}`, { kind: "bad" });
  }
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
  $("collection").replaceChildren(
    ...known.map(({ name, title, counts, problem }) =>
      new Option(`${title ?? name} (${problem ? "cannot be opened" : counts.image.toLocaleString("en")})`, name)),
  );
  $("collection").hidden = !known.length;
  choose();
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
    fetched(wantedBy(address())).catch(() => {}); // at the same time; show tells if it cannot be had
    await untilReady();
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

$("said-close").addEventListener("click", () => say(""));
header();
history.scrollRestoration = "manual";
start();
