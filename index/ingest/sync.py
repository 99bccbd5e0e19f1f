"""Keeps a collection in step with folders of images: finds what is new, changed, moved or gone, and encodes only that.

Every batch is committed as it is encoded, so a run may be stopped at any moment and the next one goes on from there.
Of a million files it holds no more than a batch, and the ids of those that are gone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from base.errors import CollectionNotFound, EntryNotFound, ImageError
from base.progress import Progress
from base.read_ahead import batches, read_batches
from base.rules import Rules
from base.walk import image_names
from encoder.encoder import Encoder, Vectors
from encoder.image import Picture, decode_picture, sha256_of
from encoder.picture.decode import read_bytes
from index.collection import Collection, Entry, Record, create_collection, open_collection
from index.ingest.captions import Captions, Metadata
from index.ingest.copies import KnownBytes
from index.ingest.diff import FileInfo, Files, compare, mtime_ns
from index.ingest.gone import divide
from index.ingest.places import Places
from index.ingest.rejection import measure_rejection
from index.ingest.report import IndexReport
from index.ingest.scan import check_folders, entries_at, files_at, outermost, place_of

STEP = 1000  # unchanged files from one word of progress to the next; changes of metadata in one commit
FIRST = 4  # files at a time, until one needs the model: loading it takes seconds
DELETED = 10_000  # entries deleted in one commit


@dataclass(frozen=True)
class _File:
    """A file that is new or looks changed, as read: a picture, or why there is none."""

    found: FileInfo
    sha256: str = ""
    picture: Picture | None = None  # None without an error: it has the bytes that its entry says
    error: str = ""


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
        read: gives the bytes of a file; one of which it raises an ImageError is skipped.
        rules: which names are walked.
        check_contents: read every file, whatever its time, size and ctime say.
    """

    captions: Captions = field(default_factory=Captions)
    allow_empty: bool = False
    rules: Rules = Rules()
    check_contents: bool = False
    read: Callable[[Path], bytes] = read_bytes


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
    roots = check_folders(collection, folders, options.rules, allow_empty=options.allow_empty)
    total = sum(1 for root in roots for _ in image_names(root, options.rules)) if progress else 0
    run = _Run(collection, encoder, roots, options, progress, total)
    run.report = report or run.report
    run.turn = turn or run.turn
    done = run.index(roots)
    done.left_out.add_all(options.captions.left_out())
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
    roots = check_folders(collection, folders, options.rules, allow_empty=options.allow_empty)
    run = _Run(collection, encoder, roots, options)
    return run.index(outermost(place for path in paths if (place := place_of(path, roots))))


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
        self._places = Places(collection, options.rules)
        self._bytes = KnownBytes(collection, roots, self._places)
        self._seen: set[Path] = set()  # folders with images

    def index(self, places: Sequence[Path]) -> IndexReport:
        """Look at all places, and only then forget what is gone: it may have moved from one to the next."""
        started, began = time.perf_counter(), time.time_ns()
        changed = chain.from_iterable(map(self._changed, places))
        for batch in self._read_batches(changed):
            self._commit(batch)
            self._done += len(batch)
            self._tell()
        self._commit([])
        self._forget()
        self._places.remember(
            self._roots,
            self._seen,
            kept=[kept.folder for kept in self.report.kept],
            looked=began if list(places) == list(self._roots) else None,
        )
        measure_rejection(self._collection, self._encoder)
        self._done = self._total
        self._tell()
        self.report.seconds = round(time.perf_counter() - started, 3)
        return self.report

    def _read_batches(self, changed: Iterator[FileInfo]) -> Iterator[list[_File]]:
        """All files as read, in batches of the model's size, which is asked for once there is a picture for it."""
        for batch in read_batches(self._read, changed, FIRST, overlap=False):
            yield batch
            if any(file.picture for file in batch):
                size, overlap = self._encoder.batch_size, self._encoder.overlap
                yield from read_batches(self._read, changed, size, overlap=overlap)

    def _forget(self) -> None:
        """Delete the entries of what is gone, but not of what may be away."""
        options = self._options
        if self._gone:  # a disk may have been unmounted by now
            check_folders(self._collection, self._roots, options.rules, allow_empty=options.allow_empty)
        gone = divide(
            self._collection,
            self._gone - self._moved,
            self._roots,
            options.rules,
            self._places,
            keep_away=not options.allow_empty,
        )
        self.report.kept = gone.kept
        for ids in batches(gone.left_out, DELETED):
            self.report.left_out_entries += self._collection.delete(ids)
        self.report.removed += self.report.left_out_entries
        for ids in batches(gone.deleted, DELETED):
            self.report.removed += self._collection.delete(ids)

    def failed(self, path: Path, reason: str) -> None:
        """Remember a file or folder that cannot be entered."""
        self.report.skipped.append({"path": str(path), "reason": reason})
        self._unreadable.add(str(path))

    def _changed(self, place: Path) -> Iterator[FileInfo]:
        """The files that are new or look changed; of the others only the captions are looked at."""
        root = next(root for root in self._roots if place.is_relative_to(root))
        looked = -1 if self._options.check_contents else self._places.looked_at(root)
        seen = 0
        for found in compare(self._files(place), entries_at(self._collection, place), self._unreadable, looked):
            if isinstance(found, int):
                self._gone.add(found)
                continue
            seen += 1
            self._seen.add(found.path.parent)
            if found.id is None or not found.same:
                yield found
            else:
                if self._caption(found.path, found.id):
                    self.report.updated += 1
                else:
                    self.report.unchanged += 1
                self._done += 1
                if self._done % STEP == 0:
                    self._tell()
        if place == root and not seen:
            self.report.no_image.append(str(root))

    def _files(self, place: Path) -> Files:
        return files_at(place, self._roots, self._options.rules, self.failed, self.report.left_out)

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
        """Read one file, and decode it unless its entry has these bytes, in a thread."""
        try:
            data = self._options.read(found.path)
            sha256 = sha256_of(data)
            if found.id is not None and self._has_bytes(found.id, sha256):
                return _File(found, sha256)
            picture = decode_picture(data, self._encoder.preprocess, name=str(found.path))
            if picture.cut_off:
                self.report.cut_off.append({"path": str(found.path), "reason": picture.cut_off})
            return _File(found, sha256, picture)
        except ImageError as error:
            return _File(found, error=error.reason)

    def _has_bytes(self, key: int, sha256: str) -> bool:
        try:
            return self._collection.get(key).sha256 == sha256
        except EntryNotFound:  # a request deleted it
            return False

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
        changes: dict[int, Mapping[str, Any]] = self._captioned
        self._captioned = {}
        entries: list[Entry] = []
        fresh: list[tuple[_File, Record | None]] = []
        for file in files:
            if file.error:
                self.report.skipped.append({"path": str(file.found.path), "reason": file.error})
                self._options.captions.of(file.found.path)  # the row that names it is not at fault
                continue
            old = self._collection.get(file.found.id) if file.found.id is not None else None
            if old and file.picture is None:  # touched, not changed
                self._touch(file, old, changes)
                continue
            copies = self._bytes.find(file.sha256)
            if copies and not old and (moved := self._bytes.moved_from(copies, file.found.path, changes)):
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

    def _touch(self, file: _File, old: Record, changes: dict[int, Mapping[str, Any]]) -> None:
        """Note what is new of a file whose bytes are those of its entry."""
        stat, caption = file.found.stat, self._caption_of(file.found.path)
        new: dict[str, Any] = {"mtime_ns": mtime_ns(stat), "size": stat.st_size}
        is_told = caption is not None and caption != old.metadata
        if is_told:
            new["metadata"] = caption
        if is_told or (old.mtime_ns, old.size) != (new["mtime_ns"], new["size"]):
            changes[old.id] = new
        self.report.updated += is_told
        self.report.unchanged += not is_told

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
