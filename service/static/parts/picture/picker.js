// A dialog that lets a person choose pictures of a collection, by looking through it or by searching it.

import { el, icon } from "../dom.js";
import { nameOf, sized } from "./entry.js";

const SHOWN = 48;
const LATER = 3000; // ms until what does not answer is asked again
const WAIT = 250; // ms without a key until it searches

// Resolves to the entries that were chosen, at most `most`; of one alone the first click chooses. None: it was closed.
export function pickPictures(app, { title, most = 1 }) {
  const chosen = new Map();
  const list = el("ul", { class: "choices", "aria-label": "Pictures" });
  const said = el("p", { class: "hint", role: "status" });
  const input = el("input", { class: "input", type: "search", placeholder: "Search the collection", "aria-label": "Search the collection", maxlength: 10000, autocomplete: "off" });
  const done = el("button", { type: "button", class: "button main", disabled: true }, "Add");
  const dialog = el("dialog", { class: "sheet picker", "aria-label": title },
    el("header", {}, el("h2", {}, title),
      el("button", { type: "button", class: "button icon plain", "aria-label": "Close", onclick: () => dialog.close() }, icon("close"))),
    input, said, list, most > 1 && el("footer", {}, done));
  let running = null;
  let timer = null;

  function choose(entry, button) {
    if (most === 1) {
      chosen.set(entry.id, entry);
      dialog.close();
      return;
    }
    if (!chosen.delete(entry.id) && chosen.size < most) chosen.set(entry.id, entry);
    button.setAttribute("aria-pressed", chosen.has(entry.id));
    done.disabled = !chosen.size;
    done.textContent = chosen.size ? `Add ${chosen.size}` : "Add";
  }

  function choice(entry) {
    const image = el("img", { alt: "", loading: "lazy", decoding: "async" });
    const button = el("button", { type: "button", "aria-pressed": chosen.has(entry.id), title: nameOf(entry), "aria-label": nameOf(entry) }, image);
    button.addEventListener("click", () => choose(entry, button));
    app.api.show(image, sized(entry.thumbnail_url, 256)).catch(() => button.classList.add("gone"));
    return el("li", {}, button);
  }

  async function look() {
    running?.abort();
    clearTimeout(timer);
    running = new AbortController();
    const { signal } = running;
    const text = input.value.trim();
    const { api } = app;
    const collection = app.collection();
    list.classList.add("busy");
    try {
      const found = text
        ? (await api.post(api.of(collection, "search"), { text, limit: SHOWN }, { signal })).hits
        : (await api.get(`${api.of(collection, "images")}?limit=${SHOWN}`, { signal })).entries;
      list.replaceChildren(...found.map(choice));
      said.textContent = found.length ? "" : "There are no pictures in this collection yet.";
    } catch (error) {
      if (signal.aborted) return;
      said.textContent = error.message;
      if (error.passes) timer = setTimeout(look, LATER);
    }
    list.classList.remove("busy");
  }

  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(look, WAIT);
  });
  done.addEventListener("click", () => dialog.close("add"));
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close(); // its backdrop
  });
  document.body.append(dialog);
  dialog.showModal();
  look();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      running?.abort();
      clearTimeout(timer);
      dialog.remove();
      resolve(most === 1 || dialog.returnValue === "add" ? [...chosen.values()] : []);
    });
  });
}
