// What a contrastive loss would do to one picture's neighbours: it pulls those that belong to it, and pushes the
// others, the nearest most. The shares are InfoNCE's own gradient with the model's temperature: of what is pushed each
// has its softmax, of what is pulled the share that is missing to 1. Knows no document.

const MOST = 8; // of each kind that are shown

// near: [{id, score}], nearest first; belongs(id): whether one is a positive. Shares are of 1 within each kind.
export function forcesOf(near, belongs, logitScale) {
  const positives = near.filter(({ id }) => belongs(id)).slice(0, MOST);
  const negatives = near.filter(({ id }) => !belongs(id)).slice(0, MOST);
  if (!positives.length && !negatives.length) return { positives, negatives };
  const top = Math.max(...[...positives, ...negatives].map(({ score }) => score));
  const raised = ({ score }) => Math.exp(logitScale * (score - top));
  const pushed = negatives.map(raised);
  const sum = pushed.reduce((a, b) => a + b, 0);
  return {
    // of a positive among all these negatives 1 - p is how hard it is pulled
    positives: positives.map((each) => ({ ...each, share: sum / (sum + raised(each)) || 0 })),
    negatives: negatives.map((each, i) => ({ ...each, share: sum ? pushed[i] / sum : 0 })),
  };
}
