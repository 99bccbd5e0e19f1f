"""The door to collections: made, opened, listed and deleted by name, in whichever store they lie.

They lie on this machine's disk (index/local), in the data folder; or, where GLIMPSE_STORE says an address, on Milvus
(index/milvus). The environment is the one place that says it: `--store` writes it there, and what a process starts has
it too. What else a data folder holds (uploads, keys, jobs, label sets) stays in it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from base.errors import CollectionError, CollectionNotFound, NotInStore
from base.names import NAME
from index.entry import (
    MODALITIES,
    Change,
    ChangePage,
    CollectionInfo,
    Entry,
    FacetKey,
    FacetValue,
    Folder,
    Hit,
    Keepsake,
    Modality,
    Record,
)
from index.local.layout import sweep
from index.local.store import LocalStore
from index.milvus.address import FOLDER
from index.search.searchable import View
from index.stored import Collection, Store
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
    "Folder",
    "Hit",
    "Keepsake",
    "Modality",
    "Record",
    "View",
    "check_collection",
    "check_here",
    "collection_identity",
    "collection_info",
    "collection_names",
    "create_collection",
    "delete_collection",
    "is_elsewhere",
    "is_here",
    "list_collections",
    "lock_collection",
    "open_collection",
    "store_at",
    "store_of",
    "sweep_deleted",
    "use_store",
]

STORE = "GLIMPSE_STORE"
LOCAL = "local"


def store_of(data: Path) -> Store:
    """Where the collections of a data folder lie, as GLIMPSE_STORE says. InputError, StoreUnavailable."""
    return store_at(data, os.environ.get(STORE) or LOCAL)


def use_store(address: str) -> None:
    """Have this process, and those that it starts, look for collections there. InputError for no address."""
    if address != LOCAL:
        from index.milvus.address import Address

        Address.of(address)
    if address != os.environ.get(STORE, LOCAL):
        os.environ[STORE] = address


def store_at(data: Path, address: str) -> Store:
    """The store of that address: `local`, or milvus://... InputError for no address, StoreUnavailable."""
    if address == LOCAL:
        return LocalStore(data)
    from index.milvus.store import MilvusStore  # a second for pymilvus, which only who has such a store needs

    return MilvusStore.at(address, data)


def is_here() -> bool:
    """Whether this process looks for collections on disks, and asks no server."""
    return (os.environ.get(STORE) or LOCAL) == LOCAL


def check_here(what: str, instead: str) -> None:
    """NotInStore for what only collections in the data folder have; `instead` is what to do."""
    if address := os.environ.get(STORE, "").removeprefix(LOCAL):
        from index.milvus.address import Address

        raise NotInStore(f"{what} of collections on {Address.of(address)} there is not: {instead}")


def create_collection(data: Path, name: str, *, model: str, fingerprint: str, dim: int) -> Collection:
    """Make an empty collection and open it for writing. CollectionExists if there is one of that name."""
    return store_of(data).create(name, model=model, fingerprint=fingerprint, dim=dim)


def open_collection(data: Path, name: str, *, writable: bool = False, read_only: bool = False) -> Collection:
    """Open a collection; vectors are loaded at the first search (or `refresh`).

    With `read_only` no file in its folder changes, not even those that SQLite keeps beside the catalog.

    Raises CollectionNotFound, CollectionDamaged, and CollectionLocked if `writable` and another one is writing.
    """
    return store_of(data).open(name, writable=writable, read_only=read_only)


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


def collection_names(data: Path) -> list[str]:
    """The names of all collections, sorted."""
    return store_of(data).names()


def list_collections(data: Path, *, read_only: bool = False) -> list[CollectionInfo]:
    """Every collection by name; one that cannot be opened is listed with its `problem`."""
    infos = []
    for name in collection_names(data):
        with suppress(CollectionNotFound):  # deleted in this moment
            infos.append(collection_info(data, name, read_only=read_only))
    return infos


def collection_info(data: Path, name: str, *, read_only: bool = False) -> CollectionInfo:
    """What a collection is; with its `problem` if it cannot be opened. CollectionNotFound."""
    return store_of(data).info(name, read_only=read_only)


def collection_identity(data: Path, name: str) -> object:
    """Of the collection of that name: one that is made anew has another. None: there is none."""
    return store_of(data).identity(name)


def lock_collection(data: Path, name: str) -> int:
    """Take the writer's lock: a descriptor that holds it until it is closed. CollectionLocked, CollectionNotFound."""
    return store_of(data).lock(name)


def delete_collection(data: Path, name: str) -> None:
    """Delete a collection and all it holds, uploaded files too unless another store has a collection of that name.

    Raises CollectionNotFound, and CollectionLocked while another one writes to it.
    """
    store_of(data).delete(name, keep_uploads=is_elsewhere(data, name))


def sweep_deleted(data: Path) -> None:
    """Remove what killed processes have left of collections on this disk that were being made or deleted."""
    sweep(data / "collections")


def is_elsewhere(data: Path, name: str) -> bool:
    """Whether another store has a collection of that name, as far as the data folder knows: they share its uploads."""
    elsewhere = [*data.glob(f"{FOLDER}/*/{name}")] if NAME.fullmatch(name) else []
    return bool(elsewhere) if is_here() else len(elsewhere) > 1 or (data / "collections" / name).is_dir()
