"""A batch of entries on its way into the tables: which ids they get, their rows, their facets.

Statements are few and take many rows each: that is most of what makes a write fast.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from base.errors import InputError
from index.entry import Entry, Modality
from index.local.catalog.checksums import checksum
from index.local.catalog.database import Connection
from index.local.catalog.facets import file_facets, unfile_facets
from index.local.catalog.tables import AMONG, FIELDS_OF, WRITTEN, count_rows, encode_metadata, encode_path, json_ids

COLUMNS = (*WRITTEN, "checksum")
VALUES = f"({', '.join('CAST(? AS TEXT)' if name == 'path' else '?' for name in COLUMNS)})"
TOGETHER = 50  # rows in one INSERT: each statement costs a look at AUTOINCREMENT's counter
LOOKUP = 500  # paths looked up by one statement


def write_batch(db: Connection, entries: Sequence[Entry], x16: NDArray[np.float16], version: int) -> list[int]:
    """Write `entries` with vectors `x16` (n, dim) as of `version`, and give their ids.

    A path that is there keeps its id; of entries with the same path the last one counts.

    Raises:
        InputError: a value cannot be stored, a path is there with the other modality, or a wanted `id` is taken.
    """
    blobs = [vector.tobytes() for vector in x16]
    paths = [encode_path(entry.path) for entry in entries]
    metadata = [encode_metadata(entry.metadata) for entry in entries]
    there = _rows_at(db, [path for path in paths if path is not None])
    ids = _ids(db, entries, paths, there)
    rows = []
    for key, i in dict(zip(ids, range(len(ids)), strict=True)).items():  # the last of each id
        modality, _, text, _, *rest = FIELDS_OF(entries[i])
        row = (key, modality, paths[i], text, metadata[i], *rest, version, blobs[i])
        rows.append((*row, checksum(*row)))
    _write_rows(db, rows)
    old = {key: (modality, key, text) for key, modality, text in there.values()}
    new = {row[0]: (row[1], row[0], row[4]) for row in rows}
    changed = [key for key, described in new.items() if described != old.get(key)]
    unfile_facets(db, [old[key] for key in changed if key in old])
    file_facets(db, [new[key] for key in changed])
    count_rows(db, Counter(modality for modality, key, _ in new.values() if key not in old))
    return ids


def _rows_at(db: Connection, paths: Sequence[bytes]) -> dict[bytes, tuple[int, Modality, str]]:
    """The id, modality and metadata of those paths that are there."""
    there = {}
    for start in range(0, len(paths), LOOKUP):
        some = paths[start : start + LOOKUP]
        marks = ", ".join(["CAST(? AS TEXT)"] * len(some))
        query = f"SELECT CAST(path AS BLOB), id, modality, metadata FROM entries WHERE path IN ({marks})"
        there.update({path: (key, modality, text) for path, key, modality, text in db.execute(query, some)})
    return there


def _ids(
    db: Connection,
    entries: Sequence[Entry],
    paths: Sequence[bytes | None],
    there: Mapping[bytes, tuple[int, Modality, str]],
) -> list[int]:
    """An id for each entry: its path's, the one it wants, or a new one above all that ever were."""
    wanted = [entry.id for entry in entries if entry.id is not None]
    at = {path: (key, modality) for path, (key, modality, _) in there.items()}
    (highest,) = db.execute("SELECT max(seq) FROM sqlite_sequence WHERE name = 'entries'").fetchone()
    new = max([highest or 0, *wanted])
    if wanted:
        among = json_ids(wanted)
        query = f"SELECT id FROM entries WHERE {AMONG} UNION SELECT id FROM tombstones WHERE {AMONG} LIMIT 1"
        for (key,) in db.execute(query, (among, among)):
            raise InputError(f"id {key} is taken, or was: leave `id` out to get a new one")
        if len(set(wanted)) < len(wanted) or min(wanted) < 1:
            raise InputError("wanted ids must be positive, and each stand once")
    ids = []
    for entry, path in zip(entries, paths, strict=True):
        key, modality = at.get(path, (entry.id, entry.modality)) if path is not None else (entry.id, entry.modality)
        if modality != entry.modality:
            raise InputError(f"{entry.path} is in the collection with another modality: delete that entry first")
        if entry.id is not None and key != entry.id:
            raise InputError(f"{entry.path} is in the collection with id {key}, not {entry.id}: leave `id` out")
        if key is None:
            key = new = new + 1
        if path is not None:
            at[path] = key, modality
        ids.append(key)
    return ids


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
