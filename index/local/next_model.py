"""Another model for a collection: its vectors are gathered beside the present ones, until one step swaps them in."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from index.entry import NextInfo, Record
from index.local.catalog.catalog import Catalog
from index.local.vectors.live import LiveIndex
from index.rows import unit_rows


class NextModel:
    """`Collection.next`: begins, fills, swaps in or forgets another model's vectors.

    Reading is open to all, the rest to who opened the collection for writing.
    """

    def __init__(self, catalog: Catalog, live: LiveIndex, check_writable: Callable[[], None]) -> None:
        self._catalog = catalog
        self._live = live
        self._check_writable = check_writable

    def begin(self, model: str, fingerprint: str, dim: int) -> bool:
        """Begin to gather vectors of another model; True if what was gathered for that one before goes on."""
        self._check_writable()
        return self._catalog.next.begin(model, fingerprint, dim)

    def info(self) -> NextInfo | None:
        """The model whose vectors are being gathered, and how far that is; None if there is none."""
        return self._catalog.next.info()

    def left(self, after_id: int = 0, limit: int = 1000) -> list[Record]:
        """Records that still lack the next model's vector, in the order of ids."""
        return self._catalog.next.left(after_id, limit)

    def write(self, ids: Sequence[int], x: ArrayLike) -> None:
        """Keep the next model's vectors (n, its dim) of these entries, as `left` gave them: one whose vector was set
        since is due again. Durable when it returns.
        """
        self._check_writable()
        self._catalog.next.write(ids, unit_rows(x, np.shape(x)[-1]))

    def swap(self, drop: Sequence[int] = ()) -> None:
        """Put the next model's vectors in place of the present ones, in one step; entries in `drop` are deleted.

        The index is built before, so searches go from the old one to the new one at once.
        EntriesLeft if an entry has no next vector and is not in `drop`.
        """
        self._check_writable()
        self._live.swap_next(self._catalog.settings.index_config(), drop)

    def abandon(self) -> None:
        """Forget the next model's vectors."""
        self._check_writable()
        self._catalog.next.abandon()
