"""What was found for many queries at once, ranked. Arrays in one piece, so that four hundred queries cost one sort."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from index.rows import Rows

Ids = NDArray[np.int64]
Numbers = NDArray[np.int64]  # of queries, or of rows: their positions


class Ranked:
    """For each of many queries the scores and ids of its best: scores descending, equal ones by id.

    A sequence of (scores, ids), one a query.
    """

    def __init__(self, count: int, query: Numbers, scores: Rows, ids: Ids, k: int) -> None:
        """Rank candidates (m,) in any order: each is one of query number `query`, below `count`. `k` each are kept."""
        order = np.lexsort((ids, -scores, query))
        starts = np.searchsorted(query[order], np.arange(count + 1))
        found = np.diff(starts)
        order = order[np.arange(len(order)) - np.repeat(starts[:-1], found) < k]
        self.query, self.scores, self.ids = query[order], scores[order], ids[order]
        self._ends = [0, *np.minimum(found, k).cumsum().tolist()]

    @classmethod
    def merged(cls, count: int, parts: Sequence[Ranked], k: int) -> Ranked:
        """The best of all parts, each of the same `count` queries."""
        if len(parts) == 1:
            return parts[0]
        if not parts:
            nothing = np.empty(0, np.int64)
            return cls(count, nothing, np.empty(0, np.float32), nothing, k)
        query, scores, ids = (np.concatenate(a) for a in zip(*((p.query, p.scores, p.ids) for p in parts), strict=True))
        return cls(count, query, scores, ids, k)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, number: int) -> tuple[Rows, Ids]:
        start, end = self._ends[number : number + 2]
        return self.scores[start:end], self.ids[start:end]

    def __iter__(self) -> Iterator[tuple[Rows, Ids]]:
        return (self[number] for number in range(len(self)))
