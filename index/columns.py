"""The pictures of a collection as columns: an id, a shape and a day each, the newest first, for who shows all of them;
and all their vectors, block by block.

Plain arrays, about 15 bytes a picture; no storage, no wire format, and nothing of texts, which have neither shape nor
day.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]

STEPS = 32  # codes for each doubling of width by height, so that a shape is told to 1.1 %
SQUARE = 128  # the code of a square
EPOCH = date(1899, 12, 31)  # day 1 is the day after it; 65,535 is in 2079
DAY = 86_400  # seconds
UNKNOWN = -(2**62)  # in the place of seconds
_SINCE = (date(1970, 1, 1) - EPOCH).days


@dataclass(frozen=True)
class AllVectors:
    """The vectors of all pictures, as of one moment.

    Attributes:
        blocks: each call gives ids (m,) and unit rows (m, dim) float16, a block at a time, in ascending order of ids.
        count: how many there are.
        fingerprint: of the model that made them.
        version: of the commit that they are of.
    """

    blocks: Callable[[], Iterator[tuple[Ids, NDArray[np.float16]]]]
    count: int
    fingerprint: str
    version: int


@dataclass(frozen=True, eq=False)
class Columns:
    """Pictures in the order of their time, the newest first; equally new ones with the higher id first.

    Attributes:
        state: of the collection as it was read: another commit, or another collection of that name, has another.
        ids: (n,) int64.
        aspects: (n,) uint8, width by height: `SQUARE` + `STEPS` * log2(width / height); 0: not known.
        days: (n,) uint16, days after `EPOCH`; 0: not known.
    """

    state: str
    ids: Ids
    aspects: NDArray[np.uint8]
    days: NDArray[np.uint16]

    @classmethod
    def of(cls, state: str, ids: Ids, widths: Ids, heights: Ids, seconds: Ids) -> Columns:
        """Of rows in any order: sizes in pixels, 0 if not known, and seconds since 1970, `UNKNOWN` if not known.

        What has no time stands behind what has one.
        """
        order = np.lexsort((ids, seconds))[::-1]
        return cls(state, ids[order], _aspects(widths[order], heights[order]), _days(seconds[order]))

    def mask(self, ids: Ids) -> NDArray[np.bool_]:
        """(n,): which of the pictures have one of these ids."""
        sorted_ids, order = self._by_id
        mask = np.zeros(len(self.ids), bool)
        if len(sorted_ids):
            at = np.minimum(np.searchsorted(sorted_ids, ids), len(sorted_ids) - 1)
            mask[order[at[sorted_ids[at] == ids]]] = True
        return mask

    @cached_property
    def _by_id(self) -> tuple[Ids, NDArray[np.intp]]:
        order = np.argsort(self.ids, kind="stable")
        return self.ids[order], order


def _aspects(widths: Ids, heights: Ids) -> NDArray[np.uint8]:
    known = (widths > 0) & (heights > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        codes = SQUARE + STEPS * np.log2(widths / heights)
    return np.where(known, np.clip(np.rint(codes), 1, 255), 0).astype(np.uint8)


def _days(seconds: Ids) -> NDArray[np.uint16]:
    days = np.where(seconds == UNKNOWN, 0, np.maximum(seconds // DAY + _SINCE, 1))
    return np.minimum(days, 65_535).astype(np.uint16)
