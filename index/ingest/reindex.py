"""Gives a collection another model: encodes every entry anew beside the old vectors, then swaps all of them at once.

The old model is served until the swap. What is encoded is kept batch by batch, so a run that was stopped or killed at
any moment goes on with the next one. It holds the writer's lock all the while; the catalog gathers the vectors.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import numpy as np

from base.errors import EntriesLeft, ImageError, InputError
from base.progress import Progress
from base.read_ahead import read_batches
from encoder.encoder import Encoder, Vectors
from encoder.image import Pixels, decode_picture, sha256_of
from encoder.picture.decode import read_bytes
from index.collection import Collection, Record
from index.entry import NextInfo
from index.ingest.rejection import measure_rejection

PAGE = 1000  # records read at a time
TRIES = 3  # swaps that others may spoil by what they write meanwhile


@dataclass
class ReindexReport:
    """What a run did, in entries."""

    encoded: int = 0
    resumed: int = 0  # done by runs before this one
    changed: int = 0  # files that are not what was indexed; encoded as they are now
    unreadable: list[dict[str, str | int | None]] = field(default_factory=list)  # {"id", "path", "reason"}
    dropped: int = 0
    swapped: bool = False
    seconds: float = 0.0


@dataclass(frozen=True)
class _Read:
    """An entry, read: pixels, a text, or why there is neither."""

    record: Record
    pixels: Pixels | None = None
    text: str | None = None
    changed: bool = False
    error: str = ""


def reindex(
    collection: Collection,
    encoder: Encoder,
    *,
    drop_unreadable: bool = False,
    read: Callable[[Path], bytes] = read_bytes,
    progress: Progress | None = None,
    report: ReindexReport | None = None,
    alone: AbstractContextManager[object] | None = None,
) -> ReindexReport:
    """Encode every entry with `encoder`, images from their files and texts from their text, then swap.

    Where a file is gone or cannot be read nothing is swapped: the report lists such entries, and the next run tries
    them again and does only what is left. A file whose bytes have changed is encoded as it is now; the next
    `index_folders` brings the rest of its entry in step.

    Args:
        collection: open for writing.
        encoder: of the new model. If the collection is of this model already, nothing is done.
        drop_unreadable: swap all the same, and delete those entries by the swap.
        read: gives the bytes of a file; one of which it raises an ImageError counts as unreadable.
        progress: told (done, all) after each batch.
        report: filled as it goes, for who wants to look on; it is what is returned.
        alone: keeps those away who write to the collection in other threads. What they write meanwhile is encoded as
            well, and if that finds no end, the last of it while they are kept away.

    Raises:
        EntriesLeft: others write without end, and there is no `alone`.
        InputError: not one entry can be read, and `drop_unreadable` would delete all; or a change to a third model has
            begun and is not finished.
    """
    report = report or ReindexReport()
    started = time.perf_counter()
    if encoder.fingerprint == collection.fingerprint:
        return report
    info = _begin(collection, encoder)
    report.resumed = info.done
    for tries in count(1):
        with alone if alone is not None and tries > TRIES else nullcontext():
            left = info.left if tries == 1 else len(report.unreadable)
            _encode_left(collection, encoder, read, report, report.resumed + report.encoded + left, progress)
            if report.unreadable and not drop_unreadable:
                break
            drop = [int(item["id"] or 0) for item in report.unreadable]
            if drop and report.resumed + report.encoded == 0:
                raise InputError("not one entry can be read, and nothing was dropped. Is a disk not mounted?")
            try:
                collection.next.swap(drop=drop)
            except EntriesLeft:  # they were written meanwhile
                if tries <= TRIES:
                    continue
                raise
            measure_rejection(collection, encoder)
            report.dropped, report.swapped = len(drop), True
            break
    report.seconds = round(time.perf_counter() - started, 3)
    return report


def _encode_left(
    collection: Collection,
    encoder: Encoder,
    read: Callable[[Path], bytes],
    report: ReindexReport,
    total: int,
    progress: Progress | None,
) -> None:
    """Encode all that has no vector of the new model; of what cannot be read the report has the last reasons."""
    report.unreadable.clear()

    def look(record: Record) -> _Read:
        return _read(record, encoder, read)

    for batch in read_batches(look, _left(collection), encoder.batch_size, overlap=encoder.overlap):
        good = [item for item in batch if not item.error]
        if changed := {item.record.id: {"sha256": None} for item in good if item.changed}:
            collection.update(changed)  # the hash no longer says what its vector is of: no copy may take that vector
        if good:
            collection.next.write([item.record.id for item in good], _encode(good, encoder))
        report.encoded += len(good)
        report.changed += len(changed)
        report.unreadable += [
            {"id": item.record.id, "path": item.record.path, "reason": item.error} for item in batch if item.error
        ]
        if progress:
            done = report.resumed + report.encoded + len(report.unreadable)
            progress(done, max(done, total))


def _begin(collection: Collection, encoder: Encoder) -> NextInfo:
    """Have the collection gather this encoder's vectors, and say how far that is. InputError: another's are begun."""
    begun = collection.next.info()
    if begun and begun.done and begun.fingerprint != encoder.fingerprint:
        raise InputError(
            f"a change to {begun.model} has begun, {begun.done} entries are encoded: finish it with "
            f"that model, or forget it (glimpse reindex --collection {collection.name} --abandon)"
        )
    collection.next.begin(encoder.ref, encoder.fingerprint, encoder.dim)
    info = collection.next.info()
    assert info is not None
    return info


def _left(collection: Collection) -> Iterator[Record]:
    """What has no new vector yet, once each, a page at a time."""
    page = collection.next.left(limit=PAGE)
    while page:
        yield from page
        page = collection.next.left(after_id=page[-1].id, limit=PAGE)


def _read(record: Record, encoder: Encoder, read: Callable[[Path], bytes]) -> _Read:
    """Read one entry, in a thread."""
    if record.modality == "text":
        return _Read(record, text=record.text) if record.text is not None else _Read(record, error="it has no text")
    if record.path is None:
        return _Read(record, error="it has no file")
    try:
        data = read(Path(record.path))
        pixels = decode_picture(data, encoder.preprocess, name=record.path, resize=encoder.resize).pixels
    except ImageError as error:
        return _Read(record, error=error.reason)
    return _Read(record, pixels, changed=record.sha256 is not None and record.sha256 != sha256_of(data))


def _encode(items: Sequence[_Read], encoder: Encoder) -> Vectors:
    """Vectors (n, dim) of readable entries, in their order."""
    x = np.empty((len(items), encoder.dim), np.float32)
    images = [i for i, item in enumerate(items) if item.pixels is not None]
    texts = [i for i, item in enumerate(items) if item.pixels is None]
    if images:
        x[images] = encoder.encode_pixels(np.stack([items[i].pixels for i in images]))  # type: ignore[misc]
    if texts:
        x[texts] = encoder.encode_texts([items[i].text or "" for i in texts])
    return x
