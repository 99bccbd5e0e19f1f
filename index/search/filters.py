"""Filters: from JSON to a tree of conditions, checked. The names and the shape are Qdrant's; a store runs the tree.

    {"must": [...], "should": [...], "must_not": [...]}     all of, at least one of, none of; each may be left out

What stands in the lists is another filter or a condition. A key with a list fulfils one if any element does:

    {"key": "colour", "match": {"value": "red"}}            equals a text, a number or a boolean
    {"key": "colour", "match": {"any": ["red", "blue"]}}    equals one of them
    {"key": "colour", "match": {"except": ["red"]}}         has a value that equals none of them
    {"key": "price", "range": {"gte": 10, "lt": 20}}        gt, gte, lt, lte: all numbers, or all texts (ISO dates)
    {"is_empty": {"key": "colour"}}                         holds no text, number or boolean: missing, null, []
    {"has_id": [1, 2]}

Keys are those of the metadata, inner ones with dots ("shop.price", of objects in a list "items.k" or "items[].k").
Fields that are null count as absent. A text that is a JSON number, as CSV columns hold
them, equals that text and that number both; `except` takes it for the number.
The prefix file. leads to the file instead: file.path, file.folder (it and all below), file.size (bytes), file.width,
file.height, file.modified (moments in ISO 8601, UTC if they name no zone), file.taken (ISO 8601, compared as text).
"""

from __future__ import annotations

import math
import os
import re
import unicodedata
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, cast

from base.errors import InputError

Value = str | int | float | bool  # of file.modified nanoseconds since 1970
Comparison = Literal["gt", "gte", "lt", "lte"]

CLAUSES = ("must", "should", "must_not")
COMPARISONS = ("gt", "gte", "lt", "lte")
DEEPEST = 16  # filters inside filters
MOST = 1000  # conditions
MOST_VALUES = 10_000  # of an `any` or `except`
MOST_IN_ALL = 1_000_000  # values and ids of a filter
_DAY = re.compile(r"\d{4}(-\d\d){0,2}([T ]\d\d(:\d\d){0,2}(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?")  # or less of one, as 2024-05
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Match:
    """The key has a value that equals one of these; `negated`: one that equals none of them."""

    key: str
    values: tuple[Value, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Range:
    """The key has a value within these bounds, which are all numbers or all texts."""

    key: str
    bounds: tuple[tuple[Comparison, Value], ...]


@dataclass(frozen=True, slots=True)
class IsEmpty:
    """The key has no value."""

    key: str


@dataclass(frozen=True, slots=True)
class HasId:
    """The entry is one of these."""

    ids: tuple[int, ...]


Condition = Match | Range | IsEmpty | HasId


@dataclass(frozen=True, slots=True)
class Filter:
    """All of `must`, at least one of `should` if there are any, none of `must_not`."""

    must: tuple[Condition | Filter, ...] = ()
    should: tuple[Condition | Filter, ...] = ()
    must_not: tuple[Condition | Filter, ...] = ()


def parse_filter(wanted: object) -> Filter:
    """Check a filter. InputError names the place, as in "filter.must[0].range: ..."."""
    _check_number(wanted)
    return _filter(wanted, "filter", 1)


def parse_key(given: object, at: str = "key") -> str:
    """A key of the metadata, as the conditions of a filter have it. InputError for none, naming the place `at`."""
    key = _key(given, at)
    if key.startswith("file."):
        raise InputError(f"{at}: must be a key of the metadata, as colour or shop.price, not {key!r}")
    return key


def has_condition(wanted: Filter) -> bool:
    """Whether there is any condition in it: without one all entries pass."""
    parts = (*wanted.must, *wanted.should, *wanted.must_not)
    return any(not isinstance(part, Filter) or has_condition(part) for part in parts)


def path_forms(paths: Sequence[str | float]) -> list[str]:
    """Paths as they are given, and with their accents composed and decomposed: to a person they are the same."""
    forms = (unicodedata.normalize(form, path) for path in map(str, paths) for form in ("NFC", "NFD"))
    return list(dict.fromkeys((*map(str, paths), *forms)))


def bounded(value: int) -> int | float:
    """An integer beyond 64 bits as a float, infinity if need be: no store holds it as it is."""
    if -(2**63) <= value < 2**63:
        return value
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _check_number(wanted: object) -> None:
    """InputError for more conditions or values than may be, before any is looked at. An empty filter is a condition."""
    waiting, found, values = [wanted], 0, 0
    while waiting:
        part = waiting.pop()
        lists = [part.get(name) for name in CLAUSES] if isinstance(part, dict) else []
        inner = [each for parts in lists if isinstance(parts, list | tuple) for each in parts]
        found += not inner
        values += _values(part)
        waiting += inner
        if found + len(waiting) > MOST:
            raise InputError(f"filter: more than {MOST} conditions (an empty filter counts as one)")
        if values > MOST_IN_ALL:
            raise InputError(f"filter: more than {MOST_IN_ALL} values and ids in all")


def _values(part: object) -> int:
    if not isinstance(part, dict):
        return 0
    match = part.get("match")
    lists = [part.get("has_id"), *(match.values() if isinstance(match, dict) else ())]
    return sum(len(each) for each in lists if isinstance(each, list | tuple))


def _filter(wanted: object, at: str, depth: int) -> Filter:
    if depth > DEEPEST:
        raise InputError(f"{at}: filters may stand {DEEPEST} deep in each other, no deeper")
    clauses = {}
    for name, parts in _object(wanted, at, CLAUSES).items():
        place = f"{at}.{name}"
        clauses[name] = tuple(_part(part, f"{place}[{i}]", depth) for i, part in enumerate(_list(parts, place)))
    return Filter(**clauses)


def _part(part: object, at: str, depth: int) -> Condition | Filter:
    given = _given(part) if isinstance(part, dict) else part
    if isinstance(given, dict) and (not given or any(name in given for name in CLAUSES)):
        return _filter(given, at, depth + 1)
    return _condition(given, at)


def _condition(part: object, at: str) -> Condition:
    named = _object(part, at, ("key", "match", "range", "is_empty", "has_id"))
    if "is_empty" in named:
        _, inner = _only(named, at, ("is_empty",))
        _, given = _only(inner, f"{at}.is_empty", ("key",))
        key = _key(given, f"{at}.is_empty.key")
        if key.startswith("file."):
            _reader(key, f"{at}.is_empty.key")
        return IsEmpty(key)
    if "has_id" in named:
        _, ids = _only(named, at, ("has_id",))
        if any(isinstance(key, bool) or not isinstance(key, int) for key in _list(ids, f"{at}.has_id")):
            raise InputError(f"{at}.has_id: ids must be integers")
        return HasId(tuple(key for key in ids if isinstance(bounded(key), int)))  # no entry has another one
    if "key" not in named:
        raise InputError(f'{at}: lacks its key, as in {{"key": "colour", "match": {{"value": "red"}}}}')
    key = _key(named.pop("key"), f"{at}.key")
    kind, test = _only(named, at, ("match", "range"))
    return _range(key, test, f"{at}.range") if kind == "range" else _match(key, test, f"{at}.match")


def _match(key: str, test: object, at: str) -> Match:
    name, operand = _only(test, at, ("value", "any", "except"))
    values = [operand] if name == "value" else _list(operand, f"{at}.{name}")
    if not 1 <= len(values) <= MOST_VALUES:
        raise InputError(f"{at}.{name}: needs 1 to {MOST_VALUES} values")
    read = _reader(key, at)
    return Match(key, tuple(read(value, f"{at}.{name}") for value in values), negated=name == "except")


def _range(key: str, test: object, at: str) -> Range:
    bounds = _object(test, at, COMPARISONS)
    if not bounds:
        raise InputError(f"{at}: needs {', '.join(COMPARISONS)}")
    if key == "file.folder":
        raise InputError(f"{at}: file.folder has no order; use match")
    read = _reader(key, at)
    texts = {isinstance(value, str) for value in bounds.values()}
    if len(texts) > 1 or any(isinstance(value, bool) for value in bounds.values()):
        raise InputError(f"{at}: the limits must be all numbers or all texts")
    return Range(key, tuple((cast(Comparison, name), read(value, f"{at}.{name}")) for name, value in bounds.items()))


def _reader(key: str, at: str) -> Callable[[object, str], Value]:
    """How the values of a key are read."""
    if not key.startswith("file."):
        return _scalar
    readers: dict[str, Callable[[object, str], Value]] = {
        "file.folder": _path,
        "file.path": _path,
        "file.size": _number,
        "file.width": _number,
        "file.height": _number,
        "file.modified": _moment,
        "file.taken": _day,
    }
    if key not in readers:
        raise InputError(f"{at}: no {key!r}; there are {', '.join(readers)}")
    return readers[key]


def _scalar(value: object, at: str) -> Value:
    if isinstance(value, bool):
        return value
    return _number(value, at) if isinstance(value, int | float) else _text(value, at, "a text, a number or a boolean")


def _number(value: object, at: str) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{at}: must be a number")
    if isinstance(value, int):
        return bounded(value)
    if not math.isfinite(value):
        raise InputError(f"{at}: NaN and infinity are no numbers in JSON")
    return value


def _day(value: object, at: str) -> str:
    """A moment on the clock of a place, or as much of one as is given, as it is kept: compared as text."""
    text = _text(value, at)
    if text and not _DAY.fullmatch(text):
        raise InputError(f"{at}: must be a moment in ISO 8601, or a part of one, as 2024-05")
    return text.replace(" ", "T", 1)


def _text(value: object, at: str, what: str = "a text") -> str:
    if not isinstance(value, str):
        raise InputError(f"{at}: must be {what}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InputError(f"{at}: holds half a character (a lone surrogate)") from None
    return value


def _key(value: object, at: str) -> str:
    """A key as the facets have it: Qdrant writes [] behind the name of a list, and here any key may lead into one."""
    key = _text(value, at).replace("[].", ".").removesuffix("[]")
    if re.search(r"\[(-?\d+)?\]\.|\[\*\]|\[\](?!$)|^\$\.", key):
        raise InputError(
            f"{at}: {key} is no key: of a list any element may fulfil a condition, as items.k or items[].k"
        )
    return key


def _path(value: object, at: str) -> str:
    if isinstance(value, str):
        with suppress(UnicodeEncodeError):
            os.fsencode(value)
            return value
    raise InputError(f"{at}: must be a path")


def _moment(value: object, at: str) -> int:
    """ISO 8601 as nanoseconds since 1970."""
    try:
        moment = datetime.fromisoformat(_text(value, at))
    except ValueError:
        raise InputError(f"{at}: must be a moment in ISO 8601, like 2024-05-01 or 2024-05-01T12:00:00+02:00") from None
    since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - EPOCH
    return ((since.days * 86400 + since.seconds) * 10**6 + since.microseconds) * 1000


def _object(value: object, at: str, names: Sequence[str]) -> dict[str, Any]:
    """`value` if it is an object with no other than these names."""
    if not isinstance(value, dict):
        raise InputError(f"{at}: must be an object with {' or '.join(names)}")
    given = _given(value)
    for name in given:
        if name not in names:
            raise InputError(f"{at}: no {name!r} here; there are {', '.join(names)}")
    return given


def _given(value: dict[str, Any]) -> dict[str, Any]:
    """What is said: clients that are made of models send the fields that nobody set as null."""
    return {name: part for name, part in value.items() if part is not None}


def _list(value: object, at: str) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise InputError(f"{at}: must be a list")
    return list(value)


def _only(value: object, at: str, names: Sequence[str]) -> tuple[str, Any]:
    """The one (name, value) of an object that must have exactly one of `names`."""
    named = _object(value, at, names)
    if len(named) != 1:
        raise InputError(f"{at}: needs one of {', '.join(names)}")
    return next(iter(named.items()))
