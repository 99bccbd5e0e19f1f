"""What becomes of ranked candidates: near-duplicates dropped, groups kept short, variety put in. Arrays only.

Nothing here knows a collection. All functions take candidates best first and give positions in them.
`collapse` and `group` go from the best down, so what they keep of a longer list begins with what they keep of a
shorter one: pages of a search cannot overlap or leave gaps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.intp]

BLOCK = 256  # rows compared at a time
ROUNDING = 1e-5  # a copy's cosine to its original is 1 but for this


def collapse(x: NDArray[np.float32], threshold: float) -> Positions:
    """Which candidates are no near-duplicate of a better one that is kept.

    Args:
        x: (n, dim) unit rows, the best candidate first.
        threshold: from this cosine on two candidates count as the same; 1 drops only copies.

    Returns:
        Ascending positions of those kept.
    """
    threshold -= ROUNDING
    kept = np.empty(0, np.intp)
    for start in range(0, len(x), BLOCK):
        block = x[start : start + BLOCK]
        alive = (block @ x[kept].T).max(axis=1, initial=-1) < threshold
        near = np.triu(block @ block.T >= threshold, k=1)
        for row in np.flatnonzero(near.any(axis=1)):
            if alive[row]:
                alive &= ~near[row]
        kept = np.concatenate([kept, start + np.flatnonzero(alive)])
    return kept


def group(keys: Sequence[Hashable], size: int) -> Positions:
    """Which candidates are among the best `size` of their key. None is no key: such a candidate is always kept.

    Returns:
        Ascending positions of those kept.
    """
    seen: Counter[Hashable] = Counter()
    kept = []
    for position, key in enumerate(keys):
        seen[key] += key is not None
        if seen[key] <= size:
            kept.append(position)
    return np.array(kept, np.intp)


def mmr(scores: NDArray[np.float32], x: NDArray[np.float32], diversity: float, k: int) -> Positions:
    """Order by maximal marginal relevance: next comes who is near the query and unlike those before it.

    Carbonell & Goldstein 1998, "The use of MMR, diversity-based reranking for reordering documents".

    Args:
        scores: (n,) cosines to the query, descending.
        x: (n, dim) unit rows of the candidates. Takes memory of n * n.
        diversity: 0 to 1, one minus the paper's lambda; 0 leaves the order as it is.
        k: how many to order.

    Returns:
        min(k, n) positions in their new order. The first is always the best; equals stand as they stood.
    """
    near = x @ x.T
    nearest_chosen = np.zeros(len(x), np.float32)
    left = (1 - diversity) * scores
    order = np.empty(min(k, len(x)), np.intp)
    for step in range(len(order)):
        best = int(np.argmax(left - diversity * nearest_chosen)) if step else 0
        order[step] = best
        left[best] = -np.inf
        nearest_chosen = np.maximum(nearest_chosen, near[best]) if step else near[best].copy()
    return order
