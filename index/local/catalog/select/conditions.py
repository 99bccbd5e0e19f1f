"""The conditions of a filter (index.search.filters), each as one SELECT of ids out of a covering index.

Values are always bound, never part of an SQL text; keys too, and the columns of `file.` keys come from a table here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from index.facets import number
from index.local.catalog.facets import Scalar, scalar
from index.local.catalog.tables import AMONG, encode_path, inside_of, json_ids
from index.search.filters import Condition, HasId, IsEmpty, Match, Range, path_forms

FACETS = "SELECT id FROM facets WHERE modality = ? AND key = ?"
FILES = "SELECT id FROM entries INDEXED BY entries_version WHERE modality = ?"
PATHS = "SELECT id FROM entries INDEXED BY sqlite_autoindex_entries_1 WHERE"

COMPARE = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
COLUMNS = {
    "file.path": "path",
    "file.size": "size",
    "file.width": "width",
    "file.height": "height",
    "file.modified": "mtime_ns",
    "file.taken": "taken",
}
# A text that the facets hold as a number too. `instr`, since GLOB and json_valid stop at a NUL.
IS_NUMBER = (
    "(typeof(value) = 'text' AND value NOT GLOB '*[^-+.0-9eE]*' AND json_valid(value) AND NOT instr(value, char(0)))"
)


@dataclass(frozen=True, slots=True)
class Select:
    """A SELECT of ids, each perhaps more than once; its first parameter is the modality, then come `values`."""

    sql: str
    values: tuple[Scalar, ...] = ()
    both: bool = False  # it gives ids of both modalities and has no such parameter: the index of paths knows none


EVERY = Select(FILES)


def select_of(condition: Condition) -> Select | tuple[Select, ...]:
    """The ids that fulfil a condition; several: those that are in none of them."""
    if isinstance(condition, HasId):
        return Select(f"{FILES} AND {AMONG}", (json_ids(condition.ids),))
    if isinstance(condition, IsEmpty):
        return _is_empty(condition.key)
    if condition.key == "file.folder":
        assert isinstance(condition, Match)
        return _in_folder(condition)
    return _on_file(condition) if condition.key.startswith("file.") else _on_metadata(condition)


def _on_metadata(condition: Match | Range) -> Select:
    if isinstance(condition, Range):
        test, values = _within("value", "?", condition)
        # texts stand between numbers and blobs
        test += " AND value >= '' AND value < x''" if isinstance(values[0], str) else " AND value < ''"
        return Select(f"{FACETS} AND {test}", (condition.key, *values))
    scalars = [_bound(value) for value in condition.values]
    if not condition.negated:
        return Select(f"{FACETS} AND value IN ({_marks('?', scalars)})", (condition.key, *scalars))
    numbers = [read for value in scalars if isinstance(value, str) and (read := number(value)) is not None]
    test = f"value NOT IN ({_marks('?', [*scalars, *numbers])})"
    if numbers or any(isinstance(value, int | float) for value in scalars):
        test += f" AND NOT {IS_NUMBER}"  # its number speaks for it
    return Select(f"{FACETS} AND {test}", (condition.key, *scalars, *numbers))


def _on_file(condition: Match | Range) -> Select:
    column = COLUMNS[condition.key]
    mark = "CAST(? AS TEXT)" if column == "path" else "?"
    if isinstance(condition, Range):
        test, values = _within(column, mark, condition)
    else:
        given = path_forms(condition.values) if column == "path" else condition.values
        values = [_bound(value, column) for value in given]
        test = f"{column} {'NOT ' * condition.negated}IN ({_marks(mark, values)})"
    if column == "path":
        return Select(f"{PATHS} {test}", tuple(values), both=True)
    return Select(f"{FILES} AND {test}", tuple(values))


def _in_folder(condition: Match) -> Select:
    values: list[Scalar] = []
    folders = path_forms(condition.values)
    for folder in folders:
        values += inside_of(folder)
    test = " OR ".join(["path >= CAST(? AS TEXT) AND path < CAST(? AS TEXT)"] * len(folders))
    return Select(f"{PATHS} {'NOT ' * condition.negated}({test})", tuple(values), both=True)


def _is_empty(key: str) -> Select | tuple[Select, ...]:
    if not key.startswith("file."):
        inside = "SELECT id FROM facets WHERE modality = ? AND key >= ? AND key < ?"
        return Select(FACETS, (key,)), Select(inside, (f"{key}.", f"{key}/"))  # "/" follows "." in ASCII
    if key in ("file.path", "file.folder"):
        return (Select(f"{PATHS} path IS NOT NULL", both=True),)
    return Select(f"{FILES} AND {COLUMNS[key]} IS NULL")


def _within(column: str, mark: str, condition: Range) -> tuple[str, list[Scalar]]:
    test = " AND ".join(f"{column} {COMPARE[name]} {mark}" for name, _ in condition.bounds)
    return test, [_bound(value, column) for _, value in condition.bounds]


def _bound(value: str | float, column: str = "value") -> Scalar:
    """A value as SQLite gets it."""
    if column == "path":
        return encode_path(str(value)) or b""
    return scalar(value) if isinstance(value, bool | int | float) else value


def _marks(mark: str, values: Sequence[Scalar]) -> str:
    return ", ".join([mark] * len(values))
