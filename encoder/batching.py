"""Keeps a model busy: reads ahead in threads while it works, in order, with bounded memory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

READERS = max(2, os.cpu_count() or 1)  # decoders release the GIL, so one thread a core keeps all of them decoding


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Cut an iterable into lists of `size`; the last one may be shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def read_ahead(read: Callable[[T], R], items: Iterable[T], *, ahead: int, readers: int = READERS) -> Iterator[R]:
    """Yield `read(item)` in the order of `items`, with at most `ahead` items begun and not yet taken.

    What `read` raises is raised here, at its item's turn. Leaving the loop early cancels what has not begun.
    """
    iterator = iter(items)
    with ThreadPoolExecutor(readers, thread_name_prefix="reader") as pool:
        begun: deque[Future[R]] = deque(pool.submit(read, item) for item in islice(iterator, ahead))
        try:
            while begun:
                result = begun.popleft().result()
                begun.extend(pool.submit(read, item) for item in islice(iterator, 1))
                yield result
        finally:
            for future in begun:
                future.cancel()
