// What the address asks of the lineup, and labels as they are written. Knows no document.

export const MOST = 8; // pictures at a time
export const TEMPLATES = { "": "a photo of a …, a picture of a …, …", plain: "the word alone", many: "nine sentences", own: "sentences of my own" };

export function readAsked(address) {
  const temperature = Number(address.get("t"));
  return {
    pictures: address.getAll("p").filter((p) => /^i?\d+$/.test(p)).slice(0, MOST),
    at: Math.max(0, Number(address.get("at")) || 0),
    labels: address.getAll("l"),
    set: address.get("set"),
    templates: address.getAll("tpl"),
    mode: address.get("mode") === "multi" ? "multi" : address.get("mode") === "single" ? "single" : null,
    none: address.get("none") === "1",
    temperature: temperature > 0 ? temperature : null,
    right: address.get("right"),
  };
}

// The picture that is looked at.
export const lookedAt = ({ pictures, at }) => pictures[Math.min(at, pictures.length - 1)];

// One a line, or with commas between; one with a comma in it stands in quotes.
export function labelsOf(text) {
  const found = text.match(/"[^"\n]*"|[^,\n]+/g) ?? [];
  return [...new Set(found.map((each) => each.trim().replace(/^"(.*)"$/, "$1").trim()).filter(Boolean))];
}

export const asText = (labels) => labels.map((label) => (label.includes(",") ? `"${label}"` : label)).join("\n");

// A label of a set, as one writes it.
export const nameOfLabel = (label) => (typeof label === "string" ? label : [label.name, ...label.synonyms].join("|"));
