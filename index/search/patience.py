"""How long it may take to find what passes a filter, and whether anybody still waits for it. Knows no store."""

from __future__ import annotations

import time
from types import TracebackType

from base.errors import GlimpseError, InputError


class FilterTooSlow(InputError):
    """A filter that takes longer than it may."""

    code = "filter_too_slow"


class GivenUp(GlimpseError):
    """Nobody waits for it any more."""

    code = "given_up"


class Patience:
    """Held by who waits, in a `with`: the end of the block ends the work too, whichever thread does it.

    Args:
        seconds: from the first question whether it is over.
        remedy: what an answer that came too late says of it.
    """

    def __init__(self, seconds: float, remedy: str = "") -> None:
        self._seconds = seconds
        self._remedy = remedy
        self._end: float | None = None
        self._left = False

    def __enter__(self) -> Patience:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._left = True

    def over(self) -> GlimpseError | None:
        """Why the work is to end now; None while it may go on. For any thread, as often as it likes."""
        if self._left:
            return GivenUp("nobody waits for this any more")
        now = time.monotonic()
        if self._end is None:
            self._end = now + self._seconds
        if now < self._end:
            return None
        return FilterTooSlow(
            f"filter: takes longer than {self._seconds:g} s here: give fewer or narrower conditions{self._remedy}"
        )
