"""A collection of a Milvus store that is open: its identity, its lock, its view. `collection` has all else."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from base.errors import CollectionError, CollectionNotFound
from index.milvus.identity import Identity, alias_of
from index.milvus.read_view import ReadView, Samples
from index.milvus.rows.expressions import NONE
from index.milvus.server import Freshness, Server


class Opened:
    """An open collection.

    Attributes:
        name: its name.
        server: where it lies.
        folder: where the data folder has what is of this machine.
        writing: held for each write.
    """

    def __init__(self, server: Server, identity: Identity, folder: Path, lock: int | None) -> None:
        self.name = identity.name
        self.server = server
        self.folder = folder
        self.writing = threading.RLock()
        self._alias = alias_of(self.name)
        self._life = identity.life
        self._table: str | None = None  # of one that no alias leads to yet
        self._lock = lock  # the descriptor that holds the writer's lock; None: opened for reading
        self._samples: Samples = {}
        self._has_read = False
        self._loaded = ""  # the table that is known to be in memory

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the writer's lock. A second call does nothing."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def identity(self) -> Identity:
        """What it is now. CollectionNotFound if it was deleted, or made anew, since it was opened."""
        found = self.server.describe(self._table or self._alias)
        now = Identity.of(self.name, found) if found else None
        if now is None or now.life != self._life:
            raise CollectionNotFound(f"collection {self.name!r} was deleted or made anew: open the collection again")
        if self._loaded != now.table:
            self.server.load(now.table)
            self._loaded = now.table
        return now

    @property
    def is_apart(self) -> bool:
        """Whether no alias leads to it yet."""
        return self._table is not None

    def view_of(self, now: Identity) -> ReadView:
        """Those of one moment's model."""
        return ReadView(self.server, now, self._samples, self.fresh(), self.identity)

    @contextmanager
    def apart(self, table: str) -> Iterator[None]:
        """While the block runs it is that collection of Milvus's, to which no alias leads yet."""
        self._table = table
        try:
            yield
        finally:
            self._table = None

    def fresh(self) -> Freshness:
        """How fresh a read must be. Who holds the writer's lock has read once what others wrote before, and need not
        wait for it again.
        """
        if self._lock is None:
            return "Strong"
        if not self._has_read:
            self.server.query(self.identity().table, NONE, ["id"])
            self._has_read = True
        return "Session"

    def check_writable(self) -> None:
        """CollectionError unless it is open for writing."""
        if self._lock is None:
            raise CollectionError(f"collection {self.name!r} is open for reading only, or closed")
