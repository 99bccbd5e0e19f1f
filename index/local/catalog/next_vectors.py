"""The vectors of another model, gathered beside the present ones until one transaction puts them in their place.

A kill at any moment leaves the present model served and the work so far kept: what is done lies in the same SQLite
file. A row whose vector is set meanwhile is due again, because its version is no longer the one that was remembered.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from base.errors import CollectionError, EntriesLeft, InputError
from index.entry import Modality, NextInfo, Record
from index.local.catalog.checksums import AS_BYTES, DAMAGED, STORED
from index.local.catalog.sqlite.database import Connection, Database
from index.local.catalog.tables import (
    COLUMNS,
    NEXT,
    decode_vectors,
    delete_rows,
    json_ids,
    next_version,
    read_counts,
    read_identity,
    read_json,
    records,
)
from index.local.snapshot import Snapshot

LEFT = "NOT EXISTS (SELECT 1 FROM next_vectors n WHERE n.id = entries.id AND n.version = entries.version)"
SWAPPED = f"""
    SELECT ?, n.vector, iif(
        entries.checksum <> {STORED}, {DAMAGED}, checksum({", ".join(AS_BYTES[:-3])}, ?, n.vector, {AS_BYTES[-1]})
    )
    FROM next_vectors n WHERE n.id = entries.id
"""
BLOCK = 8192  # vectors handed over at a time


class NextVectors:
    """The vectors of a catalog's next model.

    Args:
        db: the catalog's.
        swapped: told what the catalog is after a swap: name, model, fingerprint, dim, created_at.
    """

    def __init__(self, db: Database, swapped: Callable[[dict[str, Any]], None]) -> None:
        self._db = db
        self._swapped = swapped
        self._given: dict[int, int] = {}  # rows given to be encoded, and their versions then

    def begin(self, model: str, fingerprint: str, dim: int) -> bool:
        """Start to gather vectors (dim,) of another model. True: an unfinished gathering for it goes on.

        One for another model is dropped first.
        """
        info = {"model": model, "fingerprint": fingerprint, "dim": dim}
        with self._db.writing() as db:
            before = read_json(db, "next", NEXT)
            goes_on = before is not None and (before["fingerprint"], before["dim"]) == (fingerprint, dim)
            if not goes_on:
                db.execute("DELETE FROM next_vectors")
            _set_next(db, info)
        return goes_on

    def info(self) -> NextInfo | None:
        """How far it is; None: no change of model is under way."""
        with self._db.reading() as db:
            db.execute("BEGIN")
            info = read_json(db, "next", NEXT)
            if info is None:
                return None
            total = db.execute("SELECT count(*) FROM entries").fetchone()[0]
            left = db.execute(f"SELECT count(*) FROM entries WHERE {LEFT}").fetchone()[0]
            return NextInfo(info["model"], info["fingerprint"], info["dim"], total - left, left)

    def left(self, after_id: int = 0, limit: int = 1000) -> list[Record]:
        """Up to `limit` rows above `after_id`, by id, that have no next vector, or one of what they were before."""
        with self._db.reading() as db:
            db.execute("BEGIN")
            query = f"SELECT %s FROM entries WHERE id > ? AND {LEFT} ORDER BY id LIMIT ?"
            self._given |= dict(db.execute(query % "id, version", (after_id, limit)).fetchall())
            return records(db.execute(query % COLUMNS, (after_id, limit)).fetchall())

    def write(self, ids: Sequence[int], x: NDArray[np.float32]) -> None:
        """Keep the next vectors `x` (n, next dim), as float16, of rows as `left` gave them; of one that was set anew
        since it is due again. Ids that are gone are passed over.
        """
        x16 = x.astype(np.float16)
        with self._db.writing() as db:
            info = _next(db)
            if x16.shape != (len(ids), info["dim"]):
                raise InputError(f"vectors must be ({len(ids)}, {info['dim']}), not {x16.shape}")
            db.executemany(
                "INSERT OR REPLACE INTO next_vectors SELECT id, coalesce(?, version), ? FROM entries WHERE id = ?",
                (
                    (self._given.pop(int(key), None), vector.tobytes(), int(key))
                    for key, vector in zip(ids, x16, strict=True)
                ),
            )

    def rows(self, modality: Modality) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float16]]]:
        """Stream (ids (n,), x16 (n, next dim)) of the rows that are done, in the order of ids."""
        query = """
            SELECT id, n.vector FROM entries JOIN next_vectors n USING (id)
            WHERE id > ? AND +modality = ? AND n.version = entries.version ORDER BY id LIMIT ?
        """
        after = 0
        while True:
            with self._db.reading() as db:  # a block at a time: a caller who stops half-way holds nothing open
                dim = _next(db)["dim"]
                rows = db.execute(query, (after, modality, BLOCK)).fetchall()
            if rows:
                ids, blobs = zip(*rows, strict=True)
                yield np.array(ids, np.int64), decode_vectors(blobs, dim)
                after = ids[-1]
            if len(rows) < BLOCK:
                return

    def swap(self, snapshot: Snapshot | None, drop: Sequence[int] = ()) -> int:
        """Put the next vectors and model in place, delete the rows `drop`, name `snapshot`; returns the new version.

        One transaction. Every index starts anew from it. The snapshot's version is set to the new one.

        Raises:
            EntriesLeft: there are rows that are neither done nor dropped.
        """
        with self._db.writing() as db:
            info = _next(db)
            version = next_version(db)
            delete_rows(db, json_ids(drop), version)
            left = db.execute(f"SELECT count(*) FROM entries WHERE {LEFT}").fetchone()[0]
            if left:
                raise EntriesLeft(f"{left} entries have no vector of {info['model']} yet: finish the reindex first")
            db.execute(f"UPDATE entries SET (version, vector, checksum) = ({SWAPPED})", (version, version))
            db.execute("DELETE FROM tombstones")
            # An entry that was deleted since the snapshot was built is still in it, and no tombstone will say so.
            held = {m: segment.count for m, segment in (snapshot.segments if snapshot else {}).items()}
            fits = all(held.get(modality, 0) == count for modality, count in read_counts(db).items())
            named = replace(snapshot, version=version).to_json() if snapshot is not None and fits else "null"
            values = {**info, "tombstones_since": version, "snapshot": named, "bar": "null"}
            db.executemany("UPDATE meta SET value = ? WHERE key = ?", ((value, key) for key, value in values.items()))
            db.execute("DELETE FROM next_vectors")
            _set_next(db, None)
            identity = read_identity(db)
        self._swapped(identity)
        return version

    def abandon(self) -> None:
        """Drop what was gathered, if anything."""
        with self._db.writing() as db:
            db.execute("DELETE FROM next_vectors")
            _set_next(db, None)


def _next(db: Connection) -> dict[str, Any]:
    info = read_json(db, "next", NEXT)
    if info is None:
        raise CollectionError("no change of model is under way: begin one first")
    return info


def _set_next(db: Connection, info: dict[str, Any] | None) -> None:
    db.execute("UPDATE meta SET value = ? WHERE key = 'next'", (json.dumps(info),))
