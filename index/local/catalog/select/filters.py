"""Which entries a filter lets through: a SELECT a condition, merged as sorted arrays of ids; the last are kept.

No more than two lists of ids are held at a level of the filter, however many conditions stand there.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from index.entry import Modality
from index.local.catalog.select.conditions import EVERY, Select, select_of
from index.local.catalog.sqlite.database import Connection, interruptible
from index.local.catalog.tables import AMONG, json_ids
from index.search.filters import Condition, Filter, Match
from index.search.patience import Patience

Ids = NDArray[np.int64]

MOST_FOLDERS = 250  # in one SELECT: each is up to three ranges of paths, and SQLite takes 1,000 joined by OR
FEW = 10_000  # ids whose rows may be looked at one by one
KEPT = 32  # answers
KEPT_BYTES = 256 << 20


class FilterCache:
    """The answers to the last filters, each good for as long as no entry changes. For any number of threads."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[bytes, Modality], tuple[int, Ids]] = OrderedDict()
        self._lock = threading.Lock()

    def ids(
        self, db: Connection, revision: int, wanted: Filter, modality: Modality, patience: Patience | None = None
    ) -> Ids:
        """The ids, ascending and read-only, in a transaction of `db` that sees the catalog at `revision`.

        Raises:
            FilterTooSlow, GivenUp: the `patience` is over.
        """
        # not the filter itself: True equals 1 there, and it may be large
        key = hashlib.sha256(repr(wanted).encode("utf-8", "surrogatepass")).digest(), modality
        with self._lock:
            if (kept := self._kept.get(key)) and kept[0] == revision:
                self._kept.move_to_end(key)
                return kept[1]

        ids = _Run(db, modality, patience).passing(wanted)
        ids.flags.writeable = False
        with self._lock:
            self._kept.pop(key, None)
            self._kept[key] = revision, ids
            while len(self._kept) > KEPT or sum(kept.nbytes for _, kept in self._kept.values()) > KEPT_BYTES:
                self._kept.popitem(last=False)
        return ids


class _Run:
    """One filter being looked up."""

    def __init__(self, db: Connection, modality: Modality, patience: Patience | None) -> None:
        self._db = db
        self._modality = modality
        self._patience = patience
        self._every: Ids | None = None

    def passing(self, wanted: Filter) -> Ids:
        """The ids that a filter lets through, ascending."""
        found: Ids | None = None
        for part in _different(wanted.must):
            found = _both(found, self._fulfilling(part))
            if not found.size:
                return found
        if wanted.should:
            found = _both(found, self._any(wanted.should))
        if found is None:
            found = self.every()
        for part in _different(wanted.must_not):
            if not found.size:
                break
            found = np.setdiff1d(found, self._fulfilling(part), assume_unique=True)
        return found

    def every(self) -> Ids:
        """All ids of the modality."""
        if self._every is None:
            self._every = self._ids(EVERY)
        return self._every

    def _any(self, parts: Iterable[Condition | Filter]) -> Ids:
        """The ids that fulfil one of these or more."""
        found = np.empty(0, np.int64)
        for part in _different(parts):
            found = ascending(np.concatenate([found, self._fulfilling(part)]))
            if found.size == self.every().size:
                break
        return found

    def _fulfilling(self, part: Condition | Filter) -> Ids:
        part = _split(part)
        if isinstance(part, Filter):
            return self.passing(part)
        select = select_of(part)
        if isinstance(select, Select):
            return self._ids(select)
        found = self.every()
        for each in select:
            found = np.setdiff1d(found, self._ids(each), assume_unique=True)
        return found

    def _ids(self, select: Select) -> Ids:
        values = select.values if select.both else (self._modality, *select.values)
        # One row leaves SQLite, not one an id: a quarter of the time, and other threads run meanwhile.
        text = self._text(f"SELECT group_concat(id) FROM ({select.sql})", values)
        ids = ascending(np.fromstring(text, np.int64, sep=",") if text else np.empty(0, np.int64))
        if not select.both:
            return ids
        if ids.size > FEW:
            return np.intersect1d(ids, self.every(), assume_unique=True)
        return self._ids(Select(f"SELECT id FROM entries WHERE +modality = ? AND {AMONG}", (json_ids(ids),)))

    def _text(self, sql: str, values: tuple[object, ...]) -> str:
        with watched(self._db, self._patience):
            ((text,),) = self._db.execute(sql, values)
        return text or ""


def watched(db: Connection, patience: Patience | None) -> AbstractContextManager[None]:
    """Around statements that end when the patience does: its reason is raised, at once if it is over already."""
    if patience is None:
        return nullcontext()
    if reason := patience.over():
        raise reason
    return interruptible(db, patience.over)


def _split(part: Condition | Filter) -> Condition | Filter:
    """A match of more folders than one SELECT takes, as several."""
    if not (isinstance(part, Match) and part.key == "file.folder" and len(part.values) > MOST_FOLDERS):
        return part
    starts = range(0, len(part.values), MOST_FOLDERS)
    parts = tuple(replace(part, values=part.values[at : at + MOST_FOLDERS]) for at in starts)
    return Filter(must=parts) if part.negated else Filter(should=parts)


def _different(parts: Iterable[Condition | Filter]) -> Iterable[Condition | Filter]:
    """Each once. By its words, since True equals 1."""
    return {repr(part): part for part in parts}.values()


def _both(found: Ids | None, ids: Ids) -> Ids:
    return ids if found is None else np.intersect1d(found, ids, assume_unique=True)


def ascending(ids: Ids) -> Ids:
    """The ids sorted, each once; np.unique would hash them, which takes ten times as long."""
    if (ids[1:] > ids[:-1]).all():
        return ids
    ids = np.sort(ids)
    first: NDArray[np.bool_] = np.append(True, ids[1:] > ids[:-1])
    return ids[first]
