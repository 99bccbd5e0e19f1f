// The first time: there is no collection. It helps to make one, from files or a folder of this machine, or from a folder
// that the operator allows; what is there already is shown while the rest still comes.

import { count, el, icon } from "../parts/dom.js";
import { index } from "../parts/indexing.js";
import { jobRow } from "../parts/job.js";
import { NAMED } from "../parts/naming.js";
import { dropTarget } from "../parts/picture/drop.js";
import { filesOf } from "../parts/picture/given.js";
import { renew } from "../parts/renew.js";

export const title = "Welcome";

export function mount(root, app) {
  const name = el("input", { class: "input", id: "welcome-name", value: "photos", ...NAMED, spellcheck: "false", autocomplete: "off" });
  const files = el("input", { type: "file", multiple: true, accept: "image/*,.heic,.heif,.avif,.tif,.tiff", class: "unseen" });
  const folder = el("input", { type: "file", multiple: true, webkitdirectory: true, class: "unseen" });
  const progress = el("ul", { class: "rows" });
  const look = el("a", { class: "button main", hidden: true }, "");
  let unfollow = null;

  const send = (chosen) => name.reportValidity() && app.add(chosen, name.value);
  for (const input of [files, folder]) {
    input.addEventListener("change", () => {
      send([...input.files]);
      input.value = "";
    });
  }

  function folders() {
    const roots = app.info?.folders ?? [];
    const path = el("input", { class: "input", id: "welcome-path", list: "welcome-roots", value: roots[0], spellcheck: "false", required: true });
    if (!roots.length) {
      return el("p", { class: "hint" }, "Have a folder on the server? Its operator can allow this page to index it with ",
        el("code", {}, "GLIMPSE_JOB_ROOTS"), ", or run ", el("code", {}, "glimpse index FOLDER"), ".");
    }
    return el("form", { class: "way", onsubmit: (event) => {
      event.preventDefault();
      begin(path.value.trim());
    } },
    el("h2", {}, "A folder of the server"),
    el("p", {}, "Nothing is copied: its files stay where they are."),
    el("label", { for: "welcome-path", class: "unseen" }, "Folder of the server"), path,
    el("datalist", { id: "welcome-roots" }, roots.map((each) => el("option", { value: each }))),
    el("button", { class: "button main", type: "submit" }, "Index it"));
  }

  async function begin(path) {
    if (!name.reportValidity()) return;
    try {
      await index(app, name.value, path);
    } catch (error) {
      app.say(error.message, { kind: "bad" });
    }
  }

  // Once the first pictures are in, they can be looked at.
  async function follow(jobs) {
    renew(progress, jobs.filter((job) => job.kind === "index" || job.kind === "watch").slice(0, 3).map((job) => jobRow(job, app.jobs, app)));
    if (!app.jobs.running.length) return;
    await app.reload().catch(() => {}); // the next look comes soon
    const ready = app.collections().find((each) => each.counts.image);
    look.hidden = !ready;
    if (ready) {
      look.href = app.href({ c: ready.name }, new URLSearchParams());
      look.textContent = `Look at the first ${count(ready.counts.image, "picture")}`;
    }
  }

  const readOnly = app.info?.read_only;
  root.append(el("div", { class: "hello" },
    el("img", { src: "static/icon.svg", alt: "", width: 56, height: 56 }),
    el("h1", {}, "Find pictures by what they show"),
    readOnly
      ? el("p", {}, "There is no collection here yet, and none can be made here: this service changes nothing, or not with your key.")
      : el("p", {}, "Give glimpse some pictures, and search them in your own words. They stay on this machine."),
    !readOnly && el("div", { class: "named" }, el("label", { for: "welcome-name" }, "Name of the collection"), name),
    !readOnly && el("div", { class: "ways" },
      el("div", { class: "way" }, el("h2", {}, "Pictures from here"), el("p", {}, "Drop pictures or a folder anywhere on this page, or choose them."),
        el("div", { class: "pair" },
          el("label", { class: "button main" }, files, icon("upload"), "Choose files"),
          el("label", { class: "button" }, folder, "Choose a folder"))),
      folders()),
    progress, look));

  dropTarget({
    may: () => ({ search: false, add: !root.hidden && !readOnly && name.value.trim() }),
    onSearch: () => {},
    onAdd: async (transfer) => send(await filesOf(transfer)),
  });

  return {
    show() {
      unfollow ??= app.jobs.follow(follow);
    },
    hide() {
      unfollow?.();
      unfollow = null;
    },
  };
}
