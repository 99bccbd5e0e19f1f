"""One run for all who ask for the same thing at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

R = TypeVar("R")


@dataclass(slots=True)
class _Flight(Generic[R]):
    task: asyncio.Task[R]
    waiting: int = 0


class SingleFlight(Generic[R]):
    """Runs that are shared by their key. For one event loop."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight[R]] = {}

    def under_way(self, key: Hashable) -> int:
        """How many wait for a run for this, whom the next to ask joins; 0: none is under way."""
        return self._flights[key].waiting if key in self._flights else 0

    async def run(self, key: Hashable, work: Coroutine[Any, Any, R]) -> R:
        """What `work` gives, or that of a run for the same key that is under way; then `work` is closed unused.

        Whoever leaves costs the others nothing; when all have left the run is cancelled. Raises what the run raises.
        """
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight(asyncio.create_task(work))
        else:
            work.close()
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if self._flights.get(key) is flight and (flight.task.done() or not flight.waiting):
                del self._flights[key]
                flight.task.cancel()
