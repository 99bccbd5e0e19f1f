// What is told in a line at the bottom, and read out: what is "bad" or "busy" stays, and so does what offers something; all
// else goes by itself. One message is shown at a time, each for as long as it takes to be seen, and the next wait for
// that; what offers something comes back after them. What could not be had is asked for again from there.

const $ = (id) => document.getElementById(id);
const SHOWN = 6000; // ms after which what is plain goes by itself
const UNDONE = 20_000; // the same of what can be undone, unless somebody is about to
const SEEN = { plain: 1500, bad: 3000, busy: 0 }; // ms for which it is shown before the next
const LATER = 5000; // ms after which what may be well by itself is asked for again
const SLOW = 400; // ms after which it is told that one waits

let shown = null; // the message that is
let since = 0; // when it was said last, or seen first
const next = []; // messages, of which one at most is busy
const offers = []; // messages that made way for others
let turn = null; // timer until the next
let left = null; // where the focus was before it came to a message
let written = null; // the field in which somebody has written since
let closed = null; // `again` of what is busy and need not be told any more

// Gives the message, for `withdraw`. Without words: what is shown has been seen, unless it offers something. `undo` takes
// back what is told of, by Control and Z too; it is offered for a while, and not again after the next message.
export function say(text, { kind = "plain", undo = null, again = undo, how = undo ? "Undo" : "Try again" } = {}) {
  if (!text) return shown?.again ? null : withdraw(shown);
  if (kind === "busy" && again && again === closed) return null;
  clearTimeout(slow);
  withdraw(offers.find((each) => each.text === text)); // it is offered anew
  const message = { text, kind, again, how, undo, isOver: Boolean(undo) };
  const before = next.findIndex((each) => each.kind === "busy"); // it goes on, or has ended
  if (before >= 0) next.splice(before, 1);
  if (!shown || shown.kind === "busy" || shown.text === text || (shown.undo && undo)) show(message);
  else if (next.at(-1)?.text === text) next[next.length - 1] = message;
  else {
    next.push(message);
    takeTurns();
  }
  return message;
}

// It has been seen, or need not be any more.
export function withdraw(message) {
  for (const waits of [next, offers]) if (waits.includes(message)) waits.splice(waits.indexOf(message), 1);
  if (message && message === shown) show(following());
}

// What was offered to be undone belongs to the view where it was done.
export const noUndo = () => [shown, ...next].forEach((message) => message?.undo && withdraw(message));

const following = () => next.shift() ?? offers.pop() ?? null;

function show(message) {
  const isSame = shown?.text === message?.text; // it is said already
  shown = message;
  written = null;
  const { text = "", kind = null, again = null, how = "", undo = null } = message ?? {};
  const focused = $("said").querySelector(":focus");
  const byKeys = Boolean(focused?.matches(":focus-visible"));
  if (text && $("said").parentElement !== uppermost()) moveSaid();
  since = performance.now();
  if (undo) aloud(`${text} Control and Z undoes it.`, kind); // the same once more is of other pictures
  else if (!isSame) aloud(text, kind);
  $("said").hidden = !text;
  $("said").classList.toggle("bad", kind === "bad");
  $("said-text").textContent = text;
  $("said-again").hidden = !again;
  $("said-again").textContent = how;
  if (focused && !focused.checkVisibility()) giveBack(byKeys);
  takeTurns();
}

// The focus goes from a button that is gone to where it came from, but for keys to the message that is shown now; and a
// touch opens no keyboard anew.
function giveBack(byKeys) {
  if (shown && byKeys) return $("said-close").focus();
  const dialog = uppermost();
  const isThere = dialog.contains(left) && left.checkVisibility() && (byKeys || !left.matches("input, textarea"));
  const back = isThere ? left : dialog.querySelector("main, [autofocus]") ?? dialog.querySelector("button");
  back.focus({ preventScroll: true });
}

$("said").addEventListener("focusin", ({ relatedTarget }) => $("said").contains(relatedTarget) || (left = relatedTarget));

// Until the next one has its turn, or what is shown goes; what nobody can see stays.
function takeTurns() {
  clearTimeout(turn);
  if (!shown || document.hidden) return;
  const ms = next.length ? SEEN[shown.kind] : shown.kind !== "plain" ? null : shown.undo ? UNDONE : shown.again ? null : SHOWN;
  if (ms !== null) turn = setTimeout(pass, Math.max(0, since + ms - performance.now()));
}

function pass() {
  if (shown.undo && $("said").matches(":hover, :focus-within")) {
    since = performance.now();
    takeTurns();
    return;
  }
  const comes = following();
  if (shown.again && shown.kind !== "busy" && !shown.isOver) offers.push(shown);
  show(comes);
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) since = performance.now();
  takeTurns();
});

// A dialog leaves nothing outside of it to be seen, pressed or read out: what is said lies in the one that is open.
const uppermost = () => [...document.querySelectorAll("dialog[open]")].at(-1) ?? document.body;
const moveSaid = () => uppermost().append($("aloud"), $("said"));
document.addEventListener("close", (event) => event.target.contains($("said")) && moveSaid(), true);
document.addEventListener("focusin", () => shown && $("said").parentElement !== uppermost() && moveSaid()); // one has opened

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

let waiting = null; // {off, message}: what somebody waits for, and what is told of it
let slow = null; // timer

// What somebody waits for: that is told once it takes a while. Until it is there, and where it could not be had, Escape
// calls it off, or who closes the message: `off` sees to it.
export async function waited(work, text, off = null) {
  noLonger();
  const mine = (waiting = { off, message: null });
  slow = setTimeout(() => (mine.message = say(text, { kind: "busy", again: off && callOff, how: "Cancel" })), SLOW);
  try {
    const found = await work;
    if (waiting === mine) noLonger();
    return found;
  } catch (error) {
    if (waiting === mine) hush();
    throw error;
  }
}

function hush() {
  clearTimeout(slow);
  withdraw(waiting?.message);
}

function noLonger() {
  hush();
  waiting = null;
}

function callOff() {
  const off = waiting?.off;
  noLonger();
  off?.();
}

addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !waiting?.off || document.querySelector("dialog[open]")) return;
  event.stopPropagation();
  callOff();
}, true);

let later = null; // timer
let complaint = null; // the message of what could not be had last
const undone = new Set(); // what asks again for each thing that could not be had

// What could not be had: it is told, and asked for again by itself or once somebody wants it, where that may help, with
// all else that could not be. Another address ends that: letGo.
export function failed(error, again) {
  if (!error.final) undone.add(again);
  const ask = async () => { // what is said stays until all is well
    clearTimeout(later);
    const all = [...undone];
    undone.clear();
    await Promise.allSettled(all.map((each) => each()));
    if (!undone.size) withdraw(complaint);
  };
  if (complaint) complaint.isOver = true; // the new one offers what it did
  if (complaint !== shown) withdraw(complaint);
  complaint = say(error.message, { kind: "bad", again: error.final ? null : ask, how: error.lacksKey ? "Give the key" : "Try again" });
  if (!error.passes) return;
  clearTimeout(later);
  const whenSeen = () => (document.hidden ? (later = setTimeout(whenSeen, LATER)) : ask());
  later = setTimeout(whenSeen, (error.after ?? 0) * 1000 || LATER);
}

// Nothing of what could not be had is wanted any more.
export function letGo() {
  noLonger();
  clearTimeout(later);
  undone.clear();
  if (complaint?.again) withdraw(complaint);
}

addEventListener("wait", () => shown || say("The service is busy, and is asked again in a moment…"));
$("said-again").addEventListener("click", () => {
  const { again } = shown;
  withdraw(shown); // it has been seen
  again();
});
addEventListener("input", ({ target }) => (written = target));
addEventListener("keydown", (event) => {
  if (!shown?.undo || event.repeat || !(event.ctrlKey || event.metaKey) || event.shiftKey || event.altKey || event.key.toLowerCase() !== "z") return;
  const field = event.target.closest?.("input, textarea");
  if (field && (field.value || field === written)) return; // what is written there is undone, or taken out
  event.preventDefault();
  $("said-again").click();
});
$("said-close").addEventListener("click", () => {
  const isWaitedFor = shown === complaint || shown === waiting?.message;
  if (shown.kind === "busy" && !isWaitedFor) closed = shown.again; // it is among the jobs of the library
  withdraw(shown);
  if (isWaitedFor) callOff();
});
