"""Keeps a collection in step with folders of images: finds what is new, changed, moved or gone, and encodes only that.

Every batch is committed as it is encoded, so a run may be stopped at any moment and the next one goes on from there.
This is the one file of `index` that meets the encoder.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from encoder.batching import read_batches
from encoder.errors import CollectionNotFound, ImageError, InputError
from encoder.folder import walk_images
from encoder.image import Picture, decode_picture, read_bytes, sha256_of
from encoder.model import DualEncoder, Vectors
from index.captions import Metadata
from index.collection import Collection, Entry, Record, create_collection, open_collection

Progress = Callable[[int, int], None]  # told how many files of how many are done


@dataclass
class IndexReport:
    """What a run did, in files. `updated` counts changed pictures and changed metadata."""

    added: int = 0
    updated: int = 0
    moved: int = 0
    removed: int = 0
    unchanged: int = 0
    skipped: list[dict[str, str]] = field(default_factory=list)  # {"path", "reason"}
    encoded: int = 0
    captioned: int = 0  # files that the captions name
    seconds: float = 0.0

    @property
    def images_per_second(self) -> float:
        """Images encoded a second, of the whole run's time."""
        return self.encoded / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class _File:
    """A file that is new or looks changed, as read: a picture, or why there is none."""

    path: Path
    stat: os.stat_result
    sha256: str = ""
    picture: Picture | None = None
    error: str = ""


def open_or_create(data: Path, name: str, encoder: DualEncoder) -> Collection:
    """The collection of that name, open for writing; made for this encoder if there is none.

    Raises:
        ModelMismatch, CollectionLocked, CollectionDamaged: see `encoder.errors`.
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


def index_folders(
    collection: Collection,
    encoder: DualEncoder,
    folders: Sequence[Path],
    *,
    captions: Mapping[Path, Metadata] | None = None,
    allow_empty: bool = False,
    progress: Progress | None = None,
) -> IndexReport:
    """Bring a collection in step with `folders`; entries from elsewhere are left alone.

    Args:
        collection: open for writing, of this encoder's model.
        encoder: makes the vectors.
        folders: walked with all their subfolders; hidden ones are left out.
        captions: metadata by absolute path; a file that it does not name keeps what it has.
        allow_empty: remove all entries of a folder in which no image is left. Without it such a folder is an error,
            because a disk that is not mounted looks just like that.
        progress: told after each batch.

    Raises:
        InputError: a folder is missing, or empty without `allow_empty`. Nothing has been changed then.
    """
    roots = _outermost([Path(os.path.abspath(folder)) for folder in folders])  # noqa: PTH100  keeps links as named
    counts = {root: sum(1 for _ in walk_images(root)) for root in roots}
    for root, count in counts.items():
        if not count and not allow_empty and (lost := sum(1 for _ in collection.records("image", root))):
            raise InputError(
                f"{root}: no images there now, but the collection has {lost} from it. Is a disk not mounted? "
                "Give --allow-empty to remove them"
            )
    started = time.perf_counter()
    run = _Run(collection, encoder, roots, captions or {}, progress, sum(counts.values()))
    run.index()
    run.report.seconds = round(time.perf_counter() - started, 3)
    return run.report


class _Run:
    """One pass over the folders."""

    def __init__(
        self,
        collection: Collection,
        encoder: DualEncoder,
        roots: Sequence[Path],
        captions: Mapping[Path, Metadata],
        progress: Progress | None,
        total: int,
    ) -> None:
        self.report = IndexReport()
        self._collection = collection
        self._encoder = encoder
        self._roots = roots
        self._captions = captions
        self._progress = progress
        self._total = total
        self._done = 0
        self._known: dict[str, tuple[int, int | None, int | None]] = {}  # path -> id, mtime_ns, size; still to be seen
        self._captioned: dict[int, Mapping[str, Any]] = {}  # changes of metadata alone, waiting for a commit
        self._vector_of: dict[str, int] = {}  # sha256 -> an entry with those bytes, as last seen
        self._gone_of: dict[str, list[Record]] = {}  # sha256 -> such entries whose own file is no longer there
        self._unreadable: list[str] = []  # folders that could not be entered: what is below them is not gone

    def index(self) -> None:
        """Walk all folders, and only then forget what is no longer there: it may have moved from one to the next."""
        for root in self._roots:
            for record in self._collection.records("image", root):
                self._known[str(record.path)] = (record.id, record.mtime_ns, record.size)
        changed = chain.from_iterable(self._changed(root) for root in self._roots)
        size = self._encoder.batch_size
        for batch in read_batches(self._read, changed, size, overlap=self._encoder.overlap):
            self._commit(batch)
            self._done += len(batch)
            self._tell()
        self._commit([])
        kept = tuple(f"{folder}{os.sep}" for folder in self._unreadable)
        gone = [key for path, (key, _, _) in self._known.items() if not path.startswith(kept)]
        self.report.removed += self._collection.delete(gone)
        self._tell()

    def _changed(self, root: Path) -> Iterator[tuple[Path, os.stat_result]]:
        """The files that are new or whose time or size differs; the others only lose their place among the unseen."""

        def failed(path: Path, reason: str) -> None:
            self.report.skipped.append({"path": str(path), "reason": reason})
            self._unreadable.append(str(path))
            self._known.pop(str(path), None)

        for path, stat in walk_images(root, on_error=failed):
            known = self._known.get(str(path))
            if known is None or known[1:] != (stat.st_mtime_ns, stat.st_size):
                yield path, stat
                continue
            del self._known[str(path)]
            self._done += 1
            if self._caption(path, known[0]):
                self.report.updated += 1
            else:
                self.report.unchanged += 1

    def _caption(self, path: Path, key: int) -> bool:
        """Whether the captions give an unchanged file other metadata than it has."""
        if not self._captions:
            return False
        old = self._collection.get(key).metadata
        new = self._metadata(path, old)
        if new == old:
            return False
        self._captioned[key] = {"metadata": new}
        return True

    def _metadata(self, path: Path, otherwise: Metadata) -> Metadata:
        """What the captions say of a file, which they may know by the place that a link leads to."""
        if not self._captions:
            return otherwise
        new = self._captions.get(path) or self._captions.get(Path(os.path.realpath(path)))
        self.report.captioned += new is not None
        return otherwise if new is None else new

    def _read(self, item: tuple[Path, os.stat_result]) -> _File:
        """Read and decode one file, in a thread."""
        path, stat = item
        try:
            data = read_bytes(path)
            return _File(path, stat, sha256_of(data), decode_picture(data, self._encoder.preprocess, name=str(path)))
        except ImageError as error:
            return _File(path, stat, error=error.reason)

    def _commit(self, files: list[_File]) -> None:
        """Write a batch, encoding only pictures of which no entry has the same bytes."""
        changes, self._captioned = self._captioned, {}
        entries: list[Entry] = []
        fresh: list[tuple[_File, Record | None]] = []
        for file in files:
            known = self._known.pop(str(file.path), None)
            if file.picture is None:
                self.report.skipped.append({"path": str(file.path), "reason": file.error})
                continue
            old = self._collection.get(known[0]) if known else None
            twin = self._twin(file.sha256)
            if old and old.sha256 == file.sha256:  # touched, not changed
                changes[old.id] = self._fields(file, old)
                self.report.unchanged += 1
            elif not old and (moved := self._moved(file.sha256, changes)):
                self._known.pop(str(moved.path), None)
                changes[moved.id] = self._fields(file, moved)
                self.report.moved += 1
            else:
                self.report.added += old is None
                self.report.updated += old is not None
                if twin is not None:
                    entries.append(self._entry(file, old, self._collection.vector(twin)))
                else:
                    fresh.append((file, old))
        if fresh:
            vectors = self._encoder.encode_pixels(np.stack([file.picture.pixels for file, _ in fresh if file.picture]))
            entries += [self._entry(file, old, x) for (file, old), x in zip(fresh, vectors, strict=True)]
            self.report.encoded += len(fresh)
        if changes:
            self._collection.update(changes)
        self._collection.upsert(entries)

    def _twin(self, sha256: str) -> int | None:
        """An entry with these bytes, whose vector can be taken. A run looks through all of them once, not for each."""
        known = self._vector_of.get(sha256)
        if known is not None and self._collection.get(known).sha256 == sha256:
            return known
        twins = self._collection.find_sha256(sha256)
        if not twins:
            return None
        self._vector_of[sha256] = twins[0].id
        if sha256 not in self._gone_of:
            self._gone_of[sha256] = [twin for twin in twins if self._is_gone(twin)]
        return twins[0].id

    def _is_gone(self, record: Record) -> bool:
        """Whether its file is no longer there: known of a file in the folders of this run, or in a folder that is."""
        path = Path(record.path or os.devnull)
        return not path.exists() and (path.parent.is_dir() or any(root in path.parents for root in self._roots))

    def _moved(self, sha256: str, taken: Mapping[int, object]) -> Record | None:
        """The next entry with these bytes whose file is gone: this is where it went."""
        gone = self._gone_of.get(sha256, [])
        while gone:
            record = gone.pop()
            if record.id not in taken and self._is_gone(self._collection.get(record.id)):
                return record
        return None

    def _entry(self, file: _File, old: Record | None, vector: Vectors) -> Entry:
        return Entry(
            vector=vector,
            modality="image",
            sha256=file.sha256,
            width=file.picture.width if file.picture else None,
            height=file.picture.height if file.picture else None,
            **self._fields(file, old),
        )

    def _fields(self, file: _File, old: Record | None) -> dict[str, Any]:
        return {
            "path": str(file.path),
            "mtime_ns": file.stat.st_mtime_ns,
            "size": file.stat.st_size,
            "metadata": self._metadata(file.path, old.metadata if old else {}),
        }

    def _tell(self) -> None:
        if self._progress:
            self._progress(self._done, self._total)


def _outermost(folders: Sequence[Path]) -> list[Path]:
    """Each folder once, and none that lies in another: what it holds would be walked twice."""
    unique = list(dict.fromkeys(folders))
    return [folder for folder in unique if not any(other in folder.parents for other in unique)]
