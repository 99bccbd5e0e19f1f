"""Feeds the trainer: batches of pixels, captions and the ids by which rows know that they belong together.

Every draw depends only on (seed, epoch, position), so a resumed run sees exactly what it would have seen, and the
ranks of a distributed run together see what one process would. Does not read tables or tar files.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from base.errors import ImageError, InputError
from base.read_ahead import read_batches
from encoder.image import Pixels, Preprocess
from training.data.augment import Augmentation
from training.data.decoded import DecodedPictures
from training.data.pairs import Pair, image_key_of, text_key
from training.data.word_dropout import without_words


@dataclass(frozen=True)
class Batch:
    """One rank's part of a training batch, n rows.

    Attributes:
        pixels: (n, height, width, 3) uint8.
        captions: n; "" where there are only images.
        ids: (n, 3) int64: caption, image, label. Rows that are equal in a column belong together; 0 stands for none
            and is equal to nothing. The same on all ranks and in all runs.
        negatives: m >= 0 texts, one drawn for each row that has hard negatives.
        views: as `pixels`, a second view of each image, for NT-Xent; None for other losses.
        unreadable: of each image that could not be read, and so has no row, which and why.
    """

    pixels: Pixels
    captions: list[str]
    ids: npt.NDArray[np.int64]
    negatives: list[str]
    views: Pixels | None
    unreadable: list[str]

    @property
    def skipped(self) -> int:
        """How many images could not be read."""
        return len(self.unreadable)


class Loader(Protocol):
    """What the training loop wants of its data.

    Attributes:
        reader: reads its pairs.
    """

    reader: RowReader

    def __len__(self) -> int:
        """Batches an epoch."""

    def epoch(self, epoch: int, skip: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, without the first `skip`."""


@dataclass(frozen=True)
class Feeding:
    """How a source becomes batches.

    Attributes:
        batch_size: rows of a batch, of all ranks together; rank r reads the r-th of `world` equal parts.
        seed: of all draws.
        augmentation: of each image.
        word_dropout: how often a caption is read `without_words`, 0 to 1.
        two_views: draw a second view of each image.
        overlap: as `base.read_ahead.read_batches`.
        rank, world: this process, and how many there are.
    """

    batch_size: int
    seed: int
    augmentation: Augmentation
    word_dropout: float = 0.0
    two_views: bool = False
    overlap: bool = False
    rank: int = 0
    world: int = 1

    def rows(self) -> int:
        """How many rows of a batch each rank reads: the same for all, since they gather each other's rows.

        Raises:
            InputError: they cannot be the same; names the nearest sizes that can.
        """
        size, world = self.batch_size, self.world
        if size % world:
            below = size - size % world
            near = f"{below} or {below + world}" if below else f"{world}"
            raise InputError(f"--batch-size {size} cannot be shared equally by {world} processes; {near} can")
        return size // world


class PairIds(NamedTuple):
    """The ids of a pair: one of each caption, of the image, and of the label; 0 for none."""

    captions: tuple[int, ...]
    image: int
    label: int


class Row(NamedTuple):
    """A row of a batch, read and drawn."""

    pixels: Pixels  # (height, width, 3)
    view: Pixels | None
    caption: str
    ids: tuple[int, int, int]
    negative: str | None


def text_id(text: str) -> int:
    """A stable id of a text, 1 to 2**63 - 1: equal for equal `text_key`s. A caption's id in `Batch.ids` is this."""
    return _hash(text_key(text))


def pair_ids(pair: Pair) -> PairIds:
    """The ids of a pair's captions, image and label."""
    label = 0 if pair.label is None else _hash(pair.label)
    return PairIds(tuple(map(text_id, pair.captions)), _hash(image_key_of(pair)), label)


@dataclass(frozen=True)
class RowReader:
    """Reads a pair into a row: decodes its image, draws its views, its caption and its hard negative."""

    preprocess: Preprocess
    feeding: Feeding
    pictures: DecodedPictures = field(default_factory=lambda: DecodedPictures(0))

    def picture(self, image: Path | bytes) -> Pixels:
        """What an image is before any view of it is drawn, as `DecodedPictures.read` gives it. ImageError."""
        return self.pictures.read(image, self.preprocess.height_width)

    def read(self, pair: Pair, ids: PairIds, seed: str, others: Sequence[Pair] = ()) -> Row | ImageError:
        """The row, or why its image cannot be read; all draws come from `seed`. Grounds are found among `others`."""
        try:
            picture = self.picture(pair.image)
        except ImageError as error:
            return error if error.path else ImageError(getattr(pair.image, "name", None), error.reason)
        pixels = self._view(picture, seed, others)
        view = self._view(picture, f"{seed} second view", others) if self.feeding.two_views else None
        rng = random.Random(f"{seed} texts")  # of their own, so that more captions do not move the crops
        drawn = rng.randrange(len(pair.captions)) if pair.captions else None
        caption, caption_id = ("", 0) if drawn is None else (pair.captions[drawn], ids.captions[drawn])
        if self.feeding.word_dropout and rng.random() < self.feeding.word_dropout:
            caption = without_words(caption, rng)
        negative = rng.choice(pair.negatives) if pair.negatives else None
        return Row(pixels, view, caption, (caption_id, ids.image, ids.label), negative)

    def _view(self, picture: Pixels, seed: str, others: Sequence[Pair]) -> Pixels:
        def other() -> Pixels | None:
            if not others:
                return None
            drawn = others[random.Random(f"{seed} ground").randrange(len(others))]
            try:
                return self.picture(drawn.image)
            except ImageError:  # which is told where it is a row itself
                return None

        return self.feeding.augmentation(picture, self.preprocess, random.Random(seed), other)

    def collate(self, rows: Sequence[Row | ImageError]) -> Batch:
        """A batch of the rows that could be read, in their order."""
        good = [row for row in rows if isinstance(row, Row)]
        empty = np.empty((0, *self.preprocess.height_width, 3), np.uint8)
        views = [row.view for row in good if row.view is not None]
        return Batch(
            pixels=np.stack([row.pixels for row in good]) if good else empty,
            captions=[row.caption for row in good],
            ids=np.array([row.ids for row in good], np.int64).reshape(-1, 3),
            negatives=[row.negative for row in good if row.negative is not None],
            views=(np.stack(views) if views else empty) if self.feeding.two_views else None,
            unreadable=[str(row) for row in rows if isinstance(row, ImageError)],
        )


class PairLoader:
    """Batches of pairs: shuffled and augmented anew each epoch, the same for the same seed."""

    def __init__(self, pairs: Sequence[Pair], preprocess: Preprocess, feeding: Feeding) -> None:
        """Take the pairs, those of all ranks. InputError if a batch cannot be cut into equal parts."""
        self._pairs = pairs
        self._ids = [pair_ids(pair) for pair in pairs]
        pictures = DecodedPictures.of(feeding.world, cut_out=feeding.augmentation.grounds > 0)
        self.reader = RowReader(preprocess, feeding, pictures)
        self._feeding = feeding
        self._rows = feeding.rows()

    def __len__(self) -> int:
        """Batches an epoch; the rest that does not fill a batch waits for another epoch's shuffle."""
        return len(self._pairs) // self._feeding.batch_size

    def epoch(self, epoch: int, skip: int = 0) -> Iterator[Batch]:
        """The rank's batches of an epoch, without the first `skip`."""
        feeding = self._feeding
        order = list(range(len(self._pairs)))
        random.Random(f"{feeding.seed} {epoch}").shuffle(order)
        starts = (batch * feeding.batch_size + feeding.rank * self._rows for batch in range(skip, len(self)))
        mine = (index for start in starts for index in order[start : start + self._rows])

        def read(index: int) -> Row | ImageError:
            seed = f"{feeding.seed} {epoch} {index}"
            return self.reader.read(self._pairs[index], self._ids[index], seed, self._pairs)

        for rows in read_batches(read, mine, self._rows, overlap=feeding.overlap):
            yield self.reader.collate(rows)


def _hash(key: str) -> int:
    digest = hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest) >> 1 or 1
