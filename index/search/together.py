"""Several collections of one model searched as if they were one: a Searchable over theirs.

So all that a search may be asked holds across them: groups, near-duplicates, variety and pages are of one list, and
what a score means is told by a background of all of them together. An id here is that of an entry and the number of its
collection in one; a hit's record is a `PlacedRecord`, with the entry's own id and its collection's name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

from base.errors import InputError, ModelMismatch
from index.entry import Modality, Record
from index.search.calibration import Calibration, Sampled
from index.search.filters import Filter
from index.search.patience import Patience
from index.search.searchable import Member, ReadableMember, Selection, Vector

MOST = 64  # collections
BITS = 6  # of an id, that say which
HIGHEST = 2**57  # of an entry's own id

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PlacedRecord(Record):
    """A record, and the name of the collection that it is of."""

    collection: str = ""


class Together:
    """Collections by their names, to be searched together. InputError for none, or too many."""

    def __init__(self, collections: Mapping[str, ReadableMember]) -> None:
        if not 1 <= len(collections) <= MOST:
            raise InputError(f"collections: 1 to {MOST} can be searched together, not {len(collections)}")
        self._collections = dict(collections)

    def read_view(self) -> TogetherView:
        """All of them as they are now; each sees every commit acknowledged before this call.

        Raises:
            ModelMismatch: they are not of one model, so that their scores cannot be compared.
        """
        views = {name: collection.read_view() for name, collection in self._collections.items()}
        by_model: dict[str, str] = {}
        for name, view in views.items():
            by_model.setdefault(view.fingerprint, name)
        if len(by_model) > 1:
            one, other, *_ = by_model.values()
            raise ModelMismatch(
                f"collections {one!r} and {other!r} are of different models, whose scores cannot be compared: search "
                f"them one by one, or give one of them the other's model (glimpse reindex --collection {other} --model "
                "MODEL; a service: POST /v1/jobs with kind reindex)"
            )
        return TogetherView(views)


class TogetherView:
    """Views of collections of one model, as one."""

    def __init__(self, views: Mapping[str, Member]) -> None:
        self._names = list(views)
        self._views = list(views.values())
        self.dim = self._views[0].dim

    def nearest(
        self, xq: Vector, k: int, modality: Modality, among: Selection | None = None
    ) -> Iterator[tuple[Vector, Ids]]:
        """As a Searchable's: the `k` best of all of them."""
        found = [
            view.nearest(xq, k, modality, None if among is None else among[number])
            for number, view in enumerate(self._views)
        ]
        for lists in zip(*found, strict=True):
            scores = np.concatenate([scores for scores, _ in lists])
            ids = np.concatenate([_joined(own, number) for number, (_, own) in enumerate(lists)])
            order = np.lexsort((ids, -scores))[:k]
            yield scores[order], ids[order]

    def select(self, filter: Filter, modality: Modality, patience: Patience | None = None) -> Selection:  # noqa: A002
        """What passes a filter in each."""
        return [view.select(filter, modality, patience) for view in self._views]

    def vectors(self, ids: ArrayLike, modality: Modality) -> Vector:
        """Unit rows (n, dim). EntryNotFound if one is gone."""
        wanted = np.asarray(ids, np.int64)
        x = np.empty((len(wanted), self.dim), np.float32)
        for number, here, own in self._parted(wanted):
            x[here] = self._views[number].vectors(own, modality)
        return x

    def records_of(self, ids: Iterable[int]) -> dict[int, Record]:
        """The records of those that are there."""
        found: dict[int, Record] = {}
        for number, _, own in self._parted(np.fromiter(ids, np.int64)):
            for key, record in self._views[number].records_of(own.tolist()).items():
                own_fields = {name: getattr(record, name) for name in _FIELDS}
                placed = PlacedRecord(**own_fields, collection=self._names[number])
                found[key << BITS | number] = placed
        return found

    def calibration(self, modality: Modality) -> Calibration | None:
        """What scores mean in all of them as one; None while there are too few entries to tell."""
        return Sampled.together([view.sampled(modality) for view in self._views]).calibration()

    def check_model(self, fingerprint: str) -> None:
        """ModelMismatch, naming the collection, unless all are of that model."""
        for view in self._views:
            view.check_model(fingerprint)

    def _parted(self, ids: Ids) -> Iterator[tuple[int, NDArray[np.bool_], Ids]]:
        """For each collection that some of the ids are of: its number, which of them, and their own ids."""
        numbers = ids & (1 << BITS) - 1
        for number in np.unique(numbers).tolist():
            here = numbers == number
            yield number, here, ids[here] >> BITS


_FIELDS = [field.name for field in fields(Record)]


def _joined(own: Ids, number: int) -> Ids:
    if own.size and int(own.max()) >= HIGHEST:
        raise InputError(f"id {own.max()} is too large for a search of several collections: search that one alone")
    return own << BITS | number
