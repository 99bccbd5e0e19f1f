// The library: which collections there are, making and deleting them, adding pictures to them, and the jobs that work on
// them. A sheet over whatever view is shown.

import { count, el, icon } from "./dom.js";
import { index } from "./indexing.js";
import { jobRow } from "./job.js";
import { make, NAMED, naming } from "./naming.js";
import { renew } from "./renew.js";

const MANY = 8; // collections from which on one is looked for by its name
const BYTES = ["bytes", "kB", "MB", "GB", "TB"];

function sizeOf(bytes) {
  let unit = 0;
  while (bytes >= 1000 && unit < BYTES.length - 1) {
    bytes /= 1000;
    unit += 1;
  }
  return `${bytes.toLocaleString("en", { maximumFractionDigits: bytes < 10 && unit ? 1 : 0 })} ${BYTES[unit]}`;
}

export class Library {
  constructor(root, { app, jobs, onUpload }) {
    Object.assign(this, { app, jobs, onUpload });
    const readOnly = app.info?.read_only;
    this.list = el("ul", { class: "rows collections" });
    this.find = el("input", { class: "input", type: "search", placeholder: "Find a collection", "aria-label": "Find a collection", autocomplete: "off", dir: "auto", hidden: true });
    this.find.addEventListener("input", () => this.#sift());
    this.find.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault(); // else it would press the button that opened this, which has the focus then
      this.list.querySelector("li:not([hidden]) a")?.click();
    });
    this.none = el("p", { class: "hint", role: "status" });
    this.jobList = el("ul", { class: "rows" });
    this.jobsTitle = el("h3", {}, "Jobs");
    this.dialog = el("dialog", { class: "sheet library", "aria-labelledby": "library-title" },
      el("header", {}, el("h2", { id: "library-title" }, "Library"),
        el("button", { type: "button", class: "button icon plain", "aria-label": "Close", onclick: () => this.dialog.close() }, icon("close"))),
      this.find, this.none, this.list,
      !readOnly && this.#adding(),
      this.jobsTitle, this.jobList,
      el("p", { class: "hint" }, "All of this can be done by programs too: ", el("a", { href: "docs" }, "the API"), "."));
    root.append(this.dialog);
    this.dialog.addEventListener("click", (event) => event.target === this.dialog && this.dialog.close());
    jobs.follow((all, ended) => {
      this.#showJobs(all);
      if (ended.length && this.dialog.open) this.#reload({ over: false }); // what one has made is in the list
    });
  }

  async show() {
    this.find.value = "";
    if (this.name) this.name.value = ""; // it is another collection that is shown by now
    this.#showCollections();
    this.dialog.showModal();
    this.jobs.look();
    await this.#reload({ over: false });
  }

  // `over`: a title that is being written, too; what others changed, however late it comes, leaves that.
  async #reload({ over }) {
    await this.app.reload().catch((error) => this.app.say(error.message, { kind: "bad" }));
    if (over || !this.list.querySelector("form")) this.#showCollections();
  }

  close() {
    this.dialog.close();
  }

  // The one that is shown is the first.
  #showCollections() {
    const all = this.app.collections();
    const shown = ({ name }) => name === this.app.collection();
    const goOn = this.#focused();
    this.list.replaceChildren(...[...all.filter(shown), ...all.filter((one) => !shown(one))].map((one) => this.#row(one)));
    this.find.hidden = all.length <= MANY;
    this.#sift();
    goOn();
    if (!this.name) return;
    const shownNow = this.app.collection() ?? "photos";
    const called = this.app.titled(shownNow);
    if (!this.name.value) this.name.value = naming(called, all).name === shownNow ? called : shownNow; // others may be called so, too
    this.#offer();
  }

  // What gives the focus back once the rows are made anew: to the same of them, else to the one in its place.
  #focused() {
    const focused = document.activeElement;
    if (!this.list.contains(focused)) return () => {};
    const row = focused.closest("li");
    const place = [...this.list.children].indexOf(row);
    const act = focused.closest("form") ? "rename" : focused.dataset.act;
    return () => {
      const rows = [...this.list.children].filter((each) => !each.hidden);
      const same = rows.find((each) => each.dataset.name === row.dataset.name);
      const next = same?.querySelector(`[data-act=${act}]`) ?? (same ?? rows[Math.min(place, rows.length - 1)])?.querySelector("a");
      (next ?? this.dialog.querySelector("button")).focus();
    };
  }

  // Those that are called so, by name or title.
  #sift() {
    const words = this.find.hidden ? "" : this.find.value.trim().toLowerCase();
    let found = 0;
    for (const row of this.list.children) {
      row.hidden = !row.dataset.called.includes(words);
      if (!row.hidden) found += 1;
    }
    this.none.textContent = found || !words ? "" : "None is called so.";
  }

  #row(collection) {
    const { name, title, counts, bytes, model, problem } = collection;
    const facts = problem ?? (title ? `${name} · ` : "") + `${count(counts.image, "picture")}${counts.text ? ` · ${count(counts.text, "text")}` : ""} · ${sizeOf(bytes)} · ${model}`;
    const remove = !this.app.info?.read_only && el("button", { type: "button", class: "button plain bad", "data-act": "delete", "aria-label": `Delete the collection ${name}` }, "Delete");
    if (remove) remove.addEventListener("click", async () => {
      if (remove.dataset.sure === undefined) {
        remove.dataset.sure = "";
        remove.textContent = "Really delete all of it?";
        remove.setAttribute("aria-label", `Really delete the collection ${name}?`);
        remove.addEventListener("blur", () => {
          delete remove.dataset.sure;
          remove.textContent = "Delete";
          remove.setAttribute("aria-label", `Delete the collection ${name}`);
        }, { once: true });
        return;
      }
      try {
        await this.app.api.delete(this.app.api.of(name));
        await this.app.reload();
        this.app.say(`The collection ${title ?? name} is deleted. Files of indexed folders stay where they are.`);
        if (this.app.collection() === name || !this.app.collections().length) this.app.navigate({ c: null, open: null, q: null });
        this.#showCollections();
      } catch (error) {
        this.app.say(error.message, { kind: "bad" });
      }
    });
    const chosen = name === this.app.collection();
    const called = el("div", {},
      el("a", { class: "name", href: this.app.href({ c: name }, new URLSearchParams()), "aria-current": chosen && "true", dir: "auto", onclick: () => this.close() }, title ?? name),
      el("p", { class: "hint" }, facts));
    const rename = remove && !problem && el("button", { type: "button", class: "button plain", "data-act": "rename", "aria-label": `Rename the collection ${name}`,
      onclick: () => {
        called.replaceChildren(this.#renaming(collection));
        called.querySelector("input").focus();
        called.querySelector("input").select();
      } }, "Rename");
    return el("li", { "data-name": name, "data-called": `${name} ${title ?? ""}`.toLowerCase() }, called, rename, remove);
  }

  // What it is called where people read; its name stays, and so do all addresses.
  #renaming({ name, title }) {
    const input = el("input", { class: "input", value: title ?? name, maxlength: 120, "aria-label": `Title of the collection ${name}`, autocomplete: "off" });
    const form = el("form", { class: "line" }, input, el("button", { type: "submit", class: "button" }, "Save"));
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const wanted = input.value.trim();
      try {
        await this.app.api.patch(this.app.api.of(name), { title: wanted && wanted !== name ? wanted : null, expected_title: title });
        await this.#reload({ over: true });
      } catch (error) {
        if (error.code !== "changed_meanwhile") return this.app.say(error.message, { kind: "bad" });
        await this.#reload({ over: true });
        const called = this.app.collections().find((one) => one.name === name)?.title ?? name;
        this.app.say(`Somebody has called it “${called}” meanwhile, and it is not called “${wanted || name}”.`, { kind: "bad" });
      }
    });
    form.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.preventDefault(); // the sheet stays
      event.stopPropagation();
      this.#showCollections();
    });
    return form;
  }

  // Pictures come from this machine, or from a folder that the operator allows.
  #adding() {
    this.name = el("input", { class: "input", id: "library-name", ...NAMED, autocomplete: "off", spellcheck: "false", "aria-describedby": "library-named" });
    this.named = el("p", { class: "hint named", id: "library-named" });
    this.name.addEventListener("input", () => this.#offer());
    this.create = el("button", { type: "button", class: "button plain", onclick: () => this.#make() }, "Create it empty");
    const files = el("input", { type: "file", multiple: true, accept: "image/*,.heic,.heif,.avif,.tif,.tiff", class: "unseen" });
    const folder = el("input", { type: "file", multiple: true, webkitdirectory: true, class: "unseen" });
    for (const input of [files, folder]) {
      input.addEventListener("change", () => {
        if (!this.name.reportValidity()) return;
        this.onUpload([...input.files], this.name.value);
        input.value = "";
        this.close();
      });
    }
    const label = (input, text) => el("label", { class: "button" }, input, icon("upload"), text);
    const roots = this.app.info?.folders ?? [];
    const path = el("input", { class: "input", id: "library-path", placeholder: "/photos/2024", list: "library-roots", spellcheck: "false", value: roots[0] });
    const index = el("form", { class: "line", onsubmit: (event) => {
      event.preventDefault();
      this.#index(path.value.trim());
    } }, path, el("datalist", { id: "library-roots" }, roots.map((root) => el("option", { value: root }))),
    el("button", { class: "button", type: "submit" }, "Index the folder"));
    return el("section", { class: "adding" }, el("h3", {}, "Add pictures"),
      el("div", { class: "line" }, el("label", { for: "library-name" }, "to the collection"), this.name,
        this.create), this.named,
      el("div", { class: "line" }, label(files, "Choose files"), label(folder, "Choose a folder")),
      roots.length > 0 && el("div", {}, el("label", { for: "library-path", class: "hint" }, "Or a folder of the server; its files stay where they are:"), index));
  }

  // One that is there already is not created: nobody is to fear that it would be emptied.
  #offer() {
    const { name, title, isNew } = naming(this.name.value, this.app.collections());
    const written = this.name.value.trim();
    this.create.hidden = !isNew;
    this.named.hidden = !written || name === written;
    this.named.textContent = isNew ? `“${title}” is its title; in addresses it is called ${name}.` : `That is ${name}.`;
  }

  async #make() {
    if (!this.name.reportValidity()) return;
    try {
      const wanted = await make(this.app, this.name.value);
      await this.app.reload();
      this.#showCollections();
      this.app.navigate({ c: wanted.name, v: null }, { from: new URLSearchParams() });
    } catch (error) {
      this.app.say(error.message, { kind: "bad" });
    }
  }

  async #index(folder) {
    if (!this.name.reportValidity()) return;
    try {
      await index(this.app, this.name.value, folder);
    } catch (error) {
      this.app.say(error.message, { kind: "bad" });
    }
  }

  #showJobs(all) {
    this.jobsTitle.hidden = !all.length;
    renew(this.jobList, all.slice(0, 12).map((job) => jobRow(job, this.jobs, this.app)));
  }
}
