"""Whether a catalog is sound: every row read once, in bounded memory. It finds, it does not repair."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from base.errors import CollectionError, InputError
from base.names import check_external_id
from index.entry import MODALITIES
from index.local.catalog.checksums import AS_BYTES, checksum, has_checksums, is_counted
from index.local.catalog.facets import Scalar, facets_of
from index.local.catalog.keepsakes import damaged
from index.local.catalog.sqlite.database import Connection, Database
from index.local.catalog.tables import (
    META,
    NEXT,
    STATE,
    foreign_objects,
    has_column,
    read_counts,
    read_json,
    read_meta,
)

BLOCK = 4096  # rows read at a time
SHOWN = 5  # ids named in one problem
UNCOUNTED = "its revision is damaged, or an older glimpse has written: `collections compact` takes it as it is"
UNIT = 2e-3  # a unit vector, rounded to float16, is within this of length 1


def problems(database: Database) -> list[str]:
    """What is wrong, one line each."""
    found: list[str] = []
    try:
        with database.reading() as db:
            db.execute("BEGIN")  # all of it as of one moment
            for check in (_file, foreign_objects, _meta, _rows, _next_vectors, _tombstones, _changes, damaged):
                found += check(db)
    except CollectionError as error:  # a damaged page may end the reading
        found.append(str(error))
    return found


def _file(db: Connection) -> list[str]:
    lines = [line for (line,) in db.execute("PRAGMA integrity_check(20)")]
    return [] if lines == ["ok"] else [f"the SQLite file is damaged: {' '.join(line.split())}" for line in lines]


def _meta(db: Connection) -> Iterator[str]:
    meta: dict[str, Any] = dict(db.execute("SELECT key, value FROM meta"))
    known = {*META, *STATE, "life"} - (set() if has_column(db, "changes", "id") else {"life", "changes_since"})
    if missing := sorted(known - meta.keys()):
        yield f"meta lacks {', '.join(missing)}"
        return
    for key in ("version", "revision", "tombstones_since", "dim"):
        if not isinstance(meta[key], int) or meta[key] < (key == "dim"):
            yield f"meta has a {key} of {meta[key]!r}"
    counted = dict(db.execute("SELECT modality, count(*) FROM entries GROUP BY modality").fetchall())
    for modality, count in read_counts(db).items():
        if count != counted.get(modality, 0):
            yield f"meta counts {count} {modality}s, there are {counted.get(modality, 0)}"
    for key in ("snapshot", "next"):
        try:
            sound = isinstance(json.loads(meta[key]), dict | None)
        except (TypeError, ValueError):
            sound = False
        if not sound:
            yield f"meta has a {key} that is no JSON object"
    if not has_checksums(db):
        return
    if not is_counted(db):
        yield UNCOUNTED
        return
    for key, value, kept in db.execute("SELECT key, value, checksum FROM meta"):
        if kept not in (None, checksum(key, value)):
            yield f"meta has a {key} that is not what was written"


def _rows(db: Connection) -> list[str]:
    version, dim = read_meta(db, "version"), read_meta(db, "dim")
    kept = "checksum" if has_checksums(db) and is_counted(db) else "NULL"
    fields = AS_BYTES if has_column(db, "entries", "external_id") else [*AS_BYTES[:-1], "NULL"]
    rows = db.execute(f"SELECT {kept}, {', '.join(fields)} FROM entries ORDER BY id")
    wrong: dict[str, list[int]] = {}
    filed = 0
    while block := rows.fetchmany(BLOCK):
        for row in block:
            for what in _faults(row, version, dim):
                wrong.setdefault(what, []).append(row[1])
            try:
                expected = facets_of(row[5].decode())
            except (ValueError, TypeError, AttributeError, RecursionError):
                wrong.setdefault("have metadata that are no JSON object", []).append(row[1])
                continue
            there = _filed(db, row, expected)
            filed += there
            if there < len(expected):
                wrong.setdefault("lack facets of their metadata", []).append(row[1])
        ids = np.array([row[1] for row in block])
        if strange := ids[_not_unit([row[-2] for row in block], dim)].tolist():
            wrong.setdefault("have a vector that is not of length 1", []).extend(strange)
    lines = [f"{len(ids)} entries {what} (id {', '.join(map(str, ids[:SHOWN]))})" for what, ids in wrong.items()]
    if (surplus := db.execute("SELECT count(*) FROM facets").fetchone()[0] - filed) > 0:
        lines.append(f"{surplus} facets belong to no metadata")
    return lines


def _faults(row: tuple[Any, ...], version: int, dim: int) -> Iterator[str]:
    """What is wrong with one row, its checksum before it; a damaged page may hold anything."""
    kept, _, modality, path, *_, written, vector, external_id = row
    if kept is not None and kept != checksum(*row[1:]):
        yield "are not what was written"
    if (named := str(modality or b"", errors="replace")) not in MODALITIES:
        yield f"have the modality {named!r}"
    if path is not None and b"\0" in path:
        yield "have a path with a zero byte in it"
    if not isinstance(written, int) or written > version:
        yield "are newer than the catalog's version"
    if not isinstance(vector, bytes) or len(vector) != 2 * dim:
        yield f"have a vector that has not {dim} values"
    try:
        check_external_id("-" if external_id is None else external_id.decode())
    except (InputError, UnicodeDecodeError):
        yield "have an external id that cannot be one"


def _filed(db: Connection, row: tuple[Any, ...], expected: set[tuple[str, Scalar]]) -> int:
    """How many of those facets of a row are there."""
    query = "SELECT count(*) FROM facets WHERE modality = CAST(? AS TEXT) AND key = ? AND value = ? AND id = ?"
    return sum(db.execute(query, (row[2], *one, row[1])).fetchone()[0] for one in expected)


def _not_unit(vectors: Sequence[Any], dim: int) -> NDArray[np.bool_]:
    """Which stored vectors are not of length 1; one that has not `dim` values is named for that."""
    unit = b"\0\x3c" + bytes(2 * dim - 2)
    whole = [vector if isinstance(vector, bytes) and len(vector) == 2 * dim else unit for vector in vectors]
    x = np.frombuffer(b"".join(whole), np.float16).reshape(len(whole), dim)
    with np.errstate(invalid="ignore"):
        strange: NDArray[np.bool_] = ~(np.abs(np.linalg.norm(x.astype(np.float32), axis=1) - 1) <= UNIT)  # NaN too
    return strange


def _next_vectors(db: Connection) -> Iterator[str]:
    coming = read_json(db, "next", NEXT)
    rows = db.execute("SELECT id, vector FROM next_vectors ORDER BY id")
    while coming and (block := rows.fetchmany(BLOCK)):
        ids, vectors = zip(*block, strict=True)
        if wrong := np.array(ids)[_not_unit(vectors, coming["dim"])].tolist():
            yield f"{len(wrong)} vectors of the next model are not of length 1 (id {wrong[0]})"


def _tombstones(db: Connection) -> Iterator[str]:
    query = "SELECT count(*) FROM entries WHERE id IN (SELECT id FROM tombstones)"
    if living := db.execute(query).fetchone()[0]:
        yield f"{living} entries are marked as deleted"
    known = ", ".join(f"'{modality}'" for modality in MODALITIES)
    query = f"SELECT count(*) FROM tombstones WHERE version > ? OR version < 1 OR modality NOT IN ({known})"
    if strange := db.execute(query, (read_meta(db, "version"),)).fetchone()[0]:
        yield f"{strange} deletions are of no commit or modality"
    query = "SELECT max(id) FROM (SELECT max(id) AS id FROM entries UNION ALL SELECT max(id) FROM tombstones)"
    highest, given = db.execute(
        f"SELECT ({query}), (SELECT seq FROM sqlite_sequence WHERE name = 'entries')"
    ).fetchone()
    if highest is not None and (given is None or given < highest):
        yield f"ids are counted up to {given}, there are some up to {highest}"


def _changes(db: Connection) -> Iterator[str]:
    if not has_column(db, "changes", "id"):  # of schema 2, on a read-only disk
        return
    untold = "SELECT count(*) FROM entries WHERE id NOT IN (SELECT id FROM changes WHERE what <> 'deleted')"
    if lacking := db.execute(untold).fetchone()[0]:
        yield f"{lacking} entries are not in the feed of changes"
    strange = (
        "SELECT count(*) FROM changes WHERE what NOT IN ('created', 'updated', 'deleted') OR revision > ? "
        "OR (what <> 'deleted' AND id NOT IN (SELECT id FROM entries)) OR (what = 'deleted' AND modality IS NULL)"
    )
    if wrong := db.execute(strange, (read_meta(db, "revision"),)).fetchone()[0]:
        yield f"{wrong} changes are of no entry or commit"
