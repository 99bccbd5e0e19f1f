"""Keeps a collection in step with folders of images: finds what is new, changed, moved or gone, and encodes only that.

Every batch is committed as it is encoded, so a run may be stopped at any moment and the next one goes on from there.
Of a million files it holds no more than a batch, and the ids of those that are gone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

from base.errors import CollectionNotFound, EntryNotFound, ImageError
from base.progress import Progress
from base.read_ahead import batches, read_batches
from base.sources.rules import Rules
from base.sources.walk import image_names
from encoder.encoder import Encoder
from encoder.image import decode_picture, sha256_of
from encoder.picture.decode import read_bytes
from index.collection import Collection, create_collection, open_collection
from index.ingest.captions import Captions
from index.ingest.copies import KnownBytes
from index.ingest.diff import FileInfo, Files, compare
from index.ingest.gone import divide
from index.ingest.places import Places, elsewhere
from index.ingest.rejection import measure_rejection
from index.ingest.report import IndexReport
from index.ingest.scan import check_folders, entries_at, files_at, outermost, place_of
from index.ingest.writer import ReadFile, Writer

STEP = 1000  # unchanged files from one word of progress to the next
FIRST = 4  # files at a time, until one needs the model: loading it takes seconds
THEN = 16  # and of many that do not, as of a folder that was moved
AHEAD = 64  # files that are read meanwhile
DELETED = 10_000  # entries deleted in one commit


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
    if options.rules.follow_links:
        options = replace(options, rules=replace(options.rules, elsewhere=elsewhere(collection, roots)))
    total = sum(1 for root in roots for _ in image_names(root, options.rules)) if progress else 0
    told = (progress, total) if progress else None
    run = _Run(collection, encoder, roots, options, report or IndexReport(), turn or nullcontext(), told)
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
    run = _Run(collection, encoder, roots, options, IndexReport(), nullcontext())
    return run.index(outermost(place for path in paths if (place := place_of(path, roots))))


class _Run:
    """One pass over folders, or over some places in them."""

    def __init__(
        self,
        collection: Collection,
        encoder: Encoder,
        roots: Sequence[Path],
        options: SyncOptions,
        report: IndexReport,
        turn: AbstractContextManager[object],
        told: tuple[Progress, int] | None = None,  # and how many files there are
    ) -> None:
        self.report = report
        self._collection = collection
        self._encoder = encoder
        self._roots = roots
        self._options = options
        self._progress = told and told[0]
        self._total = told[1] if told else 0
        self._done = 0
        self._unreadable: set[str] = set()  # what could not be entered just now: what is below it is not gone
        self._gone: set[int] = set()  # entries whose file is no longer there
        self._places = Places(collection, options.rules)
        known = KnownBytes(collection, roots, self._places)
        self._writer = Writer(collection, encoder, options.captions, known, self._places, report, turn)
        self._with_images: set[Path] = set()  # folders

    def index(self, places: Sequence[Path]) -> IndexReport:
        """Look at all places, and only then forget what is gone: it may have moved from one to the next."""
        started, began = time.perf_counter(), time.time_ns()
        changed = chain.from_iterable(map(self._changed, places))
        for batch in self._read_batches(changed):
            self._writer.write(batch)
            self._done += len(batch)
            self._tell()
        self._writer.write([])
        self._forget()
        self._places.remember(
            self._roots,
            self._with_images,
            kept=[kept.folder for kept in self.report.kept],
            looked=began if list(places) == list(self._roots) else None,
        )
        measure_rejection(self._collection, self._encoder)
        self._done = self._total
        self._tell()
        self.report.seconds = round(time.perf_counter() - started, 3)
        return self.report

    def _read_batches(self, changed: Iterator[FileInfo]) -> Iterator[list[ReadFile]]:
        """All files as read, in batches of the model's size, which is asked for once it has encoded one."""
        at_once = FIRST
        for some in batches(changed, AHEAD):
            read = read_batches(self._read, some, at_once, overlap=AHEAD // at_once)
            at_once = THEN
            for batch in read:
                yield batch
                if self.report.encoded:
                    size, overlap = self._encoder.batch_size, self._encoder.overlap
                    yield from batches(chain.from_iterable(read), size)
                    yield from read_batches(self._read, changed, size, overlap=overlap)  # all others: both loops end

    def _forget(self) -> None:
        """Delete the entries of what is gone, but not of what may be away."""
        options = self._options
        if self._gone:  # a disk may have been unmounted by now
            check_folders(self._collection, self._roots, options.rules, allow_empty=options.allow_empty)
        gone = divide(
            self._collection,
            self._gone - self._writer.moved,
            self._roots,
            options.rules,
            self._places,
            keep_away=not options.allow_empty,
        )
        self.report.kept = gone.kept
        self.report.left_out_entries = self._delete(gone.left_out)
        self.report.removed = self.report.left_out_entries + self._delete(gone.deleted)

    def _delete(self, ids: Sequence[int]) -> int:
        """Delete entries and keep what there is of them, for their files may come back. Returns how many went."""
        removed = 0
        for some in batches(ids, DELETED):
            self._collection.keepsakes.keep(some)
            removed += self._collection.delete(some)
        return removed

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
            self._with_images.add(found.path.parent)
            if found.id is None or not found.same:
                self._places.note_changed(found.path.parent)
                yield found
            else:
                self._places.note_same(found.path.parent)
                self._writer.same(found, found.id)
                self._done += 1
                if self._done % STEP == 0:
                    self._tell()
        if place == root and not seen:
            self.report.no_image.append(str(root))

    def _files(self, place: Path) -> Files:
        report = self.report
        return files_at(place, self._roots, self._options.rules, self.failed, report.left_out, report.others)

    def _read(self, found: FileInfo) -> ReadFile:
        """Read one file, and decode it unless its entry has these bytes, in a thread."""
        try:
            data = self._options.read(found.path)
            sha256 = sha256_of(data)
            if found.id is not None and self._has_bytes(found.id, sha256):
                return ReadFile(found, sha256)
            resize = self._encoder.resize
            picture = decode_picture(data, self._encoder.preprocess, name=str(found.path), resize=resize)
            if picture.cut_off:
                self.report.cut_off.append({"path": str(found.path), "reason": picture.cut_off})
            return ReadFile(found, sha256, picture)
        except ImageError as error:
            return ReadFile(found, error=error.reason)

    def _has_bytes(self, key: int, sha256: str) -> bool:
        try:
            return self._collection.get(key).sha256 == sha256
        except EntryNotFound:  # a request deleted it
            return False

    def _tell(self) -> None:
        if self._progress:
            self._progress(self._done, self._total)
