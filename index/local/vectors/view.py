"""The vectors of one modality at one moment: a few segments, and which of their rows still count. Immutable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from base.errors import EntryNotFound
from index.local.vectors.ann import FlatRows
from index.local.vectors.ranked import Ids, Ranked
from index.local.vectors.segment import RowMask, Segment
from index.rows import Rows, Rows16

GATHER = 65_536  # rows copied at a time


@dataclass(frozen=True, slots=True)
class LivePart:
    """A segment and which of its rows still count; None: all."""

    segment: Segment
    alive: RowMask | None = None

    @property
    def count(self) -> int:
        """How many rows count."""
        return len(self.segment) if self.alive is None else self.alive.count

    def without(self, ids: Ids) -> LivePart:
        """The same, but for rows with these ids."""
        here, positions = self.segment.locate(ids)
        if not here.any():
            return self
        mask = np.ones(len(self.segment), bool) if self.alive is None else self.alive.mask.copy()
        mask[positions] = False
        return LivePart(self.segment, RowMask(mask))

    def among(self, ids: Ids | None) -> RowMask | None:
        """The rows that count and, if `ids` (ascending) are given, are among them."""
        if ids is None:
            return self.alive
        mask = self.segment.mask_of(ids)
        return RowMask(mask if self.alive is None else mask & self.alive.mask, filtered=True)


class View:
    """The vectors of one modality at one moment. The first part is the snapshot's, or all that was read at first."""

    def __init__(self, dim: int, parts: tuple[LivePart, ...] = ()) -> None:
        self.dim = dim
        self.parts = parts
        self.count = sum(part.count for part in parts)

    def search(self, xq: Rows, k: int, ids: Ids | None = None) -> Ranked:
        """For each query (nq, dim) its `k` best, of all or of `ids` (ascending) only."""
        parts = [(part.segment, part.among(ids)) for part in self.parts]
        found = [segment.search(xq, k, mask) for segment, mask in parts if mask is None or mask.count]
        return Ranked.merged(len(xq), found, k)

    def vectors(self, ids: Ids) -> Rows:
        """The rows (n, dim) under `ids`, in their order. EntryNotFound if one is not there."""
        x = np.empty((len(ids), self.dim), np.float32)
        missing = np.ones(len(ids), bool)
        for part in self.parts:
            here, positions = part.segment.locate(ids)
            if part.alive is not None:
                counts = part.alive.mask[positions]
                here[np.flatnonzero(here)[~counts]] = False
                positions = positions[counts]
            x[here] = part.segment.rows.x16[positions]
            missing &= ~here
        if missing.any():
            raise EntryNotFound(f"no entry with id {ids[missing][0]}")
        return x

    def sample(self, m: int) -> tuple[Ids, Rows]:
        """Up to `m` rows, evenly spread over the ids: ids and vectors (m, dim)."""
        ids = self.ids()
        some = ids[np.linspace(0, len(ids) - 1, min(m, len(ids))).astype(int)] if len(ids) else ids
        return some, self.vectors(some)

    def ids(self) -> Ids:
        """All ids, ascending."""
        alive = [p.segment.ids if p.alive is None else p.segment.ids[p.alive.mask] for p in self.parts]
        return np.sort(np.concatenate(alive)) if alive else np.empty(0, np.int64)

    def blocks(self) -> Iterator[tuple[Ids, Rows16]]:
        """All rows that count, by ascending id: ids (m,) and rows (m, dim), a block at a time."""
        alive = [np.arange(len(p.segment)) if p.alive is None else p.alive.positions for p in self.parts]
        ids = np.concatenate([p.segment.ids[a] for p, a in zip(self.parts, alive, strict=True)])
        part_of = np.repeat(np.arange(len(alive)), [len(a) for a in alive])
        positions = np.concatenate(alive)
        order = np.argsort(ids, kind="stable")
        for start in range(0, len(order), GATHER):
            some = order[start : start + GATHER]
            x16 = np.empty((len(some), self.dim), np.float16)
            for i, part in enumerate(self.parts):
                mine = part_of[some] == i
                x16[mine] = part.segment.rows.x16[positions[some[mine]]]
            yield ids[some], x16

    def changed(self, gone: Ids, written: Sequence[tuple[Ids, Rows16]]) -> View:
        """A view without the rows of ids `gone`, with blocks `written` of ids (m,) and rows (m, dim) for older ones."""
        ids = np.concatenate([ids for ids, _ in written]) if written else np.empty(0, np.int64)
        replaced = np.concatenate([gone, ids])
        parts = [part.without(replaced) for part in self.parts] if len(replaced) else list(self.parts)
        if len(ids):
            parts.append(LivePart(_segment(ids, [x16 for _, x16 in written], self.dim)))
            while len(parts) > 2 and parts[-2].count < 2 * parts[-1].count:
                last, before = parts.pop(), parts.pop()
                blocks = list(View(self.dim, (before, last)).blocks())
                merged = np.concatenate([ids for ids, _ in blocks])
                parts.append(LivePart(_segment(merged, [x16 for _, x16 in blocks], self.dim)))
        return View(self.dim, (*parts[:1], *(part for part in parts[1:] if part.count)))


def _segment(ids: Ids, blocks: Sequence[Rows16], dim: int) -> Segment:
    if (np.diff(ids) > 0).all():  # as a whole collection comes: nothing need be held twice
        return Segment(ids, FlatRows.of(blocks, dim))
    order = np.argsort(ids)
    return Segment(ids[order], FlatRows.of([np.concatenate(blocks)[order]], dim))
