"""Whether two files show the same picture, by their pixels: a second opinion beside the cosine of a model.

A small model puts a hat and shorts at the same place. Two pictures are twins if one is the other encoded anew, resized
or cropped by a few hundredths: laid on each other (Lucas & Kanade 1981, with scale), they are the same everywhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from base.errors import ImageError
from encoder.picture.decode import read_bytes
from encoder.picture.sandbox import decode_bounded

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]
Place = NDArray[np.float64]  # (4,): scale and shift across, scale and shift down

SIDE = 64  # pixels of a sketch
CROPPED = 0.06  # what two twins may differ in scale, and in shape
FLAT = 4.0  # of 255: with less contrast there is nothing to compare
LIKE = 0.97  # correlation of two twins' grey values, laid on each other
ROUGHLY_LIKE = 0.85  # the same of 8 x 8 pixels, before that
TINTED = 20.0  # of 255: what the mean colours of twins may differ
LIGHT_APART = 8.0  # of 255: what any part of a twin may differ, on average
COLOUR_APART = 20.0  # the same of red, green and blue: JPEG keeps a quarter of the colours
DETAIL, BLOCK = 512, 8  # pixels a side of what is compared at last, and of its blocks
CONTRAST = 14.0  # of 255, in the standard deviation: blocks with less are noise and gradients
BLOCK_LIKE = 0.6  # correlation of each block of two twins
_PART = 10  # parts a side
_COARSE, _FINE = 6, 4  # steps of laying one on the other


@dataclass(frozen=True, slots=True)
class Sketch:
    """A picture made small, whatever its shape."""

    pixels: Pixels  # (SIDE, SIDE, 3)
    shape: float  # width / height
    side: int  # the shorter one of the picture, in pixels
    is_all: bool  # of the file: no other page or frame, nothing that is cut off

    @property
    def grey(self) -> Floats:
        """(SIDE, SIDE)."""
        mean: Floats = self.pixels.mean(axis=2, dtype=np.float32)
        return mean


def sketch(path: str | Path) -> Sketch | None:
    """The sketch of an image file; None if it cannot be read."""
    try:
        decoded = decode_bounded(read_bytes(path), at_least=(2 * SIDE, 2 * SIDE))
    except ImageError:
        return None
    is_all = not decoded.is_film and decoded.missing is None
    side = min(decoded.width, decoded.height)
    return Sketch(_small(decoded.image, SIDE), decoded.width / decoded.height, side, is_all)


def _small(image: Image.Image, side: int) -> Pixels:
    return np.asarray(image.resize((side, side), Image.Resampling.LANCZOS, reducing_gap=3.0))


class Twins:
    """Compares files, and keeps the sketches of those that it saw last; `unread` are those that it could not read."""

    def __init__(self) -> None:
        self.unread: set[str] = set()
        self._sketch = lru_cache(maxsize=4096)(sketch)  # 12 KB each
        self._detail = lru_cache(maxsize=64)(_detail)  # 768 KB each

    def __call__(self, a: str, b: str) -> bool:
        """Whether two files show the same picture."""
        one, other = self._sketch(a), self._sketch(b)
        self.unread.update(path for path, found in ((a, one), (b, other)) if found is None)
        if one is None or other is None or (place := place_of(one, other)) is None:
            return False
        n = max(SIDE, min(DETAIL, one.side, other.side) // BLOCK * BLOCK)  # no more than the smaller one has
        one_detail, other_detail = self._detail_of(a, n), self._detail_of(b, n)
        if one_detail is None or other_detail is None:
            return False
        return differ_nowhere(one_detail, other_detail, place)

    def _detail_of(self, path: str, n: int) -> Pixels | None:
        """(n, n, 3); None: the file is gone since it was sketched."""
        try:
            return self._detail(path, n)
        except ImageError:
            self.unread.add(path)
            return None


def place_of(a: Sketch, b: Sketch) -> Place | None:
    """Where `a` lies on `b`, if as far as sketches tell both show the same picture.

    Of pictures without contrast, or that are not all of their file, nothing can be said: None.
    """
    if not (a.is_all and b.is_all) or abs(math.log(a.shape / b.shape)) > CROPPED or not _may_be_twins(a, b):
        return None
    place = _register(_half(a.grey), _half(b.grey), np.array([1.0, 0.0, 1.0, 0.0]), _COARSE)
    place = _register(a.grey, b.grey, place, _FINE)
    laid = _lay(a.pixels.astype(np.float32).transpose(2, 0, 1), place).transpose(1, 2, 0)
    correlation, light, colour = likeness(laid, b.pixels.astype(np.float32))
    return place if correlation >= LIKE and light <= LIGHT_APART and colour <= COLOUR_APART else None


def differ_nowhere(a: Pixels, b: Pixels, place: Place) -> bool:
    """Whether two pictures are the same in every block: a word of a page, a bird in the sky.

    Args:
        a: (n, n, 3).
        b: (n, n, 3).
        place: of `a` on `b`, roughly.
    """
    x, y = (pixels.mean(axis=2, dtype=np.float32) for pixels in (a, b))
    place = _register(_half(x), _half(y), place, _FINE)
    place = _register(x, y, place, _FINE)
    return worst_block(_lay(x, place), y) >= BLOCK_LIKE


def worst_block(x: Floats, y: Floats) -> float:
    """The least correlation of the blocks of two grey pictures (n, n) in which either has contrast; 1 if none has."""
    blocks = [_blocks(pixels[BLOCK:-BLOCK, BLOCK:-BLOCK]) for pixels in (x, y)]
    x, y = (block - block.mean(axis=1, keepdims=True) for block in blocks)  # (blocks, BLOCK * BLOCK)
    spread = np.sqrt((x * x).mean(1)), np.sqrt((y * y).mean(1))
    seen = np.maximum(*spread) >= CONTRAST
    like = (x * y).mean(1)[seen] / (spread[0] * spread[1] + 1e-6)[seen]
    return float(like.min(initial=1.0))


def _blocks(grey: Floats) -> Floats:
    n = len(grey) // BLOCK
    return grey.reshape(n, BLOCK, n, BLOCK).swapaxes(1, 2).reshape(n * n, -1)


def _detail(path: str, n: int) -> Pixels:
    return _small(decode_bounded(read_bytes(path), at_least=(n, n)).image, n)


def _may_be_twins(a: Sketch, b: Sketch) -> bool:
    """Whether it is worth laying them on each other, a hundredfold quicker."""
    x, y = (_half(_half(_half(sketch.pixels.astype(np.float32)))) for sketch in (a, b))  # (8, 8, 3)
    if min(a.grey.std(), b.grey.std()) < FLAT or np.abs(x.mean((0, 1)) - y.mean((0, 1))).max() > TINTED:
        return False
    return float(np.corrcoef(x.mean(2).ravel(), y.mean(2).ravel())[0, 1]) >= ROUGHLY_LIKE


def likeness(a: Floats, b: Floats) -> tuple[float, float, float]:
    """How like two pictures (SIDE, SIDE, 3) are that lie on each other.

    Returns:
        The correlation of their grey values, and the largest difference of a part's grey and of its colours, of 255.
    """
    x, y = (_half(pixels)[1:-1, 1:-1] for pixels in (a, b))
    correlation = float(np.corrcoef(x.mean(2).ravel(), y.mean(2).ravel())[0, 1])
    parts = (x - y).reshape(_PART, 3, _PART, 3, 3).mean(axis=(1, 3))
    return correlation, float(np.abs(parts.mean(2)).max()), float(np.abs(parts).max())


def _register(a: Floats, b: Floats, place: Place, steps: int) -> Place:
    """The place of `a` on `b`, both (n, n), by Gauss-Newton from `place` on."""
    n = len(a)
    centred = (np.arange(n, dtype=np.float32) + 0.5) / n - 0.5
    same, limit = np.array([1.0, 0.0, 1.0, 0.0]), np.array([CROPPED, CROPPED / 2, CROPPED, CROPPED / 2])
    for _ in range(steps):
        laid = _lay(a, place)
        down, across = (gradient * n for gradient in np.gradient(laid))
        slopes = np.stack([across * centred, across, down * centred[:, None], down], -1).reshape(-1, 4)
        normal = slopes.T @ slopes
        normal += np.eye(4) * (1e-3 * np.trace(normal) / 4 + 1e-6)
        place = place + np.linalg.solve(normal, slopes.T @ (b - laid).ravel())
        place = np.clip(place, same - limit, same + limit)
    return place


def _lay(pixels: Floats, place: Place) -> Floats:
    """Planes (..., n, n), scaled and shifted to their place."""
    n = pixels.shape[-1]
    rows, columns = _samples(n, *place[2:]), _samples(n, *place[:2])
    return (rows @ pixels @ columns.T).astype(np.float32, copy=False)


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
