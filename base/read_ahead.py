"""Reads items in threads, batch by batch, in order, with bounded memory; and makes one thing ahead of its use."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from base.machine.cpus import threads

T = TypeVar("T")
R = TypeVar("R")

READERS = max(2, threads())  # decoders release the GIL, so one thread a core keeps all of them decoding


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Cut an iterable into lists of `size`; the last one may be shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def read_batches(
    read: Callable[[T], R], items: Iterable[T], size: int, *, overlap: int, readers: int = READERS
) -> Iterator[list[R]]:
    """Yield `read(item)` for all items in order, in lists of `size`.

    Args:
        read: runs in threads; what it raises is raised here, at its batch's turn.
        items: taken as many batches ahead as `overlap` says, and one more.
        size: of a batch.
        overlap: how many batches are read while the caller works on one; True is one, and keeps a GPU fed. A model on
            the processor wants the same cores, and its threads wait for each other at every layer: there it only slows
            both, unless the model is being loaded.
        readers: threads.
    """
    with ThreadPoolExecutor(readers, thread_name_prefix="reader") as pool:
        begun: deque[list[Future[R]]] = deque()
        try:
            for batch in batches(items, size):
                begun.append([pool.submit(read, item) for item in batch])
                if len(begun) > overlap:
                    yield _results(begun)
            while begun:
                yield _results(begun)
        finally:
            for future in (future for batch in begun for future in batch):
                future.cancel()


def one_ahead(items: Iterable[T], *, overlap: bool) -> Iterator[T]:
    """Yield the items in order; with `overlap` the next one is made in a thread while the caller works on this one.

    What making it raises is raised at its turn. A caller who leaves waits for the one that is being made.
    """
    if not overlap:
        yield from items
        return
    iterator, end = iter(items), object()
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as pool:
        coming: Future[T | object] = pool.submit(next, iterator, end)
        while (item := coming.result()) is not end:
            coming = pool.submit(next, iterator, end)
            yield item  # type: ignore[misc]


def _results(begun: deque[list[Future[R]]]) -> list[R]:
    """The first batch's results; it stays among the begun until all are there, so that an interrupt cancels it too."""
    results = [future.result() for future in begun[0]]
    begun.popleft()
    return results
