"""An encoder that knows colours and nothing else: what it says of plain pictures can be told beforehand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tiny_world import COLOURS

from encoder.encoder import Encoder, Vectors
from encoder.image import Pixels, Preprocess


class ColourEncoder(Encoder):
    """Vectors (8,): how near a picture's mean colour is to each of COLOURS; a text has those that it names.

    Attributes:
        seen: how many pictures it was given.
    """

    ref = "colours"
    fingerprint = "colours-1"
    dim = len(COLOURS)
    logit_scale = 20.0
    preprocess = Preprocess(size=8)
    batch_size = 4
    overlap = False

    def __init__(self) -> None:
        self.seen = 0

    def encode_pixels(self, pixels: Pixels) -> Vectors:
        self.seen += len(pixels)
        means = pixels.reshape(len(pixels), -1, 3).mean(axis=1)
        distances = np.square(means[:, None] - np.array(list(COLOURS.values()))).mean(axis=2)
        return unit(np.exp(-distances / 1000) + 1e-3)

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        named = np.array([[colour in text.lower() for colour in COLOURS] for text in texts], np.float64)
        named[~named.any(axis=1)] = [0.1 * (1 + i) for i in range(len(COLOURS))]
        return unit(named)


def unit(rows: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Vectors:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
