// Pictures of this machine into a collection, one lot after the other: how far it is, what ends it, and what came of it.

import { count } from "../parts/dom.js";
import { make } from "../parts/naming.js";
import { isPicture } from "../parts/picture/given.js";
import { upload } from "../parts/picture/upload.js";
import { address } from "../router.js";

const AGAIN = 20_000; // ms until who looks at the collection sees what has come meanwhile
const MEASURED = 10_000; // ms after which it is told how long it takes
const MINUTE = 60_000; // ms, below which that is not worth a word

let before = Promise.resolve(); // the lot before
let last = 0; // lot
const lots = []; // what is not sent yet, as jobs of the page: see parts/jobs.js

// Into the collection of that name or title, which is made if there is none: see parts/naming.js.
export function addAll(app, files, words) {
  if (!files.some(isPicture)) { // which no collection is made for
    app.say("There was no picture among these files.", { kind: "bad" });
    return;
  }
  const where = location.search; // of who asks for it
  const stopping = new AbortController();
  const { signal } = stopping;
  const stopped = new Promise((resolve) => signal.addEventListener("abort", resolve));
  const lot = { id: `upload-${++last}`, kind: "upload", state: "queued", collection: null, done: 0, total: files.length, stop: () => stopping.abort() };
  lots.push(lot);
  addEventListener("beforeunload", hold);
  const show = (now) => {
    Object.assign(lot, now);
    app.jobs.show([...lots]);
  };
  show({ collection: words.trim() });
  if (lots.length > 1) app.say(`${count(files.length, "file waits", "files wait")} for those that are on their way.`);
  const mine = Promise.race([before, stopped]).then(() => add(app, files, words, { show, lot, where, signal })).finally(() => {
    lots.splice(lots.indexOf(lot), 1);
    if (!lots.length) removeEventListener("beforeunload", hold);
    show();
  });
  before = Promise.allSettled([before, mine]);
  return mine;
}

const hold = (event) => event.preventDefault(); // the browser asks whether the page is to go: what is not sent would be lost

async function add(app, files, words, { show, lot, where, signal }) {
  if (signal.aborted) { // while it waited: nothing is made for it
    conclude(app, words, await upload(app.api, words, files, { signal }));
    return;
  }
  const told = { kind: "busy", again: lot.stop, how: "Stop" };
  app.say("Adding pictures…", told);
  const { name, title } = await make(app, words);
  const begun = performance.now();
  let looked = 0; // when what is there was shown last
  const tell = ({ done, total }) => {
    const now = performance.now();
    const rest = now - begun > MEASURED && done ? (now - begun) * (total / done - 1) : 0; // ms
    const left = rest > MINUTE ? `, about ${Math.round(rest / MINUTE)} min left` : "";
    show({ state: "running", collection: name, done, total });
    app.say(`Adding pictures to ${title ?? name}: ${done.toLocaleString("en")} of ${total.toLocaleString("en")}${left}…`, told);
    if (!done || done === total || (looked && now - looked < AGAIN)) return;
    if (!looked && location.search === where) app.changed(name); // the first are there to be seen while the rest comes
    else if (isLookedThrough(app, name)) app.changed();
    looked = now;
  };
  const report = await upload(app.api, name, files, { tell, signal });
  await (looked || location.search !== where ? app.changed() : app.changed(name));
  conclude(app, name, report);
}

// Who looks at something else, has gone further down, or opened something, is left alone.
const isLookedThrough = (app, name) =>
  app.collection() === name && !address().has("v") && scrollY < innerHeight / 4 && !document.querySelector("dialog[open]");

function conclude(app, name, { added, had, other, failed, left, error }) {
  const said = [
    added && `${count(added, "picture")} added`,
    had && count(had, "was there already", "were there already"),
    other && `${count(other, "file")} left out: no picture`,
    failed.length && unread(failed),
    left.length && `${count(left.length, "picture is", "pictures are")} not added`,
  ].filter(Boolean).join(" · ");
  const act = left.length
    ? !error?.final && { again: () => app.add(left, name), how: error ? "Try again" : "Go on" }
    : (added || had) && name !== app.collection() && { again: () => app.navigate({ c: name }, { from: new URLSearchParams() }), how: "Look at them" };
  app.say(error ? `${said}: ${error.message}` : `${said}.`, { kind: failed.length || error ? "bad" : "plain", ...act });
}

const unread = ([{ name, error }, ...more]) =>
  more.length ? `${more.length + 1} files cannot be read, the first is ${name}: ${error}` : `${name} cannot be read: ${error}`;
