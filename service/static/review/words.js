// What is said of labels in a few words.

export const NONE = " "; // in the address: those without a label

export const scoreText = (value) => value.toFixed(2);

export const called = (labels) => labels.join(", ") || "none";
