"""SQLite as the catalog needs it: what is committed is on disk, any thread may use it, errors are ours.

A connection is taken from a pool for the time of one `with`, so that no thread owns one, and all can be closed at the
end.
"""

from __future__ import annotations

import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from sqlite3 import Connection
from typing import Any

from base.errors import Busy, CollectionDamaged, CollectionError, CollectionNotFound, InputError
from base.files import disk_error, fsync_file
from base.locks import LOCK, has_locks
from base.sqlite_files import Lies, Unmerged, as_it_lies, check_locks, may_be_written, opened_as_it_lies
from index.local.catalog.sqlite.errors import UNWRITABLE, code_of, damaged, named
from index.local.catalog.sqlite.pool import Pool

__all__ = ["Connection", "Database", "interruptible"]

WRITABLE = Lies("mode=rw")
STEPS = 100_000  # of SQLite's machine between two looks at the clock: a millisecond or two

POOL = Pool[Connection]()


class Database:
    """An open SQLite file in WAL mode: many readers, in any process, beside one writer."""

    def __init__(
        self,
        path: Path,
        application_id: int,
        schema_version: int,
        around: Callable[[Connection], AbstractContextManager[None]],
        functions: Mapping[str, Callable[..., Any]],
        upgrades: Mapping[int, Callable[[Connection], None]],
        *,
        read_only: bool = False,
    ) -> None:
        """Open it.

        Args:
            path: of the file.
            application_id: what the file must say of itself.
            schema_version: as well, perhaps after some `upgrades`.
            around: entered in each transaction that writes, and left before it is committed.
            functions: what statements may call, by name.
            upgrades: from an older schema to the one after it: they are done in one transaction when the file is
                opened. On a read-only disk it stays as it is, and `schema` says what it is.
            read_only: change nothing, not even the files that SQLite keeps beside it, and follow who writes it. So it
                is in any case on a disk that is read-only or has no locks.

        Raises:
            CollectionNotFound: there is no such file.
            CollectionDamaged: it is not ours, or not sound.
            CollectionError: its schema is another one; or it must be written to be opened, and cannot.
        """
        self.path = path
        self._around = around
        self._functions = functions
        self._own = object()
        weakref.finalize(self, POOL.close, self._own)
        self._closed = False
        self._read_only = read_only or not has_locks(path.with_name(LOCK))
        self._hurried = False
        self._writing = threading.Lock()
        try:
            self._file = _identity(path)
        except FileNotFoundError:
            raise CollectionNotFound(f"{path}: no such catalog") from None
        try:
            self.schema = self._open(application_id, schema_version, upgrades)
        except BaseException:
            self.close()
            raise

    def _open(
        self, application_id: int, schema_version: int, upgrades: Mapping[int, Callable[[Connection], None]]
    ) -> int:
        """See that the file can be used, and give its schema."""
        try:
            with self.reading() as db:
                db.execute("PRAGMA schema_version")  # reads the file
        except CollectionError as error:
            if self._read_only or code_of(error) not in UNWRITABLE or may_be_written(self.path):
                raise
            self._read_only = True
        with self.reading() as db:
            ours = _pragma(db, "application_id") == application_id
            schema = _pragma(db, "user_version")
        if not ours:
            raise CollectionDamaged(f"{self.path}: not a glimpse catalog; restore it from a backup")
        if schema in upgrades:
            return schema if self._read_only else self._upgrade(schema, upgrades)
        if schema != schema_version:
            age, remedy = ("a newer", "upgrade glimpse") if schema > schema_version else ("an older", "index anew")
            raise CollectionError(
                f"{self.path}: written by {age} glimpse (schema {schema}, this one knows {schema_version}); {remedy}"
            )
        return schema

    def _upgrade(self, schema: int, upgrades: Mapping[int, Callable[[Connection], None]]) -> int:
        """Bring the file to the newest schema, all of the way or none of it; what it has then."""
        try:
            with self.reading() as db:
                db.execute("BEGIN IMMEDIATE")
                new = _pragma(db, "user_version")  # another process may have been first
                while new in upgrades:
                    upgrades[new](db)
                    new += 1
                db.execute(f"PRAGMA user_version = {new}")
                db.execute("COMMIT")
                return new
        except CollectionError as error:
            if code_of(error) == sqlite3.SQLITE_READONLY:
                return schema
            raise

    @staticmethod
    def create(
        path: Path, application_id: int, schema_version: int, schema: str, insert: str, rows: Iterable[tuple[Any, ...]]
    ) -> None:
        """Make a new file with the tables of `schema`, then run `insert` for each of `rows`."""
        try:
            with closing(_connect(path, "mode=rwc")) as db:
                db.execute("PRAGMA page_size = 8192")  # a row with its vector is 1 to 2 KB: less is left over in a page
                db.execute("PRAGMA journal_mode = WAL")
                db.executescript(f"BEGIN; {schema}")
                db.execute(f"PRAGMA application_id = {application_id}")
                db.execute(f"PRAGMA user_version = {schema_version}")
                db.executemany(insert, rows)
                db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise named(path, error) from error

    def close(self) -> None:
        """Close every connection; one that another thread uses now is closed when it comes back."""
        self._closed = True
        POOL.close(self._own)

    @contextmanager
    def hurrying(self) -> Iterator[None]:
        """For a file that nobody has yet: within the block a commit puts nothing on disk, and nothing can be undone.

        A transaction that fails leaves the file unfit, so it is thrown away; one that is whole is synced by its maker.

        Raises:
            CollectionError: the disk is full, at the beginning or the end.
        """
        self._hurry(True)
        yield
        self._hurry(False)

    def _hurry(self, hurried: bool) -> None:
        self._hurried = hurried
        POOL.close(self._own)
        try:
            with closing(self._connect(WRITABLE.mode)) as db:
                db.execute(f"PRAGMA journal_mode = {'OFF' if hurried else 'WAL'}")  # a WAL has all written twice
        except sqlite3.DatabaseError as error:
            raise named(self.path, error) from error

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection; a transaction that is begun on it ends with the block."""
        self._check_open()
        db = None
        lies = WRITABLE
        try:
            self._check_same_file()
            lies = self._as_it_lies()
            db = self._kept(lies)
            if db is None:
                lies, db = self._connected()
            yield db
            self._check_unchanged(lies)
        except sqlite3.DatabaseError as error:
            self._check_same_file()
            self._check_unchanged(lies)
            raise named(self.path, error) from error
        except UnicodeDecodeError as error:  # SQLite's own message quotes what it read
            self._check_unchanged(lies)
            raise damaged(self.path, error) from error
        finally:
            if db is not None:
                try:
                    if db.in_transaction:
                        db.execute("ROLLBACK")
                    POOL.give(self._own, lies, db)
                except sqlite3.Error:
                    db.close()  # which undoes what is open
                if self._closed:
                    self.close()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction: on disk when the block ends, undone when it raises. Threads take turns.

        InputError if a value breaks a constraint or cannot be stored; CollectionError if the disk is full or read-only.
        """
        with self._writing, self.reading() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                with self._around(db):
                    yield db
            except sqlite3.IntegrityError as error:
                column = str(error).rpartition(".")[2]
                if error.sqlite_errorcode == sqlite3.SQLITE_CONSTRAINT_UNIQUE:
                    raise InputError(f"another entry has the same {column}: change or delete that one first") from error
                raise InputError(f"a value cannot be stored: {error}") from error
            except (sqlite3.InterfaceError, sqlite3.ProgrammingError, OverflowError, UnicodeEncodeError) as error:
                raise InputError(f"a value cannot be stored: {error}") from error
            db.execute("COMMIT")

    def copy_to(self, path: Path) -> None:
        """Write a consistent copy to `path`, as of now, while others read and write; on disk when it returns.

        A kill may leave half of it: who wants it whole gives a part of `base.files.whole_file`.

        Raises:
            InputError: there is something at `path` already.
            CollectionError: it cannot be written, say for want of space or of locks; nothing is left of it.
        """
        if path.exists() and path.stat().st_size:
            raise InputError(f"{path}: exists already; choose another name, or delete it first")
        check_locks(path)
        try:
            with self.reading() as db:
                try:
                    with closing(_connect(path, "mode=rwc")) as copy:
                        copy.execute("PRAGMA synchronous = OFF")  # synced once, when it is whole
                        db.backup(copy)
                except sqlite3.DatabaseError as error:
                    raise named(path, error) from error
            fsync_file(path)
        except BaseException as error:
            path.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise (disk_error(error, path) or CollectionError(f"{path}: {error.strerror}")) from error
            raise
        finally:
            for suffix in ("-journal", "-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)

    def _check_open(self) -> None:
        if self._closed:
            raise CollectionNotFound(f"{self.path}: closed, perhaps because it was deleted; open the collection again")

    def _check_same_file(self) -> None:
        # A collection deleted and made anew by another process has other ids: never mix the two.
        try:
            same = _identity(self.path) == self._file
        except OSError:
            same = False
        if not same:
            raise CollectionNotFound(f"{self.path}: deleted or replaced since it was opened; open the collection again")

    def _kept(self, lies: Lies) -> Connection | None:
        """A connection that was opened to the file as it lies now; those that were not are closed."""
        while (kept := POOL.take(self._own)) is not None:
            before, db = kept
            if before == lies:
                return db
            db.close()
        return None

    def _connected(self) -> tuple[Lies, Connection]:
        if not self._read_only:
            return WRITABLE, self._connect(WRITABLE.mode)
        with self._lying():
            return opened_as_it_lies(self.path, self._connect)

    def _connect(self, mode: str) -> Connection:
        """A new connection, which has read something if it may write nothing."""
        db = _connect(self.path, mode)
        try:
            for name, function in self._functions.items():
                db.create_function(name, -1, function, deterministic=True)
            if mode != WRITABLE.mode:
                db.execute("PRAGMA schema_version")
            if self._hurried:
                db.execute("PRAGMA journal_mode = OFF")
                db.execute("PRAGMA synchronous = OFF")
                db.execute("PRAGMA cache_size = -128000")  # KB
        except BaseException:
            db.close()
            raise
        return db

    def _as_it_lies(self) -> Lies:
        if not self._read_only:
            return WRITABLE
        with self._lying():
            return as_it_lies(self.path)

    @contextmanager
    def _lying(self) -> Iterator[None]:
        try:
            yield
        except Unmerged as error:
            raise CollectionError(str(error)) from None
        except FileNotFoundError:
            raise CollectionNotFound(f"{self.path}: deleted since it was opened; open the collection again") from None

    def _check_unchanged(self, lies: Lies) -> None:
        if lies.may_be_torn and self._as_it_lies() != lies:
            raise Busy(f"{self.path.parent.name} was being written to while it was read; try again")


@contextmanager
def interruptible(db: Connection, over: Callable[[], Exception | None]) -> Iterator[None]:
    """Ask `over` now and then while a statement of the block runs; what it gives ends that, and is raised."""
    db.set_progress_handler(lambda: over() is not None, STEPS)
    try:
        yield
    except sqlite3.OperationalError as error:
        if code_of(error) == sqlite3.SQLITE_INTERRUPT and (reason := over()):
            raise reason from error
        raise
    finally:
        db.set_progress_handler(None, STEPS)


def _connect(path: Path, mode: str) -> Connection:
    uri = f"{path.absolute().as_uri()}?{mode}"
    db = sqlite3.connect(uri, uri=True, timeout=30, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA trusted_schema = OFF")  # a file from elsewhere names no function that does anything
    db.execute("PRAGMA synchronous = FULL")  # FULL syncs the WAL at each commit; NORMAL would not
    db.execute("PRAGMA cache_size = -16000")  # KB
    db.execute("PRAGMA wal_autocheckpoint = 4000")  # pages, 32 MB: fewer copies of the same page into the file
    db.execute("PRAGMA journal_size_limit = 67108864")  # bytes: what a very big transaction took is given back
    return db


def _pragma(db: Connection, name: str) -> int:
    return int(db.execute(f"PRAGMA {name}").fetchone()[0])


def _identity(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_dev, stat.st_ino
