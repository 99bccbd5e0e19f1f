"""A collection as one search sees it: one state of its vectors from the first look to the last.

Commits, compactions and even a change of model may happen meanwhile; they show in the next view. Records are read
when they are asked for, so one may be missing that was deleted since.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from index.entry import Modality, Record
from index.local.catalog.catalog import Catalog
from index.local.vectors.ann import Products
from index.local.vectors.live import State
from index.local.vectors.ranked import Ranked
from index.rows import as_ids, unit_rows
from index.search.calibration import FEWEST, SAMPLE, Calibration, Sampled
from index.search.filters import Filter
from index.search.patience import Patience
from index.search.searches import check_model

DRIFT = 0.05  # a share of the rows: so much growth changes little of what scores mean

Samples = dict[Modality, tuple[str, int, NDArray[np.float32], Products]]  # rows drawn, of which model and of how many


class ReadView:
    """The vectors of a collection, as they are now and stay."""

    def __init__(self, name: str, state: State, catalog: Catalog, samples: Samples) -> None:
        self.dim = state.dim
        self.fingerprint = state.fingerprint
        self._name = name
        self._state = state
        self._catalog = catalog
        self._samples = samples  # shared by the views of a collection

    def check_model(self, fingerprint: str) -> None:
        """ModelMismatch unless these vectors are of the model with that fingerprint."""
        check_model(self._name, str(self._catalog.meta["model"]), self.fingerprint, fingerprint)

    def nearest(self, xq: ArrayLike, k: int, modality: Modality, among: NDArray[np.int64] | None = None) -> Ranked:
        """For each row of `xq` (nq, dim) scores and ids (m,) of the `k` nearest, of all or of `among` (ascending).

        Many at once take a fraction of the time of one at a time. A row has the same score in any call. An approximate
        index may answer many by comparing all, and then finds what it missed for one.
        """
        return self._state.views[modality].search(unit_rows(xq, self.dim), k, among)

    @property
    def version(self) -> int:
        """The commit that these vectors are of."""
        return self._state.version

    def count(self, modality: Modality) -> int:
        """How many vectors there are."""
        return self._state.views[modality].count

    def blocks(self, modality: Modality) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float16]]]:
        """All of them by ascending id: ids (m,) and unit rows (m, dim), a block at a time."""
        return self._state.views[modality].blocks()

    def vectors(self, ids: ArrayLike, modality: Modality) -> NDArray[np.float32]:
        """Unit rows (n, dim) in the order of `ids`. EntryNotFound."""
        return unit_rows(self._state.views[modality].vectors(as_ids(ids)), self.dim)

    def only(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """A selection of these ids (n,), ascending, for `nearest`."""
        return ids

    def sample(self, modality: Modality, m: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Up to `m` ids, evenly spread over all of them, and their unit rows (m, dim)."""
        ids, x = self._state.views[modality].sample(m)
        return ids, unit_rows(x, self.dim)

    def select(self, filter: Filter, modality: Modality, patience: Patience | None = None) -> NDArray[np.int64]:  # noqa: A002
        """The ids (n,), ascending, that pass a filter. FilterTooSlow, GivenUp."""
        return self._catalog.select.ids(filter, modality, patience)

    def records_of(self, ids: Iterable[int]) -> dict[int, Record]:
        """The records of those `ids` that are there."""
        return self._catalog.records.get(ids)

    def calibration(self, modality: Modality) -> Calibration | None:
        """What scores mean here (index.search.calibration); None while there are too few entries to tell."""
        return self.sampled(modality).calibration()

    def sampled(self, modality: Modality) -> Sampled:
        """What that is told by."""
        rows = self._state.views[modality].count
        drawn = self._samples.get(modality)
        if drawn is None or drawn[0] != self.fingerprint or abs(rows - drawn[1]) > DRIFT * drawn[1]:
            _, sample = self.sample(modality, SAMPLE)
            self._samples[modality] = drawn = self.fingerprint, rows, sample, Products(sample)
        _, _, sample, product = drawn
        known = Sampled(rows, sample, product)
        if modality != "image" or len(sample) < FEWEST:
            return known
        rejection = self._catalog.settings.rejection()
        if rejection is None or rejection.fingerprint != self.fingerprint:
            return known
        return replace(known, threshold=rejection.threshold, doubt=rejection.doubt)
