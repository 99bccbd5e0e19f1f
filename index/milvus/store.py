"""The collections on one Milvus store: made, opened, listed and deleted by name.

Beside the server a data folder has, for each of them, what is of this machine: the writer's lock, and what runs over
its folders remember.

    <data>/milvus/<digest of the address>/<name>/.lock
                                                 places.json
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path

from base.errors import (
    CollectionDamaged,
    CollectionError,
    CollectionExists,
    CollectionNotFound,
    StoreUnavailable,
)
from index.entry import CollectionInfo, not_found
from index.milvus.address import FOLDER, Address
from index.milvus.collection import MilvusCollection
from index.milvus.identity import Identity, alias_of, is_table_of, names_in
from index.milvus.rows.schema import fields_of
from index.milvus.server import Server
from index.milvus.tuning import index_of
from index.writer_lock import cannot_be_written, lock_writer


class MilvusStore:
    """Those of one address, used with one data folder."""

    def __init__(self, server: Server, data: Path) -> None:
        self._server = server
        self._data = Path(data).absolute()

    @classmethod
    def at(cls, address: str, data: Path) -> MilvusStore:
        """The one of that address. InputError, StoreUnavailable, NotInStore."""
        return cls(Server.at(Address.of(address)), data)

    @property
    def place(self) -> str:
        """Where they lie, in words."""
        return str(self._server.address)

    def names(self) -> list[str]:
        """Of all, sorted."""
        return names_in(self._server.aliases())

    def create(self, name: str, *, model: str, fingerprint: str, dim: int) -> MilvusCollection:
        """Make an empty one and open it for writing. CollectionExists."""
        with self._new(name, Identity.new(name, model, fingerprint, dim)) as collection:
            pass
        return collection

    @contextmanager
    def making(self, name: str, *, model: str, fingerprint: str, dim: int) -> Iterator[MilvusCollection]:
        """The same; it appears whole when the block ends, or not at all."""
        with self._new(name, Identity.new(name, model, fingerprint, dim)) as collection:
            yield collection
        collection.close()

    @contextmanager
    def _new(self, name: str, identity: Identity) -> Iterator[MilvusCollection]:
        self._check_free(name)
        lock = self._lock(name)
        try:
            self._sweep(name)
            self._server.create(identity.table, fields_of(identity.dim), identity.properties(), index_of("exact"))
            try:
                collection = MilvusCollection(self._server, identity, self._folder(name), lock)
                with collection.apart(identity.table):
                    yield collection
                self._check_free(name)
                self._server.point(alias_of(name), identity.table, anew=True)
            except BaseException:
                with suppress(StoreUnavailable):  # the next one of this name sweeps it away
                    self._server.drop(identity.table)
                raise
        except BaseException:
            os.close(lock)
            raise

    def open(self, name: str, *, writable: bool = False, read_only: bool = False) -> MilvusCollection:
        """Open one. CollectionNotFound, CollectionDamaged, CollectionLocked."""
        identity = self._identity(name)
        if identity is None:
            raise not_found(name, self.place, self.names())
        return MilvusCollection(self._server, identity, self._folder(name), self._lock(name) if writable else None)

    def info(self, name: str, *, read_only: bool = False) -> CollectionInfo:
        """What one is; with its `problem` if it cannot be opened. CollectionNotFound."""
        try:
            with self.open(name) as collection:
                return collection.info()
        except (CollectionNotFound, StoreUnavailable):
            raise
        except CollectionError as error:
            return CollectionInfo.unknown(name, error)

    def identity(self, name: str) -> object:
        """Of the collection of that name: one that is made anew has another. None: there is none."""
        found = self._identity(name)
        return found and found.life

    def lock(self, name: str) -> int:
        """Take the writer's lock: a descriptor that holds it until closed. CollectionLocked, CollectionNotFound."""
        self.open(name).close()
        return self._lock(name)

    def delete(self, name: str, *, keep_uploads: bool = False, is_locked: bool = False) -> None:
        """Delete one and all it holds, as index.stored has it. CollectionNotFound, CollectionLocked."""
        alias = alias_of(name)
        if alias not in self._server.aliases():
            raise not_found(name, self.place, self.names())
        with suppress(CollectionDamaged):  # that is ours, and may go
            self._identity(name)
        lock = None if is_locked else self._lock(name)
        try:
            self._server.drop_alias(alias)
            self._sweep(name)
            if not keep_uploads:
                shutil.rmtree(self._data / "uploads" / name, ignore_errors=True)
            shutil.rmtree(self._folder(name), ignore_errors=True)
        finally:
            if lock is not None:
                os.close(lock)

    def _identity(self, name: str) -> Identity | None:
        found = self._server.describe(alias_of(name))
        return Identity.of(name, found) if found else None

    def _check_free(self, name: str) -> None:
        taken = f"collection {name!r} exists in {self.place}: choose another name, or delete it first"
        if (found := self._server.describe(alias_of(name))) is not None:
            Identity.of(name, found)  # raises if it is somebody else's
            raise CollectionExists(taken)

    def _sweep(self, name: str) -> None:
        """Delete what a kill left of the collection `name`, whose writer's lock is held."""
        found = self._server.describe(alias_of(name))
        here = {found.name, Identity.of(name, found).next_table} if found else set()
        for table in self._server.names():
            if is_table_of(table, name) and table not in here:
                self._server.drop(table)

    def _folder(self, name: str) -> Path:
        digest = blake2b(str(self._server.address).encode(), digest_size=6).hexdigest()
        return self._data / FOLDER / digest / name

    def _lock(self, name: str) -> int:
        alias_of(name)  # raises for what cannot be a folder's name
        folder = self._folder(name)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_be_written(name, folder, error) from None
        return lock_writer(folder, name)
