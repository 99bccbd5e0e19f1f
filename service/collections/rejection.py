"""Measures the rejection threshold of collections that get uploads: after them, and not in a request.

How is `index.ingest.rejection`'s matter. `glimpse index` and jobs measure it themselves.
"""

from __future__ import annotations

import asyncio
import logging
import threading

from base.errors import CollectionLocked, GlimpseError
from index.collection import Collection
from index.ingest.rejection import is_due, measure_rejection
from service.collections.opened import OpenCollections
from service.inference.models import Models
from service.inference.shared_encoder import Stopped

log = logging.getLogger(__name__)

SOON = 2.0  # seconds after an upload; those that come meanwhile are measured with it


class Rejections:
    """Sees to the rejection thresholds of a service's collections. For one event loop."""

    def __init__(self, collections: OpenCollections, models: Models) -> None:
        self._collections = collections
        self._models = models
        self._stop = threading.Event()
        self._waiting: dict[str, asyncio.Task[None]] = {}

    def measure_soon(self, name: str) -> None:
        """See to it that the rejection threshold of a collection is measured, if it is due."""
        if name not in self._waiting:
            self._waiting[name] = asyncio.create_task(self._measure(name))

    async def close(self) -> None:
        """Forget what has not been measured; the next upload comes back to it."""
        self._stop.set()
        tasks = list(self._waiting.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _measure(self, name: str) -> None:
        try:
            while True:
                await asyncio.sleep(SOON)
                try:
                    return await self._measure_if_due(name)
                except CollectionLocked:
                    continue
        except Stopped:
            return None
        except GlimpseError as error:
            log.warning("the rejection threshold of collection %s is not measured: %s", name, error)
        finally:
            del self._waiting[name]

    async def _measure_if_due(self, name: str) -> None:
        collection = await asyncio.to_thread(self._collections.get, name)
        ref, fingerprint = await asyncio.to_thread(collection.made_by)
        model = self._models.of(ref, fingerprint)
        if await asyncio.to_thread(is_due, collection, fingerprint):
            encoder = await asyncio.to_thread(self._models.encoder, model, self._stop)

            def measure(writable: Collection) -> None:
                writable.check_model(encoder.fingerprint)
                measure_rejection(writable, encoder)

            await self._collections.writers.write(name, measure)
