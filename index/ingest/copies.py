"""Entries by the bytes of their files: whose vector can be taken for a file, which of them it is, moved, and what was
said of its picture.

What is said of a picture goes with its bytes, where they are known: from entries whose file went or has other bytes
now, or from what is kept of those that are gone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from base.files import mtime_ns
from base.sources.rules import is_in_icloud
from index.collection import Collection, Keepsake, Record
from index.ingest.places import Places

MOST = 1000  # entries with the same bytes among which one is looked for
_WithPath = TypeVar("_WithPath", Record, Keepsake)


@dataclass(frozen=True, slots=True)
class Copies:
    """What several entries with the same bytes have in common."""

    first: int  # an entry of theirs, whose vector can be taken
    gone: list[Record]  # those whose own file is no longer there
    changed: list[Record]  # those whose own file is there, and another than the entry says


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the bytes of a file that is new, or has others than its entry says.

    Attributes:
        moved: the entry that it is, with another path now.
        vector: (dim,), as of these bytes; None: they are to be encoded.
        metadata: what was said of them; None: nothing is known of that.
        is_back: something of it was kept of an entry that is gone.
    """

    moved: Record | None = None
    vector: NDArray[np.float32] | None = None
    metadata: Mapping[str, Any] | None = None
    is_back: bool = False


class KnownBytes:
    """The entries of a collection by the SHA-256 of their files, and what is kept of those that it had."""

    def __init__(self, collection: Collection, roots: Sequence[Path], places: Places) -> None:
        self._collection = collection
        self._roots = roots
        self._places = places
        self._copies: dict[str, Copies] = {}  # of bytes that several entries have
        self._found: list[int] = []  # keepsakes whose metadata went to another path
        self._before = collection.keepsakes.last()  # what is kept later was overwritten by this run

    def find(self, sha256: str, path: Path, old: Record | None, taken: Mapping[int, object]) -> Known:
        """What is known of these bytes, which are now at `path`.

        Args:
            sha256: of the bytes.
            path: of the file.
            old: the entry of that path; it has other bytes.
            taken: entries that have moved already.
        """
        copies = self._copies_of(sha256)
        if copies and not old and (moved := self._moved_from(copies, path, taken)):
            return Known(moved)
        vector = self._collection.vector(copies.first) if copies else None
        left = [*copies.changed, *(copies.gone if old else ())] if copies else []
        if copies and left:  # its bytes left another path: names were swapped, or a file was laid over this one
            record = _likest(left[-MOST:], path)
            (copies.changed if record in copies.changed else copies.gone).remove(record)
            return Known(None, vector, record.metadata)
        kept = self._collection.keepsakes.of(sha256)
        vector = vector if copies else next((one.vector for one in kept if one.vector is not None), None)
        if found := self._keepsake(kept, path, is_copy=copies is not None and old is None):
            return Known(None, vector, found.metadata, is_back=True)
        metadata = self._collection.get(copies.first).metadata if copies and old else None
        return Known(None, vector, metadata, is_back=vector is not None and not copies)

    def note_found(self) -> None:
        """Write down which of what is kept has gone over to other paths."""
        if self._found:
            self._collection.keepsakes.set_found(self._found)
            self._found = []

    def _keepsake(self, kept: Sequence[Keepsake], path: Path, *, is_copy: bool) -> Keepsake | None:
        """What is kept of these bytes and was said of the file that is now at `path`.

        They left another path in this run; or were at this very path; or are what nobody has found yet, or any if the
        file is no copy of one that is there.
        """
        new = [one for one in kept if not one.found and one.id not in self._found]
        here = [one for one in kept if one.path == str(path)]
        candidates = [one for one in new if one.id > self._before] or here or new or ([] if is_copy else list(kept))
        if not candidates:
            return None
        best = _likest([one for one in candidates if one.metadata] or candidates, path)
        if best not in here:
            self._found.append(best.id)
        return best

    def _copies_of(self, sha256: str) -> Copies | None:
        """The entries with these bytes. Where they are many, all are looked through once and not for each file."""
        known = self._copies.get(sha256)
        first = known and self._collection.records_of([known.first]).get(known.first)
        if first and first.sha256 == sha256:
            return known
        records = self._collection.find_sha256(sha256)
        if not records:
            return None
        copies = Copies(records[0].id, [], [])
        for record in records:
            state = self._state(record)
            if state != "there":
                (copies.gone if state == "gone" else copies.changed).append(record)
        if len(records) > 1:  # one is as quickly found again, and a million of them need not be remembered
            self._copies[sha256] = copies
        return copies

    def _moved_from(self, copies: Copies, path: Path, taken: Mapping[int, object]) -> Record | None:
        """The entry whose file went to `path`: of those whose file is gone, the one with the likest path."""
        candidates = copies.gone[-MOST:]
        while candidates:
            record = _likest(candidates, path)
            candidates.remove(record)
            now = self._collection.records_of([record.id]).get(record.id)
            if record.id in taken or not now or self._state(now) != "gone":
                copies.gone.remove(record)
            elif self._may_have_moved(Path(str(record.path)), path):
                copies.gone.remove(record)
                return record
        return None

    def _may_have_moved(self, old: Path, new: Path) -> bool:
        """Whether its old folder is there, or one of this run; of one that is gone itself only files with their names.

        Such a folder may be on a disk that is away, and what is here a copy.
        """
        known = old.parent.is_dir() or any(root in old.parents for root in self._roots)
        return known or old.name == new.name

    def _state(self, record: Record) -> str:
        """Whether its file is "there", "changed", or "gone": not there, nor away with its disk or in iCloud."""
        path = Path(record.path or os.devnull)
        try:
            stat = path.stat()
            if record.mtime_ns is None:  # uploaded, under a name that no folder has
                return "there"
        except (FileNotFoundError, NotADirectoryError):
            return "there" if is_in_icloud(path) or self._places.is_away(path) else "gone"
        except OSError:
            return "there"
        return "there" if (mtime_ns(stat), stat.st_size) == (record.mtime_ns, record.size) else "changed"


def _likest(some: Sequence[_WithPath], path: Path) -> _WithPath:
    """The one with the likest path."""
    return max(some, key=lambda one: _alike(str(one.path), str(path)))


def _alike(a: str, b: str) -> int:
    """How many names at their ends two paths have in common."""
    pairs = zip(reversed(a.split("/")), reversed(b.split("/")), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
