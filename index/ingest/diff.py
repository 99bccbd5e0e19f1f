"""Compares what lies on disk with what a catalog knows of it: two streams in one order, and neither is held."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from base.files import mtime_ns
from base.sources.rules import is_dataless

Files = Iterable[tuple[Path, os.stat_result]]  # what `base.sources.walk.walk_images` gives
Known = Iterable[tuple[str, int, int | None, int | None]]  # path, id, mtime_ns, size: what `Collection.paths` gives


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A file on disk."""

    path: Path
    stat: os.stat_result
    id: int | None  # of its entry; None: it is new
    same: bool  # time and size are those of the entry, and nothing was done to it since it was last looked at


def compare(files: Files, known: Known, unreadable: set[str], looked: int | None = None) -> Iterator[FileInfo | int]:
    """Merge the files of a place with the entries from there, both in the order of their paths' bytes.

    Args:
        files: what lies there now.
        known: the entries.
        unreadable: files and folders that could not be entered; `files` adds them before it gives the next file, and
            they are taken out here. Entries from there may still be there, so nothing is said of them.
        looked: when they were last looked at, in nanoseconds. To what has a later ctime something was done, even where
            its time and size were kept, unless it was sent to a cloud. None: it is not known.

    Yields:
        A `FileInfo` for each file, and the id of each entry whose file is gone.
    """
    entries = iter(known)
    entry = next(entries, None)
    for path, stat in files:
        key = os.fsencode(path)
        while entry and os.fsencode(entry[0]) < key:
            if not _inside(entry[0], unreadable):
                yield entry[1]
            entry = next(entries, None)
        unreadable.clear()
        if entry and entry[0] == str(path):
            same = entry[2:] == (mtime_ns(stat), stat.st_size) and (
                looked is None or stat.st_ctime_ns <= looked or is_dataless(stat)
            )
            yield FileInfo(path, stat, entry[1], same)
            entry = next(entries, None)
        else:
            yield FileInfo(path, stat, None, same=False)
    while entry:
        if not _inside(entry[0], unreadable):
            yield entry[1]
        entry = next(entries, None)
    unreadable.clear()


def _inside(path: str, places: set[str]) -> bool:
    """Whether `path` is one of `places` or lies in one."""
    return bool(places) and not places.isdisjoint((path, *map(str, Path(path).parents)))
