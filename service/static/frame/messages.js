// What is told in a line at the bottom, and read out: what is "bad" or "busy" stays, all else goes by itself. What could
// not be had is asked for again from there.

const $ = (id) => document.getElementById(id);
const SHOWN = 6000; // ms
const LATER = 5000; // ms after which what may be well by itself is asked for again
const SLOW = 400; // ms after which it is told that one waits

let silence = null; // timer that takes a message away

export function say(text, { kind = "plain", again = null, how = "Try again" } = {}) {
  clearTimeout(silence);
  if (text) clearTimeout(slow);
  if (waiting) waiting.told = false; // what is said takes its place
  const bad = kind === "bad";
  if (text && $("said").parentElement !== uppermost()) moveSaid();
  if ($("said").hidden || $("said-text").textContent !== text) aloud(text, kind); // else it is said already
  $("said").hidden = !text;
  $("said").classList.toggle("bad", bad);
  $("said-text").textContent = text ?? "";
  $("said-again").hidden = !again;
  $("said-again").textContent = how;
  $("said-again").onclick = again;
  if (text && kind === "plain") silence = setTimeout(() => say(""), SHOWN);
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

let waiting = null; // {off, told}: what somebody waits for
let slow = null; // timer

// What somebody waits for: that is told once it takes a while. Until it is there, and where it could not be had, Escape
// calls it off, or who closes the message: `off` sees to it.
export async function waited(work, text, off = null) {
  noLonger();
  const mine = (waiting = { off, told: false });
  slow = setTimeout(() => {
    say(text, { kind: "busy", again: off && callOff, how: "Cancel" });
    mine.told = true;
  }, SLOW);
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
  if (waiting?.told) say("");
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
const undone = new Set(); // what asks again for each thing that could not be had

// What could not be had: it is told, and asked for again by itself or once somebody wants it, where that may help, with
// all else that could not be. Another address ends that: letGo.
export function failed(error, again) {
  if (!error.final) undone.add(again);
  const isSaid = () => !$("said-again").hidden;
  const ask = async (isWanted) => { // else what is said stays until all is well
    clearTimeout(later);
    if (isWanted && isSaid()) say("");
    const all = [...undone];
    undone.clear();
    await Promise.allSettled(all.map((each) => each()));
    if (!undone.size && isSaid()) say("");
  };
  say(error.message, { kind: "bad", again: error.final ? null : () => ask(true), how: error.lacksKey ? "Give the key" : "Try again" });
  if (!error.passes) return;
  clearTimeout(later);
  const whenSeen = () => (document.hidden ? (later = setTimeout(whenSeen, LATER)) : ask(false));
  later = setTimeout(whenSeen, (error.after ?? 0) * 1000 || LATER);
}

// Nothing of what could not be had is wanted any more.
export function letGo() {
  noLonger();
  clearTimeout(later);
  undone.clear();
  if (!$("said-again").hidden) say("");
}

addEventListener("wait", () => $("said").hidden && say("The service is busy, and is asked again in a moment…"));
$("said-close").addEventListener("click", () => {
  say("");
  callOff();
});
