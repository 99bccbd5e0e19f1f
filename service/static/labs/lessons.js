// What the labs say: of each loss its formula, what it does in a few sentences, and where it was first written down.

import { el } from "../parts/dom.js";

const MATH = "http://www.w3.org/1998/Math/MathML";

function m(tag, ...children) {
  const element = document.createElementNS(MATH, tag);
  element.append(...children);
  return element;
}

const i = (name) => m("mi", name);
const o = (sign) => m("mo", sign);
const n = (number) => m("mn", String(number));
const row = (...parts) => m("mrow", ...parts);
const sup = (base, above) => m("msup", base, above);
const over = (above, below) => m("mfrac", above, below);
const sum = () => m("munder", o("∑"), o("−"));
const plus = (name) => sup(i(name), o("+"));
const minus = (name) => sup(i(name), o("−"));
const exp = (cosine) => sup(i("e"), row(cosine, o("/"), i("τ")));
const max0 = (...inside) => row(i("max"), o("("), n(0), o(","), ...inside, o(")"));

export function formula(spoken, ...parts) {
  const math = m("math", row(...parts));
  math.setAttribute("display", "block");
  return el("div", { class: "formula", role: "math", "aria-label": spoken, tabindex: 0 }, math);
}

export const source = (text, href) => el("p", { class: "source" }, el("a", { href, target: "_blank", rel: "noopener noreferrer" }, text));

const arxiv = (id) => `https://arxiv.org/abs/${id}`;

export const LOSSES = {
  "info-nce": {
    name: "InfoNCE",
    formula: () => formula("L is minus the logarithm of e to the c plus over tau, divided by itself plus the sum over negatives of e to the c minus over tau",
      i("L"), o("="), o("−"), i("log"), over(exp(plus("c")), row(exp(plus("c")), o("+"), sum(), exp(minus("c"))))),
    says: [
      "The anchor chooses among all the others, and the loss is −log of the chance that it gives the right one.",
      "Each negative is pushed by its share of the choice: the near ones hard, the far ones hardly at all.",
      "The temperature τ says how sharp the choice is. Low, only the nearest negative is felt; high, all are, alike.",
    ],
    sources: [["van den Oord et al. 2018, Representation learning with contrastive predictive coding", arxiv("1807.03748")], ["Wang & Liu 2021, on the temperature", arxiv("2012.09740")]],
  },
  triplet: {
    name: "Triplet",
    formula: () => formula("L is the greater of zero and d plus minus d minus plus m", i("L"), o("="), max0(plus("d"), o("−"), minus("d"), o("+"), i("m"))),
    says: [
      "The positive is to be nearer than a negative, by a margin m. Where it is, there is no force at all.",
      "One negative is looked at. Batch-hard takes the nearest; semi-hard the nearest that is farther than the positive.",
      "A force has the same strength however far apart the two are: it stops, it does not fade.",
    ],
    sources: [["Schroff et al. 2015, FaceNet", arxiv("1503.03832")], ["Hermans et al. 2017, In defense of the triplet loss", arxiv("1703.07737")]],
  },
  contrastive: {
    name: "Pairwise margin",
    short: "Pairwise",
    formula: () => formula("L is one half of d plus squared, plus the sum over negatives of one half of the square of the greater of zero and m minus d minus",
      i("L"), o("="), over(n(1), n(2)), sup(m("mrow", o("("), plus("d"), o(")")), n(2)), o("+"), sum(), over(n(1), n(2)), sup(max0(i("m"), o("−"), minus("d")), n(2))),
    says: [
      "Each pair on its own. The positive is drawn in wherever it is, the harder the farther.",
      "A negative is pushed only while it is nearer than the margin m, and the harder the nearer.",
      "With m = 0 no negative is ever pushed. The lab below shows what comes of that.",
    ],
    sources: [["Hadsell, Chopra & LeCun 2006, Dimensionality reduction by learning an invariant mapping", "https://ieeexplore.ieee.org/document/1640964"]],
  },
  siglip: {
    name: "Sigmoid",
    formula: () => formula("L is minus log sigma of c plus over tau plus b, minus the sum over negatives of log sigma of minus c minus over tau minus b",
      i("L"), o("="), o("−"), i("log"), i("σ"), o("("), row(plus("c"), o("/"), i("τ"), o("+"), i("b")), o(")"), o("−"), sum(), i("log"), i("σ"), o("("), row(o("−"), minus("c"), o("/"), i("τ"), o("−"), i("b")), o(")")),
    says: [
      "Each pair is a question of its own, right or wrong, so a negative's force does not depend on the others.",
      "The bias b is what the model thinks of a pair before it looks: in a batch nearly all pairs are wrong.",
    ],
    sources: [["Zhai et al. 2023, Sigmoid loss for language image pre-training", arxiv("2303.15343")]],
  },
};

export const COLLAPSE = {
  says: [
    "Twelve pictures and twelve captions; each picture has three captions that are right for it, and each caption three pictures.",
    "With negatives, what belongs together comes together and all else is held apart.",
    "Without, only pulls are left: each point goes to its friends, they to theirs, until all lie in one place. The loss is then the least it can be, and nothing can be told from anything.",
  ],
  source: ["Wang & Isola 2020, on alignment and uniformity", arxiv("2005.10242")],
};

export const BATCH = {
  formula: () => formula("The mutual information I is at least log n minus L", i("I"), o("≥"), i("log"), i("n"), o("−"), i("L")),
  says: [
    "Who guesses among n captions has a loss of log n. What the loss is below that, picture and caption are proved to share.",
    "However good the vectors are, a batch of n can never prove more than log n. Where the curve lies on that line, the batch is the limit, and a larger one proves more.",
    "Where it falls below, the vectors are. Make pairs less alike, and see how a batch of any size proves less.",
  ],
  source: ["van den Oord et al. 2018, section 2.3", arxiv("1807.03748")],
};
