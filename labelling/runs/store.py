"""What a run keeps of its images: where they lie, their vectors and labels, what is said of them.

A kill leaves what was committed, and nothing torn. Paths are kept as their bytes, so that any name can be, and give the
order of a walk. It knows no output and walks no folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import orjson

from labelling.rows import Listed, Pair
from labelling.runs.database import RunDatabase
from labelling.runs.tables import (
    CLEARNESS,
    COLUMNS,
    DISTRUSTED,
    OPEN,
    PUT,
    SEALS,
    VECTOR_SEAL,
    Found,
    FoundEntry,
    Row,
    row_of,
)

BLOCK = 4096  # rows at a time
UNDECIDED = "answers IS NULL AND error = ''"
MANY = 50_000  # images, of which an index is sooner made anew than changed one by one


def _listed(path: bytes, answers: str | None, guess: str | None, error: str, cut_off: str, *size: int | None) -> Listed:
    given = orjson.loads(answers) if answers else ()
    return Listed(os.fsdecode(path), given, orjson.loads(guess) if guess and not given else None, error, cut_off, *size)


class RunStore(RunDatabase):
    """An open store. Raises as `RunDatabase`."""

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

    def undecided(self) -> list[Row]:
        """The images that wait for a decision."""
        return self.rows_where(f"WHERE {UNDECIDED} ORDER BY path")

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

    def placed(self, image: int) -> tuple[Path, Path | None, str] | None:
        """Where an image lies, where it lay before the run moved it, its stamp; None: it is gone, or damaged."""
        sql = f"SELECT path, origin, stamp FROM images WHERE id = :image AND checksum IS {SEALS['images']}"
        for path, origin, stamp in self.query(sql, image=image):
            return Path(os.fsdecode(path)), Path(os.fsdecode(origin)) if origin else None, stamp
        return None

    def place(self, image: int, path: Path, stamp: str, origin: Path | None) -> None:
        """Say where an image lies now. In a `writing`."""
        self._db.execute(
            "UPDATE OR REPLACE images SET path = ?, stamp = ?, origin = ? WHERE id = ?",
            (os.fsencode(path), stamp, os.fsencode(origin) if origin else None, image),
        )

    def count(self, *, undecided: bool = False) -> int:
        """How many images there are; or how many that wait for a decision."""
        where = f"WHERE {UNDECIDED}" if undecided else ""
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
            f"SELECT checksum IS {SEALS['images']}, path, answers, guess, error, cut_off, width, height FROM images"
            " WHERE path > :after ORDER BY path LIMIT :most",
            after=after,
            most=BLOCK,
        ):
            if not all(row[0] for row in block):
                raise self._damaged_row("images")
            with self._parsing():
                listed = [_listed(*row) for _, *row in block]
            yield from listed
            after = block[-1][1]

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
        return self.vectors(f"WHERE {which} AND error = '' AND id > :after ORDER BY id LIMIT {BLOCK}", after=after)

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
        return self.vectors("WHERE error = '' ORDER BY (id * 2654435761) % 4294967296, id LIMIT :most", most=most)

    def vectors(self, where: str, **values: object) -> tuple[list[int], list[bytes | None]]:
        """Ids and vectors (bytes of float16) of the images of a condition. GlimpseError for one that is damaged."""
        sound = f"vector_checksum IS {VECTOR_SEAL}, checksum IS {SEALS['images']}"
        rows = self.query(f"SELECT id, vector, {sound} FROM images {where}", **values)
        if not all(row[2] for row in rows):
            raise self._damaged_vector()
        if not all(row[3] for row in rows):  # once it is decided it has a new checksum
            raise self._damaged_row("images")
        return [row[0] for row in rows], [row[1] for row in rows]

    def rows_where(self, where: str, **values: object) -> list[Row]:
        """The images of a condition, or in an order, of SQL."""
        with self._parsing():
            return [row_of(row) for row in self.query(f"SELECT {COLUMNS} FROM images {where}", **values)]
