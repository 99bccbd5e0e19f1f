"""How often which values stand under a key of the metadata, of all entries or of some; which keys there are; folders.

Counted out of the facets, whose order is (modality, key, value, id): a key's values are one run of it. A text that is a
JSON number counts as that number, as it does in filters, so that a count is what a filter with that value lets through.
The last answers are kept, each good for as long as no entry changes.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

import numpy as np

from index.entry import FacetKey, FacetValue, Folder, Modality
from index.local.catalog.facets import Scalar
from index.local.catalog.select import folders
from index.local.catalog.select.conditions import FACETS, IS_NUMBER
from index.local.catalog.select.filters import Ids, ascending, watched
from index.local.catalog.sqlite.database import Connection
from index.local.catalog.tables import AMONG, json_ids
from index.search.patience import Patience

KEPT = 64  # answers
# An integer too large for any other number is kept as infinity, which no JSON can say.
COUNTED = f"NOT {IS_NUMBER} AND value NOT IN (9e999, -9e999)"
# What is less than infinity is a number: texts, and the bytes of booleans, stand behind all of them.
NUMBERS = (
    "SELECT min(value), max(value) FROM facets WHERE modality = ? AND key = ? AND value > -9e999 AND value < 9e999"
)
# The next key is looked up in the index: to read all of its rows would take a thousand times as long.
KEYS = """
WITH RECURSIVE each(key) AS (
    SELECT min(key) FROM facets WHERE modality = :modality
    UNION ALL
    SELECT (SELECT min(key) FROM facets WHERE modality = :modality AND key > each.key) FROM each WHERE key IS NOT NULL
)
SELECT key FROM each WHERE key IS NOT NULL
"""


class FacetCounts:
    """The facets of a catalog, counted. For any number of threads."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, tuple[int, Any]] = OrderedDict()
        self._lock = threading.Lock()

    def values(
        self, db: Connection, revision: int, key: str, modality: Modality, limit: int, patience: Patience | None
    ) -> list[FacetValue]:
        """The `limit` most frequent values of a key, in a transaction of `db` that sees the catalog at `revision`.

        Raises:
            FilterTooSlow, GivenUp: the `patience` is over.
        """
        asked = "values", key, modality, limit
        found: list[FacetValue] | None = self._known(asked, revision)
        if found is None:
            found = values_among(db, key, modality, limit, None, patience)
            self._keep(asked, revision, found)
        return found

    def keys(self, db: Connection, revision: int, modality: Modality, patience: Patience | None) -> list[FacetKey]:
        """Every key, by name. Raises as `values`."""
        asked = "keys", modality
        found: list[FacetKey] | None = self._known(asked, revision)
        if found is None:
            with watched(db, patience):
                # one that begins so is never asked for: in filters it leads to the file
                names = [name for (name,) in db.execute(KEYS, {"modality": modality}) if not name.startswith("file.")]
                found = [_described(db, name, modality) for name in names]
            self._keep(asked, revision, found)
        return found

    def folder(
        self, db: Connection, revision: int, path: str | None, without: str | None, patience: Patience | None
    ) -> Folder:
        """As `Selected.folder`. Raises as `values`."""
        asked = "folder", path, without
        found: Folder | None = self._known(asked, revision)
        if found is None:
            at = folders.common(db, without) if path is None else path
            found = Folder(at, *folders.level(db, at, without, patience))
            self._keep(asked, revision, found)
        return found

    def _known(self, asked: Hashable, revision: int) -> Any:
        with self._lock:
            kept = self._kept.get(asked)
            if kept is None or kept[0] != revision:
                return None
            self._kept.move_to_end(asked)
            return kept[1]

    def _keep(self, asked: Hashable, revision: int, found: Any) -> None:
        with self._lock:
            self._kept[asked] = revision, found
            self._kept.move_to_end(asked)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)


def values_among(
    db: Connection, key: str, modality: Modality, limit: int, ids: Ids | None, patience: Patience | None
) -> list[FacetValue]:
    """The `limit` most frequent values of a key, of all entries or of `ids`; equally frequent ones in their order."""
    among, bound = ("", ()) if ids is None else (f" AND {AMONG}", (json_ids(ids.tolist()),))
    runs = f"{FACETS.replace('id', 'value, count(*) AS n', 1)}{among} GROUP BY value"
    query = f"SELECT value, n FROM ({runs}) WHERE {COUNTED} ORDER BY n DESC, value LIMIT ?"
    with watched(db, patience):
        rows = db.execute(query, (modality, key, *bound, limit)).fetchall()
    return [FacetValue(_plain(value), n) for value, n in rows]


def _described(db: Connection, key: str, modality: Modality) -> FacetKey:
    """What there is to say of a key."""
    ((text,),) = db.execute(f"SELECT group_concat(id) FROM ({FACETS})", (modality, key))
    ids = ascending(np.fromstring(text, np.int64, sep=","))
    runs = f"{FACETS.replace('id', 'value', 1)} GROUP BY value"
    ((values,),) = db.execute(f"SELECT count(*) FROM ({runs}) WHERE {COUNTED}", (modality, key))
    least, most = db.execute(NUMBERS, (modality, key)).fetchone()
    return FacetKey(key, len(ids), values, least, most)


def _plain(value: Scalar) -> str | int | float | bool:
    """A value as it stands in JSON."""
    return value == b"\x01" if isinstance(value, bytes) else value
