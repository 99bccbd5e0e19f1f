"""A catalog's schema, brought from each that was released to the next when it is opened, in one transaction."""

from __future__ import annotations

from index.local.catalog.feed import new_life
from index.local.catalog.sqlite.database import Connection
from index.local.catalog.tables import FEED_OBJECTS, OURS, check_no_triggers, has_column, read_meta


def _of_schema_2(db: Connection) -> None:
    _add_external_ids(db)
    _add_changes(db)


def _add_external_ids(db: Connection) -> None:
    """Bring a catalog of schema 2 to schema 3, in the transaction that `db` is in. No row is written anew."""
    check_no_triggers(db)
    if not has_column(db, "entries", "checksum"):
        for table in ("meta", "entries"):
            db.execute(f"ALTER TABLE {table} ADD COLUMN checksum INTEGER")
        db.execute("UPDATE meta SET checksum = checksum(key, value)")
    for table in ("entries", "tombstones"):
        db.execute(f"ALTER TABLE {table} ADD COLUMN external_id TEXT")
    db.execute(OURS["index", "entries_external_id"])


def _add_changes(db: Connection) -> None:
    """Give a catalog of schema 2 the feed of changes, which begins with all that is there."""
    for name in FEED_OBJECTS:
        db.execute(OURS[name])
    revision = read_meta(db, "revision")
    db.execute("INSERT INTO changes (revision, id, what) SELECT ?, id, 'created' FROM entries", (revision,))
    for key, value in (("life", new_life()), ("changes_since", revision)):
        db.execute("INSERT INTO meta VALUES (?1, ?2, checksum(?1, ?2))", (key, value))


UPGRADES = {2: _of_schema_2}  # from a schema to the next
