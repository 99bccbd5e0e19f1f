"""Collections that this service writes to: one write at a time each, in the order that they came. Knows no HTTP.

The writer's lock of a collection belongs to one process. It is taken for each write and let go of after it, which costs
a millisecond: so `glimpse index`, a watch and other workers of this service come in between.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from starlette.concurrency import run_in_threadpool

from encoder.errors import CollectionError, CollectionLocked
from index.collection import Collection, open_collection

R = TypeVar("R")

PATIENCE = 10.0  # seconds that a write waits for its turn
POLL = 0.02  # seconds from one look at another process's lock to the next


@dataclass
class _Slot:
    """The turn at one collection."""

    queue: asyncio.Lock = field(default_factory=asyncio.Lock)  # requests, first come first served
    turn: threading.Lock = field(default_factory=threading.Lock)  # whose thread writes: also one whose client has left
    collection: Collection | None = None  # open for writing; between two writes only while its index is built anew

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
                if not _is_due(slot.collection):
                    slot.close()

        return await self._in_turn(name, attempt)

    async def alone(self, name: str, work: Callable[[], R]) -> R:
        """Call `work`, which takes the writer's lock itself, in the turn of this service. CollectionLocked."""

        def attempt(slot: _Slot) -> R:
            slot.close()
            return work()

        return await self._in_turn(name, attempt)

    def build(self) -> None:
        """Build the indexes anew that need it, while writes of this service go on. Call it now and then."""
        for slot in list(self._slots.values()):
            if (collection := slot.collection) is not None and _is_due(collection):
                with suppress(CollectionError, OSError):  # the index only costs time; closing it logs what is wrong
                    collection.compact()
                with slot.turn:
                    slot.close()

    def close(self) -> None:
        """Close all."""
        for slot in self._slots.values():
            slot.close()

    async def _in_turn(self, name: str, attempt: Callable[[_Slot], R]) -> R:
        end = time.monotonic() + PATIENCE
        locked = CollectionLocked(f"collection {name!r} is being written to by others; try again in a few seconds")
        slot = self._slots.setdefault(name, _Slot())
        try:
            async with asyncio.timeout(PATIENCE):
                await slot.queue.acquire()
        except TimeoutError:
            raise locked from None
        try:
            while True:
                try:
                    return await run_in_threadpool(_hold, slot, attempt)
                except CollectionLocked:
                    if time.monotonic() > end:
                        raise locked from None
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


def _is_due(collection: Collection) -> bool:
    with suppress(CollectionError):  # such a one is not built anew
        return collection.is_due()
    return False
