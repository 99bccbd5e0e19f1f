"""What of a data folder a backup has: collections and uploads, keys, the signing secret, label sets, runs, jobs.

What can be made again or is kept for hours alone is left out, and so are locks, half-written files, and, by name,
what is not glimpse's.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from base.files import PART
from index.local.layout import CATALOG, collection_folder, collection_names, uploads_folder
from labelling.runs.kept import FOLDER as LABEL_RUNS
from service import keys, signing

SECRETS = (keys.FILE, signing.FILE)  # readable by their owner alone, wherever they lie
FOLDERS = ("jobs", "label-sets", LABEL_RUNS)  # of small files; jobs first: one that has ended must have what it did
COLLECTIONS = "collections"
PASSING = ("thumbnails", "idempotency")  # made again; answers to requests, which are kept for hours
LOST = "lost+found"  # of a disk that is all for the data folder
KNOWN = (*SECRETS, *FOLDERS, COLLECTIONS, "uploads", *PASSING)
_ENDS = ("lock", "-wal", "-shm", "-journal", PART)  # ends of names


def small_files(data: Path) -> Iterator[tuple[str, Path]]:
    """All that is not in collections: the name below the data folder, in an order that keeps what belongs together.

    What is deleted meanwhile is passed over; links are not followed. OSError for a folder that cannot be read.
    """
    for name, path in _small(data):
        if _is_file(path):
            yield name, path


def links(data: Path) -> list[str]:
    """What `small_files` passes over because it is a link, by name: it may lead to what is no backup's to have."""
    return [name for name, path in _small(data) if path.is_symlink()]


def _small(data: Path) -> Iterator[tuple[str, Path]]:
    for name in SECRETS:
        yield name, data / name
    for folder in FOLDERS:
        for where, folders, names in os.walk(data / folder, onerror=_unless_gone):
            inner = [name for name in folders if not name.startswith(".")]
            folders[:] = sorted(name for name in inner if not Path(where, name).is_symlink())
            for name in sorted([*names, *(set(inner) - set(folders))]):
                path = Path(where, name)
                if not name.startswith(".") and not name.endswith(_ENDS):
                    yield str(path.relative_to(data)), path


def _unless_gone(error: OSError) -> None:
    """What cannot be read must not be missing without a word."""
    if not isinstance(error, FileNotFoundError):
        raise error


def strangers(data: Path, file: Path | None = None) -> list[str]:
    """What lies in the data folder and is not glimpse's, by name; but for the way to `file`, where a backup goes."""
    passed = {*KNOWN, LOST}
    if file is not None and file.absolute().is_relative_to(data.absolute()):
        passed.add(file.absolute().relative_to(data.absolute()).parts[0])
    return sorted(name for name in os.listdir(data) if name not in passed and not name.startswith("."))  # noqa: PTH208


def size_of(data: Path) -> int:
    """About how many bytes a backup of it has."""
    total = sum(path.stat().st_size for _, path in small_files(data) if path.exists())
    for name in collection_names(data):
        paths = [collection_folder(data, name) / f"{CATALOG}{end}" for end in ("", "-wal")]
        for path in (*paths, *uploads_folder(data, name).rglob("*")):
            if path.is_file():
                total += path.stat().st_size
    return total


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False
