"""How much a collection may hold, as its catalog keeps it and holds each commit to it."""

from __future__ import annotations

import json
from dataclasses import asdict

from base.errors import CollectionDamaged, InputError, QuotaExceeded
from index.config import Quota
from index.local.catalog.sqlite.database import Connection
from index.local.catalog.tables import inside_of, read_counts

KEY = "quota"
REMEDY = "delete some, or have its quota raised (glimpse collections quota, PATCH /v1/collections/NAME)"


def read_quota(db: Connection) -> Quota:
    """What `write_quota` was last given; none if nothing was."""
    rows = db.execute("SELECT value FROM meta WHERE key = ?", (KEY,)).fetchall()
    try:
        return Quota(**json.loads(rows[0][0])) if rows else Quota()
    except (TypeError, ValueError, InputError) as error:
        raise CollectionDamaged(f"the catalog's quota is damaged: set it anew ({error})") from error


def write_quota(db: Connection, quota: Quota) -> None:
    """Keep a quota; a catalog of before has no such row."""
    put = "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
    db.execute(put, (KEY, json.dumps(asdict(quota))))


def count_entries(db: Connection) -> int:
    """How many entries there are, of any modality."""
    return sum(read_counts(db).values())


def check_entries(db: Connection, name: str, before: int) -> None:
    """QuotaExceeded if a commit to the collection `name` leaves more entries than may be, and than were `before`."""
    check_room(db, name, before, count_entries(db) - before)


def check_room(db: Connection, name: str, before: int, more: int) -> None:
    """QuotaExceeded if so many more entries than there were `before` are too many; no more never are."""
    most = read_quota(db).entries
    if most is not None and more > 0 and before + more > most:
        raise QuotaExceeded(
            f"collection {name!r} has {before} entries and may have {most}, so {more} more do not fit; {REMEDY}"
        )


def sum_of_sizes(db: Connection, folder: str) -> int:
    """Bytes of the files inside a folder that entries name."""
    query = "SELECT coalesce(sum(size), 0) FROM entries WHERE path >= CAST(? AS TEXT) AND path < CAST(? AS TEXT)"
    return int(db.execute(query, inside_of(folder)).fetchone()[0])
