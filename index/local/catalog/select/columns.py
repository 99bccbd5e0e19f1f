"""The pictures of a catalog as columns (index.columns), read out of one covering index; the last are kept.

Many are kept in a file beside the catalog too: a service that starts reads 7 bytes an image then, and not that index.

The time of a picture is when it was taken, as its file says, on the clock of that place; else when its file was last
changed, in UTC.
"""

from __future__ import annotations

import io
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np

from base.arrays import DAMAGED
from base.files import whole_file
from index.columns import UNKNOWN, Columns
from index.local.catalog.sqlite.database import Connection

FILE = "columns.npz"
FORMAT = 1  # of what is kept; and whatever else decides what the columns of a catalog are
MANY = 50_000  # images from which on the columns are kept in a file: fewer are read in some 40 ms

# A text a column leaves SQLite, not a row a picture: half the time, and other threads run meanwhile.
_TIME = f"coalesce(strftime('%s', substr(taken, 1, 19)), mtime_ns / 1000000000, {UNKNOWN})"
_READ = f"""
SELECT group_concat(id), group_concat(coalesce(width, 0)), group_concat(coalesce(height, 0)), group_concat({_TIME})
FROM entries INDEXED BY entries_version WHERE modality = 'image'
"""


class ColumnsCache:
    """The columns of a catalog, good for as long as no entry changes. Of any number of threads one reads at a time."""

    def __init__(self, folder: Path, *, read_only: bool) -> None:
        """Of the catalog in `folder`; nothing is written there if `read_only`."""
        self._path = folder / FILE
        self._read_only = read_only
        self._kept: Columns | None = None
        self._writing: threading.Thread | None = None
        self._lock = threading.Lock()

    def read(self, db: Connection, state: str) -> Columns:
        """The columns, in a transaction of `db` that sees the catalog in that state."""
        with self._lock:
            if self._kept is None or self._kept.state != state:
                self._kept = _from_file(self._path, state) or self._from_catalog(db, state)
            return self._kept

    def _from_catalog(self, db: Connection, state: str) -> Columns:
        texts = db.execute(_READ).fetchone()
        found = (np.fromstring(text, np.int64, sep=",") if text else np.empty(0, np.int64) for text in texts)
        columns = Columns.of(state, *found)
        is_writing = self._writing is not None and self._writing.is_alive()  # on a slow disk not one behind the other
        if len(columns.ids) >= MANY and not self._read_only and not is_writing:
            self._writing = threading.Thread(target=_to_file, args=(self._path, columns), name="columns")
            self._writing.start()  # nobody waits for it
        return columns


def _from_file(path: Path, state: str) -> Columns | None:
    """Those that are kept; None if there are none, they are of another state, or the file is damaged."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            if str(kept["state"]) != state or int(kept["format"]) != FORMAT:
                return None
            return Columns(state, kept["ids"].astype(np.int64), kept["aspects"], kept["days"])
    except DAMAGED:
        return None


def _to_file(path: Path, columns: Columns) -> None:
    ids = columns.ids
    content = io.BytesIO()
    np.savez(
        content,
        format=np.array(FORMAT),
        state=np.array(columns.state),
        ids=ids.astype(np.uint32) if ids.max() < 2**32 else ids,
        aspects=columns.aspects,
        days=columns.days,
    )
    with suppress(OSError), whole_file(path) as part:  # it only saves time, and the collection may be gone by now
        part.write_bytes(content.getvalue())
