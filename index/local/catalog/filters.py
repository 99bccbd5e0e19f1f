"""Which entries a filter lets through: a SELECT a condition, combined as sorted arrays of ids; the last are kept."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from index.entry import Modality
from index.local.catalog.conditions import EVERY, Select, select_of
from index.local.catalog.database import Connection
from index.local.catalog.tables import AMONG, json_ids
from index.search.filters import Condition, Filter

Ids = NDArray[np.int64]
Run = Callable[[Select], Ids]  # the ids of a SELECT, ascending

FEW = 10_000  # ids whose rows may be looked at one by one
KEPT = 32  # answers
KEPT_BYTES = 256 << 20


class FilterCache:
    """The answers to the last filters, each good for as long as no entry changes. For any number of threads."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, Modality], tuple[int, Ids]] = OrderedDict()
        self._lock = threading.Lock()

    def ids(self, db: Connection, revision: int, wanted: Filter, modality: Modality) -> Ids:
        """The ids, ascending and read-only, in a transaction of `db` that sees the catalog at `revision`."""
        key = repr(wanted), modality  # not the filter itself: True equals 1 there
        with self._lock:
            if (kept := self._kept.get(key)) and kept[0] == revision:
                self._kept.move_to_end(key)
                return kept[1]

        ids = _passing(wanted, lambda select: _ids(db, select, modality))
        ids.flags.writeable = False
        with self._lock:
            self._kept.pop(key, None)
            self._kept[key] = revision, ids
            while len(self._kept) > KEPT or sum(kept.nbytes for _, kept in self._kept.values()) > KEPT_BYTES:
                self._kept.popitem(last=False)
        return ids


def _passing(wanted: Filter, run: Run) -> Ids:
    """The ids that a filter lets through, ascending."""
    found: Ids | None = None
    for part in wanted.must:
        found = _both(found, _fulfilling(part, run))
        if not found.size:
            return found
    if wanted.should:
        found = _both(found, _ascending(np.concatenate([_fulfilling(part, run) for part in wanted.should])))
    if found is None:
        found = run(EVERY)
    for part in wanted.must_not:
        if not found.size:
            break
        found = np.setdiff1d(found, _fulfilling(part, run), assume_unique=True)
    return found


def _fulfilling(part: Condition | Filter, run: Run) -> Ids:
    if isinstance(part, Filter):
        return _passing(part, run)
    select = select_of(part)
    if isinstance(select, Select):
        return run(select)
    found = run(EVERY)
    for each in select:
        found = np.setdiff1d(found, run(each), assume_unique=True)
    return found


def _both(found: Ids | None, ids: Ids) -> Ids:
    return ids if found is None else np.intersect1d(found, ids, assume_unique=True)


def _ascending(ids: Ids) -> Ids:
    """The ids sorted, each once; np.unique would hash them, which takes ten times as long."""
    if (ids[1:] > ids[:-1]).all():
        return ids
    ids = np.sort(ids)
    first: NDArray[np.bool_] = np.append(True, ids[1:] > ids[:-1])
    return ids[first]


def _ids(db: Connection, select: Select, modality: Modality) -> Ids:
    values = select.values if select.both else (modality, *select.values)
    # One row leaves SQLite, not one an id: a quarter of the time, and other threads run meanwhile.
    ((text,),) = db.execute(f"SELECT group_concat(id) FROM ({select.sql})", values)
    ids = np.fromstring(text, np.int64, sep=",") if text else np.empty(0, np.int64)
    ids = _ascending(ids)
    if not select.both:
        return ids
    if ids.size > FEW:
        return np.intersect1d(ids, _ids(db, EVERY, modality), assume_unique=True)
    return _ids(db, Select(f"SELECT id FROM entries WHERE +modality = ? AND {AMONG}", (json_ids(ids),)), modality)
