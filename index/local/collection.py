"""A named collection of images and texts on disk: write entries, search them, keep them through any crash.

    <data>/collections/<name>/catalog.sqlite     the truth (catalog/)
                              image-3f2a9c.*     derived: the image vectors of some commit, mapped (vectors/)
                              columns.npz        derived: ids, days and shapes of many images (catalog/select/)
                              .lock              held by the one process that may write

One process writes, any number read and see its commits at their next search. It takes vectors, never a model.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from base.errors import CollectionError, InputError
from base.names import check_title
from index.batch import Batch
from index.columns import AllVectors, Columns
from index.config import IndexConfig, Quota
from index.entry import (
    MODALITIES,
    ChangePage,
    CollectionInfo,
    Entry,
    FacetKey,
    FacetValue,
    Folder,
    ImageRow,
    Modality,
    Record,
    known,
)
from index.local.building import Building
from index.local.catalog.catalog import Catalog
from index.local.layout import CATALOG, folder_bytes, folder_identity, is_on_disk_of, sweep
from index.local.next_model import NextModel
from index.local.read_view import ReadView, Samples
from index.local.vectors.live import LiveIndex
from index.rows import stored_rows
from index.search.calibration import Rejection
from index.search.filters import parse_filter, parse_key
from index.search.patience import Patience
from index.search.searches import Searches, check_model


class LocalCollection(Searches):
    """An open collection. Every method may be called from any thread. `LocalStore` creates and opens them.

    Attributes:
        name: its name.
        folder: where it lies.
        is_near: it is at hand without asking a server, or another disk than that of its data folder.
        next: another model's vectors, beside the present ones until they are swapped in.
        keepsakes: what is kept of entries whose files went.
    """

    def __init__(self, folder: Path, lock: int | None, *, read_only: bool = False) -> None:
        self.folder = folder
        self._identity = folder_identity(folder)
        self.is_near = is_on_disk_of(folder, folder.parent)
        self._lock = lock  # the descriptor that holds the writer's lock; None: opened for reading
        self._catalog = Catalog(folder / CATALOG, read_only=read_only)
        self.name: str = folder.name
        self._live = LiveIndex(folder, self._catalog)
        self._samples: Samples = {}
        self.next = NextModel(self._catalog, self._live, self._check_writable)
        self.keepsakes = self._catalog.keepsakes(self._check_writable)
        self._building = Building(folder, self._catalog, self._live)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close it; a writer first builds the index anew if enough has changed. A second call does nothing."""
        try:
            self._building.end(writes=self._lock is not None)
        finally:
            self._live.close()
            self._catalog.close()
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    @contextmanager
    def hurrying(self) -> Iterator[None]:
        """While it is made: put nothing on disk at a commit, nor build an index beside. A write that fails ruins it."""
        self._building.paused = True
        with self._catalog.hurrying():
            yield
        self._building.paused = False

    # --- what it is ---

    @property
    def model(self) -> str:
        """The reference of the model whose vectors these are."""
        return str(self._catalog.identity()["model"])

    @property
    def fingerprint(self) -> str:
        """Of that model's weights and preprocessing. `reindex` may change it while the collection is open."""
        return str(self._catalog.identity()["fingerprint"])

    def made_by(self) -> tuple[str, str]:
        """That model's reference and its fingerprint, of one moment."""
        known = self._catalog.identity()
        return str(known["model"]), str(known["fingerprint"])

    @property
    def dim(self) -> int:
        """Values of a vector."""
        return self._catalog.dim

    def is_there(self) -> bool:
        """Whether it was neither deleted nor made anew under its name since it was opened."""
        return self._identity is not None and folder_identity(self.folder) == self._identity

    def info(self) -> CollectionInfo:
        """Its model, counts and size on disk, now."""
        counts = {modality: self.count(modality) for modality in MODALITIES}
        created_at = self._catalog.meta["created_at"]
        index = self._live.describe()
        return CollectionInfo(
            self.name,
            self.model,
            self.fingerprint,
            self.dim,
            counts,
            created_at,
            folder_bytes(self.folder),
            index,
            self._catalog.next.info(),
            quota=self.quota,
            title=self.title,
        )

    def count(self, modality: Modality | None = None) -> int:
        """How many entries it has, of one modality or of all."""
        return self._catalog.count(known(modality) if modality else None)

    def last_id(self) -> int:
        """The highest id that an entry has, or had; 0 if there was none."""
        return self._catalog.last_id()

    def check_model(self, fingerprint: str) -> None:
        """ModelMismatch unless `fingerprint` is that of the model that made these vectors."""
        known = self._catalog.identity()
        check_model(self.name, known["model"], known["fingerprint"], fingerprint)

    # --- writing: durable when it returns, all or nothing ---

    def upsert(self, entries: Sequence[Entry], fingerprint: str | None = None) -> list[int]:
        """Write entries in one transaction and return their ids. InputError if one cannot be stored; then none is.

        An entry whose path or external id is there already replaces that row and keeps its id, unless the row of that
        external id is of the other modality: then it is deleted. Vectors are scaled to length 1. QuotaExceeded if there
        would be more than may be; then none is written either. `fingerprint` is that of the model which made the
        vectors: ModelMismatch, and nothing is written, if the collection has another by the time of the commit.
        """
        return self.write(Batch.of(entries), fingerprint)

    def write(self, batch: Batch, fingerprint: str | None = None) -> list[int]:
        """As `upsert`, of entries as columns."""
        self._check_writable()
        if not len(batch):
            return []
        for modality in set(batch.modality):
            known(modality)
        identity = self._catalog.identity()
        if fingerprint is not None:
            check_model(self.name, identity["model"], identity["fingerprint"], fingerprint)
        x16 = stored_rows(batch.vector, int(identity["dim"]))
        ids = self._catalog.write(batch, x16, str(identity["fingerprint"]))
        self._building.grown(len(ids))
        return ids

    def update(self, changes: Mapping[int, Mapping[str, Any]]) -> None:
        """Set path, text, metadata, sha256, mtime_ns, size, width, height, taken or external_id of rows by id.

        Vectors stay. `metadata` is replaced, not merged. In one call files may exchange their paths. EntryNotFound for
        an unknown id, InputError for an unknown field, or a path or external id that another entry has.
        """
        self._check_writable()
        self._catalog.update(changes)

    def delete(self, ids: Iterable[int]) -> int:
        """Delete entries; unknown ids are passed over. Returns how many went."""
        self._check_writable()
        gone = self._catalog.delete(ids)
        self._building.grown(gone)
        return gone

    def check(self) -> list[str]:
        """Every problem found by reading all of catalog and index files, and by comparing them; one line each."""
        return self._catalog.check() + self._live.check()

    # --- what it is called, and how much it may hold ---

    @property
    def title(self) -> str | None:
        """What it is called where people read; None: by its name."""
        return self._catalog.settings.title()

    def set_title(self, title: str | None) -> None:
        """Have it called so, or by its name. InputError for what cannot be a title."""
        self._check_writable()
        self._catalog.settings.set_title(None if title is None else check_title(title))

    @property
    def quota(self) -> Quota:
        """How much it may hold."""
        return self._catalog.settings.quota()

    def set_quota(self, quota: Quota) -> None:
        """Have it hold so much at most, from now on. What is there stays, even if it is more."""
        self._check_writable()
        self._catalog.settings.set_quota(quota)

    def check_room(self, more: int) -> None:
        """QuotaExceeded if so many more entries would be too many; `upsert` asks as well, of what is there then."""
        self._catalog.check_room(more)

    def bytes_inside(self, folder: str | Path) -> int:
        """Bytes of the files inside a folder that its entries name."""
        return self._catalog.bytes_inside(str(folder))

    # --- its index: only speed depends on it ---

    @property
    def index_config(self) -> IndexConfig:
        """What its index is asked to be."""
        return self._catalog.settings.index_config()

    def is_due(self) -> bool:
        """Whether it should be built anew, and `close` would do that, which may take long."""
        return self._live.is_due()

    def stop_building(self) -> None:
        """Nothing is given up: what is built on this disk takes no server, and `close` waits for it."""

    def compact(self, config: IndexConfig | None = None, rows: Path | None = None) -> None:
        """Build the index anew, tuned, without what was deleted, and write it as files that open fast.

        It happens by itself, beside searches, as a collection grows. `config` is kept for the next times, and `rows`, a
        folder on another disk for the float16 rows; that of the data brings them back. Rows of a glimpse of before,
        which knew no checksums, get theirs, unless the old index says that they are damaged. What killed processes left
        beside the collection goes.
        """
        self._check_writable()
        sweep(self.folder.parent)
        self._building.compact(config, rows)

    # --- reading ---

    def vectors(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Vectors (n, dim) in the order of `ids`. EntryNotFound if one is not there."""
        return self._catalog.vectors(ids)

    def all_vectors(self) -> AllVectors:
        """Those of all images, as they are now."""
        view = self.read_view()
        return AllVectors(lambda: view.blocks("image"), view.count("image"), view.fingerprint, view.version)

    def vectors_of(self, ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Those of `ids` (n,) that are there, ascending, and their vectors (m, dim)."""
        return self._catalog.vectors_of(ids)

    def written_since(self, version: int) -> tuple[int, NDArray[np.int64]]:
        """The version as it is now, and the ids (n,), ascending, of images whose vectors were set after `version`."""
        return self._catalog.written_since(version)

    def records(
        self,
        modality: Modality | None = None,
        under: str | Path | None = None,
        after_id: int = 0,
        limit: int | None = None,
    ) -> Iterator[Record]:
        """Stream records in the order of ids, from above `after_id`; `under`: only paths inside that folder."""
        return self._catalog.records.stream(known(modality) if modality else None, under, after_id, limit)

    def images(self) -> Iterator[ImageRow]:
        """Stream the images as rows, in the order of ids: a third of the time of `records`."""
        return self._catalog.records.images()

    def paths(self, under: str | Path) -> Iterator[tuple[str, int, int | None, int | None]]:
        """Stream (path, id, mtime_ns, size) of the images inside that folder, in the order of the paths' bytes."""
        return self._catalog.records.paths(under)

    def paths_with_dots(self) -> list[tuple[str, int]]:
        """(path, id) of the entries whose path has a part `..`."""
        return self._catalog.records.paths_with_dots()

    def find_path(self, path: str | Path) -> Record | None:
        """The record of that path."""
        return next(iter(self._catalog.records.find("path", path)), None)

    def find_paths(self, paths: Iterable[str]) -> dict[str, Record]:
        """The records of those paths that are there, by them."""
        return self._catalog.records.get_paths(paths)

    def find_sha256(self, sha256: str, limit: int = -1) -> list[Record]:
        """The records of that hash, in the order of ids, `limit` at most; copies of a file are several."""
        return self._catalog.records.find("sha256", sha256, limit)

    def find_external(self, external_ids: Iterable[str]) -> dict[str, Record]:
        """The records of those external ids that are there, by them."""
        return self._catalog.records.get_external(external_ids)

    # --- searching ---

    def refresh(self) -> None:
        """Load or catch up now what the next search would: a service calls it before it says that it is ready."""
        self._live.refresh()

    def read_view(self) -> ReadView:
        """The vectors as they are now: every commit acknowledged before this call, and none after it."""
        return ReadView(self.name, self._live.refresh(), self._catalog, self._samples)

    def filter_ids(
        self,
        filter: Mapping[str, Any],  # noqa: A002
        modality: Modality,
        patience: Patience | None = None,
    ) -> NDArray[np.int64]:
        """The ids (n,), ascending, that pass a filter (index.search.filters).

        Raises:
            InputError: it is none.
            FilterTooSlow, GivenUp: the `patience` is over.
        """
        return self._catalog.select.ids(parse_filter(filter), known(modality), patience)

    def columns_state(self) -> str:
        """The state that `columns` would have, without reading them."""
        return self._catalog.select.columns_state()

    def columns(self) -> Columns:
        """All images as columns, the newest first. Read anew after a change, some 0.7 s a million; many in a file."""
        return self._catalog.select.columns()[0]

    def columns_among(
        self,
        filter: Mapping[str, Any],  # noqa: A002
        patience: Patience | None = None,
    ) -> tuple[Columns, NDArray[np.bool_]]:
        """The same, and which of them (n,) pass a filter, of one moment. Raises as `filter_ids`."""
        columns, mask = self._catalog.select.columns(parse_filter(filter), patience)
        assert mask is not None
        return columns, mask

    def changes_after(self, after: str | None = None, limit: int = 1000) -> ChangePage:
        """Up to `limit` changes behind a cursor, each entry at what happened to it last, and what was deleted.

        Without a cursor they begin with every entry, so reading on until there is no more and then from that cursor
        follows the collection without a gap; "now" begins at the end.

        Raises:
            InputError: it is no cursor.
            CursorGone: the collection was made anew or restored since, or deletions since then are forgotten.
        """
        if limit < 1:
            raise InputError(f"limit: must be at least 1, not {limit}")
        return self._catalog.changes_after(self.name, after, limit)

    def facet(
        self,
        key: str,
        limit: int = 10,
        filter: Mapping[str, Any] | None = None,  # noqa: A002
        modality: Modality = "image",
        patience: Patience | None = None,
    ) -> list[FacetValue]:
        """The most frequent values of a key of the metadata, each with the entries that have it, of all or of those
        that pass a filter. A count is what a filter with that value would let through.

        Raises:
            InputError: it is no key, or no filter.
            FilterTooSlow, GivenUp: the `patience` is over.
        """
        if limit < 1:
            raise InputError(f"limit: must be at least 1, not {limit}")
        wanted = None if filter is None else parse_filter(filter)
        return self._catalog.select.values(parse_key(key), known(modality), limit, wanted, patience)

    def facet_keys(self, modality: Modality = "image", patience: Patience | None = None) -> list[FacetKey]:
        """Every key of the metadata, by name. Raises as `facet`."""
        return self._catalog.select.keys(known(modality), patience)

    def folder_of(
        self, path: str | None = None, without: str | None = None, patience: Patience | None = None
    ) -> Folder:
        """A folder with the number of entries in it and in each right below, by default the lowest that all lie in.

        As if there were no entry in the folder `without`. Raises as `facet`.
        """
        return self._catalog.select.folder(path, without, patience)

    def records_of(self, ids: Iterable[int]) -> dict[int, Record]:
        """The records of those `ids` that are there."""
        return self._catalog.records.get(ids)

    def rejection(self) -> Rejection | None:
        """What was last measured (index.ingest.rejection)."""
        return self._catalog.settings.rejection()

    def set_rejection(self, measured: Rejection) -> None:
        """Keep what was measured."""
        self._check_writable()
        self._catalog.settings.set_rejection(measured)

    def places(self) -> dict[str, Any]:
        """What runs over folders remember of them (index.ingest.places)."""
        return self._catalog.settings.places()

    def set_places(self, places: Mapping[str, Any]) -> None:
        """Keep what they are to remember."""
        self._check_writable()
        self._catalog.settings.set_places(places)

    def _check_writable(self) -> None:
        if self._lock is None:
            raise CollectionError(f"collection {self.name!r} is open for reading only, or closed")
