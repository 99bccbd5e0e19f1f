// The pictures that are called otherwise after what was said last.
//
// onLook(flip): one of them is to be looked at.

import { count, el } from "../parts/dom.js";
import { small } from "./picture.js";
import { called } from "./words.js";

const SHOWN = 12;

export class Flips {
  constructor(api, { onLook }) {
    Object.assign(this, { api, onLook });
    this.root = el("section", { class: "flips", "aria-live": "polite", hidden: true });
  }

  show({ flipped, flips }) {
    this.root.hidden = !flipped;
    const line = (flip) => el("li", {}, el("button", { type: "button", title: flip.path, onclick: () => this.onLook(flip) },
      flip.thumbnail_url ? small(this.api, flip) : "", el("span", {}, el("s", { dir: "auto" }, called(flip.before)), " ", el("b", { dir: "auto" }, called(flip.after)))));
    this.root.replaceChildren(el("h2", {}, `${count(flipped, "picture")} changed by that`),
      el("ul", {}, flips.slice(0, SHOWN).map(line)),
      flipped > SHOWN ? el("p", { class: "hint" }, `and ${(flipped - SHOWN).toLocaleString("en")} more`) : "");
  }
}
