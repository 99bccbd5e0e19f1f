"""Image-text pairs: read from a CSV, split without leaks, and fed to the trainer as batches of pixels and captions."""

from __future__ import annotations

import csv
import hashlib
import os
import random
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from encoder.batching import read_batches
from encoder.errors import ImageError, InputError, TrainingError
from encoder.image import Pixels, Preprocess, open_image, resize


@dataclass(frozen=True)
class Pair:
    """An image file and a caption of it."""

    image: Path
    caption: str


@dataclass(frozen=True)
class PairFile:
    """The usable pairs of a CSV, and how many of its rows were not."""

    pairs: list[Pair]
    without_caption: int
    without_image: int


@dataclass(frozen=True)
class Batch:
    """A training batch: pixels (n, height, width, 3) uint8 and n captions; `skipped` images could not be read."""

    pixels: Pixels
    captions: list[str]
    skipped: int


def read_pairs(
    path: Path, *, images_root: Path | None = None, image_key: str = "image", caption_key: str = "title"
) -> PairFile:
    """Read a CSV of pairs, one a row; relative image paths start at `images_root`, or at the CSV's folder.

    Raises:
        InputError: no such file, a column is missing, or no row is usable.
    """
    root = images_root if images_root is not None else path.parent
    pairs: list[Pair] = []
    without_caption = without_image = 0
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            columns = rows.fieldnames or []
            for key, flag in ((image_key, "--image-key"), (caption_key, "--caption-key")):
                if key not in columns:
                    there = ", ".join(columns) or "none"
                    raise InputError(f'{path}: no column "{key}"; it has {there}. Choose one with {flag}')
            for row in rows:
                caption = " ".join((row[caption_key] or "").split())
                image = root / (row[image_key] or "")
                if not caption:
                    without_caption += 1
                elif not _is_file(image):
                    without_image += 1
                else:
                    pairs.append(Pair(image, caption))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as a CSV file ({error})") from error
    if not pairs:
        raise InputError(
            f"{path}: no usable pair; {without_image} rows name an image that is not under {root} (--images-root), "
            f"{without_caption} have no caption"
        )
    return PairFile(pairs, without_caption, without_image)


def text_key(caption: str) -> str:
    """What makes two captions the same text: not case, spacing or the way accents are composed."""
    return " ".join(unicodedata.normalize("NFC", caption).casefold().split())


def hash_pairs(pairs: Sequence[Pair]) -> str:
    """A hash of the pairs in their order."""
    digest = hashlib.sha256()
    for pair in pairs:
        digest.update(f"{pair.image}\0{pair.caption}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or no name at all
        return False


def split_pairs(pairs: Sequence[Pair], val_fraction: float, seed: int) -> tuple[list[Pair], list[Pair]]:
    """Split into (train, validation) so that no caption and no image is on both sides.

    Pairs that share a caption or an image, directly or through others, stay together.

    Raises:
        TrainingError: everything hangs together, so that nothing can be held out.
    """
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        parent.setdefault(key, key)
        while parent[key] != key:
            parent[key] = key = parent[parent[key]]
        return key

    for pair in pairs:
        parent[root(f"image {os.path.normpath(pair.image)}")] = root(f"text {text_key(pair.caption)}")
    groups: dict[str, list[Pair]] = {}
    for pair in pairs:
        groups.setdefault(root(f"text {text_key(pair.caption)}"), []).append(pair)

    wanted = max(1, round(len(pairs) * val_fraction))
    order = list(groups.values())
    random.Random(seed).shuffle(order)
    train: list[Pair] = []
    val: list[Pair] = []
    for group in order:
        side = val if len(val) + len(group) <= wanted * 1.1 + 1 and len(val) < wanted else train
        side.extend(group)
    if not train or not val:
        raise TrainingError(
            f"{len(pairs)} pairs in {len(groups)} groups that share captions or images: too few to hold any out; "
            "give more pairs with different captions"
        )
    return train, val


class PairLoader:
    """Batches of training pairs: shuffled and augmented anew each epoch, the same for the same seed.

    Every draw depends only on (seed, epoch, position), so a resumed run sees exactly what it would have seen.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        preprocess: Preprocess,
        *,
        batch_size: int,
        seed: int,
        min_crop: float,
        overlap: bool,
    ) -> None:
        self._pairs = pairs
        self._preprocess = preprocess
        self._batch_size = batch_size
        self._seed = seed
        self._min_crop = min_crop
        self._overlap = overlap

    def __len__(self) -> int:
        """Batches an epoch; the rest that does not fill a batch waits for another epoch's shuffle."""
        return len(self._pairs) // self._batch_size

    def epoch(self, epoch: int, skip: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, without the first `skip`."""
        order = list(range(len(self._pairs)))
        random.Random(f"{self._seed} {epoch}").shuffle(order)
        used = order[skip * self._batch_size : len(self) * self._batch_size]

        def read(index: int) -> tuple[Pixels | ImageError, str]:
            pair = self._pairs[index]
            rng = random.Random(f"{self._seed} {epoch} {index}")
            try:
                return self._augmented(pair.image, rng), pair.caption
            except ImageError as error:
                return error, pair.caption

        for batch in read_batches(read, used, self._batch_size, overlap=self._overlap):
            good = [(pixels, caption) for pixels, caption in batch if not isinstance(pixels, ImageError)]
            empty = np.empty((0, *self._preprocess.height_width, 3), np.uint8)
            pixels = np.stack([px for px, _ in good]) if good else empty
            yield Batch(pixels, [text for _, text in good], len(batch) - len(good))

    def _augmented(self, path: Path, rng: random.Random) -> Pixels:
        """CLIP's only augmentation, a random square crop resized to the input, here of `min_crop` to 1 of the area."""
        image = open_image(path, at_least=self._preprocess.height_width)
        array = np.asarray(image)
        height, width = array.shape[:2]
        scale = rng.uniform(self._min_crop, 1.0) ** 0.5
        ratio = rng.uniform(3 / 4, 4 / 3) ** 0.5 if self._min_crop < 1 else 1.0
        side = min(height, width) if self._preprocess.resize_mode == "shortest" else None
        crop_h = min(height, max(1, round((side or height) * scale / ratio)))
        crop_w = min(width, max(1, round((side or width) * scale * ratio)))
        top, left = rng.randint(0, height - crop_h), rng.randint(0, width - crop_w)
        crop = np.ascontiguousarray(array[top : top + crop_h, left : left + crop_w])
        return resize(crop, *self._preprocess.height_width, self._preprocess.interpolation)
