"""An immutable run of rows with their ids, and how it is searched: exactly, or by candidates that are compared exactly.

However candidates were found, their scores are computed by one routine, so a row scores the same for a query in every
index, filter and page. A segment knows no catalog and no deletion: what may be found is told with each search.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from index.local.snapshot import Tuning
from index.local.vectors.ann import Bits, CoarseIndex, FlatRows, Positions
from index.local.vectors.ranked import Ids, Ranked
from index.rows import Rows

GATHER_SHARE = 1 / 400  # so few of the rows are picked out one by one; FAISS's scan skips to more of them faster
FILTERED_ROWS = 25_000  # a filter that leaves no more is answered by comparing all that it leaves
PICKED = 16  # picking a row out costs as much as scanning so many
BATCH = 100  # from so many queries on, a matrix product beats a scan for each: 64 over 100,000 rows, 150 over 10,000
PRODUCT_ROWS = 1_000_000  # that a filter lets through, at most, for a product instead of codes
PRODUCT_SHARE = 2000  # and at most so many for each query
COMPARED = 2048  # candidates compared at a time
HELD = 1 << 20  # candidates in memory, as far as one query has no more
PROBED = 60  # rows in the lists that are probed, for each hit wanted: the tuning was for ten
TIE = 2e-6  # scores of one row differ by less from one routine to another


class Candidates(NamedTuple):
    """Rows that may be among the best of a query, in any order."""

    query: Positions  # (m,) its number
    row: Positions  # (m,)

    @classmethod
    def of(cls, queries: Positions, rows: Positions) -> Candidates:
        """From rows (nq, width) for queries (nq,); -1 stands for no row."""
        there = rows >= 0
        return cls(np.repeat(queries, there.sum(axis=1)), rows[there])


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

    def search(self, xq: Rows, k: int, mask: RowMask | None = None) -> Ranked:
        """For each query (nq, dim) its `k` best, of all rows or of the mask."""
        if mask is not None and mask.count == len(self):
            mask = None
        ranked = [self._ranked(xq, found, k) for found in self._candidates(xq, k, mask)]
        return Ranked.merged(len(xq), ranked, k)

    def scores(self, xq: Rows, found: Candidates) -> Rows:
        """The scores (m,) of candidates: the only routine whose scores are shown, for one query or for many."""
        scores = np.empty(len(found.row), np.float32)
        if self.coarse is not None:  # so many rows need not all be in memory
            self.rows.prefetch(found.row)
        for start in range(0, len(scores), COMPARED):
            some = slice(start, start + COMPARED)
            np.einsum("ij,ij->i", self.rows.at(found.row[some]), xq[found.query[some]], out=scores[some])
        return scores

    def _ranked(self, xq: Rows, found: Candidates, k: int) -> Ranked:
        return Ranked(len(xq), found.query, self.scores(xq, found), self.ids[found.row], k)

    def _candidates(self, xq: Rows, k: int, mask: RowMask | None) -> Iterator[Candidates]:
        """What holds the `k` best of each query, all of a query's in one piece; the rest is up to `_ranked`."""
        n = len(self) if mask is None else mask.count
        queries = np.arange(len(xq))
        if n <= k:
            everything = np.arange(len(self)) if mask is None else mask.positions
            yield Candidates(np.repeat(queries, n), np.tile(everything, len(xq)))
        elif not self._is_worth_proposing(len(xq), k, mask):
            yield from self._exact(xq, queries, k, mask)
        else:
            assert self.tuning is not None
            step = max(1, HELD // (k * self.tuning.factor))
            for start in range(0, len(xq), step):
                some = queries[start : start + step]
                if mask is not None and mask.filtered:
                    yield from self._settled(xq, some, k, mask)
                else:
                    yield from self._proposed(xq, some, k, mask)

    def _is_worth_proposing(self, queries: int, k: int, mask: RowMask | None) -> bool:
        """Whether codes propose candidates faster than all rows are compared."""
        n = len(self) if mask is None else mask.count
        if self.tuning is None or n <= FILTERED_ROWS or n <= GATHER_SHARE * len(self):
            return False
        if n < PICKED * k * self.tuning.factor:
            return False
        if mask is None or not mask.filtered or queries < BATCH:
            return True
        return n > min(PRODUCT_ROWS, PRODUCT_SHARE * queries)  # else one product is less than to settle each query

    def _exact(self, xq: Rows, queries: Positions, k: int, mask: RowMask | None) -> Iterator[Candidates]:
        """Of all the rows, or of the mask, for those of `xq` that have these numbers.

        FAISS keeps any of several equal scores at the end of a list, so it is asked for more until a tie ends.
        """
        n = len(self) if mask is None else mask.count
        fetch = k + 1
        while len(queries):
            step = max(1, HELD // fetch)
            contested = []
            for some in (queries[start : start + step] for start in range(0, len(queries), step)):
                D, I = self._compared(xq[some], min(fetch, n), mask)
                ended = (D[:, -1] < D[:, k - 1] - TIE) | (fetch >= n)
                yield Candidates.of(some[ended], I[ended])
                contested.append(some[~ended])
            queries, fetch = np.concatenate(contested), 8 * fetch

    def _compared(self, xq: Rows, k: int, mask: RowMask | None) -> tuple[Rows, Positions]:
        n = len(self) if mask is None else mask.count
        if len(xq) >= BATCH or n <= GATHER_SHARE * len(self):
            return self.rows.nearest_of_many(xq, k, None if mask is None else mask.positions)
        return self.rows.nearest(xq, k, None if mask is None else mask.bits)

    def _proposed(self, xq: Rows, queries: Positions, k: int, mask: RowMask | None) -> Iterator[Candidates]:
        """Of all the rows, or of a mask that leaves few out."""
        assert self.coarse is not None
        assert self.tuning is not None
        bits = None if mask is None else mask.bits
        found = self.coarse.nearest(xq[queries], k * self.tuning.factor, self._effort(k), bits)
        enough = found[:, k - 1] >= 0  # what is missing is at the end
        yield Candidates.of(queries[enough], found[enough])
        if not enough.all():
            yield from self._exact(xq, queries[~enough], k, mask)

    def _settled(self, xq: Rows, queries: Positions, k: int, mask: RowMask) -> Iterator[Candidates]:
        """What a filter lets through may lie anywhere, so ever more is looked at until the best no longer change."""
        assert self.coarse is not None
        assert self.tuning is not None
        effort = math.ceil(self._effort(k) / math.sqrt(mask.count / len(self)))  # where it lies evenly, this is enough
        width = k * self.tuning.factor
        before: Ranked | None = None
        while len(queries) and PICKED * width <= mask.count:
            found = Candidates.of(queries, self.coarse.nearest(xq[queries], width, effort, mask.bits))
            ranked = self._ranked(xq, found, k)
            settled = np.zeros(len(xq), bool)
            if before is not None:
                settled[queries] = [
                    len(ranked[i][1]) == k and np.array_equal(ranked[i][1], before[i][1]) for i in queries
                ]
                yield Candidates(*(numbers[settled[found.query]] for numbers in found))
            queries = queries[~settled[queries]]
            before, effort, width = ranked, 2 * effort, 2 * width
        if len(queries):
            yield from self._exact(xq, queries, k, mask)

    def _effort(self, k: int) -> int:
        assert self.tuning is not None
        return max(self.tuning.effort, math.ceil(PROBED * k * self.tuning.lists / len(self)))
