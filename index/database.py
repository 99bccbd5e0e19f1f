"""SQLite as the catalog needs it: what is committed is on disk, any thread may use it, errors are ours.

The only file that imports sqlite3. It knows no table. A connection is taken from a pool for the time of one `with`,
so that no thread owns one, and all can be closed at the end.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from sqlite3 import Connection
from typing import Any

from encoder.errors import CollectionDamaged, CollectionError, CollectionNotFound, InputError

__all__ = ["Connection", "Database"]


class Database:
    """An open SQLite file in WAL mode: many readers, in any process, beside one writer."""

    def __init__(self, path: Path, application_id: int, schema_version: int) -> None:
        """Open it. CollectionNotFound, CollectionDamaged if it is not ours, CollectionError if its schema is newer."""
        self.path = path
        self._idle: list[Connection] = []
        self._closed = False
        self._writing = threading.Lock()
        try:
            self._file = _identity(path)
        except FileNotFoundError:
            raise CollectionNotFound(f"{path}: no such catalog") from None
        with self.reading() as db:
            ours = db.execute("PRAGMA application_id").fetchone()[0] == application_id
            schema = db.execute("PRAGMA user_version").fetchone()[0]
        if ours and schema <= schema_version:
            return
        self.close()
        if not ours:
            raise CollectionDamaged(f"{path}: not a glimpse catalog; restore it from a backup")
        raise CollectionError(
            f"{path}: written by a newer glimpse (schema {schema}, this one knows {schema_version}); upgrade glimpse"
        )

    @staticmethod
    def create(
        path: Path, application_id: int, schema_version: int, schema: str, insert: str, rows: Iterable[tuple[Any, ...]]
    ) -> None:
        """Make a new file with the tables of `schema`, then run `insert` for each of `rows`."""
        db = _connect(path, "rwc")
        try:
            db.execute("PRAGMA page_size = 8192")  # a row with its vector is 1 to 2 KB: less is left over in a page
            db.execute("PRAGMA journal_mode = WAL")
            db.executescript(f"BEGIN; {schema}")
            db.execute(f"PRAGMA application_id = {application_id}")
            db.execute(f"PRAGMA user_version = {schema_version}")
            db.executemany(insert, rows)
            db.execute("COMMIT")
        finally:
            db.close()

    def close(self) -> None:
        """Close every connection; one that another thread uses now is closed when it comes back."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection; a transaction that is begun on it ends with the block."""
        if self._closed:
            raise CollectionError(f"{self.path}: used after it was closed")
        db = None
        try:
            self._check_same_file()
            try:
                db = self._idle.pop()
            except IndexError:
                db = _connect(self.path, "rw")
            yield db
        except sqlite3.DatabaseError as error:
            raise self._named(error) from error
        finally:
            if db is not None:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                self._idle.append(db)
                if self._closed:
                    self.close()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction: on disk when the block ends, undone when it raises. Threads take turns.

        InputError if a value breaks a constraint or cannot be stored.
        """
        with self._writing, self.reading() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except sqlite3.IntegrityError as error:
                column = str(error).rpartition(".")[2]
                if error.sqlite_errorcode == sqlite3.SQLITE_CONSTRAINT_UNIQUE:
                    raise InputError(f"another entry has the same {column}: change or delete that one first") from error
                raise InputError(f"a value cannot be stored: {error}") from error
            except (sqlite3.InterfaceError, sqlite3.ProgrammingError, OverflowError, UnicodeEncodeError) as error:
                raise InputError(f"a value cannot be stored: {error}") from error
            db.execute("COMMIT")

    def _check_same_file(self) -> None:
        # A collection deleted and made anew by another process has other ids: never mix the two.
        try:
            same = _identity(self.path) == self._file
        except OSError:
            same = False
        if not same:
            raise CollectionNotFound(f"{self.path}: deleted or replaced since it was opened; open the collection again")

    def _named(self, error: sqlite3.DatabaseError) -> CollectionError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte is the kind, the rest its detail
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return CollectionDamaged(f"{self.path}: the catalog is damaged ({error}); restore it from a backup")
        return CollectionError(f"{self.path}: {error}")


def _connect(path: Path, mode: str) -> Connection:
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    db = sqlite3.connect(uri, uri=True, timeout=30, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA synchronous = FULL")  # FULL syncs the WAL at each commit; NORMAL would not
    db.execute("PRAGMA cache_size = -16000")  # KB
    db.execute("PRAGMA wal_autocheckpoint = 4000")  # pages, 32 MB: fewer copies of the same page into the file
    return db


def _identity(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_dev, stat.st_ino
