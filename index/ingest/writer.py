"""Writes files as they were read into a collection, a batch a commit, and encodes those whose bytes are new to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from base.files import mtime_ns
from encoder.encoder import Encoder, Vectors
from encoder.image import Picture
from index.collection import Collection, Entry, Record
from index.ingest.captions import Captions
from index.ingest.copies import KnownBytes
from index.ingest.diff import FileInfo
from index.ingest.places import Places
from index.ingest.report import IndexReport

STEP = 1000  # changes of metadata in one commit
SAME_PICTURE = 0.8  # cosine: with less a file in a folder that was replaced is not its predecessor, edited


@dataclass(frozen=True, slots=True)
class ReadFile:
    """A file that is new or looks changed, as read: a picture, or why there is none.

    Attributes:
        picture: None without an error: it has the bytes that its entry says.
        old: the entry of its path, as of the commit.
        said: what was said of its bytes, wherever they were; None: nothing is known of that.
    """

    found: FileInfo
    sha256: str = ""
    picture: Picture | None = None
    error: str = ""
    old: Record | None = None
    said: Mapping[str, Any] | None = None


class Writer:
    """What a run writes.

    Args:
        collection: open for writing.
        encoder: of its model.
        captions: metadata by image.
        known: whose bytes are known.
        places: which folders were replaced.
        report: counts what was done.
        turn: entered for each commit.
    """

    def __init__(
        self,
        collection: Collection,
        encoder: Encoder,
        captions: Captions,
        known: KnownBytes,
        places: Places,
        report: IndexReport,
        turn: AbstractContextManager[object],
    ) -> None:
        self.moved: set[int] = set()  # entries whose file turned up elsewhere
        self._collection = collection
        self._encoder = encoder
        self._captions = captions
        self._known = known
        self._places = places
        self._report = report
        self._turn = turn
        self._captioned: dict[int, Mapping[str, Any]] = {}  # changes of metadata alone, waiting for a commit

    def same(self, found: FileInfo, key: int) -> None:
        """Count a file that is as its entry says; the captions may say something new of it."""
        new = self._captions.of(found.path)
        if new is None or all(new == old.metadata for old in self._collection.records_of([key]).values()):
            self._report.unchanged += 1
            return
        self._report.updated += 1
        self._captioned[key] = {"metadata": new}
        if len(self._captioned) >= STEP:
            self.write([])

    def write(self, files: Sequence[ReadFile]) -> None:
        """Write a batch, encoding only pictures of which no entry has the same bytes; others write meanwhile."""
        with self._turn:
            fresh = self._write_known(files)
        if not fresh:
            return
        pixels = {file.sha256: file.picture.pixels for file in fresh if file.picture}  # equal files once
        vectors = dict(zip(pixels, self._encoder.encode_pixels(np.stack([*pixels.values()])), strict=True))
        with self._turn:
            now = self._collection.records_of(file.old.id for file in fresh if file.old)
            fresh = [replace(file, old=file.old and now.get(file.old.id)) for file in fresh]
            self._upsert([(file, vectors[file.sha256]) for file in fresh])
        self._report.encoded += len(vectors)

    def _write_known(self, files: Sequence[ReadFile]) -> list[ReadFile]:
        """Write what needs no encoding; returns what does."""
        changes: dict[int, Mapping[str, Any]] = self._captioned
        self._captioned = {}
        done: list[tuple[ReadFile, Vectors]] = []
        fresh: list[ReadFile] = []
        for read in files:
            path = read.found.path
            if read.error:
                self._report.skipped.append({"path": str(path), "reason": read.error})
                self._captions.of(path)  # the row that names it is not at fault
                continue
            key = read.found.id
            old = self._collection.records_of([key]).get(key) if key is not None else None
            if read.picture is None:  # touched, not changed
                if old:
                    self._touch(read, old, changes)
                continue
            known = self._known.find(read.sha256, path, old, changes)
            if known.moved:
                self.moved.add(known.moved.id)
                changes[known.moved.id] = self._fields(read, known.moved.metadata)
                self._report.moved += 1
                continue
            file = replace(read, old=old, said=known.metadata)
            self._report.returned += known.is_back
            if known.vector is None:
                fresh.append(file)
            else:
                done.append((file, known.vector))
        if changes:
            self._collection.update(changes)
        self._upsert(done)
        self._known.note_found()
        return fresh

    def _upsert(self, files: Sequence[tuple[ReadFile, Vectors]]) -> None:
        """Write entries; what they replace is kept beside them."""
        entries = [Entry(vector=x, modality="image", **self._fields(file, self._said_of(file, x))) for file, x in files]
        if replaced := [file.old.id for file, _ in files if file.old]:
            self._collection.keepsakes.keep(replaced)
        self._collection.upsert(entries)
        self._report.updated += len(replaced)
        self._report.added += len(files) - len(replaced)

    def _said_of(self, file: ReadFile, x: Vectors) -> Mapping[str, Any]:
        """The metadata of a file: what was said of its bytes; else an edited picture keeps what its entry has."""
        if file.said is not None:
            return file.said
        if file.old is None:
            return {}
        if self._places.is_replaced(file.found.path.parent) and not self._is_edited(file, file.old, x):
            return {}
        return file.old.metadata

    def _is_edited(self, file: ReadFile, old: Record, x: Vectors) -> bool:
        """Whether a file is likely the picture of before, edited, and not another one of its name."""
        if old.taken and file.picture and file.picture.taken:
            return old.taken == file.picture.taken
        return float(self._collection.vector(old.id) @ x) >= SAME_PICTURE * float(np.linalg.norm(x))

    def _touch(self, file: ReadFile, old: Record, changes: dict[int, Mapping[str, Any]]) -> None:
        """Note what is new of a file whose bytes are those of its entry."""
        stat, caption = file.found.stat, self._captions.of(file.found.path)
        new: dict[str, Any] = {"mtime_ns": mtime_ns(stat), "size": stat.st_size}
        is_told = caption is not None and caption != old.metadata
        if is_told:
            new["metadata"] = caption
        if is_told or (old.mtime_ns, old.size) != (new["mtime_ns"], new["size"]):
            changes[old.id] = new
        self._report.updated += is_told
        self._report.unchanged += not is_told

    def _fields(self, file: ReadFile, metadata: Mapping[str, Any]) -> dict[str, Any]:
        caption = self._captions.of(file.found.path)
        return {
            "path": str(file.found.path),
            "sha256": file.sha256,
            "mtime_ns": mtime_ns(file.found.stat),
            "size": file.found.stat.st_size,
            "width": file.picture and file.picture.width,
            "height": file.picture and file.picture.height,
            "taken": file.picture and file.picture.taken,
            "metadata": caption if caption is not None else metadata,
        }
