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
from training.data.grounds import thing_on_plain_ground

SHARE = 4  # of the memory one part in so many, for all processes of a run together


class DecodedPictures:
    """Pictures of files, decoded no further than a model needs; any thread may ask."""

    def __init__(self, room: int, *, cut_out: bool = False) -> None:
        """Keep none yet, and never more than `room` bytes: the first that are asked for, until it is full.

        Args:
            room: in bytes.
            cut_out: look for what stands on a plain ground.
        """
        self._room = room
        self._cut_out = cut_out
        self._kept: dict[Path, Pixels] = {}
        self._lock = Lock()

    @classmethod
    def of(cls, processes: int, *, cut_out: bool = False) -> DecodedPictures:
        """With the room that each of so many processes has."""
        return cls(memory() // SHARE // processes, cut_out=cut_out)

    def read(self, source: Path | bytes, at_least: tuple[int, int]) -> Pixels:
        """The picture (h, w, 3) uint8, upright RGB, not to be written to. Bytes, of a shard, are not kept.

        Where things are cut out, one on a plain ground is (h, w, 4): the last channel is 255 in the thing, else 0.

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
        if self._cut_out and (thing := thing_on_plain_ground(picture)) is not None:
            picture = np.dstack([picture, thing * np.uint8(255)])
        with self._lock:
            if isinstance(source, Path) and source not in self._kept and picture.nbytes <= self._room:
                self._room -= picture.nbytes
                self._kept[source] = picture
        return picture
