"""The maps of collections that are open to be read: one for each of them, let go of with it."""

from __future__ import annotations

import threading
from weakref import WeakKeyDictionary

from index.collection import Collection
from index.map.kept import KeptMap


class Maps:
    """Looks maps up. Any number of threads may ask."""

    def __init__(self) -> None:
        self._maps: WeakKeyDictionary[Collection, KeptMap] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def of(self, collection: Collection) -> KeptMap:
        """The map of an open collection, which may have none."""
        with self._lock:
            if collection not in self._maps:
                self._maps[collection] = KeptMap(collection)
            return self._maps[collection]
