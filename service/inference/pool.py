"""Threads that decode images, with a bounded queue: not on the event loop, and not on the model's thread."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any, ParamSpec, TypeVar

from base.errors import Overloaded
from service.telemetry.logs import request_id
from service.telemetry.metrics import QUEUE_WAIT, stage

P = ParamSpec("P")
R = TypeVar("R")


class Pool:
    """A thread pool with a bound on what waits, which callers hold: `check_room`, then `run`.

    Requests are served in turn, a call of each, and no one request has all of the threads, where large images wait for
    each other: who sends many keeps nobody waiting for all of them. A cancelled call that has not begun never runs.

    Args:
        threads: of one request at once; there is one more.
        queue_size: calls that may wait.
    """

    def __init__(self, threads: int, queue_size: int) -> None:
        self._executor = ThreadPoolExecutor(threads + 1, thread_name_prefix="decode")
        self._limit = threads + queue_size
        self._threads = threads
        self.pending = 0  # calls that run or wait
        self._free = threading.Event()
        self._free.set()
        self._wait = QUEUE_WAIT.labels("decode")
        self._lock = threading.Lock()  # of what follows: the calls of each request that no thread has taken
        self._waiting: OrderedDict[str, deque[tuple[Future[Any], Callable[[], None]]]] = OrderedDict()
        self._running: Counter[str] = Counter()  # calls of each request
        self._owed = 0  # calls for which there was a thread, but whose request had enough of them

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
        done: Future[R] = Future()
        context = copy_context()  # the request's, so that what is logged there has its id

        def call() -> R:
            self._wait.observe(time.perf_counter() - since)
            with stage("decode"):
                return work(*args, **kwargs)

        def run() -> None:
            if done.set_running_or_notify_cancel():
                try:
                    done.set_result(context.run(call))
                except BaseException as error:
                    done.set_exception(error)

        self.pending += 1
        try:
            with self._lock:
                self._waiting.setdefault(request_id.get() or "", deque()).append((done, run))
            self._executor.submit(self._run_next)
            return await asyncio.wrap_future(done)
        finally:
            self.pending -= 1

    def _run_next(self) -> None:
        """Run a call of the request whose turn it is, and what was owed meanwhile; each call has its call of this."""
        while True:
            self._free.wait()
            with self._lock:
                request = next((one for one in self._waiting if self._running[one] < self._threads), None)
                if request is None:
                    self._owed += 1
                    return
                calls = self._waiting.pop(request)
                _, run = calls.popleft()
                if calls:
                    self._waiting[request] = calls
                self._running[request] += 1
            run()
            with self._lock:
                self._running -= Counter((request,))  # whose count is not kept at 0
                if not self._owed:
                    return
                self._owed -= 1

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
        with self._lock:  # before the threads go on with what is owed
            left = [done for calls in self._waiting.values() for done, _ in calls]
            self._waiting.clear()
        for done in left:
            done.cancel()
        self._executor.shutdown(wait=True, cancel_futures=True)
