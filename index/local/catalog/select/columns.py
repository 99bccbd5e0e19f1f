"""The pictures of a catalog as columns (index.columns), read out of one covering index; the last are kept.

The time of a picture is when it was taken, as its file says, on the clock of that place; else when its file was last
changed, in UTC.
"""

from __future__ import annotations

import threading

import numpy as np

from index.columns import UNKNOWN, Columns
from index.local.catalog.database import Connection

# A text a column leaves SQLite, not a row a picture: half the time, and other threads run meanwhile.
_TIME = f"coalesce(strftime('%s', substr(taken, 1, 19)), mtime_ns / 1000000000, {UNKNOWN})"
_READ = f"""
SELECT group_concat(id), group_concat(coalesce(width, 0)), group_concat(coalesce(height, 0)), group_concat({_TIME})
FROM entries INDEXED BY entries_version WHERE modality = 'image'
"""


class ColumnsCache:
    """The columns of a catalog, good for as long as no entry changes. Of any number of threads one reads at a time."""

    def __init__(self) -> None:
        self._kept: Columns | None = None
        self._lock = threading.Lock()

    def read(self, db: Connection, state: str) -> Columns:
        """The columns, in a transaction of `db` that sees the catalog in that state."""
        with self._lock:
            if self._kept is None or self._kept.state != state:
                texts = db.execute(_READ).fetchone()
                found = (np.fromstring(text, np.int64, sep=",") if text else np.empty(0, np.int64) for text in texts)
                self._kept = Columns.of(state, *found)
            return self._kept
