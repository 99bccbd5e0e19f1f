// What a hit's numbers mean, in words. A cosine tells a person nothing; relevance is the service's own estimate.

export const FITS = 0.5; // from this relevance on the service's automatic cut-off keeps a hit

export function fitOf({ relevance }) {
  if (relevance === null || relevance === undefined) return null;
  if (relevance >= 0.8) return "fits well";
  if (relevance >= FITS) return "fits";
  return relevance >= 0.2 ? "perhaps" : "probably not";
}

export function noteOf(hit) {
  if (hit.score === undefined) return null;
  const fit = fitOf(hit);
  return `${fit ? `${fit[0].toUpperCase()}${fit.slice(1)} · ` : ""}cosine ${hit.score.toFixed(3)}`;
}
