"""The collections of a data folder, each opened once and kept open. Reads only; knows no HTTP. Calls may block."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from pathlib import Path

from encoder.errors import CollectionError, CollectionNotFound, InputError
from index.collection import Collection, CollectionInfo, list_collections, open_collection

log = logging.getLogger(__name__)

FOLLOW = 0.5  # seconds between two looks for new commits


class OpenCollections:
    """Opens collections on demand, from any thread. One that was deleted and made anew is opened anew.

    A thread applies what other processes commit, so that a search after a quiet time need not catch up with all of it.
    """

    def __init__(self, data: Path) -> None:
        self._data = data
        self._open: dict[str, tuple[int, Collection]] = {}  # name -> (inode of its folder, the collection)
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._follower = threading.Thread(target=self._follow, name="follower", daemon=True)
        self._follower.start()

    def get(self, name: str) -> Collection:
        """The collection of that name. CollectionNotFound, CollectionDamaged."""
        with self._lock:
            inode, collection = self._open.get(name, (-1, None))
            if collection is not None:
                if _inode(collection.folder) == inode:
                    return collection
                del self._open[name]
                collection.close()
            try:
                collection = open_collection(self._data, name)
            except (CollectionNotFound, InputError):  # theirs speak of folders and the command line
                raise CollectionNotFound(f"no collection {name!r}; GET /v1/collections lists those there are") from None
            self._open[name] = _inode(collection.folder), collection
            return collection

    def infos(self) -> list[CollectionInfo]:
        """What every collection is, by name."""
        return list_collections(self._data)

    def open_all(self) -> None:
        """Open every collection and load its vectors, so that the first search finds them in memory."""
        for info in self.infos():
            try:
                self.get(info.name).refresh()
            except CollectionError as error:
                log.warning("collection %s cannot be served: %s", info.name, error)

    def close(self) -> None:
        """Close all."""
        self._closed.set()
        self._follower.join()
        with self._lock:
            while self._open:
                self._open.popitem()[1][1].close()

    def _follow(self) -> None:
        while not self._closed.wait(FOLLOW):
            with self._lock:
                following = [collection for _, collection in self._open.values()]
            for collection in following:
                with suppress(CollectionError):  # deleted, or damaged: the next search says so
                    collection.refresh()


def _inode(folder: Path) -> int:
    try:
        return folder.stat().st_ino
    except OSError:
        return -1
