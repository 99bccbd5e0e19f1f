"""Keeps a collection in step with folders of images: finds what is new, changed, moved or gone, and encodes only that.

Every batch is committed as it is encoded, so a run may be stopped at any moment and the next one goes on from there.
Of a million files it holds no more than a batch, and the ids of those that are gone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from base.errors import CollectionNotFound, ImageError
from base.left_out import LeftOut
from base.progress import Progress
from base.read_ahead import batches, read_batches
from base.walk import image_names, walk_images
from encoder.encoder import Encoder, Vectors
from encoder.image import Picture, decode_picture, read_bytes, sha256_of
from index.collection import Collection, Entry, Record, create_collection, open_collection
from index.ingest.captions import Captions, Metadata
from index.ingest.diff import FileInfo, Files, Known, compare, mtime_ns
from index.ingest.rejection import measure_rejection
from index.ingest.scan import check_folders, entries_at, files_at, outermost, place_of

STEP = 1000  # unchanged files from one word of progress to the next; changes of metadata in one commit
DELETED = 10_000  # entries deleted in one commit


@dataclass
class IndexReport:
    """What an indexing run did, in files. `updated` counts changed pictures and changed metadata."""

    added: int = 0
    updated: int = 0
    moved: int = 0
    removed: int = 0
    unchanged: int = 0
    skipped: list[dict[str, str]] = field(default_factory=list)  # {"path", "reason"}
    encoded: int = 0
    captioned: int = 0  # files that the captions name
    left_out: LeftOut = field(default_factory=LeftOut)  # of the captions, by a run over all of the folders
    seconds: float = 0.0

    @property
    def images_per_second(self) -> float:
        """Images encoded a second, of the whole run's time."""
        return self.encoded / self.seconds if self.seconds else 0.0

    @property
    def is_news(self) -> bool:
        """Whether there is anything to tell of."""
        return bool(self.added or self.updated or self.moved or self.removed or self.skipped)


@dataclass(frozen=True)
class _File:
    """A file that is new or looks changed, as read: a picture, or why there is none."""

    found: FileInfo
    sha256: str = ""
    picture: Picture | None = None
    error: str = ""


@dataclass(frozen=True)
class _Copies:
    """What several entries with the same bytes have in common."""

    first: int  # an entry of theirs, whose vector can be taken
    gone: list[Record]  # those whose own file is no longer there


def open_or_create(data: Path, name: str, encoder: Encoder) -> Collection:
    """The collection of that name, open for writing; made for this encoder if there is none.

    Raises:
        ModelMismatch, CollectionLocked, CollectionDamaged: see `base.errors`.
    """
    try:
        collection = open_collection(data, name, writable=True)
    except CollectionNotFound:
        return create_collection(data, name, model=encoder.ref, fingerprint=encoder.fingerprint, dim=encoder.dim)
    try:
        collection.check_model(encoder.fingerprint)
    except Exception:
        collection.close()
        raise
    return collection


@dataclass(frozen=True)
class SyncOptions:
    """What goes for all files of a run.

    Attributes:
        captions: metadata by image; a file that they do not name keeps what it has.
        allow_empty: remove all entries of a folder in which no image is left. Without it such a folder is an error,
            because a disk that is not mounted looks just like that.
        may_read: asked of each file before it is read; one that may not be is skipped.
    """

    captions: Captions = field(default_factory=Captions)
    allow_empty: bool = False
    may_read: Callable[[Path], bool] = lambda path: True


def index_folders(
    collection: Collection,
    encoder: Encoder,
    folders: Sequence[Path],
    options: SyncOptions = SyncOptions(),
    *,
    progress: Progress | None = None,
    turn: AbstractContextManager[object] | None = None,
    report: IndexReport | None = None,
) -> IndexReport:
    """Bring a collection in step with `folders`; entries from elsewhere are left alone.

    Args:
        collection: open for writing, of this encoder's model.
        encoder: makes the vectors.
        folders: walked with all their subfolders; hidden ones are left out.
        options: of the run.
        progress: told after each batch. The total counts names, so it is known before a file is looked at.
        turn: entered for each commit; others who write through the same `collection` may have it in between.
        report: filled as it goes, for who wants to look on; it is what is returned.

    Raises:
        InputError: a folder is missing, or empty without `allow_empty`. Nothing has been changed then.
    """
    roots = check_folders(collection, folders, allow_empty=options.allow_empty)
    total = sum(1 for root in roots for _ in image_names(root)) if progress else 0
    run = _Run(collection, encoder, roots, options, progress, total)
    run.report = report or run.report
    run.turn = turn or run.turn
    done = run.index((walk_images(root, on_error=run.failed), collection.paths(root)) for root in roots)
    done.left_out = options.captions.left_out()
    return done


def index_paths(
    collection: Collection,
    encoder: Encoder,
    folders: Sequence[Path],
    paths: Iterable[Path],
    options: SyncOptions = SyncOptions(),
) -> IndexReport:
    """As `index_folders`, but look only at `paths`: the files and subfolders of `folders` where something happened.

    Each is taken as it is now: there, changed, or gone with all that was below it.
    """
    roots = check_folders(collection, folders, allow_empty=options.allow_empty)
    run = _Run(collection, encoder, roots, options)
    places = outermost(place for path in paths if (place := place_of(path, roots)))
    return run.index((files_at(place, roots, run.failed), entries_at(collection, place)) for place in places)


class _Run:
    """One pass over folders, or over some places in them."""

    def __init__(
        self,
        collection: Collection,
        encoder: Encoder,
        roots: Sequence[Path],
        options: SyncOptions,
        progress: Progress | None = None,
        total: int = 0,
    ) -> None:
        self.report = IndexReport()
        self.turn: AbstractContextManager[object] = nullcontext()
        self._collection = collection
        self._encoder = encoder
        self._roots = roots
        self._options = options
        self._progress = progress
        self._total = total
        self._done = 0
        self._unreadable: set[str] = set()  # what could not be entered just now: what is below it is not gone
        self._gone: set[int] = set()  # entries whose file is no longer there
        self._moved: set[int] = set()  # of which these turned up elsewhere
        self._captioned: dict[int, Mapping[str, Any]] = {}  # changes of metadata alone, waiting for a commit
        self._copies: dict[str, _Copies] = {}  # by sha256, of bytes that several entries have

    def index(self, places: Iterable[tuple[Files, Known]]) -> IndexReport:
        """Look at all places, and only then forget what is gone: it may have moved from one to the next."""
        started = time.perf_counter()
        changed = chain.from_iterable(self._changed(files, known) for files, known in places)
        size = self._encoder.batch_size
        for batch in read_batches(self._read, changed, size, overlap=self._encoder.overlap):
            self._commit(batch)
            self._done += len(batch)
            self._tell()
        self._commit([])
        if self._gone:  # a disk may have been unmounted by now
            check_folders(self._collection, self._roots, allow_empty=self._options.allow_empty)
        for gone in batches(sorted(self._gone - self._moved), DELETED):
            self.report.removed += self._collection.delete(gone)
        measure_rejection(self._collection, self._encoder)
        self._done = self._total
        self._tell()
        self.report.seconds = round(time.perf_counter() - started, 3)
        return self.report

    def failed(self, path: Path, reason: str) -> None:
        """Remember a file or folder that cannot be entered."""
        self.report.skipped.append({"path": str(path), "reason": reason})
        self._unreadable.add(str(path))

    def _changed(self, files: Files, known: Known) -> Iterator[FileInfo]:
        """The files that are new or whose time or size differs; of the others only the captions are looked at."""
        for found in compare(files, known, self._unreadable):
            if isinstance(found, int):
                self._gone.add(found)
            elif found.id is None or not found.same:
                yield found
            else:
                if self._caption(found.path, found.id):
                    self.report.updated += 1
                else:
                    self.report.unchanged += 1
                self._done += 1
                if self._done % STEP == 0:
                    self._tell()

    def _caption(self, path: Path, key: int) -> bool:
        """Whether the captions give an unchanged file other metadata than it has."""
        new = self._caption_of(path)
        if new is None or new == self._collection.get(key).metadata:
            return False
        self._captioned[key] = {"metadata": new}
        if len(self._captioned) >= STEP:
            self._commit([])
        return True

    def _caption_of(self, path: Path) -> Metadata | None:
        """What the captions say of a file."""
        new = self._options.captions.of(path)
        self.report.captioned += new is not None
        return new

    def _read(self, found: FileInfo) -> _File:
        """Read and decode one file, in a thread."""
        if not self._options.may_read(found.path):
            return _File(found, error="it leads to where nothing may be read")
        try:
            data = read_bytes(found.path)
            picture = decode_picture(data, self._encoder.preprocess, name=str(found.path))
            return _File(found, sha256_of(data), picture)
        except ImageError as error:
            return _File(found, error=error.reason)

    def _commit(self, files: list[_File]) -> None:
        """Write a batch, encoding only pictures of which no entry has the same bytes; others write meanwhile."""
        with self.turn:
            fresh = self._commit_known(files)
        if not fresh:
            return
        vectors = self._encoder.encode_pixels(np.stack([file.picture.pixels for file, _ in fresh if file.picture]))
        with self.turn:
            now = self._collection.records_of(old.id for _, old in fresh if old)
            olds = [old and now.get(old.id) for _, old in fresh]
            self._collection.upsert(
                [self._entry(file, old, x) for (file, _), old, x in zip(fresh, olds, vectors, strict=True)]
            )
        for _, old in fresh:
            self._count(old)
        self.report.encoded += len(fresh)

    def _commit_known(self, files: list[_File]) -> list[tuple[_File, Record | None]]:
        """Write what needs no encoding; returns what does, with the entry that it has."""
        changes, self._captioned = self._captioned, {}
        entries: list[Entry] = []
        fresh: list[tuple[_File, Record | None]] = []
        for file in files:
            if file.picture is None:
                self.report.skipped.append({"path": str(file.found.path), "reason": file.error})
                self._options.captions.of(file.found.path)  # the row that names it is not at fault
                continue
            old = self._collection.get(file.found.id) if file.found.id is not None else None
            if old and old.sha256 == file.sha256:  # touched, not changed
                changes[old.id] = self._fields(file, old)
                self.report.unchanged += 1
                continue
            copies = self._copies_of(file.sha256)
            if copies and not old and (moved := self._moved_from(copies, changes)):
                self._moved.add(moved.id)
                changes[moved.id] = self._fields(file, moved)
                self.report.moved += 1
                continue
            if copies:
                entries.append(self._entry(file, old, self._collection.vector(copies.first)))
                self._count(old)
            else:
                fresh.append((file, old))
        if changes:
            self._collection.update(changes)
        self._collection.upsert(entries)
        return fresh

    def _count(self, old: Record | None) -> None:
        self.report.added += old is None
        self.report.updated += old is not None

    def _copies_of(self, sha256: str) -> _Copies | None:
        """The entries with these bytes. Where they are many, all are looked through once and not for each file."""
        known = self._copies.get(sha256)
        if known and self._collection.get(known.first).sha256 == sha256:
            return known
        records = self._collection.find_sha256(sha256)
        if not records:
            return None
        copies = _Copies(records[0].id, [record for record in records if self._is_gone(record)])
        if len(records) > 1:  # one is as quickly found again, and a million of them need not be remembered
            self._copies[sha256] = copies
        return copies

    def _is_gone(self, record: Record) -> bool:
        """Whether its file is no longer there: known of a file in the folders of this run, or in a folder that is."""
        path = Path(record.path or os.devnull)
        return not path.exists() and (path.parent.is_dir() or any(root in path.parents for root in self._roots))

    def _moved_from(self, copies: _Copies, taken: Mapping[int, object]) -> Record | None:
        """The next of these entries whose file is gone: this is where it went."""
        while copies.gone:
            record = copies.gone.pop()
            if record.id not in taken and self._is_gone(self._collection.get(record.id)):
                return record
        return None

    def _entry(self, file: _File, old: Record | None, vector: Vectors) -> Entry:
        return Entry(vector=vector, modality="image", **self._fields(file, old))

    def _fields(self, file: _File, old: Record | None) -> dict[str, Any]:
        caption = self._caption_of(file.found.path)
        return {
            "path": str(file.found.path),
            "sha256": file.sha256,
            "mtime_ns": mtime_ns(file.found.stat),
            "size": file.found.stat.st_size,
            "width": file.picture and file.picture.width,
            "height": file.picture and file.picture.height,
            "taken": file.picture and file.picture.taken,
            "metadata": caption if caption is not None else old.metadata if old else {},
        }

    def _tell(self) -> None:
        if self._progress:
            self._progress(self._done, self._total)
