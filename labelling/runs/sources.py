"""What a run labels: a folder's images, or a collection's entries; and what is new, changed or gone since."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from base.errors import EntryNotFound, ImageError, InputError
from base.progress import Progress
from base.read_ahead import batches
from base.sources.rules import Rules, is_in_icloud
from base.sources.walk import check_folder, image_names, no_images, walk_images
from encoder.encoder import Encoder
from encoder.image import Picture, open_image
from labelling.outputs.files import stamp_of
from labelling.rows import LabelReport
from labelling.runs.store import RunStore
from labelling.runs.tables import Found, FoundEntry, Row

if TYPE_CHECKING:
    from index.collection import Collection
    from index.entry import ImageRow

Vectors = npt.NDArray[np.float32]

STEP = 1000  # images that are as they were, from one word of progress to the next


@dataclass
class Seen:
    """What a look at the source found.

    Attributes:
        new: images that were not there.
        changed: images that are others now.
        unchanged: those that are not looked at again.
        gone: those that are there no longer.
    """

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    gone: list[Row] = field(default_factory=list)

    @property
    def total(self) -> int:
        """How many were looked at so far."""
        return self.new + self.changed + self.unchanged


class Source(Protocol):
    """Where the images of a run come from."""

    @property
    def fingerprint(self) -> str:
        """Of the model whose vectors they are."""

    @property
    def model(self) -> str:
        """Its reference."""

    @property
    def folder(self) -> Path | None:
        """That all of them lie in; None: they may lie anywhere."""

    def look(self, store: RunStore, report: LabelReport, tell: Progress) -> Seen:
        """Keep in the store what is new or changed, and say what is gone. InputError: there is no image."""

    def vectors(self, ids: list[int], kept: list[bytes | None]) -> tuple[list[int], Vectors]:
        """Those of images, of which a store keeps these bytes, that are there; and their unit vectors (n, dim)."""

    def text_encoder(self) -> Encoder:
        """What encodes the labels."""


@dataclass
class FolderSource:
    """The images below a folder.

    Args:
        folder: its absolute path.
        rules: of the walk.
        encoder: reads them; loaded when there is something to read.
        texts: makes what encodes labels where no image had to be read.
        read: gives the bytes of a file, or an ImageError; None: it is read as it is.
    """

    folder: Path
    rules: Rules
    encoder: Encoder
    texts: Callable[[], Encoder]
    read: Callable[[Path], bytes] | None = None
    _has_read: bool = False

    @property
    def fingerprint(self) -> str:
        """Of the model."""
        return self.encoder.fingerprint

    @property
    def model(self) -> str:
        """Its reference."""
        return self.encoder.ref

    def look(self, store: RunStore, report: LabelReport, tell: Progress) -> Seen:
        """As `Source.look`. A folder that cannot be entered is not gone, nor is what is below it, or in iCloud."""
        check_folder(self.folder)
        seen = Seen()
        total = sum(1 for _ in image_names(self.folder, self.rules))
        if not total and not store.moved():
            raise InputError(no_images([self.folder], self.rules))
        stamps: dict[Path, str] = {}
        pictures: dict[Path, Picture] = {}
        to_read = self._to_read(store, report, seen, stamps, lambda: tell(seen.total, total))
        first = next(to_read, None)
        read: Iterable[list[tuple[Path, Vectors | ImageError]]] = ()
        if first is not None:  # who streams nothing has the model loaded all the same
            read = self.encoder.encode_stream(chain((first,), to_read), read=self.read, note=pictures.__setitem__)
        for batch in read:
            self._has_read = True
            with store.writing():
                store.put(_found(path, stamps.pop(path), vector, pictures.pop(path, None)) for path, vector in batch)
            tell(seen.total, total)
        unread = [Path(path) for path, _ in report.unread]
        seen.gone = [
            row
            for row in store.unseen()
            if not is_in_icloud(row.image.path) and not any(row.image.path.is_relative_to(path) for path in unread)
        ]
        return seen

    def vectors(self, ids: list[int], kept: list[bytes | None]) -> tuple[list[int], Vectors]:
        """As `Source.vectors`."""
        rows = np.frombuffer(b"".join(one or b"" for one in kept), "<f2").reshape(len(kept), -1).astype(np.float32)
        return ids, rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def text_encoder(self) -> Encoder:
        """As `Source.text_encoder`."""
        return self.encoder if self._has_read else self.texts()

    def _to_read(
        self, store: RunStore, report: LabelReport, seen: Seen, stamps: dict[Path, str], tell: Callable[[], None]
    ) -> Iterator[Path]:
        """The images that are new or changed."""

        def failed(path: Path, reason: str) -> None:
            report.unread.append((str(path), reason))

        walked = (
            (path, stamp_of(path, status))
            for path, status in walk_images(self.folder, rules=self.rules, on_error=failed, left_out=report.left_out)
        )
        for path, stamp in self._and_moved(store, walked):
            known = store.known(path)
            is_same = known is not None and known[1] == stamp
            seen.new += known is None
            seen.changed += known is not None and not is_same
            seen.unchanged += is_same
            if known and is_same and (known[2] or not _can_be_read(path, self.read)):
                store.mark_seen([known[0]])
                if seen.unchanged % STEP == 0:
                    tell()
                continue
            stamps[path] = stamp
            yield path

    def _and_moved(self, store: RunStore, walked: Iterator[tuple[Path, str]]) -> Iterator[tuple[Path, str]]:
        """What the walk finds, and what the run itself has moved to elsewhere."""
        yield from walked
        for row in store.moved():
            path = row.image.path
            if not path.is_relative_to(self.folder) and (stamp := stamp_of(path)):
                yield path, stamp


@dataclass
class CollectionSource:
    """The images of a collection, by the vectors that it has: nothing is decoded.

    Args:
        collection: open.
        texts: makes what encodes labels.
    """

    collection: Collection
    texts: Callable[[], Encoder]

    @property
    def folder(self) -> Path | None:
        """None."""
        return None

    @property
    def fingerprint(self) -> str:
        """Of the model."""
        return self.collection.fingerprint

    @property
    def model(self) -> str:
        """Its reference."""
        return self.collection.model

    def look(self, store: RunStore, report: LabelReport, tell: Progress) -> Seen:
        """As `Source.look`."""
        seen, total = Seen(), self.collection.count("image")
        if not total:
            raise InputError(f"no image in collection {self.collection.name}; index a folder, or upload some")
        for images in batches(self.collection.images(), 8 * STEP):
            with store.writing():
                new, changed = store.put_entries(map(_found_entry, images))
            seen.new, seen.changed = seen.new + new, seen.changed + changed
            seen.unchanged += len(images) - new - changed
            tell(seen.total, total)
        seen.gone = store.unseen()
        return seen

    def vectors(self, ids: list[int], kept: list[bytes | None]) -> tuple[list[int], Vectors]:
        """As `Source.vectors`."""
        while True:
            try:
                return ids, self.collection.vectors(ids)
            except EntryNotFound:  # some were deleted since the run looked
                there = self.collection.records_of(ids)
                if len(there) == len(ids):
                    raise
                ids = [key for key in ids if key in there]

    def text_encoder(self) -> Encoder:
        """As `Source.text_encoder`."""
        return self.texts()


def _found(path: Path, stamp: str, vector: Vectors | ImageError, picture: Picture | None) -> Found:
    if isinstance(vector, ImageError) or picture is None:
        return Found(path, stamp, error=vector.reason if isinstance(vector, ImageError) else "cannot be read")
    return Found(path, stamp, vector, picture.width, picture.height, cut_off=picture.cut_off or "")


def _can_be_read(path: Path, read: Callable[[Path], bytes] | None) -> bool:
    """Whether an image that could not be read can be now; found out without a model."""
    try:
        open_image(path if read is None else read(path))
    except ImageError:
        return False
    return True


def _found_entry(image: ImageRow) -> FoundEntry:
    """An entry as a run keeps it. Its stamp has its id first, then what tells another picture under that."""
    key, path, size, mtime_ns, sha256, width, height = image
    return FoundEntry(key, path or f"entry {key}".encode(), f"{key} {size} {mtime_ns} {sha256}", width, height)
