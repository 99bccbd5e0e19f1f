"""SQLite as a run needs it: one file, whose errors are ours, with checksums of its rows and JSON values in it.

The only file of labelling that imports sqlite3.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from base.errors import DiskError, DiskFull, GlimpseError, RunNotFound
from base.locks import LOCK, has_locks
from base.sqlite_files import FAILING, Unmerged, check_locks, is_full, may_be_written, opened_as_it_lies
from labelling.runs.tables import SCHEMA, SEALS, VECTOR_SEAL, VERSION, seal


class RunDatabase:
    """An open file, written by one process at a time: who opens it to write holds the run's lock. `close` it.

    Args:
        reads: it is read alone, beside whoever writes.
        read_only: to that end change nothing, not even the files that SQLite keeps beside it.

    Raises:
        RunNotFound: there is nothing in it to read, yet.
        GlimpseError: it is not a run's, or damaged; the disk is full.
    """

    def __init__(self, path: Path, *, reads: bool = False, read_only: bool = False) -> None:
        self.path = path
        if reads and path.exists() and not (may_be_written(path) and has_locks(path.with_name(LOCK))):
            read_only = True
        try:
            self._db = self._opened(as_it_lies=read_only)
        except DiskFull as error:  # SQLite needs space, even to read what it may write
            if not reads:
                raise
            try:
                self._db = self._opened(as_it_lies=True)
            except Unmerged:
                raise error from None
        try:
            with self._errors():
                version = self._db.execute("PRAGMA user_version").fetchone()[0]
                if version not in (0, VERSION):
                    raise GlimpseError(f"{path}: written by another glimpse; upgrade this one, or delete its folder")
                if reads:
                    if not version:
                        raise RunNotFound(f"{path}: a run that was not begun")
                    self._db.execute("PRAGMA query_only = ON")
                    return
                self._db.execute("PRAGMA journal_mode = WAL")
                self._db.execute("PRAGMA synchronous = FULL")
                self._db.executescript(SCHEMA)
        except BaseException:
            self.close()
            raise

    def _opened(self, *, as_it_lies: bool) -> sqlite3.Connection:
        with self._errors():
            return opened_as_it_lies(self.path, self._connect)[1] if as_it_lies else self._connect("mode=rwc")

    def _connect(self, mode: str) -> sqlite3.Connection:
        uri = f"{self.path.absolute().as_uri()}?{mode}"
        db = sqlite3.connect(uri, uri=True, timeout=30, isolation_level=None)
        try:
            _let_seal(db)
            db.execute("PRAGMA schema_version")  # reads the file
        except BaseException:
            db.close()
            raise
        return db

    def close(self) -> None:
        """Close it."""
        self._db.close()

    def copy_to(self, path: Path) -> None:
        """Write a copy as of one moment to a new file, while others write, and prove that it is sound. GlimpseError."""
        check_locks(path)
        with self._errors():
            copy = sqlite3.connect(path)
            try:
                self._db.backup(copy)
                copy.execute("PRAGMA journal_mode = DELETE")  # all of it is in the one file
                _let_seal(copy)
                self._check(copy)
            finally:
                copy.close()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """One transaction, on disk when the block ends; undone when it raises. Inside of another it is a part of it."""
        inside = self._db.in_transaction
        if inside:
            yield
            return
        with self._errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # SQLite undoes it itself where the disk is full
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and is_full(self.path)):
                raise DiskFull(
                    f"{self.path}: the disk is full; free some space, and the same command goes on"
                ) from error
            # our statements fit our tables: one that does not is damage too, and a text that is none (without a code)
            is_ours = isinstance(error, sqlite3.ProgrammingError)  # as to ask one that is closed
            if not is_ours and code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, 0):
                raise self.damaged(error) from error
            if code == sqlite3.SQLITE_IOERR:
                raise DiskError(f"{self.path}: {FAILING}") from error
            raise GlimpseError(f"{self.path}: {error}") from error

    @contextmanager
    def _parsing(self) -> Iterator[None]:
        """GlimpseError for a JSON that is none."""
        try:
            yield
        except json.JSONDecodeError as error:  # orjson's too
            raise self.damaged(error) from error

    def damaged(self, why: object) -> GlimpseError:
        """What to raise where it is."""
        return GlimpseError(f"{self.path}: the run's file is damaged ({why}); restore it, or delete its folder")

    def check(self) -> None:
        """Read all of it. GlimpseError if it is damaged."""
        with self._errors():
            self._check(self._db)

    def check_rows(self) -> None:
        """GlimpseError if a row is not as it was written: before any is changed, for then it gets a new checksum."""
        with self._errors():
            self._check_rows(self._db)

    def _check(self, db: sqlite3.Connection) -> None:
        if (said := db.execute("PRAGMA integrity_check(1)").fetchone()[0]) != "ok":
            why = " ".join(said.split())
            raise self.damaged(why)
        self._check_rows(db)

    def _check_rows(self, db: sqlite3.Connection) -> None:
        for table, sealed in SEALS.items():
            if db.execute(f"SELECT 1 FROM {table} WHERE checksum IS NOT {sealed} LIMIT 1").fetchone():
                raise self._damaged_row(table)
        if db.execute(f"SELECT 1 FROM images WHERE vector_checksum IS NOT {VECTOR_SEAL} LIMIT 1").fetchone():
            raise self._damaged_vector()

    def check_some(self, table: str, where: str, **values: object) -> None:
        """The same of the rows of a condition; of images with their vectors."""
        unsound = f"checksum IS NOT {SEALS[table]}"
        if table == "images":
            unsound = f"({unsound} OR vector_checksum IS NOT {VECTOR_SEAL})"
        if self.query(f"SELECT 1 FROM {table} WHERE {unsound} AND ({where}) LIMIT 1", **values):
            raise self._damaged_row(table)

    def _damaged_row(self, table: str) -> GlimpseError:
        return self.damaged(f"a row of {table} is not as it was written")

    def _damaged_vector(self) -> GlimpseError:
        return self.damaged("a vector is not as it was written")

    def query(self, sql: str, **values: object) -> list[tuple[Any, ...]]:
        """Any rows."""
        with self._errors():
            return self._db.execute(sql, values).fetchall()

    def change(self, sql: str, **values: object) -> int:
        """Change any rows; how many were. In a `writing`."""
        with self._errors():
            return self._db.execute(sql, values).rowcount

    def change_many(self, sql: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """The same for many values. In a `writing`."""
        with self._errors():
            self._db.executemany(sql, rows)

    def get(self, key: str, default: Any = None) -> Any:
        """A JSON value."""
        with self._errors(), self._parsing():
            sql = f"SELECT value, checksum IS {SEALS['about']} FROM about WHERE key = ?"
            row = self._db.execute(sql, (key,)).fetchone()
            if row and not row[1]:
                raise self.damaged(f"{key} is not as it was written")
            return json.loads(row[0]) if row else default

    def set(self, **values: Any) -> None:
        """Keep JSON values; in a `writing`."""
        rows = [(key, json.dumps(value)) for key, value in values.items()]
        self._db.executemany("INSERT OR REPLACE INTO about VALUES (?, ?)", rows)


def _let_seal(db: sqlite3.Connection) -> None:
    """Give a connection the function that the tables ask for checksums."""
    db.create_function("seal", -1, seal, deterministic=True)
    db.execute("PRAGMA trusted_schema = ON")  # there are builds of SQLite where no table may ask a function of ours
