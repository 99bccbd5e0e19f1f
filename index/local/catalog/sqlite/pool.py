"""Open connections that nobody uses just now, of all databases of this process, within what it may have open."""

from __future__ import annotations

import resource
import threading
from collections import OrderedDict
from contextlib import suppress
from typing import Generic, Protocol, TypeVar

from base.sqlite_files import Lies

OF_DESCRIPTORS = 0.25  # the share that they may take
FILES = 3  # that one holds open at most


class Closes(Protocol):
    """What can be closed."""

    def close(self) -> None:
        """Close it."""


C = TypeVar("C", bound=Closes)


class Pool(Generic[C]):
    """Connections that nobody uses just now, to all files of this process.

    Each may hold a file, its log and its index of that open. Of a thousand files those that were used last stay open,
    as many as leave descriptors for all else; to open another again takes a millisecond.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()  # again: of what is forgotten, say in here, the garbage collection closes all
        self._all: OrderedDict[C, tuple[object, Lies]] = OrderedDict()  # the one used longest ago first
        self._of: dict[object, list[C]] = {}  # by what stands for a database

    def take(self, owner: object) -> tuple[Lies, C] | None:
        """The one of this database that was used last."""
        with self._lock:
            if not (own := self._of.get(owner)):
                return None
            db = own.pop()
            return self._all.pop(db)[1], db

    def give(self, owner: object, lies: Lies, db: C) -> None:
        """Keep one until it is wanted, and close those that are too many."""
        over: list[C] = []
        with self._lock:
            self._all[db] = owner, lies
            self._of.setdefault(owner, []).append(db)
            most = _most()
            while len(self._all) > most:
                over.append(self._oldest())
        for one in over:
            one.close()

    def close(self, owner: object) -> None:
        """Close all of a database."""
        with self._lock:
            own = self._of.pop(owner, [])
            for db in own:
                self._all.pop(db, None)
        for db in own:
            db.close()

    def _oldest(self) -> C:
        db, (owner, _) = self._all.popitem(last=False)
        with suppress(KeyError, ValueError):  # that were closed just now
            self._of[owner].remove(db)
        return db


def _most() -> int:
    return max(8, int(resource.getrlimit(resource.RLIMIT_NOFILE)[0] * OF_DESCRIPTORS) // FILES)
