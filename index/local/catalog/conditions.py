"""The conditions of a filter, each as one SELECT of ids. filters.py shows what they look like and combines them.

Values are always bound, never part of an SQL text; keys too, and the columns of `file.` keys come from a table here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from base.errors import InputError
from index.local.catalog.facets import Scalar, number, scalar
from index.local.catalog.tables import AMONG, encode_path, json_ids

FACETS = "SELECT id FROM facets WHERE modality = ? AND key = ?"
FILES = "SELECT id FROM entries INDEXED BY entries_version WHERE modality = ?"
PATHS = "SELECT id FROM entries INDEXED BY sqlite_autoindex_entries_1 WHERE"

COMPARE = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
MOST_VALUES = 10_000  # of an `any` or `except`
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# A text that the facets hold as a number too. `instr`, since GLOB and json_valid stop at a NUL.
IS_NUMBER = (
    "(typeof(value) = 'text' AND value NOT GLOB '*[^-+.0-9eE]*' AND json_valid(value) AND NOT instr(value, char(0)))"
)


@dataclass(frozen=True, slots=True)
class Condition:
    """A SELECT of ids, each perhaps more than once; its first parameter is the modality, then come `values`."""

    sql: str
    values: tuple[Scalar, ...] = ()
    both: bool = False  # it gives ids of both modalities and has no such parameter: the index of paths knows none


EVERY = Condition(FILES)


def parse_condition(part: object, at: str) -> Condition | tuple[Condition, ...]:
    """The condition at the place `at`; several: it is that none of them holds.

    Raises:
        InputError: it is none; the message begins with the place.
    """
    named = as_object(part, at, ("key", "match", "range", "is_empty", "has_id"))
    if "is_empty" in named:
        _, inner = _only(named, at, ("is_empty",))
        _, key = _only(inner, f"{at}.is_empty", ("key",))
        return _is_empty(_text(key, f"{at}.is_empty.key"), f"{at}.is_empty.key")
    if "has_id" in named:
        _, ids = _only(named, at, ("has_id",))
        if any(isinstance(key, bool) or not isinstance(key, int) for key in as_list(ids, f"{at}.has_id")):
            raise InputError(f"{at}.has_id: ids must be integers")
        return Condition(f"{FILES} AND {AMONG}", (json_ids(ids),))
    if "key" not in named:
        raise InputError(f'{at}: lacks its key, as in {{"key": "colour", "match": {{"value": "red"}}}}')
    key = _text(named.pop("key"), f"{at}.key")
    kind, test = _only(named, at, ("match", "range"))
    at = f"{at}.{kind}"
    if kind == "range":
        operators = as_object(test, at, tuple(COMPARE))
    else:
        operators = dict([_only(test, at, ("value", "any", "except"))])
    if not operators:
        raise InputError(f"{at}: needs {', '.join(COMPARE)}")
    for name in ("any", "except"):
        if name in operators and not 1 <= len(as_list(operators[name], f"{at}.{name}")) <= MOST_VALUES:
            raise InputError(f"{at}.{name}: needs 1 to {MOST_VALUES} values")
    return _on_file(key, operators, at) if key.startswith("file.") else _on_metadata(key, operators, at)


def as_object(value: object, at: str, names: Sequence[str]) -> dict[str, Any]:
    """`value` if it is an object with no other than these names. InputError."""
    if not isinstance(value, dict):
        raise InputError(f"{at}: must be an object with {' or '.join(names)}")
    for name in value:
        if name not in names:
            raise InputError(f"{at}: no {name!r} here; there are {', '.join(names)}")
    return dict(value)


def as_list(value: object, at: str) -> list[Any]:
    """`value` if it is a list. InputError."""
    if not isinstance(value, list):
        raise InputError(f"{at}: must be a list")
    return value


def _on_metadata(key: str, operators: dict[str, Any], at: str) -> Condition:
    test, values = _test("value", "?", operators, _scalar, at)
    if "except" in operators:
        numbers = [read for value in values if isinstance(value, str) and (read := number(value)) is not None]
        if numbers or any(isinstance(value, int | float) for value in values):
            test, values = _test("value", "?", {"except": [*operators["except"], *numbers]}, _scalar, at)
            test += f" AND NOT {IS_NUMBER}"  # its number speaks for it
    elif isinstance(values[0], str) and operators.keys() <= COMPARE.keys():
        test += " AND value >= '' AND value < x''"  # texts stand between numbers and blobs
    elif operators.keys() <= COMPARE.keys():
        test += " AND value < ''"
    return Condition(f"{FACETS} AND {test}", (key, *values))


def _on_file(key: str, operators: dict[str, Any], at: str) -> Condition:
    name = key.removeprefix("file.")
    if name == "folder":
        return _in_folder(operators, at)
    column, read = _file_column(key, at)
    if name == "path":
        test, values = _test("path", "CAST(? AS TEXT)", operators, read, at)
        return Condition(f"{PATHS} {test}", tuple(values), both=True)
    test, values = _test(column, "?", operators, read, at)
    return Condition(f"{FILES} AND {test}", tuple(values))


def _in_folder(operators: dict[str, Any], at: str) -> Condition:
    if not operators.keys() <= {"value", "any", "except"}:
        raise InputError(f"{at}: file.folder has no order; use match")
    ((name, folders),) = operators.items()
    values = []
    for folder in [folders] if name == "value" else folders:
        inside = _path(folder, f"{at}.{name}").rstrip(b"/")
        values += [inside + b"/", inside + b"0"]  # "0" follows "/" in ASCII
    test = " OR ".join(["path >= CAST(? AS TEXT) AND path < CAST(? AS TEXT)"] * (len(values) // 2))
    return Condition(f"{PATHS} {'NOT ' if name == 'except' else ''}({test})", tuple(values), both=True)


def _is_empty(key: str, at: str) -> Condition | tuple[Condition, ...]:
    if not key.startswith("file."):
        inside = "SELECT id FROM facets WHERE modality = ? AND key >= ? AND key < ?"
        return Condition(FACETS, (key,)), Condition(inside, (f"{key}.", f"{key}/"))  # "/" follows "." in ASCII
    if key in ("file.path", "file.folder"):
        return (Condition(f"{PATHS} path IS NOT NULL", both=True),)
    return Condition(f"{FILES} AND {_file_column(key, at)[0]} IS NULL")


def _test(
    column: str, mark: str, operators: dict[str, Any], read: Callable[[object, str], Scalar], at: str
) -> tuple[str, list[Scalar]]:
    """An SQL expression over `column`, and its values."""
    if operators.keys() <= COMPARE.keys():
        texts = {isinstance(value, str) for value in operators.values()}
        if len(texts) > 1 or any(isinstance(value, bool) for value in operators.values()):
            raise InputError(f"{at}: the limits must be all numbers or all texts")
        test = " AND ".join(f"{column} {COMPARE[name]} {mark}" for name in operators)
        return test, [read(value, f"{at}.{name}") for name, value in operators.items()]
    ((name, operand),) = operators.items()
    values = [operand] if name == "value" else operand
    negated = "NOT " if name == "except" else ""
    return f"{column} {negated}IN ({', '.join([mark] * len(values))})", [
        read(value, f"{at}.{name}") for value in values
    ]


def _file_column(key: str, at: str) -> tuple[str, Callable[[object, str], Scalar]]:
    """The column behind a key, and how its values are read."""
    columns: dict[str, tuple[str, Callable[[object, str], Scalar]]] = {
        "file.path": ("path", _path),
        "file.size": ("size", _number),
        "file.width": ("width", _number),
        "file.height": ("height", _number),
        "file.modified": ("mtime_ns", _moment),
        "file.taken": ("taken", _text),
    }
    if key not in columns:
        raise InputError(f"{at}: no {key!r}; there are file.folder, {', '.join(columns)}")
    return columns[key]


def _scalar(value: object, at: str) -> Scalar:
    if not isinstance(value, bool | int | float):
        return _text(value, at, "a text, a number or a boolean")
    return scalar(value)


def _number(value: object, at: str) -> Scalar:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{at}: must be a number")
    return scalar(value)


def _text(value: object, at: str, what: str = "a text") -> str:
    if not isinstance(value, str):
        raise InputError(f"{at}: must be {what}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InputError(f"{at}: holds half a character (a lone surrogate)") from None
    return value


def _path(value: object, at: str) -> bytes:
    try:
        if isinstance(value, str) and (path := encode_path(value)) is not None:
            return path
    except UnicodeEncodeError:
        pass
    raise InputError(f"{at}: must be a path")


def _moment(value: object, at: str) -> int:
    """ISO 8601 as nanoseconds since 1970."""
    try:
        moment = datetime.fromisoformat(_text(value, at))
    except ValueError:
        raise InputError(f"{at}: must be a moment in ISO 8601, like 2024-05-01 or 2024-05-01T12:00:00+02:00") from None
    since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - EPOCH
    return ((since.days * 86400 + since.seconds) * 10**6 + since.microseconds) * 1000


def _only(value: object, at: str, names: Sequence[str]) -> tuple[str, Any]:
    """The one (name, value) of an object that must have exactly one of `names`."""
    named = as_object(value, at, names)
    if len(named) != 1:
        raise InputError(f"{at}: needs one of {', '.join(names)}")
    return next(iter(named.items()))
