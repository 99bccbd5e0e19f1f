"""Filters: from JSON to the ids of the entries that one lets through. The names and the shape are Qdrant's.

    {"must": [...], "should": [...], "must_not": [...]}     all of, at least one of, none of; each may be left out

What stands in the lists is another filter or a condition. A key with a list fulfils one if any element does:

    {"key": "colour", "match": {"value": "red"}}            equals a text, a number or a boolean
    {"key": "colour", "match": {"any": ["red", "blue"]}}    equals one of them
    {"key": "colour", "match": {"except": ["red"]}}         has a value that equals none of them
    {"key": "price", "range": {"gte": 10, "lt": 20}}        gt, gte, lt, lte: all numbers, or all texts (ISO dates)
    {"is_empty": {"key": "colour"}}                         holds no text, number or boolean: missing, null, []
    {"has_id": [1, 2]}

Keys are those of the metadata, inner ones with dots ("shop.price"). A text that is a JSON number, as CSV columns hold
them, equals that text and that number both (`index.local.catalog.facets`); `except` takes it for the number.
The prefix file. leads to the file instead: file.path, file.folder (it and all below), file.size (bytes), file.width,
file.height, file.modified (moments in ISO 8601, UTC if they name no zone), file.taken (ISO 8601, compared as text).

Each condition is one SELECT of ids out of a covering index (conditions.py); ids are combined as sorted arrays.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from base.errors import InputError
from index.entry import Modality
from index.local.catalog.conditions import EVERY, Condition, as_list, as_object, parse_condition
from index.local.catalog.database import Connection
from index.local.catalog.tables import AMONG, json_ids

Ids = NDArray[np.int64]
Select = Callable[[Condition], Ids]  # the ids that fulfil a condition, ascending

CLAUSES = ("must", "should", "must_not")
DEEPEST = 16  # filters inside filters
MOST = 1000  # conditions
FEW = 10_000  # ids whose rows may be looked at one by one
KEPT = 32  # answers
KEPT_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter, checked and ready to run."""

    must: tuple[Condition | Filter, ...] = ()
    should: tuple[Condition | Filter, ...] = ()
    must_not: tuple[Condition | Filter, ...] = ()

    def conditions(self) -> int:
        """How many conditions it has, at all depths."""
        parts = (*self.must, *self.should, *self.must_not)
        return sum(part.conditions() if isinstance(part, Filter) else 1 for part in parts)

    def ids(self, select: Select) -> Ids:
        """The ids that it lets through, ascending."""
        found: Ids | None = None
        for part in self.must:
            found = _both(found, _ids(part, select))
            if not found.size:
                return found
        if self.should:
            found = _both(found, _ascending(np.concatenate([_ids(part, select) for part in self.should])))
        if found is None:
            found = _ids(EVERY, select)
        for part in self.must_not:
            if not found.size:
                break
            found = np.setdiff1d(found, _ids(part, select), assume_unique=True)
        return found


def parse_filter(wanted: object) -> Filter:
    """Check a filter. InputError names the place, as in "filter.must[0].range: ..."."""
    parsed = _filter(wanted, "filter", 1)
    if parsed.conditions() > MOST:
        raise InputError(f"filter: {parsed.conditions()} conditions, more than {MOST}")
    return parsed


class FilterCache:
    """The answers to the last filters, each good for as long as no entry changes. For any number of threads."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, Modality], tuple[int, Ids]] = OrderedDict()
        self._lock = threading.Lock()

    def ids(self, db: Connection, revision: int, wanted: Mapping[str, Any], modality: Modality) -> Ids:
        """The ids, ascending and read-only, in a transaction of `db` that sees the catalog at `revision`.

        Raises:
            InputError: `wanted` is no filter.
        """
        try:
            text = json.dumps(wanted, sort_keys=True, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise InputError(f"filter: not a JSON object: {error}") from error
        with self._lock:
            if (kept := self._kept.get((text, modality))) and kept[0] == revision:
                self._kept.move_to_end((text, modality))
                return kept[1]

        ids = parse_filter(json.loads(text)).ids(lambda condition: _select(db, condition, modality))
        ids.flags.writeable = False
        with self._lock:
            self._kept.pop((text, modality), None)
            self._kept[text, modality] = revision, ids
            while len(self._kept) > KEPT or sum(kept.nbytes for _, kept in self._kept.values()) > KEPT_BYTES:
                self._kept.popitem(last=False)
        return ids


def _filter(wanted: object, at: str, depth: int) -> Filter:
    if depth > DEEPEST:
        raise InputError(f"{at}: filters may stand {DEEPEST} deep in each other, no deeper")
    clauses = {}
    for name, parts in as_object(wanted, at, CLAUSES).items():
        place = f"{at}.{name}"
        clauses[name] = tuple(_part(part, f"{place}[{i}]", depth) for i, part in enumerate(as_list(parts, place)))
    return Filter(**clauses)


def _part(part: object, at: str, depth: int) -> Condition | Filter:
    if isinstance(part, dict) and (not part or any(name in part for name in CLAUSES)):
        return _filter(part, at, depth + 1)
    condition = parse_condition(part, at)
    return Filter(must_not=condition) if isinstance(condition, tuple) else condition


def _ids(part: Condition | Filter, select: Select) -> Ids:
    return part.ids(select) if isinstance(part, Filter) else select(part)


def _both(found: Ids | None, ids: Ids) -> Ids:
    return ids if found is None else np.intersect1d(found, ids, assume_unique=True)


def _ascending(ids: Ids) -> Ids:
    """The ids sorted, each once; np.unique would hash them, which takes ten times as long."""
    if (ids[1:] > ids[:-1]).all():
        return ids
    ids = np.sort(ids)
    first: NDArray[np.bool_] = np.append(True, ids[1:] > ids[:-1])
    return ids[first]


def _select(db: Connection, condition: Condition, modality: Modality) -> Ids:
    values = condition.values if condition.both else (modality, *condition.values)
    # One row leaves SQLite, not one an id: a quarter of the time, and other threads run meanwhile.
    ((text,),) = db.execute(f"SELECT group_concat(id) FROM ({condition.sql})", values)
    ids = np.fromstring(text, np.int64, sep=",") if text else np.empty(0, np.int64)
    ids = _ascending(ids)
    if not condition.both:
        return ids
    if ids.size > FEW:
        return np.intersect1d(ids, _select(db, EVERY, modality), assume_unique=True)
    return _select(db, Condition(f"SELECT id FROM entries WHERE +modality = ? AND {AMONG}", (json_ids(ids),)), modality)
