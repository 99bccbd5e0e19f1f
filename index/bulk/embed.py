"""embed_shard: a shard to rows. The one function that does the work, whatever calls it and wherever; it writes nothing.

What cannot be read is named in the report, and the rest goes on.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from base.errors import ImageError
from base.read_ahead import read_batches
from base.sources.left_out import LeftOut
from encoder.encoder import Encoder
from encoder.image import Picture, decode_picture, sha256_of
from encoder.picture.decode import read_bytes
from index.bulk.rows import Found, images_of
from index.bulk.source import Shard
from index.entry import Record


@dataclass
class ShardReport:
    """What became of a shard: filled as its rows come.

    Attributes:
        unread: images that could not be read, {"path", "reason"}.
        away: paths of those whose files the disk did not give; they may be there the next time.
        cut_off: those whose files end before they do, taken with what there is.
        left_out: what in the shard is no image.
    """

    rows: int = 0
    unread: list[dict[str, str]] = field(default_factory=list)
    away: list[str] = field(default_factory=list)
    cut_off: list[dict[str, str]] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=LeftOut)
    seconds: float = 0.0


Rows = tuple[list[Record], NDArray[np.float16]]  # n records, and their unit vectors (n, dim)


def embed_shard(encoder: Encoder, shard: Shard, report: ShardReport) -> Iterator[Rows]:
    """The rows of a shard, in its order, a batch of the encoder's at a time.

    Args:
        encoder: makes the vectors.
        shard: as `index.bulk.source.open_source` cuts them; its files must be there, wherever this runs.
        report: filled as the rows come.

    Raises:
        InputError: the shard cannot be read.
    """
    started = time.perf_counter()

    def look(found: Found) -> tuple[Found, bytes, Picture | ImageError]:
        try:
            data = read_bytes(found.path) if found.data is None else found.data
        except ImageError as error:
            if isinstance(error.__cause__, OSError):
                report.away.append(found.path)
            return found, b"", error
        try:
            return found, data, decode_picture(data, encoder.preprocess, name=found.path, resize=encoder.resize)
        except ImageError as error:
            return found, b"", error

    images = images_of(shard, report.left_out)
    for batch in read_batches(look, images, encoder.batch_size, overlap=encoder.overlap):
        pictures, records = [], []
        for found, data, picture in batch:
            if isinstance(picture, ImageError):
                report.unread.append({"path": found.path, "reason": picture.reason})
                continue
            if picture.cut_off:
                report.cut_off.append({"path": found.path, "reason": picture.cut_off})
            pictures.append(picture.pixels)
            records.append(_record(found, data, picture))
        report.seconds = round(time.perf_counter() - started, 3)
        if records:
            x16 = encoder.encode_pixels(np.stack(pictures)).astype(np.float16)
            report.rows += len(records)
            report.seconds = round(time.perf_counter() - started, 3)
            yield records, x16


def id_of(path: str) -> int:
    """The id of a row: 63 bits of the hash of its path, so the same in every run."""
    return int.from_bytes(hashlib.sha256(os.fsencode(path)).digest()[:8]) >> 1


def _record(found: Found, data: bytes, picture: Picture) -> Record:
    return Record(
        id_of(found.path),
        "image",
        found.path,
        None,
        found.metadata,
        sha256_of(data),
        found.file.mtime_ns if found.file else None,
        len(data),
        picture.width,
        picture.height,
        picture.taken,
    )
