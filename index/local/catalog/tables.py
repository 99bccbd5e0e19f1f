"""The tables of a catalog: their schema, and how a row is read and written.

No statement here runs by itself: `index.local.catalog.catalog` and its neighbours say when, inside whose transaction.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from base.errors import CollectionDamaged, InputError
from index.entry import MODALITIES, Modality, Record, is_deeper
from index.local.catalog.facets import unfile_facets
from index.local.catalog.sqlite.database import Connection

# AUTOINCREMENT: an id is never given twice, so a deleted id cannot come back as another image.
# `version` is the number of the commit that last set the vector; a change of path or metadata leaves it.
# entries_version gives what is newer than a version; what else it covers answers a filter on file fields without
# touching the wide rows. Whatever is written is newest, so that it grows at its end.
SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY NOT NULL, checksum INTEGER) STRICT, WITHOUT ROWID;
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
    taken TEXT,
    version INTEGER NOT NULL,
    vector BLOB NOT NULL,
    checksum INTEGER,
    external_id TEXT
) STRICT;
CREATE INDEX entries_sha256 ON entries (sha256) WHERE sha256 IS NOT NULL;
CREATE UNIQUE INDEX entries_external_id ON entries (external_id) WHERE external_id IS NOT NULL;
CREATE TABLE tombstones (
    version INTEGER, id INTEGER, modality TEXT NOT NULL, external_id TEXT, PRIMARY KEY (version, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX entries_version ON entries (modality, version, size, width, height, mtime_ns, taken);
CREATE TABLE facets (modality TEXT, key TEXT, value ANY, id INTEGER, PRIMARY KEY (modality, key, value, id))
    STRICT, WITHOUT ROWID;
CREATE TABLE next_vectors (id INTEGER PRIMARY KEY, version INTEGER NOT NULL, vector BLOB NOT NULL) STRICT;
CREATE TABLE changes (
    revision INTEGER, id INTEGER, what TEXT NOT NULL, modality TEXT, path TEXT, external_id TEXT,
    PRIMARY KEY (revision, id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX changes_id ON changes (id);
CREATE INDEX changes_deleted ON changes (revision) WHERE what = 'deleted';
"""
SCHEMA_VERSION = 3  # 1 was never released; 2 has no external ids and no feed of changes, and may lack the checksums
# What a catalog has from the first time on that there is something to keep in it: of entries whose files went.
KEEPSAKES = """
CREATE TABLE IF NOT EXISTS keepsakes (
    id INTEGER PRIMARY KEY,
    path TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    metadata TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    vector BLOB NOT NULL,
    checksum INTEGER NOT NULL,
    found INTEGER NOT NULL DEFAULT 0,
    UNIQUE (path, sha256)
) STRICT;
CREATE INDEX IF NOT EXISTS keepsakes_sha256 ON keepsakes (sha256);
"""
_STATEMENT = r"(CREATE (?:UNIQUE )?(TABLE|INDEX) (\w+)[^;]*);"
OURS = {(kind.lower(), name): statement for statement, kind, name in re.findall(_STATEMENT, SCHEMA)}
LATER = {
    (kind.lower(), name): statement
    for statement, kind, name in re.findall(_STATEMENT, KEEPSAKES.replace("IF NOT EXISTS ", ""))  # as SQLite notes them
}
FEED_OBJECTS = [("table", "changes"), ("index", "changes_id"), ("index", "changes_deleted")]
SQLITES = {("table", name) for name in ("sqlite_sequence", "sqlite_stat1", "sqlite_stat4")}
APPLICATION_ID = 0x676C696D  # "glim", so that another program's SQLite file is not taken for a catalog
META = ("name", "model", "fingerprint", "dim", "created_at")  # what a collection is; a swap changes three of them
NEXT = ("model", "fingerprint", "dim")  # of a change of model that is under way
STATE = {  # of a new catalog
    "version": 0, "revision": 0, "tombstones_since": 0, "changes_since": 0,
    "snapshot": "null", "next": "null", "wish": "{}", "bar": "null",
    **{f"{modality}s": 0 for modality in MODALITIES},  # how many rows: counting a million takes longer than a search
}  # fmt: skip

FIELDS = (
    "modality", "path", "text", "metadata", "sha256", "mtime_ns", "size", "width", "height", "taken", "external_id"
)  # fmt: skip
FIELDS_OF = attrgetter(*FIELDS)
WRITTEN = ("id", *FIELDS[:-1], "version", "vector", FIELDS[-1])  # of a row; its checksum is over these
# A file name need not be UTF-8. Paths go in and out as bytes, so that every name that Python can hold is kept.
COLUMNS = ", ".join(["id", *FIELDS]).replace("path", "CAST(path AS BLOB)")
COLUMNS_2 = COLUMNS.replace("external_id", "NULL")  # of a catalog of schema 2 on a read-only disk
JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False)
DEEPEST = 100  # levels of metadata: what reads them, here and elsewhere, goes down a call a level
AMONG = "id IN (SELECT value FROM json_each(?))"  # one statement for any number of ids


def has_column(db: Connection, table: str, column: str) -> bool:
    """Whether a table has a column; one of before may lack it."""
    query = "SELECT 1 FROM pragma_table_info(?) WHERE name = ?"
    return db.execute(query, (table, column)).fetchone() is not None


def check_no_triggers(db: Connection) -> None:
    """CollectionDamaged if the file has a trigger, which would run with what is written: there is none of ours."""
    for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type IN ('trigger', 'view')"):
        raise CollectionDamaged(
            f"the catalog has a trigger or view {name!r} that is not glimpse's: restore it from a backup"
        )


def foreign_objects(db: Connection) -> list[str]:
    """What the file has beside our tables and indexes, what it lacks of them, and what is another: a line each.

    A trigger, a view, a check or a computed column of somebody else's would have his statements run when we write.
    """
    rows = db.execute("SELECT type, name, coalesce(sql, '') FROM sqlite_schema").fetchall()
    there = {(kind, name) for kind, name, sql in rows if not sql.upper().startswith("CREATE VIRTUAL")}
    own = {(kind, name) for kind, name, sql in rows if kind == "index" and not sql}  # made by SQLite for UNIQUE
    known = OURS | LATER
    strange = [f"it has a {kind} {name!r} that is not glimpse's" for kind, name, sql in rows
               if (kind, name) not in known.keys() | SQLITES | own or (kind, name) not in there]  # fmt: skip
    strange += [f"its {kind} {name!r} is not as glimpse makes it" for kind, name, sql in rows
                if (kind, name) in known and _as_compared(sql) != _as_compared(known[kind, name])]  # fmt: skip
    later = set() if has_column(db, "entries", "external_id") else {("index", "entries_external_id"), *FEED_OBJECTS}
    return strange + [f"it lacks its {kind} {name!r}" for kind, name in sorted(OURS.keys() - there - later)]


def _as_compared(sql: str) -> str:
    """A statement without what two that make the same may differ in: space, and the columns that one of before lacks.

    They stand behind the others, wherever they came from.
    """
    tight = re.sub(r"\s*([(),])\s*", r"\1", " ".join(sql.split()))
    return re.sub(r"(,checksum INTEGER)?(,external_id TEXT)?(?=\)|,PRIMARY KEY)", "", tight)


def read_meta(db: Connection, key: str) -> Any:
    """One value of `meta`. CollectionDamaged if it is not there."""
    for (value,) in db.execute("SELECT value FROM meta WHERE key = ?", (key,)):
        return value
    raise CollectionDamaged(f"the catalog lacks its {key}: restore it from a backup")


def read_json(db: Connection, key: str, names: tuple[str, ...], *, whole: bool = True) -> dict[str, Any] | None:
    """A value of `meta` that is a JSON object with those fields, or some of them if it need not be whole; or null.

    CollectionDamaged if it is anything else.
    """
    try:
        kept: dict[str, Any] | None = json.loads(read_meta(db, key))
        if kept is None or (
            isinstance(kept, dict) and (kept.keys() == set(names) if whole else kept.keys() <= set(names))
        ):
            return kept
    except (TypeError, ValueError, RecursionError):
        pass
    raise CollectionDamaged(f"the catalog's {key} is damaged: restore it from a backup")


def read_identity(db: Connection) -> dict[str, Any]:
    """The values of META: name, model, fingerprint, dim, created_at."""
    return {key: read_meta(db, key) for key in META}


def next_revision(db: Connection) -> None:
    """Count a commit that changes an entry."""
    db.execute("UPDATE meta SET value = value + 1 WHERE key = 'revision'")


def next_version(db: Connection) -> int:
    """Count a commit that also sets or deletes a vector, and give its number."""
    db.execute("UPDATE meta SET value = value + 1 WHERE key IN ('version', 'revision')")
    return int(read_meta(db, "version"))


def read_counts(db: Connection) -> dict[Modality, int]:
    """How many rows there are of each modality."""
    return {modality: int(read_meta(db, f"{modality}s")) for modality in MODALITIES}


def count_rows(db: Connection, more: Mapping[Modality, int]) -> None:
    """Count rows that came, or by negative numbers went."""
    for modality, rows in more.items():
        db.execute("UPDATE meta SET value = value + ? WHERE key = ?", (rows, f"{modality}s"))


def json_ids(ids: Iterable[int]) -> str:
    """The ids as AMONG wants them. InputError if one is not an integer."""
    try:
        return json.dumps([int(key) for key in ids])
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"an id must be an integer: {error}") from error


def encode_path(path: str | Path | None) -> bytes | None:
    """A path as it is bound, with CAST(? AS TEXT) around it. InputError for one with a zero byte: no file has it."""
    if path is None:
        return None
    encoded = os.fsencode(path)
    if b"\0" in encoded:
        raise InputError(f"{str(path)!r} cannot be the path of an entry: it has a zero byte")
    return encoded


def inside_of(folder: str | Path) -> tuple[bytes, bytes]:
    """The bounds of the paths inside a folder, from and below, as they are bound."""
    inside = os.fsencode(folder).rstrip(b"/")
    return inside + b"/", inside + b"0"  # "0" follows "/" in ASCII


def encode_metadata(metadata: Mapping[str, Any] | None) -> str:
    """Metadata as it is stored, a JSON object. InputError if it is none."""
    if not metadata:
        return "{}"
    try:
        text = JSON.encode(dict(metadata))
        if text.count("{") + text.count("[") > DEEPEST and is_deeper(metadata, DEEPEST):
            raise ValueError(f"it is deeper than {DEEPEST} levels")
        return text
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"metadata must be a JSON object: {error}") from error


def records(rows: Sequence[tuple[Any, ...]]) -> list[Record]:
    """The records of rows of COLUMNS. CollectionDamaged if one's metadata are no JSON."""
    return [
        Record(key, modality, None if path is None else os.fsdecode(path), text, metadata, *rest)
        for (key, modality, path, text, _, *rest), metadata in zip(rows, _parsed(rows), strict=True)
    ]


def _parsed(rows: Sequence[tuple[Any, ...]]) -> list[Any]:
    """The metadata of each row; read as one text, which takes an eighth of the time of many."""
    with suppress(TypeError, ValueError, RecursionError):
        together: list[Any] = json.loads(f"[{','.join([row[4] for row in rows])}]")
        if len(together) == len(rows):
            return together
    return [_parsed_one(row[0], row[4]) for row in rows]


def _parsed_one(key: int, metadata: Any) -> Any:
    try:
        return json.loads(metadata)
    except (TypeError, ValueError, RecursionError) as error:
        raise CollectionDamaged(
            f"entry {key} has metadata that are no JSON: restore the catalog from a backup"
        ) from error


def decode_vectors(blobs: Sequence[bytes], dim: int) -> NDArray[np.float16]:
    """Stored vectors as (n, dim) float16. CollectionDamaged if one has another length."""
    if not set(map(len, blobs)) <= {2 * dim}:
        raise CollectionDamaged(f"a stored vector has not {dim} values: restore the catalog from a backup")
    return np.frombuffer(b"".join(blobs), dtype=np.float16).reshape(len(blobs), dim)


def metadata_of(db: Connection, among: str) -> list[tuple[str, int, str]]:
    """(modality, id, metadata) of the rows AMONG, as the facets want them."""
    return db.execute(f"SELECT modality, id, metadata FROM entries WHERE {AMONG}", (among,)).fetchall()


def note_written(db: Connection, among: str) -> None:
    """Note in the feed of changes that the rows AMONG were made, or changed, by the commit that `db` is in."""
    note = """
        INSERT INTO changes (revision, id, what)
        SELECT (SELECT value FROM meta WHERE key = 'revision'), each.value, 'created' FROM json_each(?) each WHERE true
        ON CONFLICT (id) DO UPDATE SET revision = excluded.revision,
            what = iif(what = 'deleted', 'created', 'updated'), modality = NULL, path = NULL, external_id = NULL
    """
    db.execute(note, (among,))


def _note_deleted(db: Connection, among: str) -> None:
    note = f"""
        INSERT INTO changes (revision, id, what, modality, path, external_id)
        SELECT (SELECT value FROM meta WHERE key = 'revision'), id, 'deleted', modality, path, external_id
        FROM entries WHERE {AMONG}
        ON CONFLICT (id) DO UPDATE SET revision = excluded.revision, what = excluded.what,
            modality = excluded.modality, path = excluded.path, external_id = excluded.external_id
    """
    db.execute(note, (among,))


def delete_rows(db: Connection, among: str, version: int) -> int:
    """Delete the rows AMONG, leaving tombstones of `version`. Returns how many went."""
    unfile_facets(db, metadata_of(db, among))
    gone = db.execute(f"SELECT modality, -count(*) FROM entries WHERE {AMONG} GROUP BY modality", (among,)).fetchall()
    count_rows(db, dict(gone))
    _note_deleted(db, among)
    tombstones = "INSERT INTO tombstones (version, id, modality, external_id)"
    db.execute(f"{tombstones} SELECT ?, id, modality, external_id FROM entries WHERE {AMONG}", (version, among))
    return db.execute(f"DELETE FROM entries WHERE {AMONG}", (among,)).rowcount
