"""Progress where no terminal watches: a line now and then, with the time that is left, for logs of cron and CI."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EVERY = 30.0  # seconds from one line to the next; what takes no longer says nothing


class ProgressLines:
    """Says how far one piece of work is, on the way, to whoever reads later."""

    def __init__(self, what: str, say: Callable[[str], object], clock: Callable[[], float] = time.monotonic) -> None:
        """Begin.

        Args:
            what: the work, as "indexing".
            say: prints a line.
            clock: seconds.
        """
        self._what, self._say, self._clock = what, say, clock
        self._began = self._said = clock()
        self._first: int | None = None

    def __call__(self, done: int, total: int | None, state: str = "") -> None:
        """So many of so many are done; `state` is more to say. What a run had before it went on counts for no rate."""
        now = self._clock()
        if self._first is None and total is not None:
            self._first = done
        if now - self._said < EVERY:
            return
        self._said = now
        parts = [f"{done:,}" if total is None else f"{done:,} of {total:,}"]
        if total and self._first is not None and (here := done - self._first) > 0 and total > done:
            parts.append(f"{span((total - done) * (now - self._began) / here)} left")
        self._say(f"{self._what}: {', '.join(filter(None, [*parts, state]))}")


@contextmanager
def still_working(what: str, say: Callable[[str], object], every: float = EVERY) -> Iterator[None]:
    """The same of work that does not say how far it is: only that it goes on, and since when."""
    over, began = threading.Event(), time.monotonic()

    def tell() -> None:
        while not over.wait(every):
            say(f"{what}: {span(time.monotonic() - began)} so far")

    teller = threading.Thread(target=tell, name="still working", daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()


def span(seconds: float) -> str:
    """As in "40 s", "12 min", "3 h 20 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
