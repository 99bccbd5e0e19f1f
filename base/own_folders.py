"""Folders that a process has for itself: locked as long, and removed by others once it was killed."""

from __future__ import annotations

import os
import shutil
import uuid
from contextlib import suppress
from pathlib import Path

from base.locks import LOCK, LockHeld, lock_file

_STILL_OPEN = (".nfs", ".fuse_hidden", ".__smb")  # how disks call a file that is removed and open, until it is closed


def new_own_folder(parent: Path, begin: str, end: str = "") -> tuple[Path, int]:
    """A new folder in `parent`, its name between `begin` and `end`, and the descriptor that holds its lock. OSError.

    On a disk that has no locks it has none, and needs none: nobody else takes it to remove it.
    """
    while True:
        own = parent / f"{begin}{uuid.uuid4().hex}{end}"
        own.mkdir()
        with suppress(LockHeld, FileNotFoundError):  # a sweep came before the lock
            return own, lock_file(own / LOCK, needed=False)


def lock_left(folder: Path) -> int:
    """The lock of a folder that may have been left by a kill. LockHeld: it was not; OSError, as if it is gone."""
    _remove_empty(folder)  # it has no lock any more, or not yet: then its maker makes another
    return lock_file(folder / LOCK)


def clear(folder: Path) -> None:
    """Remove a folder whose lock we hold, or all in it that can be: the lock last, so that others may go on.

    Also where it is a link to one: who removes it does not mean the link.
    """
    with suppress(OSError):
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != LOCK:
                with suppress(OSError):
                    path.unlink()
        if _names(folder) in ([LOCK], []):
            (folder / LOCK).unlink(missing_ok=True)
            _remove_empty(folder)


def let_go(folder: Path, lock: int) -> None:
    """Remove a folder, if it is there still, and let go of its lock."""
    clear(folder)
    os.close(lock)
    _remove_empty(folder)  # some disks keep a file until it is closed


def is_left(folder: Path) -> bool:
    """Whether anything stays of a folder that was cleared, but for what goes once it is closed."""
    try:
        return any(_stays(folder / name) for name in _names(folder) if name != LOCK)
    except OSError as error:
        return not isinstance(error, FileNotFoundError)


def _stays(path: Path) -> bool:
    if not path.is_dir() or path.is_symlink():
        return not path.name.startswith(_STILL_OPEN)
    names = _names(path)
    return not names or any(_stays(path / name) for name in names)


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):
        if not folder.is_symlink():
            folder.rmdir()
        elif not _names(folder):
            _remove_empty(folder.parent / folder.readlink())  # stays where a disk is mounted
            folder.unlink()


def _names(folder: Path) -> list[str]:
    return os.listdir(folder)  # noqa: PTH208
