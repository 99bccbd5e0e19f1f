"""A segment as files: written under new names, whole or not at all, and mapped when opened.

    image-3f2a9c.ids     its ids (numpy)
    image-3f2a9c.rows    its rows in float16 (FAISS), or a link to them (index.local.vectors.rows_home)
    image-3f2a9c.coarse  its coarse index (FAISS), if it has one

What is written is described with sizes and checksums, and the catalog keeps that. A file that is not as
described is never parsed: FAISS trusts the sizes that a damaged header names.
"""

from __future__ import annotations

import threading
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from base.errors import CollectionError, InputError
from base.files import fsync_file
from index.entry import Modality
from index.local.snapshot import FileRecord, SegmentRecord, Snapshot
from index.local.vectors.ann import CoarseIndex, FlatRows
from index.local.vectors.ranked import Ids
from index.local.vectors.rows_home import link_rows, remove_file
from index.local.vectors.segment import Segment
from index.rows import Rows16

SUFFIXES = (".ids", ".rows", ".coarse")
CHECKED_AT_OPEN = 256 * 2**20  # bytes; larger rows are checked by `verify`, beside the first searches
CHUNK = 1 << 20
NPY = b"\x93NUMPY\x01\x00"  # how a file of numpy begins


def write_segment(
    folder: Path,
    modality: Modality,
    dim: int,
    blocks: Iterable[tuple[Ids, Rows16]],
    index: Callable[[Ids, FlatRows], Segment],
) -> SegmentRecord | None:
    """Write a segment under a new name and describe it; None if there are no rows. It is on disk when this returns.

    `blocks` of ascending ids (m,) and rows (m, dim) go to disk one by one; `index` works on the mapped rows.
    """
    stem = f"{modality}-{uuid.uuid4().hex[:12]}"
    paths = {kind: folder / f"{stem}.{kind}" for kind in ("ids", "rows", "coarse")}
    seen: list[Ids] = []

    def rows() -> Iterator[Rows16]:
        for ids, x16 in blocks:
            seen.append(ids)
            yield x16

    try:
        link_rows(paths["rows"])
        n = FlatRows.write(paths["rows"], rows(), dim)
        if n == 0:
            remove_file(paths["rows"])
            return None
        fsync_file(paths["rows"].resolve().parent)
        with paths["ids"].open("wb") as file:
            np.save(file, np.concatenate(seen))
        fsync_file(paths["ids"])
        segment = index(np.concatenate(seen), FlatRows.read(paths["rows"], n, dim))
        if segment.coarse is None:
            del paths["coarse"]
        else:
            segment.coarse.write(paths["coarse"])
        fsync_file(folder)
        files = {kind: _describe(path) for kind, path in paths.items()}
        return SegmentRecord(n, dim, files, segment.tuning)
    except BaseException as error:
        for kind in ("ids", "rows", "coarse"):  # on a full disk they would be in everybody's way
            remove_file(folder / f"{stem}.{kind}")
        if isinstance(error, OSError | RuntimeError):  # the second is FAISS's
            reason = str(error).splitlines()[0]
            raise CollectionError(f"{folder}: the index cannot be written, the old one is used: {reason}") from error
        raise


def open_segment(folder: Path, described: SegmentRecord) -> Segment:
    """Map what `write_segment` wrote. InputError if a file is missing or not as described."""
    for kind, file in described.files.items():
        small = file.bytes <= CHECKED_AT_OPEN
        _check(folder / file.name, file, whole=small or kind != "rows")
    paths = {kind: folder / file.name for kind, file in described.files.items()}
    n, dim = described.count, described.dim
    ids = _map_ids(paths["ids"], n)
    rows = FlatRows.read(paths["rows"], n, dim)
    if "coarse" not in paths:
        return Segment(ids, rows)
    return Segment(ids, rows, CoarseIndex.read(paths["coarse"], n, dim), described.tuning)


def is_verified_at_open(folder: Path, described: SegmentRecord) -> bool:
    """Whether `open_segment` has read all of it, or all that is worth it: a slow disk would be at work for hours."""
    rows = described.files["rows"]
    return rows.bytes <= CHECKED_AT_OPEN or (folder / rows.name).is_symlink()


def verify(folder: Path, described: SegmentRecord, stop: threading.Event | None = None) -> None:
    """Read all of a segment's files and compare them with their checksums. InputError if one differs."""
    for file in described.files.values():
        _check(folder / file.name, file, whole=True, stop=stop)


def remove_other_files(folder: Path, named: Iterable[str]) -> None:
    """Remove what no snapshot names: older ones, and what a kill left half-written. Who maps them keeps them."""
    keep = set(named)
    for path in folder.iterdir():
        if path.suffix in SUFFIXES and path.name not in keep:
            remove_file(path)


def file_names(snapshot: Snapshot | None) -> list[str]:
    """The files that a snapshot names."""
    segments = snapshot.segments.values() if snapshot else ()
    return [file.name for segment in segments for file in segment.files.values()]


def _map_ids(path: Path, n: int) -> Ids:
    """Map the file of `n` ids. InputError if it is none.

    numpy's own loading parses the header as Python, and CPython 3.11 fails now and then where two threads parse at once
    (its issue 106905).
    """
    try:
        with path.open("rb") as file:
            start = file.read(10)
            header = file.read(int.from_bytes(start[8:], "little"))
        offset = len(start) + len(header)
        if start[:8] == NPY and b"'<i8'" in header and path.stat().st_size == offset + 8 * n:
            return np.asarray(np.memmap(path, np.int64, "r", offset, (n,)))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    raise InputError(f"{path}: not {n} ids")


def _describe(path: Path) -> FileRecord:
    return FileRecord(path.name, path.stat().st_size, _crc32(path, CHUNK), _crc32(path))


def _check(path: Path, file: FileRecord, *, whole: bool, stop: threading.Event | None = None) -> None:
    try:
        same = path.stat().st_size == file.bytes
        if same:
            same = _crc32(path, stop=stop) == file.crc32 if whole else _crc32(path, CHUNK) == file.head
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    if stop is not None and stop.is_set():
        return
    if not same:
        raise InputError(f"{path}: damaged (its checksum is not the recorded one)")


def _crc32(path: Path, first: int | None = None, stop: threading.Event | None = None) -> int:
    """Of the whole file, or of its first bytes. A set `stop` ends it early, with a meaningless result."""
    crc = 0
    left = path.stat().st_size if first is None else first
    with path.open("rb") as file:
        while left > 0 and (chunk := file.read(min(CHUNK, left))) and not (stop and stop.is_set()):
            crc = zlib.crc32(chunk, crc)
            left -= len(chunk)
    return crc
