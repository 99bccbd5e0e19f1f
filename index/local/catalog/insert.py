"""A batch of entries on its way into the tables: which ids they get, their rows, their facets.

Statements are few and take many rows each: that is most of what makes a write fast.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, count, islice
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from base.names import check_external_id
from index.batch import Batch
from index.entry import Entry
from index.local.catalog.checksums import checksum, checksums
from index.local.catalog.facets import file_facets, file_metadata, unfile_facets
from index.local.catalog.sqlite.database import Connection
from index.local.catalog.tables import (
    AMONG,
    FIELDS,
    FIELDS_OF,
    WRITTEN,
    count_rows,
    delete_rows,
    encode_metadata,
    encode_path,
    json_ids,
    note_written,
)
from index.matching import Row, check_wanted, take_rows, taken

COLUMNS = (*WRITTEN, "checksum")
VALUES = f"({', '.join('CAST(? AS TEXT)' if name == 'path' else '?' for name in COLUMNS)})"
TOGETHER = 50  # rows in one INSERT: each statement costs a look at AUTOINCREMENT's counter
LOOKUP = 500  # paths looked up by one statement


def write_batch(db: Connection, batch: Batch, x16: NDArray[np.float16], version: int) -> list[int]:
    """Write a batch with vectors `x16` (n, dim) as of `version`, and give the ids of its entries.

    What is there with the entry's path or external id is replaced and keeps its id; of entries with the same one the
    last one counts. An entry without an external id leaves the one that is there. Where the entry of an external id is
    of the other modality, it is deleted, and the new one gets an id of its own.

    Raises:
        InputError: a value cannot be stored, a path is there with the other modality or another external id, or a
            wanted `id` is taken.
    """
    blobs = _blobs(x16)
    paths = [None if path is None else encode_path(path) for path in batch.column("path")]
    metadata = batch.metadata_text or [encode_metadata(each) for each in batch.column("metadata")]
    names = [None if name is None else check_external_id(name) for name in batch.column("external_id")]
    by_path = _rows_with(db, "path", [path for path in paths if path is not None])
    by_name = _rows_with(db, "external_id", [name for name in names if name is not None])
    fields = [batch.column(name) for name in FIELDS[4:-1]]
    if not by_path and not by_name and _is_empty(batch.id) and _all_differ(paths) and _all_differ(names):
        ids = [*islice(_new_ids(db), len(batch))]
        _write_new(db, [ids, batch.modality, paths, batch.column("text"), metadata, *fields,
                        [version] * len(ids), blobs, names])  # fmt: skip
        note_written(db, json_ids(ids))
        if batch.metadata_text is None:
            file_facets(db, zip(batch.modality, ids, metadata, strict=True))
        else:
            file_metadata(db, zip(batch.modality, ids, batch.metadata, strict=True))
        count_rows(db, Counter(batch.modality))
        return ids
    entries = batch.entries
    known = {row.id: row for row in [*by_path.values(), *by_name.values()]}
    by_path, by_name = ({key: known[row.id] for key, row in there.items()} for there in (by_path, by_name))
    changing = [entry for entry in entries if entry.external_id in by_name]
    if gone := {row.id for entry in changing if (row := by_name[entry.external_id]).modality != entry.modality}:
        delete_rows(db, json_ids(gone), version)
        for there in (by_path, by_name):
            for key in [key for key, row in there.items() if row.id in gone]:
                del there[key]
    old = {row.id: (row.modality, row.id, row.metadata) for row in [*by_path.values(), *by_name.values()]}
    rows_of = _take_rows(db, entries, paths, by_path, by_name)
    rows = []
    for key, i in {row.id: i for i, row in enumerate(rows_of)}.items():  # the last of each id
        modality, _, text, _, *rest, _ = FIELDS_OF(entries[i])
        values = (key, modality, paths[i], text, metadata[i], *rest, version, blobs[i], rows_of[i].external_id)
        rows.append((*values, checksum(*values)))
    _write_rows(db, rows)
    note_written(db, json_ids(row[0] for row in rows))
    new = {row[0]: (row[1], row[0], row[4]) for row in rows}
    changed = [key for key, described in new.items() if described != old.get(key)]
    unfile_facets(db, [old[key] for key in changed if key in old])
    file_facets(db, [new[key] for key in changed])
    count_rows(db, Counter(modality for modality, key, _ in new.values() if key not in old))
    return [row.id for row in rows_of]


def _blobs(x16: NDArray[np.float16]) -> list[bytes]:
    data, width = np.ascontiguousarray(x16).tobytes(), 2 * x16.shape[1] if x16.size else 1
    return [data[start : start + width] for start in range(0, len(data), width)]


def _is_empty(values: Sequence[Any]) -> bool:
    return values.count(None) == len(values)


def _all_differ(values: Sequence[Any]) -> bool:
    """Whether no two are the same but None."""
    none = values.count(None)
    return len(set(values)) == len(values) - none + bool(none)


def _write_new(db: Connection, columns: Sequence[Sequence[Any]]) -> None:
    """Insert rows, given as columns of WRITTEN, of which none is there."""
    rows = list(zip(*columns, checksums(columns), strict=True))
    for start in range(0, len(rows), TOGETHER):
        some = rows[start : start + TOGETHER]
        values = ", ".join([VALUES] * len(some))
        db.execute(f"INSERT INTO entries ({', '.join(COLUMNS)}) VALUES {values}", list(chain.from_iterable(some)))


def _new_ids(db: Connection, above: int = 0) -> Iterator[int]:
    """Ids above all ever, and `above`."""
    (highest,) = db.execute("SELECT max(seq) FROM sqlite_sequence WHERE name = 'entries'").fetchone()
    return count(max(highest or 0, above) + 1)


def _rows_with(db: Connection, column: Literal["path", "external_id"], values: Sequence[Any]) -> dict[Any, Row]:
    """The rows that are there with those paths or external ids, by them."""
    there = {}
    for start in range(0, len(values), LOOKUP):
        some = values[start : start + LOOKUP]
        marks = ", ".join(["CAST(? AS TEXT)"] * len(some))
        query = f"""
            SELECT id, modality, CAST(path AS BLOB), external_id, metadata FROM entries WHERE {column} IN ({marks})
        """
        for row in (Row(*row) for row in db.execute(query, some)):
            there[getattr(row, column)] = row
    return there


def _take_rows(
    db: Connection,
    entries: Sequence[Entry],
    paths: Sequence[bytes | None],
    by_path: dict[Any, Row],
    by_name: dict[Any, Row],
) -> list[Row]:
    """A row for each entry (index.matching); new ids are above all ever."""
    wanted = check_wanted(entries)
    new = _new_ids(db, max(wanted, default=0))
    if wanted:
        among = json_ids(wanted)
        query = f"SELECT id FROM entries WHERE {AMONG} UNION SELECT id FROM tombstones WHERE {AMONG} LIMIT 1"
        for (key,) in db.execute(query, (among, among)):
            raise taken(key)
    return take_rows(entries, paths, by_path, by_name, lambda: next(new))


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
