"""Decoded pictures, kept in memory from one epoch to the next within a bound, so that no file is decoded twice.

What is kept is exactly what decoding gave, before any crop: a run sees the same pixels whether a picture is kept or
not, and so does one that is resumed. Of a file that changes meanwhile the first reading counts.
"""

from __future__ import annotations

from pathlib import Path
from threading import Lock

import numpy as np

from base.machine.memory import memory
from encoder.image import Pixels, open_image

SHARE = 4  # of the memory one part in so many, for all processes of a run together


class DecodedPictures:
    """Pictures of files, decoded no further than a model needs; any thread may ask."""

    def __init__(self, room: int) -> None:
        """Keep none yet, and never more than `room` bytes: the first that are asked for, until it is full."""
        self._room = room
        self._kept: dict[Path, Pixels] = {}
        self._lock = Lock()

    @classmethod
    def of(cls, processes: int) -> DecodedPictures:
        """With the room that each of so many processes has."""
        return cls(memory() // SHARE // processes)

    def read(self, source: Path | bytes, at_least: tuple[int, int]) -> Pixels:
        """The picture (h, w, 3) uint8, upright RGB, not to be written to. Bytes, of a shard, are not kept.

        Args:
            source: a file, or what is in one.
            at_least: (height, width) that suffice, of a file always the same.

        Raises:
            ImageError: it cannot be decoded.
        """
        kept = None if isinstance(source, bytes) else self._kept.get(source)
        if kept is not None:
            return kept
        picture = np.asarray(open_image(source, at_least=at_least))
        with self._lock:
            if isinstance(source, Path) and source not in self._kept and picture.nbytes <= self._room:
                self._room -= picture.nbytes
                self._kept[source] = picture
        return picture
