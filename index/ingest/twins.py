"""Whether two files show the same picture, by their pixels: a second opinion beside the cosine of a model.

A small model puts a hat and shorts at the same place. Two pictures are twins if one is the other encoded anew, resized
or cropped by a few hundredths: laid on each other (Lucas & Kanade 1981, with scale), they are the same everywhere.
Knows no collection.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from base.errors import ImageError
from encoder.decode import read_bytes
from encoder.sandbox import decode_bounded

Floats = NDArray[np.float32]

SIDE = 64  # pixels of a sketch
CROPPED = 0.06  # what two twins may differ in scale, and in shape
FLAT = 4.0  # of 255: with less contrast there is nothing to compare
LIKE = 0.97  # correlation of two twins' grey values, laid on each other
APART = 9.0  # of 255: what any part of a twin may differ in colour, on average
_PART = 10  # parts a side
_COARSE, _FINE = 6, 4  # steps of laying one on the other


@dataclass(frozen=True, slots=True)
class Sketch:
    """A picture made small, whatever its shape."""

    pixels: NDArray[np.uint8]  # (SIDE, SIDE, 3)
    shape: float  # width / height

    @property
    def grey(self) -> Floats:
        """(SIDE, SIDE)."""
        mean: Floats = self.pixels.mean(axis=2, dtype=np.float32)
        return mean


def sketch(path: str | Path) -> Sketch | None:
    """The sketch of an image file; None if it cannot be read."""
    try:
        image = decode_bounded(read_bytes(path), at_least=(SIDE, SIDE)).image
    except ImageError:
        return None
    much = min(image.size) >= 4 * SIDE
    small = image.resize((SIDE, SIDE), Image.Resampling.BOX if much else Image.Resampling.LANCZOS)
    return Sketch(np.asarray(small), image.width / image.height)


def are_twins(a: Sketch, b: Sketch) -> bool:
    """Whether both show the same picture. Of pictures without contrast nothing can be said: False."""
    if abs(math.log(a.shape / b.shape)) > CROPPED or min(a.grey.std(), b.grey.std()) < FLAT:
        return False
    correlation, apart = likeness(a, b)
    return correlation >= LIKE and apart <= APART


def likeness(a: Sketch, b: Sketch) -> tuple[float, float]:
    """(correlation of grey values, largest difference of a part's colour) of two pictures laid on each other."""
    place = np.array([1.0, 0.0, 1.0, 0.0])
    place = _register(_half(a.grey), _half(b.grey), place, _COARSE)
    place = _register(a.grey, b.grey, place, _FINE)
    rows, columns = _samples(SIDE, *place[2:]), _samples(SIDE, *place[:2])
    laid = np.einsum("ij,jkc,lk->ilc", rows, a.pixels.astype(np.float32), columns, optimize=True)
    x, y = (_half(pixels)[1:-1, 1:-1] for pixels in (laid, b.pixels.astype(np.float32)))
    correlation = float(np.corrcoef(x.mean(2).ravel(), y.mean(2).ravel())[0, 1])
    parts = (x - y).reshape(_PART, 3, _PART, 3, 3).mean(axis=(1, 3))
    return correlation, float(np.abs(parts).max())


def _register(a: Floats, b: Floats, place: NDArray[np.float64], steps: int) -> NDArray[np.float64]:
    """Scale and shift, across and down, that lay `a` on `b`, both (n, n), by Gauss-Newton from `place` on."""
    n = len(a)
    centred = (np.arange(n, dtype=np.float32) + 0.5) / n - 0.5
    same, limit = np.array([1.0, 0.0, 1.0, 0.0]), np.array([CROPPED, CROPPED / 2, CROPPED, CROPPED / 2])
    for _ in range(steps):
        laid = _samples(n, *place[2:]) @ a @ _samples(n, *place[:2]).T
        down, across = (gradient * n for gradient in np.gradient(laid))
        slopes = np.stack([across * centred, across, down * centred[:, None], down], -1).reshape(-1, 4)
        normal = slopes.T @ slopes
        normal += np.eye(4) * (1e-3 * np.trace(normal) / 4 + 1e-6)
        place = place + np.linalg.solve(normal, slopes.T @ (b - laid).ravel())
        place = np.clip(place, same - limit, same + limit)
    return place


def _samples(n: int, scale: float, shift: float) -> Floats:
    """(n, n): rows that take values linearly between the pixels of a line, scaled about its middle and shifted."""
    at = ((np.arange(n) + 0.5) / n - 0.5) * scale + shift
    at = np.clip((at + 0.5) * n - 0.5, 0, n - 1)
    low = np.minimum(at.astype(int), n - 2)
    weights = np.zeros((n, n), np.float32)
    weights[np.arange(n), low] = 1 - (at - low)
    weights[np.arange(n), low + 1] = at - low
    return weights


def _half(pixels: Floats) -> Floats:
    """Half as many pixels a side."""
    n = len(pixels) // 2
    halved: Floats = pixels.reshape(n, 2, n, 2, -1).mean(axis=(1, 3)).squeeze()
    return halved
