"""Encoder: what turns images and texts into unit vectors in one space, whoever runs the model and wherever.

`DualEncoder` runs one itself. A service lends its own to jobs, tests bring small ones: each has two methods of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from base.errors import ImageError
from base.read_ahead import read_batches
from encoder.cut import CutTexts
from encoder.image import Picture, Pixels, Preprocess, Resize, read_picture, resize_by_torch, to_pixels
from encoder.known import ModelCard
from encoder.picture.decode import upright
from encoder.unread import UnreadWords

Vectors = npt.NDArray[np.float32]
ImageSource = str | Path | bytes | Image.Image
S = TypeVar("S", bound=ImageSource)


class Encoder(ABC):
    """A dual encoder as those see it who have something to encode.

    Attributes:
        ref: the reference that its model was loaded from.
        fingerprint: hash of its weights and preprocessing; two encoders with the same one embed alike.
        dim: length of its vectors.
        logit_scale: what cosines are multiplied by before a softmax (CLIP's `logit_scale.exp()`) or a sigmoid.
        logit_bias: what is added to them before a sigmoid (SigLIP); None for a model that was trained by a softmax.
        preprocess: how it wants its images.
        batch_size: images at a time that keep its device busy without holding much memory.
        overlap: whether to read the next images while it works; see `base.read_ahead.read_batches`.
        resize: what makes images as large as the model wants them.
    """

    ref: str
    fingerprint: str
    dim: int
    logit_scale: float
    logit_bias: float | None = None
    preprocess: Preprocess
    batch_size: int
    overlap: bool
    resize: Resize = staticmethod(resize_by_torch)

    @abstractmethod
    def encode_pixels(self, pixels: Pixels) -> Vectors:
        """Encode (n, height, width, 3) uint8, sized for this model, to (n, dim) float32 unit rows in one go."""

    @abstractmethod
    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Encode texts to (n, dim) float32 unit rows, in the order given."""

    @property
    def card(self) -> ModelCard:
        """What may be noted of its model."""
        return ModelCard(self.fingerprint, self.dim, self.logit_scale, self.logit_bias, self.preprocess)

    @card.setter
    def card(self, card: ModelCard) -> None:
        self.fingerprint, self.dim, self.preprocess = card.fingerprint, card.dim, card.preprocess
        self.logit_scale, self.logit_bias = card.logit_scale, card.logit_bias

    def cut_texts(self, texts: Sequence[str]) -> CutTexts:
        """The texts that are longer than the model reads, if the encoder knows."""
        return CutTexts(len(set(texts)))

    def unread_words(self, texts: Sequence[str]) -> UnreadWords:
        """The words of texts that the model has never read, if the encoder knows what it has."""
        return UnreadWords()

    def as_read(self, texts: Sequence[str]) -> list[str | bytes]:
        """What the model reads of each text, or the text where the encoder does not know; those alike are one to it."""
        return list(texts)

    def vocabulary(self) -> Mapping[str, int]:
        """Its tokenizer's tokens with their ids; empty where the encoder does not know them."""
        return {}

    def encode_images(self, images: Iterable[ImageSource]) -> Vectors:
        """Encode images: paths, bytes of image files, or Pillow images.

        Returns:
            (n, dim) float32, unit rows, in the order given.

        Raises:
            ImageError: at the first image that cannot be read; `encode_stream` goes on instead.
        """
        rows: list[Vectors] = []
        for batch in self.encode_stream(images):
            for _, vector in batch:
                if isinstance(vector, ImageError):
                    raise vector
                rows.append(vector)
        return np.stack(rows) if rows else np.empty((0, self.dim), np.float32)

    def encode_stream(
        self,
        images: Iterable[S],
        *,
        batch_size: int | None = None,
        read: Callable[[S], bytes] | None = None,
        note: Callable[[S, Picture], None] | None = None,
    ) -> Iterator[list[tuple[S, Vectors | ImageError]]]:
        """Read and encode a stream of images, as `encode_images` takes them, in bounded memory.

        Args:
            images: as they come.
            batch_size: if not the encoder's own.
            read: gives an image's bytes where they are not to be read by its path, or raises ImageError.
            note: is told of each picture when it is read, in a thread.

        Yields:
            One list a batch, in order: (image, its vector (dim,) or the ImageError that reading it raised).
        """

        def look(image: S) -> tuple[S, Pixels | ImageError]:
            try:
                picture = self._read(read(image) if read else image)
                if note:
                    note(image, picture)
                return image, picture.pixels
            except ImageError as error:
                return image, error

        size = batch_size or self.batch_size
        for batch in read_batches(look, images, size, overlap=self.overlap):
            good = [pixels for _, pixels in batch if not isinstance(pixels, ImageError)]
            vectors = iter(self.encode_pixels(np.stack(good)) if good else ())
            yield [(image, px if isinstance(px, ImageError) else next(vectors)) for image, px in batch]

    def _read(self, image: ImageSource) -> Picture:
        if isinstance(image, Image.Image):
            turned = upright(image)
            return Picture(to_pixels(turned, self.preprocess, self.resize), turned.width, turned.height)
        return read_picture(image, self.preprocess, resize=self.resize)
