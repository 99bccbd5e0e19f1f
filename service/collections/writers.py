"""Collections that this service writes to: one write at a time each, in the order that they came. Knows no HTTP.

The writer's lock of a collection belongs to one process. It is taken for each write and let go of after it, which costs
a millisecond: so `glimpse index`, a watch and other workers of this service come in between. A job keeps it to its end,
and requests write through the collection that it has open, between two of its commits.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from starlette.concurrency import run_in_threadpool

from base.errors import CollectionError, CollectionLocked
from index.collection import Collection, lock_collection, open_collection
from service.inference.shared_encoder import Stopped

R = TypeVar("R")

PATIENCE = 10.0  # seconds that a write waits for its turn
POLL = 0.02  # seconds from one look at another process's lock to the next


@dataclass
class _Slot:
    """Whose turn it is to write to one collection, and the collection while it is open for that."""

    queue: asyncio.Lock = field(default_factory=asyncio.Lock)  # requests, first come first served
    turn: threading.Lock = field(default_factory=threading.Lock)  # whose thread writes: also one whose client has left
    collection: Collection | None = None  # open for writing; between two writes while its index is built anew, or for
    job: str | None = None  # the job of that id

    def close_unless_due(self) -> None:
        """Leave it open for a job, or for `Writers.build`, which builds its index anew beside further writes."""
        if self.job is None and (self.collection is None or not _is_due(self.collection)):
            self.close()

    def close(self) -> None:
        collection, self.collection = self.collection, None
        if collection is not None:
            with suppress(CollectionError):
                collection.close()


class Writers:
    """Gives each write to a collection its turn."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._slots: dict[str, _Slot] = {}

    async def write(self, name: str, work: Callable[[Collection], R]) -> R:
        """Call `work` in a thread with the collection open for writing. Once begun it ends, whoever has left.

        Raises:
            CollectionLocked: others write to it, and did not end in time.
            CollectionNotFound, CollectionDamaged: as `open_collection`.
        """

        def attempt(slot: _Slot) -> R:
            if slot.collection is None:
                slot.collection = open_collection(self._data, name, writable=True)
            try:
                return work(slot.collection)
            finally:
                slot.close_unless_due()

        return await self._in_turn(name, attempt)

    async def alone(self, name: str, work: Callable[[], R]) -> R:
        """Call `work`, which takes the writer's lock itself, in the turn of this service. CollectionLocked."""

        def attempt(slot: _Slot) -> R:
            if slot.job is None:
                slot.close()
            return work()

        return await self._in_turn(name, attempt)

    @contextmanager
    def lent(
        self, name: str, job: str, opened: Callable[[], Collection], stop: threading.Event
    ) -> Iterator[tuple[Collection, threading.Lock]]:
        """The collection open for writing, for a job in a thread of its own, to the end of the block.

        Args:
            name: of the collection.
            job: the id, for who cannot write meanwhile.
            opened: opens it.
            stop: ends waiting for another process that writes.

        Yields:
            The collection, and the lock that the job takes for each commit.

        Raises:
            Stopped: before it was to be had.
        """
        slot = self._slots.setdefault(name, _Slot())
        while not stop.is_set():
            with slot.turn, suppress(CollectionLocked):
                slot.collection = slot.collection or opened()
                slot.job = job
            if slot.job == job:
                break
            stop.wait(1.0)
        else:
            raise Stopped
        try:
            assert slot.collection is not None
            yield slot.collection, slot.turn
        finally:
            with slot.turn:
                slot.job = None
                slot.close_unless_due()

    def elsewhere(self, name: str) -> str | None:
        """Which other process writes to a collection now, in words; None if a job may begin."""
        slot = self._slots.get(name)
        if slot is not None and (slot.turn.locked() or slot.collection is not None):
            return None  # it is we who write
        try:
            os.close(lock_collection(self._data, name))
        except CollectionLocked as error:
            return str(error).partition(":")[0]
        except CollectionError:  # there is none, or the job will say what is wrong
            return None
        return None

    def build(self) -> None:
        """Build the indexes anew that need it, while writes of this service go on. Call it now and then."""
        for slot in list(self._slots.values()):
            if slot.job is None and (collection := slot.collection) is not None and _is_due(collection):
                with suppress(CollectionError, OSError):  # the index only costs time; closing it logs what is wrong
                    collection.compact()
                with slot.turn:
                    if slot.job is None:
                        slot.close()

    def stop_building(self) -> None:
        """Have `build` return soon, and `close` build nothing that may take long: who writes next does."""
        for slot in list(self._slots.values()):
            if (collection := slot.collection) is not None:
                collection.stop_building()

    def close(self) -> None:
        """Close all."""
        self.stop_building()
        for slot in self._slots.values():
            slot.close()

    async def _in_turn(self, name: str, attempt: Callable[[_Slot], R]) -> R:
        end = time.monotonic() + PATIENCE
        slot = self._slots.setdefault(name, _Slot())
        try:
            async with asyncio.timeout(PATIENCE):
                await slot.queue.acquire()
        except TimeoutError:
            raise _locked(name, slot.job) from None
        try:
            while True:
                try:
                    return await run_in_threadpool(_hold, slot, attempt)
                except CollectionLocked:
                    if time.monotonic() > end:
                        raise _locked(name, slot.job) from None
                await asyncio.sleep(POLL)
        finally:
            slot.queue.release()


def _hold(slot: _Slot, attempt: Callable[[_Slot], R]) -> R:
    if not slot.turn.acquire(blocking=False):
        raise CollectionLocked
    try:
        return attempt(slot)
    finally:
        slot.turn.release()


def _locked(name: str, job: str | None) -> CollectionLocked:
    return CollectionLocked(
        f"job {job} works on collection {name!r}: wait for its end, or cancel it (DELETE /v1/jobs/{job})"
        if job
        else f"collection {name!r} is being written to by others; try again in a few seconds"
    )


def _is_due(collection: Collection) -> bool:
    with suppress(CollectionError):  # such a one is not built anew
        return collection.is_due()
    return False
