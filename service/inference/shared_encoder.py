"""The service's model as a job uses it: on the model's own thread, a little at a time, requests in between."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from base.read_ahead import batches
from encoder.image import Pixels
from encoder.model import DualEncoder, Vectors
from service.inference.towers import Towers

# What goes through the model in one piece is what a request may have to wait for. A quarter of a batch costs a job a
# seventh of its speed (ViT-B/32, 8 images on one core); smaller pieces cost much more.
PARTS = 4
TEXTS = 32


class Stopped(Exception):
    """The job is to end here: it is cancelled, or the service stops."""


class JobEncoder(DualEncoder):
    """The encoder of `towers`, the same weights, for threads other than the model's.

    Args:
        towers: of the service.
        stop: once set, whoever encodes gets `Stopped`.
        turn: shared by all jobs, so that a request waits for a piece of one of them.
    """

    def __init__(self, towers: Towers, stop: threading.Event, turn: threading.Lock) -> None:
        vars(self).update(vars(towers.encoder))  # all that a DualEncoder is made of; nothing is loaded twice
        self._towers = towers
        self._stop = stop
        self._turn = turn

    def encode_pixels(self, pixels: Pixels) -> Vectors:
        """As `DualEncoder.encode_pixels`."""
        size = max(1, self.batch_size // PARTS)
        parts = [pixels[i : i + size] for i in range(0, len(pixels), size)]
        return np.concatenate([self._on_model(self._towers.encoder.encode_pixels, part) for part in parts])

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """As `DualEncoder.encode_texts`."""
        parts = [self._on_model(self._towers.encoder.encode_texts, part) for part in batches(texts, TEXTS)]
        return np.concatenate(parts) if parts else np.empty((0, self.dim), np.float32)

    def _on_model(self, work: Callable[[Any], Vectors], items: Any) -> Vectors:
        with self._turn:
            if self._stop.is_set():
                raise Stopped
            return self._towers.on_model(work, items)
