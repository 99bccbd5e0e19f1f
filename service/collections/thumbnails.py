"""Small pictures of images, kept on disk: by the hash of the image's bytes and their size, so they never grow stale.

    <data>/thumbnails/<first two digits>/<sha256>-<longest side>.webp

They lie in the data folder because they show what it holds: the same disk, the same rights, gone with it. Where that
cannot be written they lie in the user's cache, else nothing is kept and each is made when it is asked for. Those
that nobody looked at for longest go when there are too many; those whose image no collection has any more go once
a day. Two processes may share the folder. Knows no HTTP.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from base.cache import cache_folder
from base.files import write_whole

log = logging.getLogger(__name__)

SIZES = (128, 256, 512, 1024)  # longest sides, pixels
DAY = 86_400.0  # seconds
_NAME = re.compile(r"([0-9a-f]{64})-(\d+)\.webp")
_CHECKSUM = 4  # bytes of CRC-32 at a file's end, behind the WebP
_LEFT = 0.9  # of the bytes that may be kept stay when the oldest go, so that not every new one looks through all
_NOTED = 60.0  # seconds within which a use is not noted again: each costs a write
_ABANDONED = 3600.0  # seconds after which what was being written is left over from a kill


def size_for(side: int) -> int:
    """The smallest of `SIZES` that is not below a longest side; the largest if all are."""
    return next((size for size in SIZES if size >= side), SIZES[-1])


@dataclass(frozen=True, slots=True)
class _Kept:
    path: Path
    sha256: str
    bytes: int
    used: float  # seconds since the epoch


class Thumbnails:
    """The thumbnails that a service keeps of the images in its data folder. Threads may share it.

    Nothing here raises for a disk that is full, read-only or damaged: what cannot be kept is made again.

    Args:
        data: the data folder.
        limit: bytes that may be kept; 0: none are.
        read_only: leave the data folder as it is: those that it has are looked at, new ones lie in the cache.
    """

    def __init__(self, data: Path, limit: int, *, read_only: bool = False) -> None:
        of_data = hashlib.sha256(os.fsencode(data.absolute())).hexdigest()[:16]
        self._looked_at = [data.absolute() / "thumbnails", cache_folder() / "thumbnails" / of_data]
        self._folders = self._looked_at[1:] if read_only else self._looked_at
        self._limit = limit
        self._lock = threading.Lock()
        self._bytes: int | None = None  # that are kept, as far as this process knows; None: not counted yet
        self._told: set[Path] = set()  # folders that cannot be written to, as the log says

    def get(self, sha256: str, size: int) -> bytes | None:
        """The WebP of that size; None if it is not kept. One that is damaged is dropped."""
        for folder in self._looked_at if self._limit else ():
            path = _place(folder, sha256, size)
            try:
                data = path.read_bytes()
            except OSError:
                continue
            is_ours = folder in self._folders
            if _checksum(data[:-_CHECKSUM]) == data[-_CHECKSUM:]:
                with suppress(OSError):
                    if is_ours and time.time() - path.stat().st_mtime > _NOTED:
                        os.utime(path)
                return data[:-_CHECKSUM]
            log.warning("a thumbnail is damaged, it is made anew: %s", path)
            with suppress(OSError):
                if is_ours:
                    path.unlink()
        return None

    def put(self, sha256: str, size: int, data: bytes) -> None:
        """Keep one, in the first folder that can be written to. The oldest go if there are too many then."""
        if not self._limit:
            return
        for folder in self._folders:
            try:
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # it shows what only the service may read
                write_whole(_place(folder, sha256, size), data + _checksum(data))
                break
            except OSError as error:
                if folder not in self._told:
                    self._told.add(folder)
                    log.warning("thumbnails cannot be kept in %s: %s", folder, error.strerror)
        with self._lock:
            if self._bytes is not None:
                self._bytes += len(data) + _CHECKSUM
            if self._bytes is None or self._bytes > self._limit:
                self._drop_oldest()

    def forget(self, sha256: str) -> None:
        """Remove those of one image."""
        for folder in self._folders:
            for size in SIZES:
                with suppress(OSError):
                    _place(folder, sha256, size).unlink()

    def forget_all(self, hashes: Iterable[str]) -> None:
        """Remove those of several."""
        for sha256 in hashes:
            self.forget(sha256)

    def forget_unless(self, is_there: Callable[[str], bool]) -> int:
        """Remove those of images that are nowhere any more, and what killed writers left; how many images those were.

        Args:
            is_there: called with a SHA-256; whether a collection has an image of it.
        """
        hashes = {kept.sha256 for kept in self._all()}
        gone = [sha256 for sha256 in hashes if not is_there(sha256)]
        for sha256 in gone:
            self.forget(sha256)
        for path in self._parts():
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > _ABANDONED:
                    path.unlink()
        with self._lock:
            self._drop_oldest()
        return len(gone)

    def _drop_oldest(self) -> None:
        """Count what is kept and, if it is too much, let the least recently used go. The lock is held."""
        kept = sorted(self._all(), key=lambda one: one.used)
        total = sum(one.bytes for one in kept)
        if total > self._limit:
            for one in kept:
                with suppress(OSError):
                    one.path.unlink()
                total -= one.bytes
                if total <= self._limit * _LEFT:
                    break
        self._bytes = total

    def _all(self) -> Iterator[_Kept]:
        for entry in _files(self._folders):
            if match := _NAME.fullmatch(entry.name):
                with suppress(OSError):
                    stat = entry.stat()
                    yield _Kept(Path(entry.path), match[1], stat.st_size, stat.st_mtime)

    def _parts(self) -> list[Path]:
        return [Path(entry.path) for entry in _files(self._folders) if entry.name.startswith(".")]


def _files(folders: Iterable[Path]) -> Iterator[os.DirEntry[str]]:
    for folder in folders:
        for inner in folder.glob("[0-9a-f][0-9a-f]"):
            with suppress(OSError), os.scandir(inner) as entries:
                yield from entries


def _place(folder: Path, sha256: str, size: int) -> Path:
    return folder / sha256[:2] / f"{sha256}-{size}.webp"


def _checksum(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(_CHECKSUM, "little")
