// The labs: the losses of a training at work on a few points, one lab below the other. What is true of them the service
// computes, with the code that trains: see POST v1/labs/forces.
//
//   loss=triplet, t, m, b, mining   the first lab's loss and its settings; x=90,42,118: its points, in degrees
//   space=sphere, space=pictures    what its points are; a, pos, neg: pictures of the collection
//   negatives=off                   of the second lab

import { batchLab } from "../labs/batch.js";
import { collapseLab } from "../labs/collapse.js";
import { pullLab } from "../labs/pull.js";
import { el } from "../parts/dom.js";

export const title = "Labs";

export function mount(root, app) {
  const labs = [pullLab(app), collapseLab(app), batchLab(app)];
  let arrived = false;
  root.append(
    el("div", { class: "labs" },
      el("header", {}, el("h1", {}, "Labs"),
        el("p", { class: "lead" }, "How vectors learn to lie where they belong. Each figure asks the losses that this program trains with; the arrows are their gradients, turned around."),
        el("nav", { "aria-label": "Labs" }, labs.map(({ element }) => el("a", { class: "chip", href: `#${element.id}` }, element.querySelector("h2")?.textContent ?? "Pull and push")))),
      labs.map(({ element }) => element)));
  return {
    show(address) {
      for (const lab of labs) lab.show(address);
      if (!arrived && location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
      arrived = true;
    },
    hide() {
      for (const lab of labs) lab.hide();
    },
  };
}
