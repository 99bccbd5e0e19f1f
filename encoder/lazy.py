"""open_encoder: an Encoder whose model is loaded when there is something to encode, and not before.

Loading takes seconds, and whether there is anything to do is often known only after a look at the files. What is loaded
is torch's model, or its exported towers where they are kept and as fast: they spare the seconds that torch takes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from base.errors import ModelError
from encoder.cut import CutTexts
from encoder.encoder import Encoder, Vectors
from encoder.image import Pixels, resize_by_pillow
from encoder.known import ModelCard, lasting, recall
from encoder.processor import runs_exported_images
from encoder.towers.encoder import kept_towers
from encoder.towers.folder import towers_of
from encoder.unread import UnreadWords


def open_encoder(ref: str | Path, device: str = "auto", precision: str = "auto") -> Encoder:
    """A dual encoder as `encoder.model.load.load_encoder` takes it; loaded at once only where it is not known yet.

    Raises:
        ModelError, ModelUnavailable: as `load_encoder`, for a known model not before it is loaded.
    """
    if card := recall(ref):
        return LazyEncoder(ref, card, device, precision)
    model = _load(ref, device, precision)
    encoder = LazyEncoder(ref, model.card, device, precision)
    encoder._of_images = encoder._of_texts = model
    return encoder


class LazyEncoder(Encoder):
    """The encoder of a model of which a card is known. What the card does not tell is asked of the model.

    A tower is loaded when it is asked for: a run over folders may have nothing for the one of texts.
    """

    def __init__(self, ref: str | Path, card: ModelCard, device: str, precision: str) -> None:
        self.ref = lasting(ref)
        self.card = card
        self._how = ref, device, precision
        kept = towers_of(self.fingerprint) if runs_exported_images(device, precision) else None
        self._by_towers = bool(kept and kept.text and kept.visual)
        if self._by_towers:
            self.resize = resize_by_pillow

    @cached_property
    def _of_images(self) -> Encoder:
        towers = kept_towers(self.fingerprint, texts=False, many=True) if self._by_towers else None
        return towers or self._torch

    @cached_property
    def _of_texts(self) -> Encoder:
        towers = kept_towers(self.fingerprint, images=False) if self._by_towers else None
        return towers or self._torch

    @cached_property
    def _torch(self) -> Encoder:
        model = _load(*self._how)
        if model.fingerprint != self.fingerprint:
            raise ModelError(f"{self.ref}: its files changed while it was in use; run the command again")
        return model

    def release(self) -> None:
        """Let go of the model's memory; what is asked of it next loads it again."""
        for name in ("_of_images", "_of_texts", "_torch"):
            self.__dict__.pop(name, None)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._of_images, name)

    def encode_pixels(self, pixels: Pixels) -> Vectors:
        """As `Encoder.encode_pixels`."""
        return self._of_images.encode_pixels(pixels)

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """As `Encoder.encode_texts`."""
        return self._of_texts.encode_texts(texts)

    def cut_texts(self, texts: Sequence[str]) -> CutTexts:
        """As `Encoder.cut_texts`."""
        return self._of_texts.cut_texts(texts)

    def unread_words(self, texts: Sequence[str]) -> UnreadWords:
        """As `Encoder.unread_words`."""
        return self._of_texts.unread_words(texts)

    def as_read(self, texts: Sequence[str]) -> list[str | bytes]:
        """As `Encoder.as_read`."""
        return self._of_texts.as_read(texts)

    def vocabulary(self) -> Mapping[str, int]:
        """As `Encoder.vocabulary`."""
        return self._of_texts.vocabulary()


def _load(ref: str | Path, device: str, precision: str) -> Encoder:
    from encoder.model.load import load_encoder  # torch and open_clip: more than a second

    return load_encoder(ref, device, precision)
