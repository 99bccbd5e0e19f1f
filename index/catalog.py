"""The one truth of a collection: a SQLite file with a row for each image or text, its vector included.

Here are its tables and statements; connections and transactions are `index.database`'s. It does not search and does
not know FAISS: `changes` hands over what an index in RAM lacks.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from encoder.errors import CollectionDamaged, EntryNotFound, InputError
from index.database import Connection, Database
from index.entry import MODALITIES, Entry, Modality, Record

# AUTOINCREMENT: an id is never given twice, so a deleted id cannot come back as another image.
# `version` is the number of the commit that last set the vector; a change of path or metadata leaves it.
SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE entries (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    modality TEXT NOT NULL,
    path TEXT UNIQUE,
    text TEXT,
    metadata TEXT NOT NULL,
    sha256 TEXT,
    mtime_ns INTEGER,
    size INTEGER,
    width INTEGER,
    height INTEGER,
    version INTEGER NOT NULL,
    vector BLOB NOT NULL
) STRICT;
CREATE INDEX entries_version ON entries (modality, version);
CREATE INDEX entries_sha256 ON entries (sha256) WHERE sha256 IS NOT NULL;
CREATE TABLE tombstones (version INTEGER, id INTEGER, modality TEXT NOT NULL, PRIMARY KEY (version, id))
    STRICT, WITHOUT ROWID;
"""
SCHEMA_VERSION = 1
META = ("name", "model", "fingerprint", "dim", "created_at")  # set once, when it is made
APPLICATION_ID = 0x676C696D  # "glim", so that another program's SQLite file is not taken for a catalog

# A file name need not be UTF-8. Paths go in and out as bytes, so that every name that Python can hold is kept.
FIELDS = ("modality", "path", "text", "metadata", "sha256", "mtime_ns", "size", "width", "height")
FIELDS_OF = attrgetter(*FIELDS)
COLUMNS = ", ".join(["id", *FIELDS]).replace("path", "CAST(path AS BLOB)")
UPSERT = f"""
INSERT INTO entries ({", ".join(FIELDS)}, version, vector)
VALUES (?, CAST(? AS TEXT), ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (path) DO UPDATE
SET {", ".join(f"{name} = excluded.{name}" for name in (*FIELDS, "version", "vector"))}
WHERE modality = excluded.modality
RETURNING id
"""
AMONG = "id IN (SELECT value FROM json_each(?))"  # one statement for any number of ids
PAGE = 1000  # records read at a time
BLOCK = 8192  # vectors handed over at a time


@dataclass(frozen=True, slots=True)
class Changes:
    """What happened after a version, as of one moment. Read it before its `with` ends."""

    version: int
    complete: bool  # False: the deletions since then are no longer all known, start from a newer state
    deleted: dict[Modality, list[int]]
    written: Iterator[tuple[Modality, NDArray[np.int64], NDArray[np.float32]]]  # modality, ids (n,), x (n, dim)
    counts: dict[Modality, int]


class Catalog:
    """An open catalog. Its methods may be called from any thread; those that write take turns."""

    def __init__(self, path: Path) -> None:
        """Open the catalog at `path`. CollectionNotFound, CollectionDamaged, or CollectionError for a newer schema."""
        self.path = path
        self._db = Database(path, APPLICATION_ID, SCHEMA_VERSION)
        try:
            with self._db.reading() as db:
                self.meta: dict[str, Any] = {key: _meta(db, key) for key in META}
                self.dim = int(self.meta["dim"])
        except BaseException:
            self.close()
            raise

    @staticmethod
    def create(path: Path, meta: Mapping[str, str | int]) -> None:
        """Make a new, empty catalog at `path`, which must not exist. `meta` has the keys META."""
        rows = {**meta, "version": 0, "tombstones_since": 0, "snapshot": "null"}
        Database.create(path, APPLICATION_ID, SCHEMA_VERSION, SCHEMA, "INSERT INTO meta VALUES (?, ?)", rows.items())

    def close(self) -> None:
        """Close its connections. A second call does nothing."""
        self._db.close()

    # --- writing: one transaction each, on disk when it returns ---

    def upsert(self, entries: Sequence[Entry], x: NDArray[np.float32]) -> list[int]:
        """Write `entries` with vectors `x` (n, dim), kept as float16; a path that is there keeps its id."""
        x16 = x.astype(np.float16)
        ids = []
        with self._db.writing() as db:
            version = _next_version(db)
            for entry, vector in zip(entries, x16, strict=True):
                modality, path, text, metadata, *rest = FIELDS_OF(entry)
                values = (modality, _encode("path", path), text, _encode("metadata", metadata), *rest)
                row = db.execute(UPSERT, (*values, version, vector.tobytes())).fetchall()
                if not row:
                    raise InputError(
                        f"{entry.path} is in the collection with another modality: delete that entry first"
                    )
                ids.append(row[0][0])
        return ids

    def update(self, changes: Mapping[int, Mapping[str, Any]]) -> None:
        """Set fields of rows, all or none, leaving vectors and modality. Two rows may exchange their paths."""
        known = set(FIELDS) - {"modality"}
        for fields in changes.values():
            if unknown := set(fields) - known:
                raise InputError(f"cannot update {', '.join(sorted(unknown))}; fields are {', '.join(sorted(known))}")
        with self._db.writing() as db:
            # Paths are let go first: in a chain of moves (a to b, b to c) no order would do.
            moved = [(int(key),) for key, fields in changes.items() if "path" in fields]
            db.executemany("UPDATE entries SET path = NULL WHERE id = ?", moved)
            for key, fields in changes.items():
                sets = ", ".join(f"{name} = CAST(? AS TEXT)" if name == "path" else f"{name} = ?" for name in fields)
                values = [_encode(name, value) for name, value in fields.items()]
                if (
                    db.execute(f"UPDATE entries SET {sets or 'id = id'} WHERE id = ?", (*values, int(key))).rowcount
                    == 0
                ):
                    raise EntryNotFound(f"no entry with id {key}")

    def delete(self, ids: Iterable[int]) -> int:
        """Delete rows; unknown ids are passed over. Returns how many went."""
        among = (_json_ids(ids),)
        with self._db.writing() as db:
            version = _next_version(db)
            db.execute(f"INSERT INTO tombstones SELECT {version}, id, modality FROM entries WHERE {AMONG}", among)
            return db.execute(f"DELETE FROM entries WHERE {AMONG}", among).rowcount

    def set_snapshot(self, snapshot: Mapping[str, Any]) -> None:
        """Name the newest snapshot, a JSON object with the `version` that it holds."""
        with self._db.writing() as db:
            # Tombstones are kept back to the snapshot before: a reader a little behind need not load the new one.
            before = json.loads(_meta(db, "snapshot"))
            since = before["version"] if before else 0
            db.execute("DELETE FROM tombstones WHERE version <= ?", (since,))
            db.execute("UPDATE meta SET value = ? WHERE key = 'tombstones_since'", (since,))
            db.execute("UPDATE meta SET value = ? WHERE key = 'snapshot'", (json.dumps(snapshot),))

    # --- reading ---

    def version(self) -> int:
        """The number of the last commit that set or deleted a vector, by any process."""
        with self._db.reading() as db:
            return int(_meta(db, "version"))

    def snapshot(self) -> dict[str, Any] | None:
        """What `set_snapshot` was last given."""
        with self._db.reading() as db:
            snapshot: dict[str, Any] | None = json.loads(_meta(db, "snapshot"))
            return snapshot

    def count(self, modality: Modality | None = None) -> int:
        """How many rows there are."""
        with self._db.reading() as db:
            counts = _counts(db)
        return sum(counts.values()) if modality is None else counts[modality]

    def count_changes(self, since: int) -> int:
        """How many rows and deletions are newer than version `since`."""
        with self._db.reading() as db:
            rows = sum(
                db.execute("SELECT count(*) FROM entries WHERE modality = ? AND version > ?", (m, since)).fetchone()[0]
                for m in MODALITIES
            )
            gone = db.execute("SELECT count(*) FROM tombstones WHERE version > ?", (since,)).fetchone()[0]
            return int(rows + gone)

    @contextmanager
    def changes(self, since: int) -> Iterator[Changes]:
        """What an index that holds version `since` lacks; `since` 0 gives every row."""
        with self._db.reading() as db:
            db.execute("BEGIN")  # all reads below see one moment
            version = int(_meta(db, "version"))
            deleted: dict[Modality, list[int]] = {m: [] for m in MODALITIES}
            for modality, gone in db.execute("SELECT modality, id FROM tombstones WHERE version > ?", (since,)):
                deleted[modality].append(gone)
            complete = since == 0 or int(_meta(db, "tombstones_since")) <= since <= version
            yield Changes(version, complete, deleted, self._written(db, since), _counts(db))

    def _written(self, db: Connection, since: int) -> Iterator[tuple[Modality, NDArray[np.int64], NDArray[np.float32]]]:
        for modality in MODALITIES:
            rows = db.execute(
                "SELECT id, vector FROM entries WHERE modality = ? AND version > ? ORDER BY version", (modality, since)
            )
            while block := rows.fetchmany(BLOCK):
                ids, blobs = zip(*block, strict=True)
                yield modality, np.array(ids, np.int64), self._decode(blobs)

    def get(self, ids: Iterable[int]) -> dict[int, Record]:
        """The records of those `ids` that are there, by id."""
        with self._db.reading() as db:
            rows = db.execute(f"SELECT {COLUMNS} FROM entries WHERE {AMONG}", (_json_ids(ids),)).fetchall()
        return {row[0]: _record(row) for row in rows}

    def vectors(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """The vectors (n, dim) float32 of `ids`, in that order. EntryNotFound if one is not there."""
        with self._db.reading() as db:
            rows = dict(db.execute(f"SELECT id, vector FROM entries WHERE {AMONG}", (_json_ids(ids),)))
        if absent := [key for key in ids if key not in rows]:
            raise EntryNotFound(f"no entry with id {absent[0]}")
        return self._decode([rows[key] for key in ids])

    def records(
        self,
        modality: Modality | None = None,
        under: str | Path | None = None,
        after_id: int = 0,
        limit: int | None = None,
    ) -> Iterator[Record]:
        """Stream records in the order of ids, from above `after_id`; `under`: only paths inside that folder."""
        # The + keeps SQLite on the order of ids, so that each page goes on where the last one ended, without a sort.
        where = "id > ?"
        values: list[str | bytes] = []
        if modality is not None:
            where += " AND +modality = ?"
            values += [modality]
        if under is not None:
            inside = os.fsencode(under).rstrip(b"/")
            where += " AND +path >= CAST(? AS TEXT) AND +path < CAST(? AS TEXT)"
            values += [inside + b"/", inside + b"0"]  # "0" follows "/" in ASCII
        query = f"SELECT {COLUMNS} FROM entries WHERE {where} ORDER BY id LIMIT ?"
        left = limit
        while left is None or left > 0:
            page = PAGE if left is None else min(PAGE, left)
            with self._db.reading() as db:  # a page at a time: a caller who stops half-way holds nothing open
                rows = db.execute(query, (after_id, *values, page)).fetchall()
            yield from map(_record, rows)
            if len(rows) < page:
                return
            after_id = rows[-1][0]
            left = None if left is None else left - page

    def find(self, column: Literal["path", "sha256"], value: str | Path) -> list[Record]:
        """The records with that path (at most one) or that hash, in the order of ids."""
        query = f"SELECT {COLUMNS} FROM entries WHERE {column} = CAST(? AS TEXT) ORDER BY id"
        with self._db.reading() as db:
            return [_record(row) for row in db.execute(query, (os.fsencode(value),))]

    def _decode(self, blobs: Sequence[bytes]) -> NDArray[np.float32]:
        x16 = np.frombuffer(b"".join(blobs), dtype=np.float16)
        if x16.size != len(blobs) * self.dim:
            raise CollectionDamaged(f"{self.path}: a stored vector has not {self.dim} values; restore it from a backup")
        return x16.reshape(len(blobs), self.dim).astype(np.float32)


def _meta(db: Connection, key: str) -> Any:
    for (value,) in db.execute("SELECT value FROM meta WHERE key = ?", (key,)):
        return value
    raise CollectionDamaged(f"the catalog lacks its {key}: restore it from a backup")


def _next_version(db: Connection) -> int:
    db.execute("UPDATE meta SET value = value + 1 WHERE key = 'version'")
    return int(_meta(db, "version"))


def _counts(db: Connection) -> dict[Modality, int]:
    counts: dict[Modality, int] = dict.fromkeys(MODALITIES, 0)
    counts.update(db.execute("SELECT modality, count(*) FROM entries GROUP BY modality").fetchall())
    return counts


def _json_ids(ids: Iterable[int]) -> str:
    try:
        return json.dumps([int(key) for key in ids])
    except (TypeError, ValueError) as error:
        raise InputError(f"an id must be an integer: {error}") from error


def _encode(name: str, value: Any) -> Any:
    if name == "metadata":
        if not value:
            return "{}"
        try:
            return json.dumps(dict(value), ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InputError(f"metadata must be a JSON object: {error}") from error
    if name == "path" and value is not None:
        return os.fsencode(value)
    return value


def _record(row: tuple[Any, ...]) -> Record:
    key, modality, path, text, metadata, *rest = row
    return Record(key, modality, None if path is None else os.fsdecode(path), text, json.loads(metadata), *rest)
