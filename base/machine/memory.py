"""The memory that this process may really use: the machine's, or what its control groups leave of it."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from base.machine.control_groups import OWN, ROOT, group_folders


def memory(root: Path = ROOT, of: Path = OWN) -> int:
    """Bytes: the least of the machine's and of the limits of this process's control groups, old and new."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *_limits(root, of)])


def give_back() -> None:
    """Let the system have what was freed, which the C library keeps for what comes; nothing where it knows no way."""
    with suppress(OSError, AttributeError):  # malloc_trim is glibc's
        ctypes.CDLL(None).malloc_trim(0)


def _limits(root: Path, of: Path) -> Iterator[int]:
    for is_new, folder in group_folders("memory", root, of):
        try:
            yield int((folder / ("memory.max" if is_new else "memory.limit_in_bytes")).read_text())
        except (OSError, ValueError):  # not there, or "max"
            continue
