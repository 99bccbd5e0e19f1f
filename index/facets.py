"""The scalars inside metadata, each with its key, as filters and counts know them in every store.

{"tags": ["a", "b"], "shop": {"price": "9.5"}, "new": true} has

    tags        "a"
    tags        "b"
    shop.price  "9.5"
    shop.price  9.5      a text that is a JSON number is that number too: CSV columns are text
    new         true

null, [] and {} leave nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from index.search.filters import bounded

Value = str | int | float | bool

NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")  # of JSON; "007" and "+1" stay text alone


def facets_in(metadata: Mapping[str, object]) -> Iterator[tuple[str, Value]]:
    """Each key and value, as often as it stands there."""
    for key, value in metadata.items():
        if type(value) is int and -(2**63) <= value < 2**63:  # as most are
            yield key, value
        elif value is not None:
            yield from _flatten(key, value)


def number(text: str) -> int | float | None:
    """What a text reads as, if it is a JSON number: an integer if it is written as one and fits 64 bits."""
    match = NUMBER.fullmatch(text)
    if match is None:
        return None
    whole = match[2] is None and match[3] is None and len(text) <= 20
    return bounded(int(text)) if whole else float(text)


def _flatten(key: str, value: object) -> Iterator[tuple[str, Value]]:
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
        yield key, bounded(value) if isinstance(value, int) and not isinstance(value, bool) else value
