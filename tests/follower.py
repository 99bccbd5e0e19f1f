"""A second system that follows a collection, for test_service_changes.py to kill: rows and cursor in one SQLite file.

python tests/follower.py URL COLLECTION FILE [SECONDS]    ends once nothing is new for so long; without, never
"""

from __future__ import annotations

import json
import sqlite3
import sys
import time

from base.errors import CursorGone
from glimpse.client import Client, NoService, ServiceError


def follow(url: str, collection: str, file: str, patience: float) -> None:
    """Read page after page; what a page says and its cursor are kept in one transaction, or not at all."""
    db = sqlite3.connect(file, isolation_level=None)
    db.executescript(
        "PRAGMA synchronous = FULL;"
        "CREATE TABLE IF NOT EXISTS rows (id INTEGER PRIMARY KEY, entry TEXT, fresh INTEGER);"
        "CREATE TABLE IF NOT EXISTS state (one INTEGER PRIMARY KEY CHECK (one = 1), cursor TEXT, is_full INTEGER);"
        "INSERT OR IGNORE INTO state VALUES (1, NULL, 1)"
    )
    quiet = time.monotonic()
    with Client(url, timeout=5) as client:
        while time.monotonic() - quiet < patience:
            cursor, is_full = db.execute("SELECT cursor, is_full FROM state").fetchone()
            try:
                page = client.changes(collection, cursor, limit=7, wait=0.2)
            except CursorGone:  # begin anew: what the feed does not name by its end is gone
                db.executescript(
                    "BEGIN; UPDATE rows SET fresh = 0; UPDATE state SET cursor = NULL, is_full = 1; COMMIT"
                )
                continue
            except (NoService, ServiceError):  # it is down just now
                time.sleep(0.1)
                continue
            db.execute("BEGIN")
            for change in page:
                if change.entry is None:
                    db.execute("DELETE FROM rows WHERE id = ?", (change.id,))
                else:
                    said = json.dumps([change.entry.text, change.entry.metadata], sort_keys=True)
                    db.execute("INSERT OR REPLACE INTO rows VALUES (?, ?, 1)", (change.id, said))
            if is_full and not page.has_more:
                db.execute("DELETE FROM rows WHERE fresh = 0")
                is_full = 0
            db.execute("UPDATE state SET cursor = ?, is_full = ?", (page.cursor, is_full))
            db.execute("COMMIT")
            if page.changes or page.has_more:
                quiet = time.monotonic()


if __name__ == "__main__":
    follow(*sys.argv[1:4], float(sys.argv[4]) if len(sys.argv) > 4 else float("inf"))
