"""The collections of a data folder: each opened once to be read, some opened to be written, made and deleted.

Knows no HTTP. What is not async may block.
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path

from base.errors import CollectionError, CollectionExists, CollectionNotFound, DiskUnavailable, GlimpseError, InputError
from base.names import near_name
from index.collection import (
    Collection,
    CollectionInfo,
    collection_info,
    collection_names,
    create_collection,
    delete_collection,
    is_here,
    open_collection,
)
from index.config import IndexConfig
from service.collections.writers import Writers

log = logging.getLogger(__name__)

PATIENCE = 5.0  # seconds that a disk may take to say what is there
LOADING = 60.0  # and at the start, when the catalog of a glimpse of before is brought up
FOLLOW = 0.5  # seconds between two looks for new commits, and longer where
BUSY = 0.1  # of the time would be spent on looking: of a thousand collections some are opened again for it


class OpenCollections:
    """Opens collections on demand, from any thread. One that was deleted and made anew is opened anew.

    A thread applies what is committed, by this or other processes, so that a search after a quiet time need not catch
    up with all of it; and it builds the indexes anew that writes have let fall behind.

    Args:
        data: the folder.
        read_only: change nothing there.
    """

    def __init__(self, data: Path, *, read_only: bool = False) -> None:
        self._read_only = read_only
        self.writers = Writers(data)
        self._data = data
        self._open: dict[str, Collection] = {}
        self._asked: dict[str, tuple[float, Future[Collection]]] = {}  # since when each is looked for that is now
        self._away: dict[str, str] = {}  # why the disk of each does not answer, as the log has been told
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._follower = threading.Thread(target=self._follow, name="follower", daemon=True)
        self._follower.start()

    def get(self, name: str, patience: float | None = None) -> Collection:
        """The collection of that name, to read. CollectionNotFound, CollectionDamaged, StoreUnavailable.

        Who asks for another one waits neither for a server nor for a disk that this one lies on, and who asks for this
        one no longer than `patience` seconds, PATIENCE unless given, after whoever asked first.
        """
        if (found := self.at_hand(name)) is not None:
            return found
        now = time.monotonic()
        with self._lock:
            if (asked := self._asked.get(name)) is None:
                asked = self._asked[name] = now, Future()
                threading.Thread(target=self._ask, args=(name, asked[1]), name=f"open {name}", daemon=True).start()
        since, answer = asked
        try:
            return answer.result(max(0.0, since + (patience or PATIENCE) - now) if is_here() else None)
        except TimeoutError:  # who asks a server has a time of its own for that
            raise DiskUnavailable(
                f"collection {name!r}: its disk does not answer; look at that disk, or the network that it is on"
            ) from None

    def at_hand(self, name: str) -> Collection | None:
        """The same without any wait; None if it is not open, or a server or another disk must be asked."""
        collection = self._open.get(name)
        return collection if collection is not None and collection.is_near and collection.is_there() else None

    def _ask(self, name: str, answer: Future[Collection]) -> None:
        """Open one for all who ask for it meanwhile."""
        try:
            found, failure = self._opened(name), None
        except BaseException as error:
            found, failure = None, error
        with self._lock:
            del self._asked[name]
        if found is None:
            answer.set_exception(failure)
        else:
            answer.set_result(found)

    def _opened(self, name: str) -> Collection:
        collection = self._open.get(name)
        if collection is not None:
            if collection.is_there():
                return collection
            self._let_go(name, collection)
        self._let_go_of_gone()  # or SQLite would remove files by the name of before when a renamed one is closed
        try:
            collection = open_collection(self._data, name, read_only=self._read_only)
        except (CollectionNotFound, InputError):
            raise self._not_found(name) from None
        except DiskUnavailable as error:
            why = str(error.__cause__)
            if self._away.get(name) != why:
                log.warning("collection %s: %s", name, why)
            self._away[name] = why
            raise
        self._away.pop(name, None)
        with self._lock:
            self._open[name] = collection
            if self._closed.is_set():
                collection.close()
        return collection

    def _let_go(self, name: str, collection: Collection) -> None:
        with self._lock:
            if self._open.get(name) is collection:
                del self._open[name]
        collection.close()

    def _let_go_of_gone(self) -> dict[str, Collection]:
        """Close what was deleted, renamed or made anew; those that are left, near ones alone."""
        with self._lock:
            near = {name: collection for name, collection in self._open.items() if collection.is_near}
        for name, collection in [*near.items()]:
            if not collection.is_there():
                self._let_go(name, near.pop(name))
        return near

    def has_image(self, sha256: str) -> bool:
        """Whether any has an image file of that hash; also where it cannot be told."""
        for name in collection_names(self._data):
            if self._closed.is_set():
                return True
            try:
                if self.get(name).find_sha256(sha256):
                    return True
            except CollectionNotFound:
                continue  # deleted in this moment
            except GlimpseError:
                return True
        return False

    def infos(self) -> list[CollectionInfo]:
        """What every collection is, by name; one that cannot be opened with its `problem`."""
        return [info for name in collection_names(self._data) if (info := self._info(name)) is not None]

    def _info(self, name: str) -> CollectionInfo | None:
        """What one is; None if it was deleted in this moment."""
        try:
            return self.get(name).info()  # it is open, mostly: to open a hundred takes a fifth of a second
        except CollectionNotFound:
            return None
        except DiskUnavailable as error:
            return CollectionInfo.unknown(name, error)
        except CollectionError:  # it may be damaged only since
            with suppress(CollectionNotFound):
                return collection_info(self._data, name, read_only=self._read_only)
        return None

    def made_by(self) -> list[tuple[str, str]]:
        """Reference and fingerprint of the model of every collection that can be opened."""
        found = []
        for name in collection_names(self._data):
            with suppress(GlimpseError):  # deleted in this moment, or damaged, or just written to
                found.append(self.get(name).made_by())
        return found

    async def create(self, name: str, *, model: str, fingerprint: str, dim: int, config: IndexConfig | None) -> bool:
        """Make an empty collection whose index is to be as wished; False if there is one of that name.

        Raises:
            InputError: a collection cannot have that name.
            CollectionLocked: others write to it just now.
        """

        def make() -> bool:
            try:
                made = create_collection(self._data, name, model=model, fingerprint=fingerprint, dim=dim)
            except CollectionExists:
                return False
            with made:
                if config is not None:
                    made.compact(config)
            return True

        return await self.writers.alone(name, make)

    async def delete(self, name: str) -> None:
        """Delete a collection, damaged or not.

        Raises:
            CollectionNotFound: there is none of that name.
            CollectionLocked: others write to it just now.
        """

        def remove() -> None:
            try:
                delete_collection(self._data, name)
            except CollectionNotFound:
                raise self._not_found(name) from None

        await self.writers.alone(name, remove)

    def open_all(self) -> None:
        """Open every collection and load its vectors, so that the first search finds them in memory."""
        for name in collection_names(self._data):
            try:
                self.get(name, LOADING).refresh()
            except CollectionNotFound:
                continue  # deleted in this moment
            except GlimpseError as error:
                log.warning("collection %s cannot be served: %s", name, error)

    def close(self) -> None:
        """Close all."""
        self._closed.set()
        self.writers.stop_building()  # a service that is stopped has seconds
        self._follower.join()
        self.writers.close()
        with self._lock:
            while self._open:
                self._open.popitem()[1].close()

    def _not_found(self, name: str) -> CollectionNotFound:
        """In words of the API: the index's own message speaks of folders and the command line."""
        near = near_name(name, collection_names(self._data))
        meant = f" did you mean {near}?" if near else ""
        return CollectionNotFound(f"no collection {name!r};{meant} GET /v1/collections lists those there are")

    def _follow(self) -> None:
        took = 0.0
        while not self._closed.wait(max(FOLLOW, took / BUSY)):
            started = time.monotonic()
            for collection in self._let_go_of_gone().values():
                with suppress(GlimpseError):  # the next search says what is wrong
                    collection.refresh()
            took = time.monotonic() - started
            try:
                self.writers.build()
            except Exception:  # no memory, say: an index only costs time, without this thread searches would too
                log.exception("an index cannot be built anew")
