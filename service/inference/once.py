"""What is made once for all who ask for it at the same time, and kept for the next; knows no model."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

from service.inference.single_flight import SingleFlight

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Once(Generic[K, V]):
    """Makes and keeps values by their keys. Use it inside one event loop.

    Args:
        make: a value of a key; cancelled once all who wait for it have left.
        most: values kept, those asked for last.
    """

    def __init__(self, make: Callable[[K], Coroutine[Any, Any, V]], most: int) -> None:
        self._make = make
        self._most = most
        self._kept: OrderedDict[K, V] = OrderedDict()
        self._flights: SingleFlight[V] = SingleFlight()

    def at_hand(self, key: K) -> V | None:
        """The value, if it is kept."""
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    async def get(self, key: K) -> V:
        """The value, made if it is not kept."""
        kept = self.at_hand(key)
        return kept if kept is not None else await self._flights.run(key, self._make_and_keep(key))

    async def _make_and_keep(self, key: K) -> V:
        made = await self._make(key)
        self._kept[key] = made
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return made
