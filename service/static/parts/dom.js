// Elements made by a call, and the few signs that are drawn. Text only ever becomes text: nothing here parses HTML.

// el("a", {class: "button", href: "?v=map", onclick: go}, "Map", another): names with `on` are listeners, `class`,
// `data-...`, `aria-...` and all else attributes; true is an empty attribute, false and null are none.
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  set(element, attributes);
  element.append(...those(children));
  return element;
}

// Have an element hold these, in the same way, and nothing else.
export const fill = (element, ...children) => element.replaceChildren(...those(children));

const those = (children) => children.flat().filter((child) => child !== null && child !== undefined && child !== false);

export function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === false || value === null || value === undefined) element.removeAttribute(name);
    else element.setAttribute(name, value === true ? "" : value);
  }
  return element;
}

// What is the user's may be anything that JSON holds: as words.
export const words = (value) =>
  Array.isArray(value) && value.every((each) => typeof each !== "object")
    ? value.join(", ")
    : typeof value === "object" ? JSON.stringify(value) : String(value);

// A name that may be cut between its words, and only else within one.
export const breakable = (text) => text.split(/(?<=[_./\\-])(?=[^_./\\-])/).flatMap((part, i) => (i ? [el("wbr"), part] : [part]));

// "1 image", "2 images"
export const count = (n, one, several = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : several}`;

// Have the browser keep what lies at a blob's address as a file.
export function saveFile(address, name) {
  el("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

// What need not be in the next frame, which is the sooner there without it.
export const afterPaint = (work) => requestAnimationFrame(() => setTimeout(work));

// `signal` ends it before its time, or has done so already.
export const pause = (ms, signal) =>
  new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const end = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", end);
      resolve();
    }, ms);
    signal?.addEventListener("abort", end);
  });

const SIGNS = {
  picture: "M4 5h16v14H4zM8.500 8.500a1.500 1.500 0 1 0 .01 0M4 17l5-4.500 3.500 3 3-3 4.500 4",
  search: "M10.500 4.500a6 6 0 1 0 .01 0M15 15l5 5",
  close: "M6 6l12 12M18 6L6 18",
  left: "M15 5l-7 7 7 7",
  right: "M9 5l7 7-7 7",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  check: "M5 12.500l4.500 4.500L19 7.500",
  filter: "M4 7h16M7 12h10M10 17h4",
  stack: "M4 8l8-4 8 4-8 4zM4 12l8 4 8-4M4 16l8 4 8-4",
  info: "M12 4a8 8 0 1 0 .01 0M12 11v5M12 8v.01",
  download: "M12 4v11M7.500 11l4.500 4.500 4.500-4.500M5 20h14",
  upload: "M12 16V5M7.500 9L12 4.500 16.500 9M5 20h14",
  copy: "M9 9h10v11H9zM15 9V5H5v11h4",
  trash: "M5 7h14M10 7V4.500h4V7M7 7l1 13h8l1-13",
  tag: "M4 4h8l8 8-8 8-8-8zM8 8v.01",
  more: "M12 4v16M4 12h16",
  dots: "M6 12h.01M12 12h.01M18 12h.01",
  lasso: "M12 5c4.500 0 8 2 8 5s-3.500 5-8 5-8-2-8-5 3.500-5 8-5M7 14c-2 1-2 4 0 4s2 3 1 4",
  whole: "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5",
};

// The same for drawings: svg("circle", {r: 4, class: "dot"}, another).
export function svg(tag, attributes = {}, ...children) {
  const element = set(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes);
  element.append(...children);
  return element;
}

export const icon = (name) => svg("svg", { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true" }, svg("path", { d: SIGNS[name] }));

// A button that is a sign alone, with words for who points at it or has it read out.
export const tool = (sign, label, act, more = "") =>
  el("button", { type: "button", class: `button icon ${more}`, "aria-label": label, title: label, onclick: act }, icon(sign));
