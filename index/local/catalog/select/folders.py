"""The folders that the files of entries lie in, a level at a time, counted out of the paths in their order."""

from __future__ import annotations

import os

from index.local.catalog.select.filters import watched
from index.local.catalog.sqlite.database import Connection
from index.local.catalog.tables import inside_of
from index.search.patience import Patience

INSIDE = "path >= CAST(? AS TEXT) AND path < CAST(? AS TEXT)"
# of "a/b.jpg" the name a, of "b.jpg" nothing; as bytes, for not every path is UTF-8
LEVEL = """
SELECT substr(rest, 1, instr(rest, x'2F') - 1), count(*)
FROM (SELECT substr(CAST(path AS BLOB), ?) AS rest FROM entries WHERE {where})
WHERE instr(rest, x'2F') > 0 GROUP BY 1
"""


def level(db: Connection, folder: str, without: str | None, patience: Patience | None) -> tuple[int, dict[str, int]]:
    """How many entries lie in a folder and all below it, and in each folder right below it, by name.

    Raises:
        FilterTooSlow, GivenUp: the `patience` is over.
    """
    low, high = inside_of(folder)
    where, bound = _where(low, high, without)
    with watched(db, patience):
        ((entries,),) = db.execute(f"SELECT count(*) FROM entries WHERE {where}", bound)
        below = db.execute(LEVEL.format(where=where), (len(low) + 1, *bound)).fetchall()
    return entries, {os.fsdecode(name): n for name, n in below}


def common(db: Connection, without: str | None) -> str:
    """The lowest folder that all of them lie in."""
    where, bound = _where(b"/", b"0", without)
    ends = [
        path.rpartition(b"/")[0] or b"/"
        for order in ("", " DESC")
        for (path,) in db.execute(
            f"SELECT CAST(path AS BLOB) FROM entries WHERE {where} ORDER BY path{order} LIMIT 1", bound
        )
    ]
    return os.fsdecode(os.path.commonpath(ends)) if ends else "/"


def _where(low: bytes, high: bytes, without: str | None) -> tuple[str, tuple[bytes, ...]]:
    if without is None:
        return INSIDE, (low, high)
    return f"{INSIDE} AND NOT ({INSIDE})", (low, high, *inside_of(without))
