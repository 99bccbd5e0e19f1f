"""Locks between processes, by flock: they go with who holds them, however that ends. Locks no thread out.

What is locked is always a file, open for writing, and for a folder one in it: a network disk (NFS) locks nothing else.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOCK = ".lock"  # the file in a folder that is locked for it
_HELD = (errno.EAGAIN, errno.EACCES)  # the latter is how SMB says it
_ENOTSUPP = 524  # Linux's own, which some disks let out
_NONE = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EBADF, _ENOTSUPP)
_AGAIN = 0.02  # seconds from one try to the next where a disk does not let a process wait


class LockHeld(Exception):
    """Another process has the lock; `holder` says which."""

    def __init__(self, holder: str) -> None:
        self.holder = holder
        super().__init__(holder)


def lock_file(path: Path, *, wait: bool = False, needed: bool = True) -> int:
    """Take the lock of a file, made if need be; it is held until the descriptor is closed or the process ends.

    Who holds it stands in it, unless the disk is full: what gives room, as to delete, needs the lock too.

    Args:
        path: of the file.
        wait: until others let go of it.
        needed: without, the file is only opened where a disk has no locks: for what none takes but who has the lock.

    Raises:
        LockHeld: another process has it.
        FileNotFoundError: its folder is gone.
        OSError: it cannot be written; of ENOLCK: the disk has no locks (`base.files.disk_error` names the remedy).
    """
    while True:
        fd = _opened(path)
        try:
            lock(fd, path, wait=wait, needed=needed)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(fd), path.stat()):
                    with suppress(OSError):
                        os.ftruncate(fd, 0)
                        os.pwrite(fd, f"{os.getpid()} on {socket.gethostname()}".encode(), 0)
                    return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)  # it was deleted, and perhaps made anew, between open and lock


def _opened(path: Path) -> int:
    """A lock's file, open. A new one has the group and mode of its folder: who may write there may take it."""
    how = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
    try:
        fd = os.open(path, how | os.O_EXCL, 0o666)
    except FileExistsError:
        return os.open(path, how, 0o666)
    with suppress(OSError):
        folder = path.parent.stat()
        os.fchown(fd, -1, folder.st_gid)
        os.fchmod(fd, folder.st_mode & 0o666)
    return fd


def lock(fd: int, path: Path, *, wait: bool = False, needed: bool = True) -> None:
    """Take the lock of a file that is open for writing, with `wait` and `needed` as of `lock_file`.

    Raises:
        LockHeld: another process has it, and there is no `wait`.
        OSError: of ENOLCK, the disk has no locks; or it fails.
    """
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            return
        except OSError as error:
            if error.errno in _NONE:
                if not needed:
                    return
                raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK), str(path)) from error
            if error.errno not in _HELD:
                error.filename = str(path)
                raise
        if not wait:
            raise LockHeld(_holder(fd))
        time.sleep(_AGAIN)


def let_go_if_barred(fd: int, file: Path) -> bool:
    """Whether a lock bars its holder from writing the file by another descriptor, as SMB's do: then it is let go of.

    A file that is not barred is empty then. OSError: it cannot be opened.
    """
    other = os.open(file, os.O_WRONLY)
    try:
        os.write(other, b"?")
        os.ftruncate(other, 0)
    except PermissionError:
        fcntl.flock(fd, fcntl.LOCK_UN)
        return True
    except OSError:  # a full disk says so to who writes more; what it is to be swept of goes
        return False
    finally:
        os.close(other)
    return False


def has_locks(file: Path) -> bool:
    """Whether a disk has such locks as SQLite takes, told by a file that SQLite has not open. Takes none itself."""
    if sys.platform != "linux":  # the structure is another
        return True
    with suppress(OSError):  # who reads what is there says what is wrong
        fd = os.open(file, os.O_RDONLY)
        try:
            fcntl.fcntl(fd, fcntl.F_GETLK, struct.pack("hhqqi", fcntl.F_RDLCK, os.SEEK_SET, 0, 1, 0))
        except OSError as error:
            return error.errno not in _NONE
        finally:
            os.close(fd)
    return True


@contextmanager
def folder_lock(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """The lock of a folder that is there, while the block runs. LockHeld without `wait`; OSError as `lock_file`."""
    fd = lock_file(folder / LOCK, wait=wait)
    try:
        yield
    finally:
        os.close(fd)


def _holder(fd: int) -> str:
    with suppress(OSError):  # SMB lets nobody else read it either
        return os.pread(fd, 200, 0).decode(errors="replace") or "unknown"
    return "unknown"
