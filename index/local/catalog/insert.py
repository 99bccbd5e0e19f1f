"""A batch of entries on its way into the tables: which ids they get, their rows, their facets.

Statements are few and take many rows each: that is most of what makes a write fast.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from base.errors import InputError
from base.names import check_external_id
from index.entry import Entry, Modality
from index.local.catalog.checksums import checksum
from index.local.catalog.database import Connection
from index.local.catalog.facets import file_facets, unfile_facets
from index.local.catalog.tables import (
    AMONG,
    FIELDS_OF,
    WRITTEN,
    count_rows,
    delete_rows,
    encode_metadata,
    encode_path,
    json_ids,
    note_written,
)

COLUMNS = (*WRITTEN, "checksum")
VALUES = f"({', '.join('CAST(? AS TEXT)' if name == 'path' else '?' for name in COLUMNS)})"
TOGETHER = 50  # rows in one INSERT: each statement costs a look at AUTOINCREMENT's counter
LOOKUP = 500  # paths looked up by one statement


@dataclass(slots=True)
class _Row:
    """A row as it is there, or as an entry before in the batch makes it."""

    id: int
    modality: Modality
    path: bytes | None
    external_id: str | None
    metadata: str = "{}"


def write_batch(db: Connection, entries: Sequence[Entry], x16: NDArray[np.float16], version: int) -> list[int]:
    """Write `entries` with vectors `x16` (n, dim) as of `version`, and give their ids.

    What is there with the entry's path or external id is replaced and keeps its id; of entries with the same one the
    last one counts. An entry without an external id leaves the one that is there. Where the entry of an external id is
    of the other modality, it is deleted, and the new one gets an id of its own.

    Raises:
        InputError: a value cannot be stored, a path is there with the other modality or another external id, or a
            wanted `id` is taken.
    """
    blobs = [vector.tobytes() for vector in x16]
    paths = [encode_path(entry.path) for entry in entries]
    metadata = [encode_metadata(entry.metadata) for entry in entries]
    names = [None if entry.external_id is None else check_external_id(entry.external_id) for entry in entries]
    by_path = _rows_with(db, "path", [path for path in paths if path is not None])
    by_name = _rows_with(db, "external_id", [name for name in names if name is not None])
    known = {row.id: row for row in [*by_path.values(), *by_name.values()]}
    by_path, by_name = ({key: known[row.id] for key, row in there.items()} for there in (by_path, by_name))
    changing = [entry for entry in entries if entry.external_id in by_name]
    if gone := {row.id for entry in changing if (row := by_name[entry.external_id]).modality != entry.modality}:
        delete_rows(db, json_ids(gone), version)
        for there in (by_path, by_name):
            for key in [key for key, row in there.items() if row.id in gone]:
                del there[key]
    old = {row.id: (row.modality, row.id, row.metadata) for row in [*by_path.values(), *by_name.values()]}
    taken = _take_rows(db, entries, paths, by_path, by_name)
    rows = []
    for key, i in {row.id: i for i, row in enumerate(taken)}.items():  # the last of each id
        modality, _, text, _, *rest, _ = FIELDS_OF(entries[i])
        values = (key, modality, paths[i], text, metadata[i], *rest, version, blobs[i], taken[i].external_id)
        rows.append((*values, checksum(*values)))
    _write_rows(db, rows)
    note_written(db, json_ids(row[0] for row in rows))
    new = {row[0]: (row[1], row[0], row[4]) for row in rows}
    changed = [key for key, described in new.items() if described != old.get(key)]
    unfile_facets(db, [old[key] for key in changed if key in old])
    file_facets(db, [new[key] for key in changed])
    count_rows(db, Counter(modality for modality, key, _ in new.values() if key not in old))
    return [row.id for row in taken]


def _rows_with(db: Connection, column: Literal["path", "external_id"], values: Sequence[Any]) -> dict[Any, _Row]:
    """The rows that are there with those paths or external ids, by them."""
    there = {}
    for start in range(0, len(values), LOOKUP):
        some = values[start : start + LOOKUP]
        marks = ", ".join(["CAST(? AS TEXT)"] * len(some))
        query = f"""
            SELECT id, modality, CAST(path AS BLOB), external_id, metadata FROM entries WHERE {column} IN ({marks})
        """
        for row in (_Row(*row) for row in db.execute(query, some)):
            there[getattr(row, column)] = row
    return there


def _take_rows(
    db: Connection,
    entries: Sequence[Entry],
    paths: Sequence[bytes | None],
    by_path: dict[Any, _Row],
    by_name: dict[Any, _Row],
) -> list[_Row]:
    """A row for each entry: the one that is there, or one with the id that it wants, or a new one above all ever."""
    wanted = [entry.id for entry in entries if entry.id is not None]
    (highest,) = db.execute("SELECT max(seq) FROM sqlite_sequence WHERE name = 'entries'").fetchone()
    new = max([highest or 0, *wanted])
    if wanted:
        among = json_ids(wanted)
        query = f"SELECT id FROM entries WHERE {AMONG} UNION SELECT id FROM tombstones WHERE {AMONG} LIMIT 1"
        for (key,) in db.execute(query, (among, among)):
            raise InputError(f"id {key} is taken, or was: leave `id` out to get a new one")
        if len(set(wanted)) < len(wanted) or min(wanted) < 1:
            raise InputError("wanted ids must be positive, and each stand once")
    taken = []
    for entry, path in zip(entries, paths, strict=True):
        row = _row_of(entry, path, by_path, by_name)
        if row is None:
            new += entry.id is None
            row = _Row(new if entry.id is None else entry.id, entry.modality, path, entry.external_id)
        elif row.path != path:
            by_path.pop(row.path, None)  # it moves
        row.path, row.external_id = path, entry.external_id or row.external_id
        if path is not None:
            by_path[path] = row
        if row.external_id is not None:
            by_name[row.external_id] = row
        taken.append(row)
    return taken


def _row_of(entry: Entry, path: bytes | None, by_path: dict[Any, _Row], by_name: dict[Any, _Row]) -> _Row | None:
    """The row that an entry takes, if it is there. InputError if it cannot be the entry's."""
    at, named = by_path.get(path), by_name.get(entry.external_id)
    row = named or at
    if row is None:
        return None
    what = f"external_id {entry.external_id!r}" if named else entry.path
    if at is not None and entry.external_id not in (None, at.external_id) and (named or at.external_id is not None):
        raise InputError(f"{entry.path} is the path of another entry (id {at.id}): change or delete that one first")
    if row.modality != entry.modality:
        raise InputError(f"{what} is in the collection with another modality: delete that entry first")
    if entry.id is not None and row.id != entry.id:
        raise InputError(f"{what} is in the collection with id {row.id}, not {entry.id}: leave `id` out")
    return row


def _write_rows(db: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows of COLUMNS, replacing those with the same id."""
    sets = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS[1:])
    for start in range(0, len(rows), TOGETHER):
        some = rows[start : start + TOGETHER]
        db.execute(
            f"INSERT INTO entries ({', '.join(COLUMNS)}) VALUES {', '.join([VALUES] * len(some))} "
            f"ON CONFLICT (id) DO UPDATE SET {sets}",
            list(chain.from_iterable(some)),
        )
