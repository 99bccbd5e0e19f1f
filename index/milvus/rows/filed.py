"""What of an entry's metadata is filed for filters, in forms that expressions can ask.

Every scalar of the metadata (index.facets), and every key, is filed as a digest in an array of texts, so that an
expression holds no text of anybody's and an array has no missing values, which engines treat differently:

    =KEY,VALUE    the key has this value
    #KEY,N        the key has N different values or more, a text that is a number being that number
    ~KEY          the key, or one inside of it, has a value
    n, t KEY      it has numbers, texts
    N, T KEY      more of them than are filed in order

For ranges the numbers and the texts of a key stand in order, four each: the last one repeated, and of more the first,
two and the last.
"""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from index.facets import Value, facets_in, number

COUNTED = 16  # different values of a key
WIDTH = 4  # values in order
LONGEST = 256  # characters of a text that are compared
DIGEST = 12  # bytes


@dataclass(slots=True)
class Filed:
    """As it goes into a row."""

    tokens: list[str] = field(default_factory=list)
    numbers: dict[str, list[int | float]] = field(default_factory=dict)
    texts: dict[str, list[str]] = field(default_factory=dict)


def file_metadata(metadata: Mapping[str, Any]) -> Filed:
    """What is filed of one entry's metadata."""
    values: defaultdict[str, set[tuple[str, Value]]] = defaultdict(set)
    for key, value in facets_in(metadata):
        values[key].add((type_of(value), value))
    tokens: set[str] = set()
    filed = Filed()
    for key, of_key in values.items():
        parts = key.split(".")
        tokens |= {token("~", ".".join(parts[:end])) for end in range(1, len(parts) + 1)}
        tokens |= {token("=", key, value) for _, value in of_key}
        different = {normal(value) for _, value in of_key}
        tokens |= {token("#", key, n) for n in range(1, min(len(different), COUNTED) + 1)}
        numbers = sorted({exact(value) for kind, value in of_key if kind == "n"})
        texts = sorted({str(value)[:LONGEST] for kind, value in of_key if kind == "t"})
        for mark, some in (("n", numbers), ("t", texts)):
            if some:
                tokens.add(token(mark, key))
            if len(some) > WIDTH:
                tokens.add(token(mark.upper(), key))
        if numbers:
            filed.numbers[name_of(key)] = _in_order(numbers)
        if texts:
            filed.texts[name_of(key)] = _in_order(texts)
    filed.tokens = sorted(tokens)
    return filed


def token(kind: str, key: str, value: Value | None = None) -> str:
    """What stands for that of a key."""
    said = "" if value is None else f"{type_of(value)}{_written(value)}"
    return kind + blake2b(f"{key}\0{said}".encode("utf-8", "surrogatepass"), digest_size=DIGEST).hexdigest()


@lru_cache(maxsize=4096)
def name_of(key: str) -> str:
    """What a key is called where its values stand in order."""
    return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=DIGEST).hexdigest()


def type_of(value: Value) -> str:
    """b, n or t."""
    return "b" if isinstance(value, bool) else "n" if isinstance(value, int | float) else "t"


def normal(value: Value) -> tuple[str, Value]:
    """A value as it is told from others: a text that is a number is that number."""
    read = number(value) if isinstance(value, str) else None
    return ("n", read) if read is not None else (type_of(value), value)


def exact(value: Value) -> int | float:
    """A number as a range compares it: a whole one of 64 bits as an integer, for floats leave some of them out."""
    assert isinstance(value, int | float)
    if math.isinf(value):  # of a text like 1e999; JSON has none
        return math.copysign(sys.float_info.max, value)
    return int(value) if value == int(value) and -(2**63) < value < 2**63 else float(value)


def _written(value: Value) -> str:
    """Equal numbers alike: 1 is 1.0."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
        return str(int(value))
    return repr(value) if isinstance(value, float) else str(value)


def _in_order(values: list[Any]) -> list[Any]:
    if len(values) > WIDTH:
        return [*values[: WIDTH - 1], values[-1]]
    return values + [values[-1]] * (WIDTH - len(values))
