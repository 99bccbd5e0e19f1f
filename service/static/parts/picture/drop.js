// Files that are dragged over the page: one half of it searches by them, the other adds them to the collection.

import { el, icon } from "../dom.js";
import { hasFiles } from "./given.js";

// onSearch(transfer), onAdd(transfer); may(): {search, add}, what is possible now; `collection` is what add adds to.
export function dropTarget({ onSearch, onAdd, may }) {
  const half = (name, title) => el("div", { class: "half", "data-half": name }, icon(name === "search" ? "search" : "plus"), el("p", {}, title));
  const search = half("search", "Search by this picture");
  const add = half("add", "");
  const cover = el("div", { class: "drop", hidden: true }, search, add);
  document.body.append(cover);
  let depth = 0;

  const over = (event) => event.target.closest?.("[data-half]") ?? null;
  document.addEventListener("dragenter", (event) => {
    if (!hasFiles(event)) return;
    depth += 1;
    const can = may();
    search.hidden = !can.search;
    add.hidden = !can.add;
    add.querySelector("p").textContent = can.add ? `Add to ${can.add}` : "";
    cover.hidden = !can.search && !can.add;
  });
  const leave = () => {
    depth = 0;
    cover.hidden = true;
    [search, add].forEach((one) => one.classList.remove("over"));
  };
  document.addEventListener("dragleave", () => {
    depth -= 1;
    if (depth <= 0) leave();
  });
  document.addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    [search, add].forEach((one) => one.classList.toggle("over", one === over(event)));
  });
  document.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    const can = may();
    const chosen = over(event)?.dataset.half ?? (can.search ? "search" : "add");
    leave();
    if (chosen === "search" && can.search) onSearch(event.dataTransfer);
    else if (can.add) onAdd(event.dataTransfer);
  });
}
