"""The rows of a catalog as records: by id, path, hash or external id, or streamed. None is changed, no vector read."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from index.entry import ImageRow, Modality, Record
from index.local.catalog.insert import LOOKUP
from index.local.catalog.sqlite.database import Database
from index.local.catalog.tables import (
    AMONG,
    COLUMNS,
    COLUMNS_2,
    SCHEMA_VERSION,
    encode_path,
    inside_of,
    json_ids,
    records,
)

PAGE = 1000  # read at a time


class Records:
    """Those of one catalog. Each call reads in a transaction of its own, what streams in one a page."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._columns = COLUMNS if db.schema == SCHEMA_VERSION else COLUMNS_2

    def get(self, ids: Iterable[int]) -> dict[int, Record]:
        """The records of those `ids` that are there, by id."""
        with self._db.reading() as db:
            rows = db.execute(f"SELECT {self._columns} FROM entries WHERE {AMONG}", (json_ids(ids),)).fetchall()
        return {record.id: record for record in records(rows)}

    def get_external(self, external_ids: Iterable[str]) -> dict[str, Record]:
        """The records of those external ids that are there, by them."""
        if self._columns == COLUMNS_2:
            return {}
        wanted = json.dumps(list(external_ids))
        among = "external_id IN (SELECT value FROM json_each(?))"
        with self._db.reading() as db:
            rows = db.execute(f"SELECT {COLUMNS} FROM entries WHERE {among}", (wanted,)).fetchall()
        return {str(record.external_id): record for record in records(rows)}

    def get_paths(self, paths: Iterable[str]) -> dict[str, Record]:
        """The records of those paths that are there, by them."""
        wanted, found = [encode_path(path) for path in paths], list[Record]()
        with self._db.reading() as db:
            for start in range(0, len(wanted), LOOKUP):
                some = wanted[start : start + LOOKUP]
                marks = ", ".join(["CAST(? AS TEXT)"] * len(some))
                query = f"SELECT {self._columns} FROM entries WHERE path IN ({marks})"
                found += records(db.execute(query, some).fetchall())
        return {str(record.path): record for record in found}

    def find(self, column: Literal["path", "sha256"], value: str | Path, limit: int = -1) -> list[Record]:
        """The records with that path (at most one) or that hash, in the order of ids; -1: all of them."""
        query = f"SELECT {self._columns} FROM entries WHERE {column} = CAST(? AS TEXT) ORDER BY id LIMIT ?"
        with self._db.reading() as db:
            return records(db.execute(query, (os.fsencode(value), limit)).fetchall())

    def stream(
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
            where += " AND +path >= CAST(? AS TEXT) AND +path < CAST(? AS TEXT)"
            values += inside_of(under)
        query = f"SELECT {self._columns} FROM entries WHERE {where} ORDER BY id LIMIT ?"
        left = limit
        while left is None or left > 0:
            page = PAGE if left is None else min(PAGE, left)
            with self._db.reading() as db:  # a page at a time: a caller who stops half-way holds nothing open
                rows = db.execute(query, (after_id, *values, page)).fetchall()
            yield from records(rows)
            if len(rows) < page:
                return
            after_id = rows[-1][0]
            left = None if left is None else left - page

    def images(self) -> Iterator[ImageRow]:
        """Stream the images as rows, in the order of ids."""
        query = """
            SELECT id, CAST(path AS BLOB), size, mtime_ns, sha256, width, height FROM entries
            WHERE id > ? AND +modality = 'image' ORDER BY id LIMIT ?
        """
        after = 0
        while True:
            with self._db.reading() as db:  # a page at a time, as `stream`
                rows = db.execute(query, (after, PAGE)).fetchall()
            yield from rows
            if len(rows) < PAGE:
                return
            after = rows[-1][0]

    def paths(self, under: str | Path) -> Iterator[tuple[str, int, int | None, int | None]]:
        """Stream (path, id, mtime_ns, size) of the images inside that folder, in the order of the paths' bytes."""
        after, end = inside_of(under)
        query = """
            SELECT CAST(path AS BLOB), id, mtime_ns, size FROM entries
            WHERE path > CAST(? AS TEXT) AND path < CAST(? AS TEXT) AND +modality = 'image' ORDER BY path LIMIT ?
        """
        while True:
            with self._db.reading() as db:  # a page at a time, as `stream`
                rows = db.execute(query, (after, end, PAGE)).fetchall()
            for path, *rest in rows:
                yield os.fsdecode(path), *rest
            if len(rows) < PAGE:
                return
            after = rows[-1][0]

    def paths_with_dots(self) -> list[tuple[str, int]]:
        """(path, id) of the entries whose path has a part `..`, so that it may lead elsewhere than it begins."""
        with self._db.reading() as db:
            rows = db.execute(
                "SELECT CAST(path AS BLOB), id FROM entries WHERE path LIKE '%..%' ORDER BY id"
            ).fetchall()
        return [(os.fsdecode(path), key) for path, key in rows if b".." in path.split(b"/")]
