"""Threads that decode images, with a bounded queue: not on the event loop, and not on the model's thread."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from typing import ParamSpec, TypeVar

from base.errors import Overloaded
from service.telemetry.metrics import QUEUE_WAIT, stage

P = ParamSpec("P")
R = TypeVar("R")


class Pool:
    """A thread pool with a bound on what waits, which callers hold: `check_room`, then `run`.

    A cancelled call that has not begun never runs.
    """

    def __init__(self, threads: int, queue_size: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="decode")
        self._limit = threads + queue_size
        self._threads = threads
        self.pending = 0  # calls that run or wait
        self._free = threading.Event()
        self._free.set()
        self._wait = QUEUE_WAIT.labels("decode")

    @property
    def waiting(self) -> int:
        """Calls that no thread has taken yet."""
        return max(0, self.pending - self._threads)

    def check_room(self) -> None:
        """Overloaded if as much waits as may. Ask once for all the calls of a request: it is taken whole or not."""
        if self.pending >= self._limit:
            raise Overloaded("more images wait to be decoded than the queue holds; try again in a second")

    async def run(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call `work` in a thread."""
        since = time.perf_counter()

        def run() -> R:
            self._free.wait()
            self._wait.observe(time.perf_counter() - since)
            with stage("decode"):
                return work(*args, **kwargs)

        self.pending += 1
        try:
            # with the request's context, so that what is logged there has its id
            return await asyncio.wrap_future(self._executor.submit(copy_context().run, run))
        finally:
            self.pending -= 1

    @contextmanager
    def held(self) -> Iterator[None]:
        """Begin no call during the block; those that run go on."""
        self._free.clear()
        try:
            yield
        finally:
            self._free.set()

    def close(self) -> None:
        """Let what runs end and drop the rest."""
        self._executor.shutdown(wait=True, cancel_futures=True)
