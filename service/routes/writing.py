"""What routes that write to a collection ask for: their turn at it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, TypeVar

from fastapi import Depends

from base.errors import CollectionLocked
from index.collection import Collection
from service.deps import CollectionDep, CollectionsDep
from service.errors import Refusal

R = TypeVar("R")

RETRY_AFTER = "5"  # seconds


class Writer:
    """Writes to the collection that the path names."""

    def __init__(self, collection: CollectionDep, collections: CollectionsDep) -> None:
        self._name = collection.name
        self._writers = collections.writers

    async def __call__(self, work: Callable[[Collection], R]) -> R:
        """Call `work` with the collection open for writing, in its turn. 409 if that does not come in time."""
        with retried():
            return await self._writers.write(self._name, work)


@contextmanager
def retried() -> Iterator[None]:
    """Answer a locked collection with the time after which to try again."""
    try:
        yield
    except CollectionLocked as error:
        refusal = Refusal(409, str(error), code=error.code)
        refusal.headers = {"Retry-After": RETRY_AFTER}
        raise refusal from None


WriterDep = Annotated[Writer, Depends()]
