"""Values of metadata counted by reading all of it: Milvus has no counts of its own."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from index.entry import FacetKey, FacetValue
from index.facets import Value, facets_in
from index.milvus.rows.filed import normal

Typed = tuple[str, Value]  # with its type, for True equals 1

ORDER = {"n": 0, "t": 1, "b": 2}  # of equally frequent ones, as on disk


def values(metadata: Iterable[Mapping[str, Any]], key: str, limit: int) -> list[FacetValue]:
    """The `limit` most frequent values of a key; equally frequent ones in their order."""
    counts = Counter(value for one in metadata for value in _values_of(one).get(key, ()) if _is_counted(value))
    ordered = sorted(counts.items(), key=lambda item: (-item[1], ORDER[item[0][0]], item[0][1]))
    return [FacetValue(value, n) for (_, value), n in ordered[:limit]]


def keys(metadata: Iterable[Mapping[str, Any]]) -> list[FacetKey]:
    """Every key, by name."""
    entries: Counter[str] = Counter()
    different: dict[str, set[Typed]] = {}
    for one in metadata:
        for key, found in _values_of(one).items():
            entries[key] += 1
            different.setdefault(key, set()).update(found)
    described = []
    for key in sorted(entries, key=str.encode):
        if key.startswith("file."):  # in filters it leads to the file
            continue
        numbers: list[Any] = [value for kind, value in different[key] if kind == "n" and math.isfinite(float(value))]
        counted = sum(map(_is_counted, different[key]))
        described.append(FacetKey(key, entries[key], counted, min(numbers, default=None), max(numbers, default=None)))
    return described


def _values_of(metadata: Mapping[str, Any]) -> dict[str, set[Typed]]:
    """The different values of each key, a text that is a number being that number."""
    found: dict[str, set[Typed]] = {}
    for key, value in facets_in(metadata):
        found.setdefault(key, set()).add(normal(value))
    return found


def _is_counted(value: Typed) -> bool:
    return value[0] != "n" or math.isfinite(float(value[1]))  # no JSON can say infinity
