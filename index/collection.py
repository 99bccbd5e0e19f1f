"""The door to collections: made, opened, listed and deleted by name. All of them are `local` as yet."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from base.errors import CollectionDamaged, CollectionError, CollectionNotFound, InputError
from base.names import near_name
from index.entry import (
    MODALITIES,
    Change,
    ChangePage,
    CollectionInfo,
    Entry,
    FacetKey,
    FacetValue,
    Hit,
    Keepsake,
    Modality,
    Record,
)
from index.local.catalog.catalog import Catalog
from index.local.collection import Collection
from index.local.layout import (
    CATALOG,
    appearing,
    collection_folder,
    collection_names,
    folder_bytes,
    folder_identity,
    lock_writer,
    removing,
    uploads_folder,
)
from index.local.read_view import ReadView
from index.uploads import leftovers, upload_problems

__all__ = [
    "MODALITIES",
    "Change",
    "ChangePage",
    "Collection",
    "CollectionInfo",
    "Entry",
    "FacetKey",
    "FacetValue",
    "Hit",
    "Keepsake",
    "Modality",
    "ReadView",
    "Record",
    "check_collection",
    "collection_identity",
    "collection_names",
    "create_collection",
    "delete_collection",
    "list_collections",
    "open_collection",
]


def create_collection(data: Path, name: str, *, model: str, fingerprint: str, dim: int) -> Collection:
    """Make an empty collection and open it for writing. CollectionExists if there is one of that name."""
    if dim < 1:
        raise InputError(f"dim must be at least 1, not {dim}")
    lock = None
    try:
        with appearing(data, name) as own:
            new = collection_folder(own, name)
            new.mkdir(parents=True)
            lock = lock_writer(new, name)  # it goes with the folder, so no other writer can come in between
            created_at = datetime.now(UTC).isoformat(timespec="seconds")
            Catalog.create(
                new / CATALOG,
                {"name": name, "model": model, "fingerprint": fingerprint, "dim": dim, "created_at": created_at},
            )
        return Collection(collection_folder(data, name), lock)
    except BaseException:
        if lock is not None:
            os.close(lock)
        raise


def open_collection(data: Path, name: str, *, writable: bool = False, read_only: bool = False) -> Collection:
    """Open a collection; vectors are loaded at the first search (or `refresh`).

    With `read_only` no file in its folder changes, not even those that SQLite keeps beside the catalog.

    Raises CollectionNotFound, CollectionDamaged, and CollectionLocked if `writable` and another one is writing.
    """
    folder = collection_folder(data, name)
    if not folder.is_dir():
        names = collection_names(data)
        listed = ", ".join(names) or "none yet: `glimpse index FOLDER` makes one"
        near = near_name(name, names)
        meant = f" did you mean {near}?" if near else ""
        raise CollectionNotFound(f"no collection {name!r} in {data};{meant} there are: {listed}")
    identity = folder_identity(folder)
    if not (folder / CATALOG).is_file():
        if identity is None or folder_identity(folder) != identity:
            raise CollectionNotFound(f"collection {name!r} was deleted just now")
        raise CollectionDamaged(f"{folder} has no {CATALOG}: restore it from a backup, or delete the folder")
    lock = lock_writer(folder, name) if writable else None
    try:
        return Collection(folder, lock, read_only=read_only)
    except BaseException:
        if lock is not None:
            os.close(lock)
        raise


def check_collection(data: Path, name: str) -> tuple[list[str], list[Path]]:
    """Every problem found by reading all that a collection has, one line each; and files that it could do without.

    Its catalog, its index, the files of its uploads; and of those the ones that no entry has. CollectionNotFound.
    """
    try:
        with open_collection(data, name) as collection:
            problems = [*collection.check(), *upload_problems(collection, data)]
            return problems, list(leftovers(collection, data))
    except CollectionNotFound:
        raise
    except CollectionError as error:
        return [str(error)], []


def list_collections(data: Path, *, read_only: bool = False) -> list[CollectionInfo]:
    """Every collection by name; one that cannot be opened is listed with its `problem`."""
    infos = []
    for name in collection_names(data):
        with suppress(CollectionNotFound):  # deleted in this moment
            infos.append(_info(data, name, read_only))
    return infos


def _info(data: Path, name: str, read_only: bool) -> CollectionInfo:
    try:
        with open_collection(data, name, read_only=read_only) as collection:
            return collection.info()
    except CollectionNotFound:
        raise
    except CollectionError as error:
        size = folder_bytes(collection_folder(data, name))
        return CollectionInfo(name, "", "", 0, {}, "", size, problem=str(error))


def collection_identity(data: Path, name: str) -> object:
    """Of the collection of that name: one that is made anew has another. None: there is none."""
    return folder_identity(collection_folder(data, name))


def delete_collection(data: Path, name: str) -> None:
    """Delete a collection and all it holds, uploaded files too.

    Raises CollectionNotFound, and CollectionLocked while another one writes to it.
    """
    folder = collection_folder(data, name)
    if not folder.is_dir():
        open_collection(data, name)  # raises, naming those that exist
    lock = lock_writer(folder, name)
    try:
        with removing(folder) as gone, suppress(FileNotFoundError):  # the next one of this name has its own uploads
            uploads_folder(data, name).rename(gone / "uploads")
    finally:
        os.close(lock)
