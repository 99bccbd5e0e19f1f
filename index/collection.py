"""A named collection of images and texts on disk: write entries, search them, keep them through any crash.

    <data>/collections/<name>/catalog.sqlite     the truth (index.catalog)
                              image-7.faiss      derived: the image vectors as of version 7 (index.ann)
                              writer.lock        held by the one process that may write

One process writes, any number read and see its commits at their next search. It takes vectors, never a model.
"""

from __future__ import annotations

import logging
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encoder.errors import (
    CollectionDamaged,
    CollectionError,
    CollectionExists,
    CollectionNotFound,
    EntryNotFound,
    InputError,
    ModelMismatch,
)
from index.ann import fsync_folder, unit_rows
from index.catalog import Catalog
from index.entry import MODALITIES, CollectionInfo, Entry, Hit, Modality, Record
from index.folder import collection_folder, collection_names, folder_bytes, lock_writer, sweep
from index.live import LiveIndex

__all__ = [
    "MODALITIES",
    "Collection",
    "CollectionInfo",
    "Entry",
    "Hit",
    "Modality",
    "Record",
    "create_collection",
    "delete_collection",
    "list_collections",
    "open_collection",
]

log = logging.getLogger(__name__)

CATALOG = "catalog.sqlite"


def create_collection(data: Path, name: str, *, model: str, fingerprint: str, dim: int) -> Collection:
    """Make an empty collection and open it for writing. CollectionExists if there is one of that name.

    It appears whole, by one rename: a kill in the middle leaves nothing that stands in the way.
    """
    folder = collection_folder(data, name)
    if dim < 1:
        raise InputError(f"dim must be at least 1, not {dim}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    sweep(folder.parent)
    new = folder.with_name(f".new-{uuid.uuid4().hex}")
    new.mkdir()
    lock = None
    try:
        lock = lock_writer(new, name)  # it goes with the folder, so no other writer can come in between
        created_at = datetime.now(UTC).isoformat(timespec="seconds")
        Catalog.create(
            new / CATALOG,
            {"name": name, "model": model, "fingerprint": fingerprint, "dim": dim, "created_at": created_at},
        )
        fsync_folder(new)
        try:
            new.rename(folder)  # POSIX refuses this onto a folder with anything in it
        except OSError:
            if not folder.exists():
                raise
            raise CollectionExists(
                f"collection {name!r} exists in {data}: choose another name, or delete it first"
            ) from None
        fsync_folder(folder.parent)
        return Collection(folder, lock)
    except BaseException:
        if lock is not None:
            os.close(lock)
        shutil.rmtree(new, ignore_errors=True)
        raise


def open_collection(data: Path, name: str, *, writable: bool = False) -> Collection:
    """Open a collection; vectors are loaded at the first search (or `refresh`).

    Raises CollectionNotFound, CollectionDamaged, and CollectionLocked if `writable` and another one is writing.
    """
    folder = collection_folder(data, name)
    if not folder.is_dir():
        names = ", ".join(collection_names(data)) or "none yet: `glimpse index FOLDER` makes one"
        raise CollectionNotFound(f"no collection {name!r} in {data}; there are: {names}")
    if not (folder / CATALOG).is_file():
        raise CollectionDamaged(f"{folder} has no {CATALOG}: restore it from a backup, or delete the folder")
    lock = lock_writer(folder, name) if writable else None
    try:
        return Collection(folder, lock)
    except BaseException:
        if lock is not None:
            os.close(lock)
        raise


def list_collections(data: Path) -> list[CollectionInfo]:
    """Every collection by name; one that cannot be opened is listed with its `problem`."""
    infos = []
    for name in collection_names(data):
        try:
            with open_collection(data, name) as collection:
                infos.append(collection.info())
        except CollectionNotFound:
            continue  # deleted in this moment
        except CollectionError as error:
            infos.append(
                CollectionInfo(name, "", "", 0, {}, "", folder_bytes(collection_folder(data, name)), problem=str(error))
            )
    return infos


def delete_collection(data: Path, name: str) -> None:
    """Delete a collection and all it holds. CollectionNotFound, or CollectionLocked while another one writes to it."""
    folder = collection_folder(data, name)
    if not folder.is_dir():
        open_collection(data, name)  # raises, naming those that exist
    lock = lock_writer(folder, name)
    try:
        gone = folder.with_name(f".gone-{uuid.uuid4().hex}")
        folder.rename(gone)  # one step: after it there is no collection, whatever happens to the rest
        fsync_folder(folder.parent)
        sweep(folder.parent)
    finally:
        os.close(lock)


class Collection:
    """An open collection. Every method may be called from any thread. Use `create_collection` or `open_collection`."""

    def __init__(self, folder: Path, lock: int | None) -> None:
        self.folder = folder
        self._lock = lock  # the descriptor that holds writer.lock; None: opened for reading
        self._catalog = Catalog(folder / CATALOG)
        self.name: str = folder.name
        self.model: str = self._catalog.meta["model"]
        self.fingerprint: str = self._catalog.meta["fingerprint"]
        self.dim: int = self._catalog.dim
        self._live = LiveIndex(folder, self._catalog)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close it; a writer first takes a snapshot if enough has changed. A second call does nothing."""
        try:
            if self._lock is not None and self._live.snapshot_is_due():
                self._live.snapshot()
        except (OSError, RuntimeError, CollectionError) as error:
            log.warning("%s: no snapshot taken, the next open rebuilds it from the catalog: %s", self.folder, error)
        finally:
            self._catalog.close()
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    # --- what it is ---

    def info(self) -> CollectionInfo:
        """Its model, counts and size on disk, now."""
        counts = {modality: self.count(modality) for modality in MODALITIES}
        created_at = self._catalog.meta["created_at"]
        return CollectionInfo(
            self.name, self.model, self.fingerprint, self.dim, counts, created_at, folder_bytes(self.folder)
        )

    def count(self, modality: Modality | None = None) -> int:
        """How many entries it has, of one modality or of all."""
        return self._catalog.count(_known(modality) if modality else None)

    def check_model(self, fingerprint: str) -> None:
        """ModelMismatch unless `fingerprint` is that of the model that made these vectors."""
        if fingerprint != self.fingerprint:
            raise ModelMismatch(
                f"collection {self.name!r} was built by another model: use its own (glimpse index FOLDER --collection "
                f"{self.name} --model {self.model}), or start a new one (--collection NEW-NAME)"
            )

    # --- writing: durable when it returns, all or nothing ---

    def upsert(self, entries: Sequence[Entry]) -> list[int]:
        """Write entries in one transaction and return their ids. InputError if one cannot be stored; then none is.

        An entry whose path is there already replaces that row and keeps its id. Vectors are scaled to length 1.
        """
        self._check_writable()
        if not entries:
            return []
        for entry in entries:
            _known(entry.modality)
        return self._catalog.upsert(entries, unit_rows([entry.vector for entry in entries], self.dim))

    def update(self, changes: Mapping[int, Mapping[str, Any]]) -> None:
        """Set fields (path, text, metadata, sha256, mtime_ns, size, width, height) of rows by id, vectors untouched.

        `metadata` is replaced, not merged. In one call files may exchange their paths. EntryNotFound for an unknown id,
        InputError for an unknown field or a path that another entry has.
        """
        self._check_writable()
        self._catalog.update(changes)

    def delete(self, ids: Iterable[int]) -> int:
        """Delete entries; unknown ids are passed over. Returns how many went."""
        self._check_writable()
        return self._catalog.delete(ids)

    def snapshot(self) -> None:
        """Write the vectors as files that open fast. Only speed depends on it; `close` does it when it pays."""
        self._check_writable()
        self._live.snapshot()

    # --- reading ---

    def get(self, entry_id: int) -> Record:
        """One record. EntryNotFound."""
        if record := self._catalog.get([entry_id]).get(entry_id):
            return record
        raise EntryNotFound(f"collection {self.name!r} has no entry with id {entry_id}")

    def vector(self, entry_id: int) -> NDArray[np.float32]:
        """One vector (dim,), as stored (float16). EntryNotFound."""
        vector: NDArray[np.float32] = self.vectors([entry_id])[0]
        return vector

    def vectors(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Vectors (n, dim) in the order of `ids`. EntryNotFound if one is not there."""
        return self._catalog.vectors(ids)

    def records(
        self,
        modality: Modality | None = None,
        under: str | Path | None = None,
        after_id: int = 0,
        limit: int | None = None,
    ) -> Iterator[Record]:
        """Stream records in the order of ids, from above `after_id`; `under`: only paths inside that folder."""
        return self._catalog.records(_known(modality) if modality else None, under, after_id, limit)

    def find_path(self, path: str | Path) -> Record | None:
        """The record of that path."""
        return next(iter(self._catalog.find("path", path)), None)

    def find_sha256(self, sha256: str) -> list[Record]:
        """The records of that hash, in the order of ids; copies of a file are several."""
        return self._catalog.find("sha256", sha256)

    # --- searching ---

    def refresh(self) -> None:
        """Load or catch up now what the next search would: a service calls it before it says that it is ready."""
        self._live.refresh()

    def search(
        self, vector: ArrayLike, k: int = 10, modality: Modality = "image", ids: ArrayLike | None = None
    ) -> list[Hit]:
        """The `k` entries of `modality` nearest to `vector` (dim,), of all or of `ids`. See `search_many`."""
        return self.search_many(np.asarray(vector)[None], k, modality, ids)[0]

    def search_many(
        self, xq: ArrayLike, k: int = 10, modality: Modality = "image", ids: ArrayLike | None = None
    ) -> list[list[Hit]]:
        """Search for each row of `xq` (nq, dim). Scores descend; equal scores stand in the order of ids.

        Queries are scaled to length 1, so every score is a cosine. Fewer than `k` hits if there are fewer entries.
        It sees every commit, of any process, that was acknowledged before the call.
        """
        xq = unit_rows(xq, self.dim)
        for _ in range(3):
            D, I = self._live.refresh()[_known(modality)].search(xq, k, ids)
            wanted = np.unique(I[I >= 0])
            records = self._catalog.get(wanted.tolist())
            if len(records) == len(wanted):
                break  # otherwise a hit was deleted since the search: search again for who takes its place
        return [
            [Hit(score, records[key]) for score, key in zip(scores, row, strict=True) if key in records]
            for scores, row in zip(D.tolist(), I.tolist(), strict=True)
        ]

    def _check_writable(self) -> None:
        if self._lock is None:
            raise CollectionError(f"collection {self.name!r} is open for reading only, or closed")


def _known(modality: Modality) -> Modality:
    if modality not in MODALITIES:
        raise InputError(f"modality must be {' or '.join(MODALITIES)}, not {modality!r}")
    return modality
