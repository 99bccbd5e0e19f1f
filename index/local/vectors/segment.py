"""An immutable run of rows with their ids, and how it is searched: exactly, or by candidates that are compared exactly.

However candidates were found, their scores are computed by one routine, so a row scores the same for a query in every
index, filter and page. A segment knows no catalog and no deletion: what may be found is told with each search.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from index.local.snapshot import Tuning
from index.local.vectors.ann import BLOCK, Bits, CoarseIndex, FlatRows, Positions
from index.rows import Rows

GATHER_SHARE = 1 / 400  # so few of the rows are picked out one by one; FAISS's scan skips to more of them faster
FILTERED_ROWS = 25_000  # a filter that leaves no more is answered by comparing all that it leaves
PICKED = 16  # picking a row out costs as much as scanning so many
BATCH = 16  # from so many queries on, a matrix product beats FAISS's scan for each
PROBED = 60  # rows in the lists that are probed, for each hit wanted: the tuning was for ten
TIE = 2e-6  # scores of one row differ by less from one routine to another

Ids = NDArray[np.int64]


class RowMask:
    """The rows of a segment that a search may find."""

    def __init__(self, mask: NDArray[np.bool_], *, filtered: bool = False) -> None:
        self.mask = mask  # (n,)
        self.filtered = filtered  # by what is asked, and not only because some are gone
        self.count = int(np.count_nonzero(mask))

    @cached_property
    def positions(self) -> Positions:
        """Where they are, ascending."""
        return np.flatnonzero(self.mask)

    @cached_property
    def bits(self) -> Bits:
        """The mask in bits."""
        return np.packbits(self.mask, bitorder="little")


class Segment:
    """Rows (n, dim) under ascending ids (n,); with a coarse index if they are many."""

    def __init__(
        self, ids: Ids, rows: FlatRows, coarse: CoarseIndex | None = None, tuning: Tuning | None = None
    ) -> None:
        self.ids = ids
        self.rows = rows
        self.coarse = coarse
        self.tuning = tuning

    def __len__(self) -> int:
        return len(self.ids)

    def locate(self, ids: Ids) -> tuple[NDArray[np.bool_], Positions]:
        """Which of `ids` (m,) are here, as a mask (m,), and the positions of those."""
        positions = np.searchsorted(self.ids, ids)
        positions[positions == len(self.ids)] = 0
        here = self.ids[positions] == ids if len(self.ids) else np.zeros(len(ids), bool)
        return here, positions[here]

    def mask_of(self, ids: Ids) -> NDArray[np.bool_]:
        """The rows (n,) whose id is among `ids`, ascending."""
        mask = np.zeros(len(self.ids), bool)
        if not len(ids) or not len(self.ids):
            return mask
        low, high = int(self.ids[0]), int(self.ids[-1])
        span = high - low + 1
        if len(ids) * 50 > len(self.ids) and span < 50 * len(self.ids):
            # A table of all ids is faster than as many binary searches.
            inside = ids[np.searchsorted(ids, low) : np.searchsorted(ids, high, side="right")]
            table = np.zeros(span, bool)
            table[inside - low] = True
            return table[self.ids - low]
        mask[self.locate(ids)[1]] = True
        return mask

    def search(self, xq: Rows, k: int, mask: RowMask | None = None) -> list[tuple[Rows, Ids]]:
        """For each query (nq, dim) its `k` best, of all rows or of the mask: scores descending, equal ones by id."""
        if mask is not None and mask.count == len(self):
            mask = None
        return [self._exact(q, found, k) for q, found in zip(xq, self._candidates(xq, k, mask), strict=True)]

    def scores(self, q: Rows, positions: Positions) -> Rows:
        """The scores (m,) of rows for one query (dim,): the only routine whose scores are shown."""
        scores = np.empty(len(positions), np.float32)
        for start in range(0, len(positions), BLOCK):
            some = slice(start, start + BLOCK)
            np.einsum("ij,j->i", self.rows.x16[positions[some]].astype(np.float32), q, out=scores[some])
        return scores

    def _exact(self, q: Rows, positions: Positions, k: int) -> tuple[Rows, Ids]:
        return best(self.scores(q, positions), self.ids[positions], k)

    def _candidates(self, xq: Rows, k: int, mask: RowMask | None) -> Iterator[Positions]:
        """For each query, positions that hold its `k` best; the rest is up to `_exact`."""
        n = len(self) if mask is None else mask.count
        if n <= k:
            everything = np.arange(len(self)) if mask is None else mask.positions
            yield from (everything for _ in xq)
        elif mask is not None and n <= GATHER_SHARE * len(self):
            yield from scan(xq, k, self.rows, mask.positions)
        elif self.tuning is not None and n > FILTERED_ROWS and PICKED * k * self.tuning.factor <= n:
            yield from self._coarse_candidates(xq, k, mask)
        elif len(xq) >= BATCH:
            yield from scan(xq, k, self.rows, None if mask is None else mask.positions)
        else:
            yield from (self._flat_candidates(q, k, n, mask) for q in xq)

    def _coarse_candidates(self, xq: Rows, k: int, mask: RowMask | None) -> Iterator[Positions]:
        assert self.coarse is not None
        assert self.tuning is not None
        effort = max(self.tuning.effort, math.ceil(PROBED * k * self.tuning.lists / len(self)))
        if mask is not None and mask.filtered:
            yield from (self._settled_candidates(q, k, effort, mask) for q in xq)
            return
        n, bits = (len(self), None) if mask is None else (mask.count, mask.bits)
        for q, found in zip(xq, self.coarse.nearest(xq, k * self.tuning.factor, effort, bits), strict=True):
            found = found[found >= 0]
            yield found if len(found) >= k else self._flat_candidates(q, k, n, mask)

    def _settled_candidates(self, q: Rows, k: int, effort: int, mask: RowMask) -> Positions:
        """What a filter lets through may lie anywhere, so ever more is looked at until the best no longer change."""
        assert self.coarse is not None
        assert self.tuning is not None
        effort = math.ceil(effort / math.sqrt(mask.count / len(self)))  # where it lies evenly, this is enough
        width = k * self.tuning.factor
        before: Ids | None = None
        while PICKED * width <= mask.count:
            (found,) = self.coarse.nearest(q[None], width, effort, mask.bits)
            proposed: Positions = found[found >= 0]
            _, ids = self._exact(q, proposed, k)
            if len(ids) == k and before is not None and np.array_equal(ids, before):
                return proposed
            before, effort, width = ids, 2 * effort, 2 * width
        return self._flat_candidates(q, k, mask.count, mask)

    def _flat_candidates(self, q: Rows, k: int, n: int, mask: RowMask | None) -> Positions:
        """FAISS keeps any of several equal scores at the end of a list, so it is asked for more until a tie ends."""
        fetch = k + 1
        while True:
            D, positions = self.rows.nearest(q, min(fetch, n), None if mask is None else mask.bits)
            if fetch >= n or D[-1] < D[k - 1] - TIE:
                return positions
            fetch *= 8


def best(scores: Rows, ids: Ids, k: int) -> tuple[Rows, Ids]:
    """The `k` highest of scores (m,) with their ids, descending, equal ones by id."""
    order = np.lexsort((ids, -scores))[:k]
    return scores[order], ids[order]


def scan(xq: Rows, k: int, rows: FlatRows, among: Positions | None = None) -> Iterator[Positions]:
    """For each query (nq, dim) the positions of its `k` best rows and of all that tie with the last of them.

    One matrix product a block of rows, for any number of queries. `among` (m,): only these positions.
    """
    n = len(rows.x16) if among is None else len(among)
    keep = min(k + 1, n)  # one more shows whether the last place is contested
    D = np.full((len(xq), keep), -np.inf, np.float32)
    P = np.zeros((len(xq), keep), np.int64)
    for start, x in _blocks(rows, among):
        scores = xq @ x.T
        most = min(keep, len(x))
        part = np.argpartition(scores, len(x) - most, axis=1)[:, len(x) - most :]
        D = np.hstack([D, np.take_along_axis(scores, part, axis=1)])
        P = np.hstack([P, part + start])
        top = np.argpartition(D, D.shape[1] - keep, axis=1)[:, D.shape[1] - keep :]
        D, P = np.take_along_axis(D, top, axis=1), np.take_along_axis(P, top, axis=1)
    for q, scores, positions in zip(xq, D, P, strict=True):
        if keep > k:
            last, next_one = np.partition(scores, 1)[1], scores.min()  # of k + 1: the k-th best and the one after it
            if next_one >= last - TIE:
                everything = np.concatenate([x @ q for _, x in _blocks(rows, among)])
                positions = np.flatnonzero(everything >= last - TIE)
        yield positions if among is None else among[positions]


def _blocks(rows: FlatRows, among: Positions | None) -> Iterator[tuple[int, Rows]]:
    n = len(rows.x16) if among is None else len(among)
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        if among is None:
            yield start, rows.float32(start, stop)
        else:
            yield start, rows.x16[among[start:stop]].astype(np.float32)
