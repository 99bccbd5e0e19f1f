"""A checksum for each row of entries and meta, so that a changed bit is known whatever the row says now.

A glimpse of before reads and writes such a catalog and knows no checksums. Whatever it writes counts the revision, so
the revision's own checksum tells that it did; then no row's is believed. A row without one is taken as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from zlib import crc32

from index.local.catalog.sqlite.database import Connection
from index.local.catalog.tables import AMONG, WRITTEN, check_no_triggers, has_column

TEXTS = {"modality", "path", "text", "metadata", "sha256", "taken", "external_id"}
AS_BYTES = [f"CAST(entries.{name} AS BLOB)" if name in TEXTS else f"entries.{name}" for name in WRITTEN]
STORED = f"checksum({', '.join(AS_BYTES)})"  # of a row as it lies there
DAMAGED = -1  # no checksum: what a row keeps that is changed though it was damaged, so that it stays known
BYTES: dict[type, Callable[[Any], bytes]] = {
    bytes: bytes, str: str.encode, int: b"%d".__mod__, bool: b"%d".__mod__, type(None): lambda _: b"\xff",
}  # fmt: skip


def checksum(*values: Any) -> int:
    """CRC-32 of values as SQLite holds them; a text and its bytes are the same.

    A null at the end does not count: so rows of before, which knew no external id, keep their checksums.
    """
    values = values[:-1] if values[-1] is None else values
    return crc32(b"\0".join([BYTES.get(type(value), _as_text)(value) for value in values]))


def checksums(columns: Sequence[Sequence[Any]]) -> list[int]:
    """`checksum` of each row of some columns; the last one may hold nulls."""
    named = columns[-1].count(None) < len(columns[-1])
    if named and None in columns[-1]:
        return [checksum(*row) for row in zip(*columns, strict=True)]
    parts = [_as_bytes(column) for column in (columns if named else columns[:-1])]
    return [crc32(b"\0".join(row)) for row in zip(*parts, strict=True)]


def _as_bytes(column: Sequence[Any]) -> Sequence[bytes]:
    kinds = set(map(type, column))
    if len(kinds) == 1:
        as_bytes = BYTES.get(kinds.pop(), _as_text)
        return column if as_bytes is bytes else [*map(as_bytes, column)]
    return [BYTES.get(type(value), _as_text)(value) for value in column]


def has_checksums(db: Connection) -> bool:
    """Whether a catalog has the columns for them: one of before on a read-only disk may lack them."""
    return has_column(db, "entries", "checksum")


def is_counted(db: Connection) -> bool:
    """Whether the last commit was of a glimpse that knows checksums."""
    rows = db.execute("SELECT value, checksum FROM meta WHERE key = 'revision'").fetchall()
    return [kept for _, kept in rows] == [checksum("revision", value) for value, _ in rows]


def all_sealed(db: Connection) -> bool:
    """Whether every row of entries has a checksum that counts."""
    without = "SELECT 1 FROM entries WHERE checksum IS NULL LIMIT 1"
    return has_checksums(db) and is_counted(db) and db.execute(without).fetchone() is None


@contextmanager
def meta_sealed(db: Connection) -> Iterator[None]:
    """Around a transaction that writes: each value of meta that it sets gets its checksum.

    CollectionDamaged if the file has a trigger, which would run with it: there is none of ours.
    """
    check_no_triggers(db)
    if not is_counted(db):
        for table in ("meta", "entries"):
            db.execute(f"UPDATE {table} SET checksum = NULL WHERE checksum IS NOT NULL")
    before = {key: (value, kept) for key, value, kept in db.execute("SELECT key, value, checksum FROM meta")}
    yield
    for key, value in db.execute("SELECT key, value FROM meta").fetchall():
        was, kept = before.get(key, (None, None))
        if value != was or kept is None:
            new = checksum(key, value) if kept in (None, checksum(key, was)) else DAMAGED
            db.execute("UPDATE meta SET checksum = ? WHERE key = ?", (new, key))


@contextmanager
def rows_sealed(db: Connection, among: str) -> Iterator[None]:
    """Around a change of some fields of the rows AMONG: they get new checksums; what was damaged stays damaged."""
    db.execute(f"UPDATE entries SET checksum = {DAMAGED} WHERE {AMONG} AND checksum <> {STORED}", (among,))
    yield
    db.execute(f"UPDATE entries SET checksum = {STORED} WHERE {AMONG} AND checksum IS NOT {DAMAGED}", (among,))


def seal_block(db: Connection, after: int, rows: int) -> int | None:
    """Give checksums to those that have none of some rows above the id `after`. Returns the last id; None: no row."""
    query = "SELECT max(id) FROM (SELECT id FROM entries WHERE id > ? ORDER BY id LIMIT ?)"
    last: int | None = db.execute(query, (after, rows)).fetchone()[0]
    update = f"UPDATE entries SET checksum = {STORED} WHERE id > ? AND id <= ? AND checksum IS NULL"
    db.execute(update, (after, last))
    return last


def _as_text(value: object) -> bytes:
    return str(value).encode()
