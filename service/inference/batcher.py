"""One queue before one tower: what several requests ask for at the same time runs through the model together.

While the model works on one batch the next gathers, and goes on gathering while more items come: twice the items take
less than twice the time. Who comes alone waits a millisecond for it. Items are taken from the waiting requests in turn,
one each, so a long request lets short ones by.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from base.errors import Overloaded
from service.telemetry.metrics import BATCH_SIZE, QUEUE_WAIT

GATHER = 0.1  # seconds
PAUSE = 0.001  # seconds without another item that end it

T = TypeVar("T")
Vectors = npt.NDArray[np.float32]


class _Request(Generic[T]):
    """The items of one request, and their vectors as they come."""

    def __init__(self, items: Sequence[T]) -> None:
        self.items = items
        self.since = time.perf_counter()
        self.taken = 0
        self.rows: dict[int, Vectors] = {}
        self.result: asyncio.Future[Vectors] = asyncio.get_running_loop().create_future()

    def put(self, index: int, row: Vectors) -> None:
        """Note one vector; the last one completes the request, in whatever order they came."""
        self.rows[index] = row
        if len(self.rows) == len(self.items) and not self.result.done():
            ordered = [self.rows[i] for i in range(len(self.items))]
            self.result.set_result(np.stack(ordered) if len(ordered) > 1 else ordered[0][None])


class Batcher(Generic[T]):
    """Gathers items of concurrent requests and encodes up to `max_batch` of them at a time.

    Args:
        encode: n items -> (n, dim), called in `executor`, never twice at once.
        executor: the model's own thread.
        max_batch: items in one call.
        queue_size: items that may wait; while that many do, a new request is refused. Of one request no more count
            than fill a batch: the others are in nobody's way, for requests are served in turn.
        name: of the queue, in the metrics.
        coming: whether more items will soon be here.
        gather: seconds that a batch may wait for them at most.
    """

    def __init__(
        self,
        encode: Callable[[list[T]], Vectors],
        executor: Executor,
        *,
        max_batch: int,
        queue_size: int,
        name: str,
        coming: Callable[[], bool] = lambda: False,
        gather: float = GATHER,
    ) -> None:
        self._encode = encode
        self._executor = executor
        self._max_batch = max_batch
        self._queue_size = queue_size
        self._coming = coming
        self._longest = gather
        self._wait = QUEUE_WAIT.labels(name)
        self._batch_size = BATCH_SIZE.labels(name)
        self._seconds_each = 0.0  # that an item took in the last batch
        self._requests: deque[_Request[T]] = deque()
        self._filled = asyncio.Event()
        self._all_here = asyncio.Event()
        self._regulars = max_batch  # requests that may be about to come: those just answered, and those that wait
        self._worker = asyncio.create_task(self._work())

    @property
    def waiting(self) -> int:
        """Items in the queue now."""
        return sum(len(request.items) - request.taken for request in self._requests)

    @property
    def _in_the_way(self) -> int:
        return sum(min(len(request.items) - request.taken, self._max_batch) for request in self._requests)

    async def __call__(self, items: Sequence[T]) -> Vectors:
        """Encode items (at least one) to (n, dim), in their order. Cancelled, it leaves the queue.

        Raises:
            Overloaded: the queue is full.
        """
        if self._in_the_way >= self._queue_size:
            seconds = math.ceil(self.waiting * self._seconds_each) or 1
            raise Overloaded(f"the queue is full ({self._queue_size} items wait); try again in {seconds} s", seconds)
        request = _Request(items)
        if self._worker.done():  # closed
            request.result.cancel()
        self._requests.append(request)
        self._filled.set()
        if len(self._requests) >= self._regulars:
            self._all_here.set()
        try:
            return await request.result
        finally:
            if request.taken < len(items):  # cancelled, or failed half-way
                with contextlib.suppress(ValueError):
                    self._requests.remove(request)

    async def close(self) -> None:
        """Stop; a request that has no answer yet is cancelled, and so is one that comes later."""
        self._worker.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._worker
        for request in self._requests:
            request.result.cancel()

    async def _work(self) -> None:
        while True:
            await self._filled.wait()
            await self._gather()
            if batch := self._take():
                now = time.perf_counter()
                for request, _ in batch:
                    self._wait.observe(now - request.since)
                self._batch_size.observe(len(batch))
                try:
                    await self._run(batch)
                    self._regulars = len({id(request) for request, _ in batch}) + len(self._requests)
                except asyncio.CancelledError:
                    for request, _ in batch:
                        request.result.cancel()
                    raise
            else:
                self._filled.clear()

    async def _gather(self) -> None:
        """Wait while items come, until they fill a batch, or until all ask again who asked just before."""
        end, before = time.perf_counter() + self._longest, 0
        while self.waiting < self._max_batch and time.perf_counter() < end:
            all_here = len(self._requests) >= self._regulars or self.waiting == before
            if all_here and not self._coming():
                break
            before = self.waiting
            self._all_here.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PAUSE):
                    await self._all_here.wait()

    def _take(self) -> list[tuple[_Request[T], int]]:
        """The next batch, as (request, index of its item)."""
        batch: list[tuple[_Request[T], int]] = []
        while self._requests and len(batch) < self._max_batch:
            request = self._requests.popleft()
            if request.result.done():
                continue
            batch.append((request, request.taken))
            request.taken += 1
            if request.taken < len(request.items):
                self._requests.append(request)
        return batch

    async def _run(self, batch: list[tuple[_Request[T], int]]) -> None:
        items = [request.items[index] for request, index in batch]
        started = time.perf_counter()
        try:
            rows = await asyncio.get_running_loop().run_in_executor(self._executor, self._encode, items)
            if len(rows) != len(items):
                raise RuntimeError(f"the model gave {len(rows)} vectors for {len(items)} items")
        except Exception as error:
            await self._run_apart(batch, error)
            return
        self._seconds_each = (time.perf_counter() - started) / len(items)
        for (request, index), row in zip(batch, rows, strict=True):
            request.put(index, row)

    async def _run_apart(self, batch: list[tuple[_Request[T], int]], error: Exception) -> None:
        """After a failure run each request's part alone, so that the error reaches the one that causes it."""
        requests = list(dict.fromkeys(request for request, _ in batch))
        if len(requests) > 1:
            for request in requests:
                await self._run([(owner, index) for owner, index in batch if owner is request])
        elif not requests[0].result.done():
            requests[0].result.set_exception(error)
