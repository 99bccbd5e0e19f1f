// What is said of labels in a few words.

import { el } from "../parts/dom.js";

const MOST = 6; // labels in a line

export const NONE = " "; // in the address: those without a label

export const scoreText = (value) => value.toFixed(2);

// The first of them, each in its own direction of writing.
export function listed(labels) {
  const shown = labels.slice(0, MOST).flatMap((label, i) => [i ? ", " : "", el("bdi", {}, label)]);
  return labels.length > MOST ? [...shown, ` and ${labels.length - MOST} more`] : shown;
}

export const called = (labels) => labels.join(", ") || "none";
