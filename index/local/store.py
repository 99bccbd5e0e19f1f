"""The collections of a data folder that lie on this machine's disk: made, opened, listed and deleted by name."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from base.errors import (
    CollectionDamaged,
    CollectionError,
    CollectionNotFound,
    DiskFull,
    DiskUnavailable,
    InputError,
)
from base.files import fsync_file
from index.entry import CollectionInfo, not_found
from index.local.catalog.catalog import Catalog
from index.local.collection import LocalCollection
from index.local.layout import (
    CATALOG,
    appearing,
    collection_folder,
    collection_names,
    folder_bytes,
    folder_identity,
    remove_collection,
    sweep,
)
from index.writer_lock import lock_writer


class LocalStore:
    """Those of the data folder `data`."""

    def __init__(self, data: Path) -> None:
        self._data = data

    @property
    def place(self) -> str:
        """Where they lie, in words."""
        return str(self._data)

    def names(self) -> list[str]:
        """Of all, sorted."""
        return collection_names(self._data)

    def create(self, name: str, *, model: str, fingerprint: str, dim: int) -> LocalCollection:
        """Make an empty collection and open it for writing. CollectionExists if there is one of that name."""
        if dim < 1:
            raise InputError(f"dim must be at least 1, not {dim}")
        lock = None
        try:
            with appearing(self._data, name) as own:
                new = collection_folder(own, name)
                new.mkdir(parents=True)
                lock = lock_writer(new, name)  # it goes with the folder, so no other writer can come in between
                created_at = datetime.now(UTC).isoformat(timespec="seconds")
                Catalog.create(
                    new / CATALOG,
                    {"name": name, "model": model, "fingerprint": fingerprint, "dim": dim, "created_at": created_at},
                )
            return LocalCollection(collection_folder(self._data, name), lock)
        except BaseException:
            if lock is not None:
                os.close(lock)
            raise

    @contextmanager
    def making(self, name: str, *, model: str, fingerprint: str, dim: int) -> Iterator[LocalCollection]:
        """The same; it appears whole when the block ends, or not at all. CollectionExists."""
        with appearing(self._data, name) as own:
            with (
                LocalStore(own).create(name, model=model, fingerprint=fingerprint, dim=dim) as collection,
                collection.hurrying(),
            ):
                yield collection
            fsync_file(collection_folder(own, name) / CATALOG)

    def open(self, name: str, *, writable: bool = False, read_only: bool = False) -> LocalCollection:
        """Open a collection; vectors are loaded at the first search (or `refresh`).

        With `read_only` no file in its folder changes, not even those that SQLite keeps beside the catalog.

        Raises CollectionNotFound, CollectionDamaged, and CollectionLocked if `writable` and another one is writing.
        """
        folder = collection_folder(self._data, name)
        where = "look at that disk, or the network that it is on"
        try:
            is_there, has_catalog = folder.is_dir(), (folder / CATALOG).is_file()
        except OSError as error:  # of a network, say, that is gone
            raise DiskUnavailable(f"collection {name!r}: {error.strerror}; {where}") from error
        if not is_there and folder.is_symlink():
            raise DiskUnavailable(
                f"collection {name!r}: there is nothing where its link in the data folder leads; {where}, or remove "
                "the link"
            ) from FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder.readlink()))
        if not is_there:
            raise not_found(name, self.place, self.names())
        identity = folder_identity(folder)
        if not has_catalog:
            if identity is None or folder_identity(folder) != identity:
                raise CollectionNotFound(f"collection {name!r} was deleted just now")
            raise CollectionDamaged(f"{folder} has no {CATALOG}: restore it from a backup, or delete the folder")
        lock = lock_writer(folder, name) if writable else None
        try:
            return LocalCollection(folder, lock, read_only=read_only)
        except BaseException as error:
            if lock is not None:
                os.close(lock)
            elif isinstance(error, DiskFull) and not read_only:  # SQLite needs space, even to read what it may write
                with suppress(CollectionError):  # of a killed writer's last commits only who may write knows
                    return LocalCollection(folder, None, read_only=True)
            raise

    def info(self, name: str, *, read_only: bool = False) -> CollectionInfo:
        """What one is; with its `problem` if it cannot be opened. CollectionNotFound."""
        try:
            with self.open(name, read_only=read_only) as collection:
                return collection.info()
        except CollectionNotFound:
            raise
        except DiskUnavailable as error:
            return CollectionInfo.unknown(name, error)
        except CollectionError as error:
            size = folder_bytes(collection_folder(self._data, name))
            return CollectionInfo.unknown(name, error, size)

    def identity(self, name: str) -> object:
        """Of the collection of that name: one that is made anew has another. None: there is none."""
        return folder_identity(collection_folder(self._data, name))

    def lock(self, name: str) -> int:
        """Take the writer's lock: a descriptor that holds it until closed. CollectionLocked, CollectionNotFound."""
        return lock_writer(collection_folder(self._data, name), name)

    def delete(self, name: str, *, keep_uploads: bool = False, is_locked: bool = False) -> None:
        """Delete a collection and all it holds, as index.stored has it.

        Raises CollectionNotFound, and CollectionLocked while another one writes to it.
        """
        folder = collection_folder(self._data, name)
        if not folder.is_dir():
            sweep(folder.parent)  # a delete that was killed, and is asked for again
            self.open(name)  # raises, naming those that exist
        lock = None if is_locked else lock_writer(folder, name)
        try:
            remove_collection(folder, keep_uploads=keep_uploads)
        finally:
            if lock is not None:
                os.close(lock)
        sweep(folder.parent)
