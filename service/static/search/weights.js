// What is looked for besides words, and how much each of it counts: a chip for each image, with a slider where there is
// more than one thing.

import { el, icon } from "../parts/dom.js";
import { kept, partsOf, withWeight } from "../parts/query.js";

export function weighed(app, query) {
  const chips = [];
  const several = partsOf(query).length > 1;
  const add = (part) => chips.push(chip(app, part));
  if (query.words && several) {
    add({ name: `“${query.words}”`, weight: query.weight, weigh: (weight) => app.navigate({ qw: weight === 1 ? null : weight }) });
  }
  query.images.forEach((image, i) => {
    const { name, url } = kept(image.key);
    const put = (change) => app.navigate({ img: query.images.map((each, j) => (i === j ? change : withWeight(each.key, each.weight))) });
    add({ name, url, weight: image.weight, weigh: several && ((weight) => put(withWeight(image.key, weight))), remove: () => put(null) });
  });
  query.likes.forEach((like, i) => {
    const put = (change) => app.navigate({ like: query.likes.map((each, j) => (i === j ? change : withWeight(each.id, each.weight))) });
    const url = `${app.api.of(app.collection(), "images", like.id, "thumbnail")}?size=128`;
    const name = like.weight < 0 ? "less like this" : "like this";
    add({ name, url, weight: like.weight, weigh: several && ((weight) => put(withWeight(like.id, weight))), remove: () => put(null) });
  });
  return chips;
}

function chip(app, { name, url, weight, weigh, remove }) {
  const image = url && el("img", { alt: "" });
  if (url) app.api.show(image, url).catch(() => image.remove());
  const slider = weigh && el("input", {
    type: "range", min: -1, max: 2, step: 0.1, value: weight, "aria-label": `Weight of ${name}`, title: `Weight ${weight}`,
    onchange: (event) => weigh(Number(event.target.value)),
  });
  const gone = remove && el("button", { type: "button", class: "off", "aria-label": "Remove the image from the search", onclick: remove }, icon("close"));
  return el("span", { class: "chip part" }, image, el("span", { class: "name" }, name), slider, gone);
}
