"""A SQLite file in WAL mode, and those beside it, as one finds them who may change none. Opens none itself.

SQLite makes -wal and -shm beside a file that it opens, and merges and removes them when the last one closes it. Whoever
only reads, and is to leave no trace, must open it otherwise: by how it lies there now.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

from base.errors import DiskError, GlimpseError
from base.files import disk_problem
from base.locks import has_locks

Opened = TypeVar("Opened")

BESIDE = "mode=ro&readonly_shm=1"  # another process writes, or was killed at it: its files are read, and not touched
ALONE = "mode=ro&immutable=1"  # nobody writes
FAILING = (  # SQLite tells these alike
    "cannot be read or written (I/O error): look whether its disk fails or is away, or a quota or a limit on the size "
    "of files is reached, and try again"
)
FULL = 1 << 20  # bytes free: with fewer, what fails has failed for want of space
SHM = 32768  # bytes of a -shm, at least; on a full disk it is made, and stays shorter
PATIENCE = 1.0  # seconds for a writer between removing -shm and -wal, which it does in this order
TRIES = 100
_HALF_THERE = (8, 14)  # SQLITE_READONLY: -shm is not filled in yet; SQLITE_CANTOPEN: one of them is gone


class Unmerged(GlimpseError):
    """The last commits lie where only who may write gets them from."""


class Lies(NamedTuple):
    """How a file is to be opened, and what there was when that was found."""

    mode: str  # as SQLite's URIs have it
    stamp: tuple[int, ...] = ()

    @property
    def may_be_torn(self) -> bool:
        """Whether what is read is to be thrown away if the file lies otherwise afterwards."""
        return self.mode == ALONE


def is_full(path: Path) -> bool:
    """Whether no space is left where a file lies: SQLite calls that an I/O error at the files beside it."""
    with suppress(OSError):  # a disk that fails does not tell
        return shutil.disk_usage(path.parent).free < FULL
    return False


def check_locks(path: Path) -> None:
    """DiskError where a file is to be written on a disk without locks: SQLite would wait for one without end."""
    with suppress(OSError):  # SQLite says why it cannot be made
        path.touch()
    if not has_locks(path):
        path.unlink(missing_ok=True)
        raise DiskError(disk_problem(OSError(errno.ENOLCK, os.strerror(errno.ENOLCK)), path.parent))


def may_be_written(path: Path) -> bool:
    """Whether this user may write a file and beside it, on a disk that is not read-only."""
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)


def as_it_lies(path: Path) -> Lies:
    """How to read a file now without any change beside it.

    Raises:
        Unmerged: as it says.
        FileNotFoundError: it is gone.
    """
    wal, shm = (path.with_name(path.name + suffix) for suffix in ("-wal", "-shm"))
    end = time.monotonic() + PATIENCE
    while True:
        with suppress(FileNotFoundError):  # they come and go with who writes
            of_wal, of_shm = wal.stat(), shm.stat()
            if of_wal.st_size or of_shm.st_size >= SHM:
                return Lies(BESIDE, (of_wal.st_ino, of_shm.st_ino))
        if not _is_unmerged(wal, shm):
            stat = path.stat()
            return Lies(ALONE, (stat.st_mtime_ns, stat.st_size, stat.st_ino))
        if time.monotonic() > end:
            raise Unmerged(
                f"{path}: its last commits are still in {wal.name}, which cannot be merged without writing: open it "
                "once where it can be written"
            )
        time.sleep(PATIENCE / TRIES)


def opened_as_it_lies(path: Path, connect: Callable[[str], Opened]) -> tuple[Lies, Opened]:
    """Open it so: `connect` is given the mode, opens it and reads something, and closes it again if that fails.

    The files beside it may come or go between the look and the opening: then it is looked at again.

    Raises:
        Unmerged, FileNotFoundError: as `as_it_lies`; and what `connect` raises.
    """
    for tries_left in reversed(range(TRIES)):
        lies = as_it_lies(path)
        try:
            return lies, connect(lies.mode)
        except Exception as error:
            half_there = lies.mode == BESIDE and getattr(error, "sqlite_errorcode", 0) & 0xFF in _HALF_THERE
            if not (half_there and tries_left):
                raise
        time.sleep(PATIENCE / TRIES)
    raise AssertionError("the last try returns or raises")


def _is_unmerged(wal: Path, shm: Path) -> bool:
    with suppress(FileNotFoundError):
        return wal.stat().st_size > 0 and not shm.exists()
    return False
