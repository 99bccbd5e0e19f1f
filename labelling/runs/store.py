"""What a run keeps: its images with vectors and labels, and the journal of what it changes. One SQLite file.

A kill leaves what was committed, and nothing torn. Paths are kept as their bytes, so that any name can be, and give the
order of a walk. The only file of labelling that imports sqlite3; it knows no output and walks no folder.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import starmap
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from base.errors import GlimpseError, RunNotFound
from base.sqlite_files import io_problem, opened_as_it_lies
from labelling.rows import Listed, Pair
from labelling.runs.tables import (
    CLEARNESS,
    COLUMNS,
    DISTRUSTED,
    OPEN,
    PUT,
    SCHEMA,
    VERSION,
    Found,
    FoundEntry,
    Row,
    row_of,
)

Vectors = npt.NDArray[np.float32]

BLOCK = 4096  # rows at a time
MANY = 50_000  # images, of which an index is sooner made anew than changed one by one


def _listed(path: bytes, answers: str | None, guess: str | None, error: str, cut_off: str, *size: int | None) -> Listed:
    given = orjson.loads(answers) if answers else ()
    return Listed(os.fsdecode(path), given, orjson.loads(guess) if guess and not given else None, error, cut_off, *size)


class RunStore:
    """An open store, written by one process at a time: who opens it to write holds the run's lock. `close` it.

    Args:
        reads: it is read alone, beside whoever writes.
        read_only: to that end change nothing, not even the files that SQLite keeps beside it.

    Raises:
        RunNotFound: there is nothing in it to read, yet.
        GlimpseError: it is not a run's, or damaged; the disk is full.
    """

    def __init__(self, path: Path, *, reads: bool = False, read_only: bool = False) -> None:
        self.path = path
        with self._errors():
            self._db = opened_as_it_lies(path, self._connect)[1] if read_only else self._connect("mode=rwc")
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

    def _connect(self, mode: str) -> sqlite3.Connection:
        uri = f"{self.path.absolute().as_uri()}?{mode}"
        db = sqlite3.connect(uri, uri=True, timeout=30, isolation_level=None)
        try:
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
        with self._errors():
            copy = sqlite3.connect(path)
            try:
                self._db.backup(copy)
                copy.execute("PRAGMA journal_mode = DELETE")  # all of it is in the one file
                self._check(copy)
            finally:
                copy.close()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """One transaction, on disk when the block ends; undone when it raises. Inside of another it is a part of it."""
        if self._db.in_transaction:
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
            if code == sqlite3.SQLITE_FULL:
                raise GlimpseError(
                    f"{self.path}: the disk is full; free some space, and the same command goes on"
                ) from error
            # our statements fit our tables: one that does not is damage too, and a text that is none (without a code)
            is_ours = isinstance(error, sqlite3.ProgrammingError)  # as to ask one that is closed
            if not is_ours and code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, 0):
                raise self._damaged(error) from error
            if code == sqlite3.SQLITE_IOERR:
                raise GlimpseError(f"{self.path}: {io_problem(self.path)}") from error
            raise GlimpseError(f"{self.path}: {error}") from error

    @contextmanager
    def _parsing(self) -> Iterator[None]:
        """GlimpseError for a JSON that is none."""
        try:
            yield
        except json.JSONDecodeError as error:  # orjson's too
            raise self._damaged(error) from error

    def _damaged(self, why: object) -> GlimpseError:
        return GlimpseError(f"{self.path}: the run's file is damaged ({why}); restore it, or delete its folder")

    def check(self) -> None:
        """Read all of it. GlimpseError if it is damaged, as far as SQLite can tell: rows have no checksums."""
        with self._errors():
            self._check(self._db)
        for _ in self.listed():
            pass

    def _check(self, db: sqlite3.Connection) -> None:
        if (said := db.execute("PRAGMA integrity_check(1)").fetchone()[0]) != "ok":
            why = " ".join(said.split())
            raise self._damaged(why)

    # --- about ---

    def get(self, key: str, default: Any = None) -> Any:
        """A JSON value."""
        with self._errors(), self._parsing():
            row = self._db.execute("SELECT value FROM about WHERE key = ?", (key,)).fetchone()
            return json.loads(row[0]) if row else default

    def set(self, **values: Any) -> None:
        """Keep JSON values; in a `writing`."""
        rows = [(key, json.dumps(value)) for key, value in values.items()]
        self._db.executemany("INSERT OR REPLACE INTO about VALUES (?, ?)", rows)

    # --- images ---

    def known(self, path: Path) -> tuple[int, str, bool] | None:
        """(id, stamp, whether it could be read) of the image at a path."""
        sql = "SELECT id, stamp, error = '' FROM images WHERE path = :path"
        return next(((key, stamp, bool(ok)) for key, stamp, ok in self.query(sql, path=os.fsencode(path))), None)

    def mark_seen(self, ids: Iterable[int]) -> None:
        """Remember, while it is open, that these images are still there."""
        self._db.executemany("INSERT OR IGNORE INTO seen VALUES (?)", ((one,) for one in ids))

    def put(self, found: Iterable[Found]) -> None:
        """Keep images, undecided, in place of those of their paths; they count as seen. In a `writing`."""
        keys: list[int] = []
        for one in found:
            known = self.known(one.path)
            key = known[0] if known else None
            vector = None if one.vector is None else one.vector.astype("<f2").tobytes()
            row = (key, os.fsencode(one.path), one.stamp, vector, one.width, one.height, one.error, one.cut_off)
            cursor = self._db.execute(PUT.format("VALUES (?, ?, ?, ?, ?, ?, ?, ?)"), row)
            keys.append(key if key is not None else int(cursor.lastrowid or 0))
        self.mark_seen(keys)

    def put_entries(self, found: Iterable[FoundEntry]) -> tuple[int, int]:
        """The same of entries, each under its own id, but for those that are as they were; how many are new, changed.

        In a `writing`. What was done for files that other entries stood for before becomes that of those that do now.
        """
        db = self._db
        db.execute("DELETE FROM incoming")
        db.executemany("INSERT INTO incoming VALUES (?, ?, ?, ?, ?)", found)
        db.execute("INSERT OR IGNORE INTO seen SELECT id FROM incoming")
        known = "FROM images WHERE images.id = incoming.id"
        db.execute(
            f"DELETE FROM incoming WHERE EXISTS (SELECT 1 {known} AND images.stamp = incoming.stamp"
            " AND incoming.path IN (images.path, images.origin))"
        )
        count = f"SELECT count(*), coalesce(sum(EXISTS (SELECT 1 {known})), 0) FROM incoming"
        [(total, changed)] = db.execute(count).fetchall()
        if not total:
            return 0, 0
        others = db.execute(
            "SELECT incoming.id, images.id FROM incoming JOIN images USING (path) WHERE incoming.id <> images.id"
        ).fetchall()
        # metadata were the other entry's, and went with it
        db.executemany("UPDATE steps SET image = ? WHERE image = ? AND kind <> 'metadata'", others)
        self.forget([before for _, before in others])
        db.execute(PUT.format("SELECT id, path, stamp, NULL, width, height, '', '' FROM incoming WHERE true"))
        return total - changed, changed

    def unseen(self) -> list[Row]:
        """The images that nobody has seen since it was opened."""
        return self.rows_where("WHERE id NOT IN (SELECT id FROM seen) ORDER BY path")

    def moved(self) -> list[Row]:
        """The images that the run itself has moved."""
        return self.rows_where("WHERE origin IS NOT NULL ORDER BY path")

    def forget(self, ids: Sequence[int]) -> None:
        """Delete images. In a `writing`."""
        for table, column in (("images", "id"), ("applied", "image")):
            self._db.executemany(f"DELETE FROM {table} WHERE {column} = ?", ((one,) for one in ids))

    def distrust(self) -> None:
        """Have every image read anew, say for another model. In a `writing`."""
        self.undecide()
        self._db.execute("UPDATE images SET stamp = ? || stamp, vector = NULL WHERE stamp NOT LIKE '?%'", (DISTRUSTED,))

    def place(self, image: int, path: Path, stamp: str, origin: Path | None) -> None:
        """Say where an image lies now. In a `writing`."""
        self._db.execute(
            "UPDATE OR REPLACE images SET path = ?, stamp = ?, origin = ? WHERE id = ?",
            (os.fsencode(path), stamp, os.fsencode(origin) if origin else None, image),
        )

    def count(self, *, undecided: bool = False) -> int:
        """How many images there are; or how many that wait for a decision."""
        where = "WHERE answers IS NULL AND error = ''" if undecided else ""
        return int(self.query(f"SELECT count(*) FROM images {where}")[0][0])

    def rows(self) -> Iterator[Row]:
        """Every image, in the order of paths. Others may be changed meanwhile."""
        after = b""
        while block := self.rows_where("WHERE path > :after ORDER BY path LIMIT :most", after=after, most=BLOCK):
            yield from block
            after = os.fsencode(block[-1].image.path)

    def listed(self) -> Iterator[Listed]:
        """The same for a file."""
        after = b""
        while block := self.query(
            "SELECT path, answers, guess, error, cut_off, width, height FROM images WHERE path > :after"
            " ORDER BY path LIMIT :most",
            after=after,
            most=BLOCK,
        ):
            with self._parsing():
                listed = list(starmap(_listed, block))
            yield from listed
            after = block[-1][0]

    def row(self, image: int) -> Row | None:
        """The image of that id."""
        return next(iter(self.rows_where("WHERE id = :image", image=image)), None)

    # --- decisions ---

    def undecide(self) -> None:
        """Have all of them decided anew, but those of which a person has said what they are. In a `writing`."""
        self._db.execute(f"UPDATE images SET answers = NULL, guess = NULL, margin = NULL WHERE {OPEN}")

    def to_decide(self, after: int, *, again: bool) -> tuple[list[int], list[bytes | None]]:
        """Ids and vectors (bytes of float16) of some that wait for a decision, from above an id.

        `again`: also of those that have one, but from nobody.
        """
        which = OPEN if again else "answers IS NULL"
        rows = self.query(
            f"SELECT id, vector FROM images WHERE {which} AND error = '' AND id > :after ORDER BY id LIMIT :most",
            after=after,
            most=BLOCK,
        )
        return [row[0] for row in rows], [row[1] for row in rows]

    def answers_of(self, ids: Sequence[int]) -> dict[int, str]:
        """What is kept, as JSON, of those of these images, in the order of their ids, that are decided."""
        rows = self.query(
            "SELECT id, answers FROM images WHERE id BETWEEN :first AND :last AND answers IS NOT NULL",
            first=ids[0],
            last=ids[-1],
        )
        return dict(rows)

    def decide(
        self, ids: Sequence[int], answers: Iterable[tuple[list[Pair], Pair | None]], margins: Sequence[float]
    ) -> None:
        """Keep what was decided, as `answers_of` gives it, and how clear it is. In a `writing`."""
        rows = (
            (orjson.dumps(given).decode(), None if guess is None else orjson.dumps(guess).decode(), margin, key)
            for key, (given, guess), margin in zip(ids, answers, margins, strict=True)
        )
        self._db.executemany("UPDATE images SET answers = ?, guess = ?, margin = ? WHERE id = ?", rows)

    @contextmanager
    def deciding(self, images: int) -> Iterator[None]:
        """Have that many decided; an index of clearness is made anew where that is quicker than to change it."""
        if images < MANY:
            yield
            return
        with self._errors():
            self._db.execute("DROP INDEX IF EXISTS clearness")
        try:
            yield
        finally:
            with self._errors():
                self._db.execute(CLEARNESS)

    def sample(self, most: int) -> tuple[list[int], list[bytes | None]]:
        """Ids and vectors of that many images, always the same of the same ones."""
        rows = self.query(
            "SELECT id, vector FROM images WHERE error = '' ORDER BY (id * 2654435761) % 4294967296, id LIMIT :most",
            most=most,
        )
        return [row[0] for row in rows], [row[1] for row in rows]

    # --- what others ask of it ---

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

    def rows_where(self, where: str, **values: object) -> list[Row]:
        """The images of a condition, or in an order, of SQL."""
        with self._parsing():
            return [row_of(row) for row in self.query(f"SELECT {COLUMNS} FROM images {where}", **values)]
