"""The disk of the data folder, asked in a thread of its own: one that hangs holds up nobody but who needs it.

Knows no HTTP.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress

from base.errors import DiskUnavailable

PATIENCE = 5.0  # seconds that it may take, as a collection's may


class DataDisk:
    """Looks at what requests must know as it is now. Who asks while it looks waits for the next look, with all others.

    Args:
        look: what it does; that it raises is told to all who wait for it.
    """

    def __init__(self, look: Callable[[], object]) -> None:
        self._look = look
        self._wanted = threading.Condition()
        self._asking: list[Future[None]] = []
        self._since: float | None = None  # when the look began that is under way
        self._is_open = False

    async def looked(self, patience: float | None = None) -> None:
        """Return once it has been looked at, from now on.

        Raises:
            DiskUnavailable: no answer for `patience` seconds, PATIENCE unless given, since it was asked first.
        """
        answer: Future[None] = Future()
        with self._wanted:
            if not self._is_open:
                self._is_open = True
                threading.Thread(target=self._run, name="disk", daemon=True).start()
            now = time.monotonic()
            left = (self._since or now) + (patience or PATIENCE) - now
            if left > 0:  # of the others nothing is kept: there is no end of them while it hangs
                self._asking.append(answer)
                self._wanted.notify()
        with suppress(TimeoutError):
            async with asyncio.timeout(left):
                return await asyncio.wrap_future(answer)
        raise DiskUnavailable(
            "the disk of the data folder does not answer; look at it, or at the network that it is on"
        )

    def close(self) -> None:
        """Look no more until somebody asks again."""
        with self._wanted:
            self._is_open = False
            self._wanted.notify()

    def _run(self) -> None:
        while True:
            with self._wanted:
                self._since = None
                self._wanted.wait_for(lambda: self._asking or not self._is_open)
                if not self._asking:
                    return
                asking, self._asking = self._asking, []
                self._since = time.monotonic()
            failure = None
            try:
                self._look()
            except Exception as error:
                failure = error
            for answer in asking:
                if not answer.set_running_or_notify_cancel():  # who asked has gone
                    continue
                if failure is None:
                    answer.set_result(None)
                else:
                    answer.set_exception(failure)
