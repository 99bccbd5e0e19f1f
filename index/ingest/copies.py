"""Entries by the bytes of their files: whose vector can be taken for a file, and which of them it is, moved."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from index.collection import Collection, Record
from index.ingest.places import Places

MOST = 1000  # entries with the same bytes among which one is looked for


@dataclass(frozen=True, slots=True)
class Copies:
    """What several entries with the same bytes have in common."""

    first: int  # an entry of theirs, whose vector can be taken
    gone: list[Record]  # those whose own file is no longer there


class KnownBytes:
    """The entries of a collection by the SHA-256 of their files."""

    def __init__(self, collection: Collection, roots: Sequence[Path], places: Places) -> None:
        self._collection = collection
        self._roots = roots
        self._places = places
        self._copies: dict[str, Copies] = {}  # of bytes that several entries have

    def find(self, sha256: str) -> Copies | None:
        """The entries with these bytes. Where they are many, all are looked through once and not for each file."""
        known = self._copies.get(sha256)
        if known and self._collection.get(known.first).sha256 == sha256:
            return known
        records = self._collection.find_sha256(sha256)
        if not records:
            return None
        copies = Copies(records[0].id, [record for record in records if self._is_gone(record)])
        if len(records) > 1:  # one is as quickly found again, and a million of them need not be remembered
            self._copies[sha256] = copies
        return copies

    def moved_from(self, copies: Copies, path: Path, taken: Mapping[int, object]) -> Record | None:
        """The entry whose file went to `path`: of those whose file is gone, the one with the likest path."""
        candidates = copies.gone[-MOST:]
        while candidates:
            record = max(candidates, key=lambda record: _alike(str(record.path), str(path)))
            candidates.remove(record)
            if record.id in taken or not self._is_gone(self._collection.get(record.id)):
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

    def _is_gone(self, record: Record) -> bool:
        """Whether its file is no longer there, and not away with its disk."""
        path = Path(record.path or os.devnull)
        try:
            path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return not self._places.is_away(path)
        except OSError:
            return False
        return False


def _alike(a: str, b: str) -> int:
    """How many names at their ends two paths have in common."""
    pairs = zip(reversed(a.split("/")), reversed(b.split("/")), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
