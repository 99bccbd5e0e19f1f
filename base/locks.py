"""Locks between processes, by flock: they go with who holds them, however that ends. Locks no thread out."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from base.files import NO_SPACE


class LockHeld(Exception):
    """Another process has the lock; `holder` says which."""

    def __init__(self, holder: str) -> None:
        self.holder = holder
        super().__init__(holder)


def lock_file(path: Path) -> int:
    """Take the lock of a file, made if need be; it is held until the descriptor is closed or the process ends.

    Who holds it stands in it, unless the disk is full: what gives room, as to delete, needs the lock too.

    Raises:
        LockHeld: another process has it.
        FileNotFoundError: its folder is gone.
        OSError: it cannot be written.
    """
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(fd), path.stat()):
                os.ftruncate(fd, 0)
                _sign(fd)
                return fd
        except BlockingIOError:
            holder = os.pread(fd, 200, 0).decode(errors="replace") or "unknown"
            os.close(fd)
            raise LockHeld(holder) from None
        except FileNotFoundError:
            pass
        except OSError:
            os.close(fd)
            raise
        os.close(fd)  # the folder was deleted, and perhaps made anew, between open and lock


def _sign(fd: int) -> None:
    try:
        os.pwrite(fd, f"{os.getpid()} on {socket.gethostname()}".encode(), 0)
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise


@contextmanager
def folder_lock(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """A lock on a folder while the block runs. BlockingIOError if another process has it and there is no `wait`."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(fd)
