"""What is kept of entries whose files went: path, metadata and vector, by the bytes of the file. No search sees it.

A folder may come back with its disk, a file may turn up elsewhere. The table is made when there is something to keep,
so that a catalog without it stays as a glimpse of before knows it. It is bounded: what says nothing goes first, then
the oldest.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from index.entry import Keepsake
from index.local.catalog.checksums import STORED, checksum
from index.local.catalog.sqlite.database import Connection, Database
from index.local.catalog.tables import AMONG, KEEPSAKES, decode_vectors, inside_of, json_ids, read_identity

MOST = 10_000  # kept at all, or as many as there are entries
OF_A_PATH = 4  # the last ones: a file may be rewritten again and again
SAID = ("path", "sha256", "metadata", "fingerprint", "vector")  # its checksum is over these
AS_BYTES = ", ".join(name if name == "vector" else f"CAST({name} AS BLOB)" for name in SAID)
KEEP = f"""
    WITH going AS (
        SELECT id, path, sha256, metadata, (SELECT value FROM meta WHERE key = 'fingerprint') AS fingerprint, vector
        FROM entries WHERE {AMONG} AND path IS NOT NULL AND sha256 IS NOT NULL AND ifnull(checksum = {STORED}, 1)
    )
    INSERT OR REPLACE INTO keepsakes ({", ".join(SAID)}, checksum)
    SELECT {", ".join(SAID)}, checksum({AS_BYTES}) FROM going ORDER BY id
"""
OLDER = f"""
    DELETE FROM keepsakes WHERE id IN (
        SELECT id FROM (
            SELECT id, row_number() OVER (PARTITION BY path ORDER BY id DESC) AS age FROM keepsakes
            WHERE path IN (SELECT path FROM entries WHERE {AMONG})
        ) WHERE age > {OF_A_PATH}
    )
"""
LEAST = "DELETE FROM keepsakes WHERE id IN (SELECT id FROM keepsakes ORDER BY metadata <> '{}', id LIMIT ?)"
FIND = f"SELECT id, found, checksum, {AS_BYTES} FROM keepsakes WHERE sha256 = ? ORDER BY id DESC LIMIT 1000"
COUNTS = "SELECT (SELECT count(*) FROM keepsakes), (SELECT count(*) FROM entries)"
BELOW = "path >= CAST(? AS TEXT) AND path < CAST(? AS TEXT)"


class Keepsakes:
    """Those of one catalog. `check_writable` raises where the collection is open for reading only."""

    def __init__(self, db: Database, check_writable: Callable[[], None]) -> None:
        self._db = db
        self._check_writable = check_writable

    def keep(self, ids: Iterable[int]) -> None:
        """Keep what there is of these entries, which are about to be deleted or to get other bytes."""
        among = json_ids(ids)
        self._check_writable()
        with self._db.writing() as db:
            if not _is_there(db):
                for statement in KEEPSAKES.split(";"):
                    db.execute(statement)
            db.execute(KEEP, (among,))
            db.execute(OLDER, (among,))
            kept, entries = db.execute(COUNTS).fetchone()
            if kept > (bound := max(MOST, entries)):
                db.execute(LEAST, (kept - bound * 7 // 8,))  # some more, so that it is not done each time

    def last(self) -> int:
        """The highest id: what is kept later has a higher one."""
        with self._db.reading() as db:
            return int(db.execute("SELECT ifnull(max(id), 0) FROM keepsakes").fetchone()[0]) if _is_there(db) else 0

    def of(self, sha256: str) -> list[Keepsake]:
        """Those of a file with this hash, the newest first; none that is damaged."""
        with self._db.reading() as db:
            db.execute("BEGIN")
            rows = db.execute(FIND, (sha256,)).fetchall() if _is_there(db) else []
            identity = read_identity(db) if rows else {}
        return [_keepsake(row, identity) for row in rows if row[2] == checksum(*row[3:])]

    def set_found(self, ids: Iterable[int]) -> None:
        """Note that other files have got their metadata."""
        self._check_writable()
        with self._db.writing() as db:
            db.execute(f"UPDATE keepsakes SET found = 1 WHERE {AMONG}", (json_ids(ids),))

    def count(self, folder: str | Path) -> int:
        """How many there are of files inside that folder."""
        with self._db.reading() as db:
            if not _is_there(db):
                return 0
            return int(db.execute(f"SELECT count(*) FROM keepsakes WHERE {BELOW}", inside_of(folder)).fetchone()[0])

    def forget(self, folder: str | Path) -> int:
        """Delete those of files inside that folder. Returns how many went."""
        self._check_writable()
        if not self.count(folder):
            return 0
        with self._db.writing() as db:
            return db.execute(f"DELETE FROM keepsakes WHERE {BELOW}", inside_of(folder)).rowcount

    def forget_entries(self, ids: Sequence[int]) -> None:
        """Delete those of files with the bytes or the path of one of these entries."""
        self._check_writable()
        with self._db.writing() as db:
            if _is_there(db):
                for column in ("path", "sha256"):
                    among = f"SELECT {column} FROM entries WHERE {AMONG}"
                    db.execute(f"DELETE FROM keepsakes WHERE {column} IN ({among})", (json_ids(ids),))


def damaged(db: Connection) -> list[str]:
    """What is wrong with them, in a line, if anything is."""
    rows = db.execute(f"SELECT checksum, {AS_BYTES} FROM keepsakes") if _is_there(db) else ()
    wrong = sum(1 for row in rows if row[0] != checksum(*row[1:]))
    return [f"{wrong} of what is kept of files that went are not what was written"] if wrong else []


def _is_there(db: Connection) -> bool:
    return db.execute("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'keepsakes'").fetchone() is not None


def _keepsake(row: tuple[Any, ...], identity: dict[str, Any]) -> Keepsake:
    key, found, _, path, _, metadata, fingerprint, vector = row
    fits = fingerprint.decode() == identity["fingerprint"] and len(vector) == 2 * identity["dim"]
    x = decode_vectors([vector], identity["dim"])[0].astype(np.float32) if fits else None
    return Keepsake(key, os.fsdecode(path), json.loads(metadata), x, bool(found))
