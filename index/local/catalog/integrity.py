"""Whether a catalog is sound: every row read once, in bounded memory. It finds, it does not repair."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from base.errors import CollectionError
from index.entry import MODALITIES
from index.local.catalog.database import Connection, Database
from index.local.catalog.facets import facets_of
from index.local.catalog.tables import META, STATE, read_counts, read_meta

BLOCK = 4096  # rows read at a time
SHOWN = 5  # ids named in one problem
UNIT = 2e-3  # a unit vector, rounded to float16, is within this of length 1


def problems(database: Database) -> list[str]:
    """What is wrong, one line each."""
    found: list[str] = []
    try:
        with database.reading() as db:
            db.execute("BEGIN")  # all of it as of one moment
            for check in (_file, _meta, _rows, _tombstones):
                found += check(db)
    except CollectionError as error:  # a damaged page may end the reading
        found.append(str(error))
    return found


def _file(db: Connection) -> list[str]:
    lines = [line for (line,) in db.execute("PRAGMA integrity_check(20)")]
    return [] if lines == ["ok"] else [f"the SQLite file is damaged: {' '.join(line.split())}" for line in lines]


def _meta(db: Connection) -> Iterator[str]:
    meta: dict[str, Any] = dict(db.execute("SELECT key, value FROM meta"))
    if missing := [key for key in (*META, *STATE) if key not in meta]:
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


def _rows(db: Connection) -> list[str]:
    version, dim = read_meta(db, "version"), read_meta(db, "dim")
    wrong: dict[str, list[int]] = {}
    filed = 0
    rows = db.execute("SELECT id, modality, metadata, version, vector FROM entries ORDER BY id")
    facet = "SELECT count(*) FROM facets WHERE modality = ? AND key = ? AND value = ? AND id = ?"
    while block := rows.fetchmany(BLOCK):
        x = []
        for key, modality, metadata, written, vector in block:
            vector = vector if isinstance(vector, bytes) else b""  # a damaged page may hold anything
            if modality not in MODALITIES:
                wrong.setdefault(f"have the modality {modality!r}", []).append(key)
            if not isinstance(written, int) or written > version:
                wrong.setdefault("are newer than the catalog's version", []).append(key)
            if len(vector) != 2 * dim:
                wrong.setdefault(f"have a vector that has not {dim} values", []).append(key)
            x.append(np.frombuffer(vector if len(vector) == 2 * dim else b"\0\x3c" + bytes(2 * dim - 2), np.float16))
            try:
                expected = facets_of(metadata)
            except (ValueError, TypeError, AttributeError, RecursionError):
                wrong.setdefault("have metadata that are no JSON object", []).append(key)
                continue
            there = sum(db.execute(facet, (modality, *one, key)).fetchone()[0] for one in expected)
            filed += there
            if there < len(expected):
                wrong.setdefault("lack facets of their metadata", []).append(key)
        lengths = np.linalg.norm(np.stack(x).astype(np.float32), axis=1)
        for i in np.flatnonzero(~(np.abs(lengths - 1) <= UNIT)):  # a NaN is wrong too
            wrong.setdefault("have a vector that is not of length 1", []).append(block[i][0])
    lines = [f"{len(ids)} entries {what} (id {', '.join(map(str, ids[:SHOWN]))})" for what, ids in wrong.items()]
    if (surplus := db.execute("SELECT count(*) FROM facets").fetchone()[0] - filed) > 0:
        lines.append(f"{surplus} facets belong to no metadata")
    return lines


def _tombstones(db: Connection) -> Iterator[str]:
    query = "SELECT count(*) FROM entries WHERE id IN (SELECT id FROM tombstones)"
    if living := db.execute(query).fetchone()[0]:
        yield f"{living} entries are marked as deleted"
