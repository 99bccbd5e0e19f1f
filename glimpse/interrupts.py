"""Ctrl-C that is not lost. Where it comes is chance: in a finalizer, which lets nothing out, or in a library's C code.

Does not decide what a command does about it: that is the KeyboardInterrupt it gets, as ever.
"""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType

SOON = 0.05  # seconds: out of the finalizer by then

_came = False


def heed() -> None:
    """Have Ctrl-C noted, and raised again where a finalizer or a callback swallowed the KeyboardInterrupt.

    Nothing changes where SIGINT is ignored, as behind nohup, or is somebody else's.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return

    def note(signum: int, frame: FrameType | None) -> None:
        global _came
        _came = True
        signal.default_int_handler(signum, frame)

    before, main = sys.unraisablehook, threading.main_thread().ident

    def again(said: sys.UnraisableHookArgs) -> None:
        if issubclass(said.exc_type, KeyboardInterrupt):
            threading.Timer(SOON, signal.pthread_kill, (main, signal.SIGINT)).start()  # which also ends a sleep
        else:
            before(said)

    signal.signal(signal.SIGINT, note)
    sys.unraisablehook = again


def came() -> bool:
    """Whether a Ctrl-C came: libraries make errors of their own of it, in which it can no longer be told."""
    return _came
