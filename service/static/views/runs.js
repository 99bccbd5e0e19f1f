// Training runs of the folder that the operator names: a list; one with its curves, which grow while it trains; two beside
// each other. The address has `run`, and `with` for the one that it is compared to.

import { el } from "../parts/dom.js";
import { list } from "../runs/list.js";
import { one } from "../runs/one.js";
import { two } from "../runs/two.js";

export const title = "Runs";

const LOOK = 2000; // ms from one look at a run that trains to the next
const LATER = 1_200_000; // the same of one that does not: the address of its report is good for an hour

export function mount(root, app) {
  let running = null; // AbortController of what is shown
  let timer = null;
  let shown = null; // the run, and what it is compared to; "": the list

  // Shows something that is asked for again and again, while somebody can see it: `look` gives whether it may change soon.
  function follow(look) {
    running?.abort();
    clearTimeout(timer);
    timer = null;
    running = new AbortController();
    const { signal } = running;
    const again = async () => {
      try {
        const ms = (timer && document.hidden) || (await look(signal)) ? LOOK : LATER; // what opens unseen is drawn all the same
        if (!signal.aborted) timer = setTimeout(again, ms);
      } catch (error) {
        if (signal.aborted) return;
        if (error.status === 404) explain("There is no such run", "Its folder may have been moved or deleted.", el("a", { class: "button", href: app.href({ run: null, with: null }) }, "All runs"));
        else app.failed(error, again);
      }
    };
    again();
  }

  function explain(heading, ...more) {
    const said = el("div", { class: "empty" }, el("h1", {}, heading), ...more.map((one) => (typeof one === "string" ? el("p", {}, one) : one)));
    if (!root.firstChild?.isEqualNode(said)) root.replaceChildren(said); // else it is said already
  }

  const back = () => el("a", { class: "back", href: app.href({ run: null, with: null }) }, "‹ All runs");
  const frame = { root, app, follow, explain, back };

  return {
    show(address) {
      const [run, other] = [address.get("run"), address.get("with")];
      const next = `${run ?? ""}/${other ?? ""}`;
      if (next === shown) return; // it follows by itself what becomes of it
      shown = next;
      if (run && other && other !== run) two(frame, [run, other]);
      else if (run) one(frame, run);
      else list(frame);
    },
    hide() {
      shown = null;
      running?.abort();
      clearTimeout(timer);
    },
  };
}
