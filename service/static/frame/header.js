// The header: links to the views, which index.html has so that they are there at once, the collection that is shown, and
// the way to the library with how many jobs run.

import { el, icon } from "../parts/dom.js";
import { isRunning } from "../parts/jobs.js";
import { address, href, navigate } from "../router.js";

const $ = (id) => document.getElementById(id);

export class Header {
  // first: the name that no address has; collection(): the name of the one that is shown
  constructor({ first, collection, jobs, onLibrary }) {
    Object.assign(this, { first, collection });
    this.framed = null; // what the links are of
    this.views = $("views");
    this.select = el("select", { id: "collection", "aria-label": "Collection", hidden: true });
    // what another collection keeps of the address is the view alone
    this.select.addEventListener("change", () =>
      navigate({ v: address().get("v"), c: this.select.value, q: address().get("q") }, { from: new URLSearchParams() }));
    const badge = el("span", { class: "badge", hidden: true });
    $("of").append(this.select, el("button", { type: "button", class: "button plain", id: "open-library", onclick: onLibrary }, icon("stack"), el("span", {}, "Library"), badge));
    jobs.follow((all) => {
      const running = all.filter(isRunning).length;
      badge.hidden = !running;
      badge.textContent = running;
      badge.setAttribute("aria-label", `${running} running`);
    });
  }

  // The view of that name is the one of the address.
  frame(name) {
    const of = `${name} ${address().get("c")}`;
    if (this.framed === of) return;
    this.framed = of;
    const at = (view) => href({ v: view === this.first ? null : view, c: address().get("c") }, new URLSearchParams());
    for (const link of this.views.querySelectorAll("a")) {
      link.href = at(link.dataset.view);
      if (link.dataset.view === name) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    $("brand").href = at(this.first);
    this.#choose();
  }

  // On a phone the navigation is wider than the window: the view that is shown is in the middle of it.
  intoView(name) {
    const { views } = this;
    if (views.scrollWidth <= views.clientWidth) return;
    const [outer, inner] = [views, views.querySelector(`[data-view=${name}]`)].map((each) => each.getBoundingClientRect());
    views.scrollBy({ left: inner.left + inner.width / 2 - outer.left - outer.width / 2, behavior: "instant" });
  }

  // These collections there are by now.
  offer(collections) {
    this.select.replaceChildren(
      ...collections.map(({ name, title, counts, problem }) =>
        new Option(`${title ?? name} (${problem ? "cannot be opened" : counts.image.toLocaleString("en")})`, name)),
    );
    this.select.hidden = !collections.length;
    this.#choose();
  }

  // The select shows the collection that is shown; one that is gone stays in its list, so that the search can say so.
  #choose() {
    const collection = this.collection() ?? "";
    if (collection && ![...this.select.options].some(({ value }) => value === collection)) this.select.add(new Option(collection));
    this.select.value = collection;
  }
}
