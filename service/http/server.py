"""uvicorn's server, which is gone in time whatever runs. Knows no request."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from types import FrameType

import uvicorn

log = logging.getLogger(__name__)

REQUESTS_END = 25  # seconds that running requests have once the server is told to stop
END = 30.0  # seconds after which the process is gone


class TimelyServer(uvicorn.Server):
    """Ends by itself or is ended: a thread in the middle of a decode or a download would keep the process alive.

    All that was answered is on disk then, as it is after a kill.
    """

    on_stop: Callable[[], object] = staticmethod(lambda: None)  # called once, in a thread of its own
    _was_told = False  # to stop, by a signal; `should_exit` may be set for another reason

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The process was told to stop."""
        if not self._was_told:
            self._was_told = True
            threading.Thread(target=self._end, name="end", daemon=True).start()
        super().handle_exit(sig, frame)

    def _end(self) -> None:
        end = time.monotonic() + END
        self.on_stop()
        time.sleep(max(0.0, end - time.monotonic()))
        log.warning("something still runs %g s after the stop; it is left undone", END)
        os._exit(0)
