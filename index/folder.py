"""Where collections lie on disk: their names, their size, the writer's lock, and what a kill leaves behind."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import socket
import time
from contextlib import suppress
from pathlib import Path

from encoder.errors import CollectionLocked, CollectionNotFound, InputError

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def collection_folder(data: Path, name: str) -> Path:
    """Where the collection `name` is or would be. InputError for a name that cannot be one."""
    if not NAME.fullmatch(name):
        raise InputError(
            f"{name!r} cannot name a collection: use a-z, 0-9, '.', '_' and '-', 64 at most, a letter or digit first"
        )
    return Path(data).absolute() / "collections" / name


def collection_names(data: Path) -> list[str]:
    """The names of all collections in `data`, sorted."""
    folder = Path(data) / "collections"
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if NAME.fullmatch(path.name) and path.is_dir())


def folder_bytes(folder: Path) -> int:
    """What a collection takes on disk."""
    total = 0
    for path in folder.iterdir():
        try:
            total += path.stat().st_size
        except FileNotFoundError:  # SQLite's own files come and go
            continue
    return total


def sweep(collections: Path) -> None:
    """Remove what a killed delete or create left behind."""
    for path in collections.glob(".gone-*"):
        shutil.rmtree(path, ignore_errors=True)
    for path in collections.glob(".new-*"):
        with suppress(FileNotFoundError):  # a create that ends in this moment
            if time.time() - path.stat().st_mtime > 3600:  # one that still runs is younger
                shutil.rmtree(path, ignore_errors=True)


def lock_writer(folder: Path, name: str) -> int:
    """Take the writer's lock of a collection; it is held until the descriptor is closed or the process ends."""
    path = folder / "writer.lock"
    while True:
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:
            raise CollectionNotFound(f"collection {name!r} was deleted just now") from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(fd), path.stat()):
                os.ftruncate(fd, 0)
                os.pwrite(fd, f"{os.getpid()} on {socket.gethostname()}".encode(), 0)
                return fd
        except BlockingIOError:
            holder = os.pread(fd, 200, 0).decode(errors="replace") or "unknown"
            os.close(fd)
            raise CollectionLocked(
                f"collection {name!r} is being written to by process {holder}: wait until it ends, or stop it"
            ) from None
        except FileNotFoundError:
            pass
        os.close(fd)  # the folder was deleted, and perhaps made anew, between open and lock
