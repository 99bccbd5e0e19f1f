"""Threads that decode images, with a bounded queue: not on the event loop, and not on the model's thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from encoder.errors import Overloaded

P = ParamSpec("P")
R = TypeVar("R")


class Pool:
    """A thread pool that refuses work instead of piling it up. A cancelled call that has not begun never runs."""

    def __init__(self, threads: int, queue_size: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="decode")
        self._limit = threads + queue_size
        self._pending = 0

    async def run(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call `work` in a thread. Overloaded if as much waits as may."""
        if self._pending >= self._limit:
            raise Overloaded("more images wait to be decoded than the queue holds; try again in a second")
        self._pending += 1
        try:
            return await asyncio.wrap_future(self._executor.submit(work, *args, **kwargs))
        finally:
            self._pending -= 1

    def close(self) -> None:
        """Let what runs end and drop the rest."""
        self._executor.shutdown(wait=True, cancel_futures=True)
