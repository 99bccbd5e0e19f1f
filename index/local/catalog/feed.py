"""The feed of changes: each entry once, at the place of what happened to it last, and those that were deleted.

Who reads it from the beginning has every entry, and from then on follows what changes, so that between the two there is
no gap. The table is filled where rows are written (index.local.catalog.tables); deletions are kept for a while, entries
for good. A cursor says in which life of the collection it was given (one that is made anew, or restored from a backup,
begins another), since when it has been followed, and up to which change.
"""

from __future__ import annotations

import os
import re
import secrets
from dataclasses import dataclass
from typing import Any

from base.errors import CollectionError, CursorGone, InputError
from index.entry import Change, ChangePage
from index.local.catalog.sqlite.database import Connection
from index.local.catalog.tables import COLUMNS, has_column, read_meta, records

KEPT = 100_000  # deletions
CURSOR = re.compile(r"([0-9a-f]{16})-([0-9a-f]{1,16})-([0-9a-f]{1,16})-([0-9a-f]{1,16})")
NOW = "now"  # in the place of a cursor: the end of the feed
PAGE = f"""
SELECT c.revision, c.id, c.what, c.modality, CAST(c.path AS BLOB), c.external_id, e.*
FROM changes c LEFT JOIN (SELECT {COLUMNS} FROM entries) e ON e.id = c.id
WHERE (c.revision, c.id) > (:revision, :id) AND (c.what <> 'deleted' OR c.revision > :since)
ORDER BY c.revision, c.id LIMIT :limit
"""


def new_life() -> str:
    """The name of a life of a collection."""
    return secrets.token_hex(8)


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in the feed: behind entry `id` of commit `revision`.

    `since` is the commit that was the last when its reader began: what was deleted before it never had.
    """

    life: str
    since: int
    revision: int
    id: int = 0

    def __str__(self) -> str:
        return f"{self.life}-{self.since:x}-{self.revision:x}-{self.id:x}"

    @classmethod
    def of(cls, text: str) -> Cursor:
        """The cursor that a text is. InputError if it is none."""
        match = CURSOR.fullmatch(text)
        numbers = [int(digits, 16) for digits in match.groups()[1:]] if match else []
        if match is None or max(numbers) >= 2**63:
            raise InputError("after: is no cursor of this feed: give the one of the last answer as it is")
        return cls(match[1], *numbers)


def read_changes_after(db: Connection, name: str, after: str | None, limit: int) -> ChangePage:
    """The next `limit` changes, in the transaction that `db` is in.

    Args:
        db: a connection that reads as of one moment.
        name: of the collection.
        after: a cursor; None: from the beginning, which is every entry; NOW: none of those that were.
        limit: how many at most.

    Raises:
        InputError: `after` is no cursor.
        CursorGone: it is of another life of the collection, or so old that deletions since are forgotten.
    """
    if not has_column(db, "changes", "id"):
        raise CollectionError(
            f"collection {name!r} is of an older glimpse, which noted no changes, and lies on a read-only disk: open "
            "it once where it can be written"
        )
    life, now = str(read_meta(db, "life")), int(read_meta(db, "revision"))
    end = now + 1
    cursor = Cursor(life, now, end if after == NOW else 0) if after in (None, NOW) else Cursor.of(str(after))
    if cursor.life != life or max(cursor.since, cursor.revision - 1) > now:
        raise _gone(name, "it was made anew or restored since")
    forgotten = int(read_meta(db, "changes_since"))
    if cursor.since < forgotten and cursor.revision <= forgotten:
        raise _gone(name, f"it is older than the last {KEPT} deletions")
    asked = {"revision": cursor.revision, "id": cursor.id, "since": cursor.since, "limit": limit + 1}
    rows = db.execute(PAGE, asked).fetchall()
    has_more = len(rows) > limit
    changes = _changes(rows[:limit], cursor)
    following = changes[-1].cursor if has_more else str(Cursor(life, cursor.since, end))
    return ChangePage(changes, following, has_more)


def forget_old(db: Connection, keep: int = KEPT) -> None:
    """Forget all deletions but the last `keep`, in a transaction that writes; those of one commit go together."""
    oldest = "SELECT revision FROM changes WHERE what = 'deleted' ORDER BY revision DESC LIMIT 1 OFFSET ?"
    for (revision,) in db.execute(oldest, (keep,)).fetchall():
        db.execute("DELETE FROM changes WHERE what = 'deleted' AND revision <= ?", (revision,))
        db.execute("UPDATE meta SET value = ? WHERE key = 'changes_since'", (revision,))


def _changes(rows: list[tuple[Any, ...]], cursor: Cursor) -> list[Change]:
    found = {record.id: record for record in records([row[6:] for row in rows if row[2] != "deleted"])}
    changes = []
    for revision, key, what, modality, path, external_id, *_ in rows:
        record = found.get(key)
        if record is not None:
            modality, path, external_id = record.modality, record.path, record.external_id
        elif path is not None:
            path = os.fsdecode(path)
        place = str(Cursor(cursor.life, cursor.since, revision, key))
        changes.append(Change(what, key, modality, path, external_id, record, place))
    return changes


def _gone(name: str, why: str) -> CursorGone:
    return CursorGone(
        f"what changed in collection {name!r} after this cursor is not all known, for {why}: read it anew without "
        "`after`, and let go of what that does not name"
    )
