"""The command line in this process: its entry point with the words of a command, its environment, folder and streams.

For tables of commands that differ in a word, where a process each would do little but import torch. What hangs on a
process (signals, what is imported, threads, a pipe, how fast it answers) is told by the installed command, and so is
one of each table.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import torch

from glimpse.__main__ import main


def glimpse_here(*words: object, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """As `subprocess.run` of the installed command."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2)]
    threads, handlers = torch.get_num_threads(), list(logging.getLogger().handlers)
    with (
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
    torch.set_num_threads(threads)
    logging.getLogger().handlers[:] = handlers
    out, err = (stream.buffer.getvalue().decode("utf-8", "surrogateescape") for stream in streams)  # type: ignore[attr-defined]
    return subprocess.CompletedProcess([*map(str, words)], int(code or 0), out, err)  # type: ignore[call-overload]
