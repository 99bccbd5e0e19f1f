"""Products on other grounds: what stands on a plain ground is cut out, and laid on what is in another picture.

Shops show what they sell on white, people what they have on a bed. A model that has only seen white grounds takes any
other for a part of the thing. Cuts no picture whose ground is not plain: what is in it nobody can say from its colours.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from base.errors import ImageError
from encoder.image import Pixels

NEAR = 24  # of a colour's channels, how far each may lie from the ground's: a shadow, or what JPEG leaves
ON_EDGE = 0.6  # of the picture's edge, what has the ground's colour: a model's legs may leave it
LEAST, MOST = 0.15, 0.97  # of the picture, what is ground
TURN = 18.0  # degrees, the standard deviation of a turn
ANYHOW = 0.2  # of the things, those that are turned to any side, as what lies on a floor is
SIZES = 0.55, 1.1  # of the larger side of what is laid, to the picture's
STRETCH = 1.18  # of the width, while the height shrinks by it
LIGHT = 0.6, 1.25  # of what is laid
COLOUR = 0.6, 1.2  # of what is laid, its distance from grey
CONTRAST = 0.7, 1.2  # of all of it
TINT = 0.15  # of each channel of every second
GRAIN = 14.0  # of a drawn ground, the largest standard deviation of its noise
DRAWN = 0.4  # of the grounds, those that are drawn and no other picture's
LOOKED_AT, FEW = 50, 10  # pictures before a training, of which one in so many is to stand on a plain ground

Mask = npt.NDArray[np.bool_]


def thing_on_plain_ground(picture: Pixels) -> Mask | None:
    """Which pixels (h, w) of a picture (h, w, 3) are what stands on its plain ground; None where that is not plain.

    The ground is what has the colour of the edge and is joined to it, so that a white shirt on white stays whole but
    where it touches the edge.
    """
    edge = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    colour = np.median(edge, axis=0)
    plain = (np.abs(picture.astype(np.int16) - colour.astype(np.int16)) <= NEAR).all(axis=2)
    on_edge = np.concatenate([plain[0], plain[-1], plain[:, 0], plain[:, -1]])
    if on_edge.mean() < ON_EDGE:
        return None
    ground = _joined_to_edge(plain)
    if not LEAST <= ground.mean() <= MOST:
        return None
    thing = ~ground
    beside = ground[:-2, 1:-1] | ground[2:, 1:-1] | ground[1:-1, :-2] | ground[1:-1, 2:]
    thing[1:-1, 1:-1] &= ~beside  # its rim has something of the ground
    return thing if thing.any() else None


def warnings_of_grounds(images: Iterable[Path | bytes], read: Callable[[Path | bytes], Pixels]) -> list[str]:
    """A line, if hardly any of the first images stand on plain grounds; `read` gives those that do as (h, w, 4)."""
    looked_at = plain = 0
    for image in images:
        try:
            plain += read(image).shape[2] == 4
        except ImageError:  # which is told when its turn comes
            continue
        looked_at += 1
        if looked_at == LOOKED_AT:
            break
    if plain * FEW > looked_at:
        return []
    return [f"Grounds: {plain} of {looked_at} pictures stand on a plain one; --grounds leaves the others as they are."]


def _joined_to_edge(plain: Mask) -> Mask:
    """Of the pixels that are True, those that a path of them leads to from the edge (four neighbours)."""
    found = np.zeros_like(plain)
    found[[0, -1]], found[:, [0, -1]] = plain[[0, -1]], plain[:, [0, -1]]
    before = -1
    while (count := int(found.sum())) != before:
        before = count
        for lines, may in ((found, plain), (found.T, plain.T)):
            for i in range(1, len(lines)):
                lines[i] |= lines[i - 1] & may[i]
            for i in range(len(lines) - 2, -1, -1):
                lines[i] |= lines[i + 1] & may[i]
    return found


def laid(thing: Pixels, other: Pixels | None, size: tuple[int, int], rng: random.Random) -> Pixels:
    """A thing (h, w, 4), its mask the last channel, laid on a ground: (height, width, 3) uint8 of `size`.

    It is mirrored, turned, stretched, made larger or smaller and put anywhere; its light is another. The ground is a
    part of another picture (h, w, 3 or 4), of the thing in it if it has a mask, or is drawn.
    """
    placed = np.asarray(_placed(thing, size, rng), np.float32)
    ground = _drawn(size, rng) if other is None or rng.random() < DRAWN else _part(other, size, rng)
    colours, mask = placed[..., :3] * np.float32(rng.uniform(*LIGHT)), placed[..., 3:] * np.float32(1 / 255)
    grey = colours.mean(axis=2, keepdims=True)
    colours = grey + np.float32(rng.uniform(*COLOUR)) * (colours - grey)
    whole = ground + mask * (colours - ground)
    middle = whole.mean()
    whole = middle + np.float32(rng.uniform(*CONTRAST)) * (whole - middle)
    if rng.random() < 0.5:
        whole *= np.array([rng.uniform(1 - TINT, 1 + TINT) for _ in range(3)], np.float32)
    laid_on: Pixels = np.clip(whole, 0, 255).astype(np.uint8)
    return laid_on


def _box(thing: Pixels) -> tuple[int, int, int, int]:
    """Top, bottom, left and right of what the mask of a thing (h, w, 4) has."""
    rows, columns = np.flatnonzero(thing[..., 3].any(axis=1)), np.flatnonzero(thing[..., 3].any(axis=0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _placed(thing: Pixels, size: tuple[int, int], rng: random.Random) -> Image.Image:
    """It alone on nothing, RGBA, by one affine map of its box."""
    height, width = size
    top, bottom, left, right = _box(thing)
    angle = math.radians(rng.uniform(-180, 180) if rng.random() < ANYHOW else rng.gauss(0, TURN))
    scale = rng.uniform(*SIZES) * min(height, width) / max(bottom - top, right - left)
    stretch = rng.uniform(1 / STRETCH, STRETCH)
    mirror = rng.choice((-1, 1))
    a, b = mirror * math.cos(angle) / (scale * stretch), mirror * math.sin(angle) / (scale * stretch)
    c, d = -math.sin(angle) * stretch / scale, math.cos(angle) * stretch / scale
    x, y = width * rng.uniform(0.35, 0.65), height * rng.uniform(0.35, 0.65)
    middle_x, middle_y = (left + right) / 2, (top + bottom) / 2
    matrix = (a, b, middle_x - a * x - b * y, c, d, middle_y - c * x - d * y)
    return Image.fromarray(thing).transform((width, height), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)


def _part(other: Pixels, size: tuple[int, int], rng: random.Random) -> npt.NDArray[np.float32]:
    """A part of another picture, from the middle of the thing in it."""
    if other.shape[2] == 4:
        top, bottom, left, right = _box(other)
        other = other[top:bottom, left:right, :3]
    height, width = other.shape[:2]
    part = rng.uniform(0.3, 0.7)
    h, w = max(1, round(height * part)), max(1, round(width * part))
    top, left = rng.randint(0, height - h), rng.randint(0, width - w)
    crop = Image.fromarray(np.ascontiguousarray(other[top : top + h, left : left + w]))
    return np.asarray(crop.resize((size[1], size[0]), Image.Resampling.BILINEAR), np.float32)


def _drawn(size: tuple[int, int], rng: random.Random) -> npt.NDArray[np.float32]:
    """A few soft patches of colours that are near each other, or nearly white."""
    if rng.random() < 0.35:
        return np.full((*size, 3), rng.uniform(225, 255), np.float32)
    base = [rng.uniform(40, 240) for _ in range(3)]
    patches = [[[0.65 * c + 0.35 * rng.uniform(30, 235) for c in base] for _ in range(4)] for _ in range(4)]
    small = Image.fromarray(np.array(patches, np.uint8))
    drawn = np.asarray(small.resize((size[1], size[0]), Image.Resampling.BICUBIC), np.float32)
    noise = np.random.default_rng(rng.getrandbits(64)).standard_normal((*size, 1), np.float32)
    return drawn + np.float32(rng.uniform(0, GRAIN)) * noise
