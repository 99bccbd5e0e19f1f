"""A SQLite file in WAL mode, and those beside it, as one finds them who may change none. Opens none itself.

SQLite makes -wal and -shm beside a file that it opens, and merges and removes them when the last one closes it. Whoever
only reads, and is to leave no trace, must open it otherwise: by how it lies there now.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from base.errors import GlimpseError

BESIDE = "mode=ro&readonly_shm=1"  # another process writes, or was killed at it: its files are read, and not touched
ALONE = "mode=ro&immutable=1"  # nobody writes


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


def as_it_lies(path: Path) -> Lies:
    """How to read a file now without any change beside it.

    Raises:
        Unmerged: as it says.
        FileNotFoundError: it is gone.
    """
    wal, shm = (path.with_name(path.name + suffix) for suffix in ("-wal", "-shm"))
    with suppress(FileNotFoundError):  # they come and go with who writes
        return Lies(BESIDE, (wal.stat().st_ino, shm.stat().st_ino))
    with suppress(FileNotFoundError):
        if wal.stat().st_size and not shm.exists():
            raise Unmerged(
                f"{path}: its last commits are still in {wal.name}, which cannot be merged without writing: open it "
                "once where it can be written"
            )
    stat = path.stat()
    return Lies(ALONE, (stat.st_mtime_ns, stat.st_size, stat.st_ino))
