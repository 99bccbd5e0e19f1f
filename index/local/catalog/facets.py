"""The scalars inside the metadata of entries, one row each, so that a filter need not read the metadata themselves.

{"tags": ["a", "b"], "shop": {"price": "9.5"}, "new": true} is filed as

    tags        'a'
    tags        'b'
    shop.price  '9.5'
    shop.price  9.5      a text that is a JSON number is filed as that number too: CSV columns are text
    new         x'01'    a boolean is a blob of one byte, which equals no number and no text

null, [] and {} leave nothing. SQLite orders numbers before texts before blobs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

from index.local.catalog.database import Connection
from index.search.filters import bounded

Scalar = str | int | float | bytes

NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")  # of JSON; "007" and "+1" stay text alone


def file_facets(db: Connection, entries: Iterable[tuple[str, int, str]]) -> None:
    """File the metadata, JSON texts, of (modality, id, metadata)."""
    db.executemany("INSERT OR IGNORE INTO facets (modality, id, key, value) VALUES (?, ?, ?, ?)", _rows(entries))


def unfile_facets(db: Connection, entries: Iterable[tuple[str, int, str]]) -> None:
    """Take away what `file_facets` filed for the same (modality, id, metadata)."""
    db.executemany("DELETE FROM facets WHERE modality = ? AND id = ? AND key = ? AND value = ?", _rows(entries))


def facets_of(metadata: str) -> set[tuple[str, Scalar]]:
    """Each (key, value) of a JSON object, as it is filed."""
    if metadata == "{}":
        return set()
    return {facet for key, value in json.loads(metadata).items() for facet in _flatten(key, value)}


def scalar(value: bool | str | float) -> Scalar:
    """A JSON scalar as SQLite holds it: booleans as blobs, integers beyond 64 bits as floats."""
    if isinstance(value, bool):
        return b"\x01" if value else b"\x00"
    return bounded(value) if isinstance(value, int) else value


def number(text: str) -> int | float | None:
    """What a text reads as, if it is a JSON number: an integer if it is written as one and fits 64 bits."""
    match = NUMBER.fullmatch(text)
    if match is None:
        return None
    whole = match[2] is None and match[3] is None and len(text) <= 20
    return bounded(int(text)) if whole else float(text)


def _rows(entries: Iterable[tuple[str, int, str]]) -> Iterator[tuple[str, int, str, Scalar]]:
    return ((modality, key, *facet) for modality, key, metadata in entries for facet in facets_of(metadata))


def _flatten(key: str, value: object) -> Iterator[tuple[str, Scalar]]:
    if isinstance(value, str):
        yield key, value
        if (read := number(value)) is not None:
            yield key, read
    elif isinstance(value, dict):
        for name, part in value.items():
            yield from _flatten(f"{key}.{name}", part)
    elif isinstance(value, list):
        for part in value:
            yield from _flatten(key, part)
    elif isinstance(value, bool | int | float):
        yield key, scalar(value)
