"""The command line in this process: its entry point with the words of a command, its environment, folder and streams.

For many commands in a row, where a process each would do little but import torch. What hangs on a process (signals,
what is imported, threads, pipes, locks, encodings, how fast it answers), and the way through all of it, are the
installed command's, and so is `serve`.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from unittest import mock

import torch

from glimpse import interrupts
from glimpse.__main__ import main


def glimpse_here(*words: object, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """As `subprocess.run` of the installed command."""
    done = bytes_here(*words, cwd=cwd, **env)
    out, err = (stream.decode("utf-8", "surrogateescape") for stream in (done.stdout, done.stderr))
    return subprocess.CompletedProcess(done.args, done.returncode, out, err)


def bytes_here(*words: object, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[bytes]:
    """The same, with what it writes as bytes."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2)]
    threads, handlers = torch.get_num_threads(), list(logging.getLogger().handlers)
    on_interrupt = signal.getsignal(signal.SIGINT)
    with (
        mock.patch.object(sys, "unraisablehook", sys.unraisablehook),  # pytest's: what a finalizer raises fails a test
        mock.patch.object(interrupts, "_came", False),
        mock.patch.object(sys, "argv", ["glimpse", *map(str, words)]),
        mock.patch.dict(os.environ, env),
        contextlib.chdir(cwd or Path.cwd()),
        contextlib.redirect_stdout(streams[0]),
        contextlib.redirect_stderr(streams[1]),
    ):
        try:
            main()
            code: object = 0
        except SystemExit as ended:
            code = ended.code
        finally:
            signal.signal(signal.SIGINT, on_interrupt)
    torch.set_num_threads(threads)
    logging.getLogger().handlers[:] = handlers
    out, err = (stream.buffer.getvalue() for stream in streams)  # type: ignore[attr-defined]
    return subprocess.CompletedProcess([*map(str, words)], int(code or 0), out, err)  # type: ignore[call-overload]


def ok_here(*words: object, cwd: Path | None = None, **env: str) -> bytes:
    """What a command that ends well writes."""
    done = bytes_here(*words, cwd=cwd, **env)
    assert done.returncode == 0, done.stderr
    return done.stdout
