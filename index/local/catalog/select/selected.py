"""What is asked of a catalog by filters and keys, each as of one moment: ids, columns, values, folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from index.columns import Columns
from index.entry import FacetKey, FacetValue, Folder, Modality
from index.local.catalog.select.columns import ColumnsCache
from index.local.catalog.select.facet_counts import FacetCounts, values_among
from index.local.catalog.select.filters import FilterCache
from index.local.catalog.sqlite.database import Connection, Database
from index.local.catalog.tables import read_meta
from index.search.filters import Filter
from index.search.patience import Patience


class Selected:
    """The entries of one catalog, selected and counted; the last answers are kept. For any number of threads."""

    def __init__(self, db: Database, folder: Path, *, read_only: bool) -> None:
        """Of the catalog in `folder`; nothing is written there if `read_only`."""
        self._db = db
        self._filters = FilterCache()
        self._facets = FacetCounts()
        self._pictures = ColumnsCache(folder, read_only=read_only)

    def ids(self, wanted: Filter, modality: Modality, patience: Patience | None = None) -> NDArray[np.int64]:
        """The ids (n,), ascending and read-only, of the entries that a filter lets through. FilterTooSlow, GivenUp."""
        with self._db.reading() as db:
            db.execute("BEGIN")
            return self._filters.ids(db, int(read_meta(db, "revision")), wanted, modality, patience)

    def columns_state(self) -> str:
        """The state of `columns`, without reading them."""
        with self._db.reading() as db:
            db.execute("BEGIN")
            return _state_of_columns(db)

    def columns(
        self, wanted: Filter | None = None, patience: Patience | None = None
    ) -> tuple[Columns, NDArray[np.bool_] | None]:
        """All images as columns, and which of them (n,) pass a filter, of one moment. FilterTooSlow, GivenUp."""
        with self._db.reading() as db:
            db.execute("BEGIN")
            columns = self._pictures.read(db, _state_of_columns(db))
            if wanted is None:
                return columns, None
            ids = self._filters.ids(db, int(read_meta(db, "revision")), wanted, "image", patience)
            return columns, columns.mask(ids)

    def values(
        self,
        key: str,
        modality: Modality,
        limit: int,
        wanted: Filter | None = None,
        patience: Patience | None = None,
    ) -> list[FacetValue]:
        """The `limit` most frequent values of a key of the metadata, of all entries or of those that pass a filter.

        Raises:
            FilterTooSlow, GivenUp: the `patience` is over.
        """
        with self._db.reading() as db:
            db.execute("BEGIN")
            revision = int(read_meta(db, "revision"))
            if wanted is None:
                return self._facets.values(db, revision, key, modality, limit, patience)
            ids = self._filters.ids(db, revision, wanted, modality, patience)
            return values_among(db, key, modality, limit, ids, patience)

    def keys(self, modality: Modality, patience: Patience | None = None) -> list[FacetKey]:
        """Every key of the metadata, by name. Raises as `values`."""
        with self._db.reading() as db:
            db.execute("BEGIN")
            return self._facets.keys(db, int(read_meta(db, "revision")), modality, patience)

    def folder(self, path: str | None, without: str | None, patience: Patience | None = None) -> Folder:
        """A folder with what lies in it, by default the lowest that all lie in; as if there were nothing in `without`.

        Raises as `values`.
        """
        with self._db.reading() as db:
            db.execute("BEGIN")
            return self._facets.folder(db, int(read_meta(db, "revision")), path, without, patience)


def _state_of_columns(db: Connection) -> str:
    """A name for what the catalog holds; no two lives of a collection share one."""
    lives = db.execute("SELECT value FROM meta WHERE key = 'life'").fetchone()  # a catalog of before has none
    return f"{lives[0] if lives else read_meta(db, 'created_at')}-{read_meta(db, 'revision')}"
