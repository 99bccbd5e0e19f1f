"""The service's model for its own work: on the model's thread, a little at a time, requests in between."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, TypeVar

import numpy as np

from base.errors import ModelMismatch
from base.read_ahead import batches
from encoder.cut import CutTexts
from encoder.encoder import Encoder, Vectors
from encoder.image import Pixels
from encoder.model.dual_encoder import DualEncoder
from encoder.unread import UnreadWords
from service.inference.inference import Inference

R = TypeVar("R")

# What goes through the model in one piece is what a request may have to wait for. A quarter of a batch costs a job a
# seventh of its speed (ViT-B/32, 8 images on one core); smaller pieces cost much more.
PARTS = 4
TEXTS = 32


class Stopped(Exception):
    """The work is to end here: it is cancelled, or the service stops."""


class SharedEncoder(Encoder):
    """The encoder of an `Inference`, the same weights, for threads other than the model's and the event loop's.

    Args:
        lend: gives the inference for a piece of work; it may wait for that.
        stop: once set, whoever encodes gets `Stopped`; None: nobody stops it.
    """

    def __init__(self, lend: Callable[[], AbstractContextManager[Inference]], stop: threading.Event | None) -> None:
        self._lend = lend
        self._stop = stop
        with lend() as inference:
            own = inference.encoder
            self.ref, self.fingerprint, self.dim = own.ref, own.fingerprint, own.dim
            self.logit_scale, self.logit_bias, self.preprocess = own.logit_scale, own.logit_bias, own.preprocess
            self.batch_size, self.overlap = own.batch_size, own.overlap
            self._context_length = own.text.context_length

    def encode_pixels(self, pixels: Pixels) -> Vectors:
        """As `Encoder.encode_pixels`."""
        size = max(1, self.batch_size // PARTS)
        parts = [pixels[i : i + size] for i in range(0, len(pixels), size)]
        return np.concatenate(
            [self._on_model(lambda encoder, part: encoder.encode_pixels(part), part) for part in parts]
        )

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """As `Encoder.encode_texts`."""
        parts = self._in_parts(lambda encoder, part: encoder.encode_texts(part), texts)
        return np.concatenate(parts) if parts else np.empty((0, self.dim), np.float32)

    def cut_texts(self, texts: Sequence[str]) -> CutTexts:
        """As `Encoder.cut_texts`."""
        unique = list(dict.fromkeys(texts))
        read: dict[str, bytes] = {}
        for found in self._in_parts(lambda encoder, part: encoder.cut_texts(part), unique):
            read |= found.read
        return CutTexts(len(unique), self._context_length, read)

    def unread_words(self, texts: Sequence[str]) -> UnreadWords:
        """As `Encoder.unread_words`."""
        return UnreadWords.together(self._in_parts(lambda encoder, part: encoder.unread_words(part), texts))

    def as_read(self, texts: Sequence[str]) -> list[str | bytes]:
        """As `Encoder.as_read`."""
        return [read for part in self._in_parts(lambda encoder, part: encoder.as_read(part), texts) for read in part]

    def vocabulary(self) -> Mapping[str, int]:
        """As `Encoder.vocabulary`."""
        with self._lend() as inference:
            return inference.encoder.vocabulary()

    def _in_parts(self, work: Callable[[DualEncoder, Sequence[str]], R], texts: Sequence[str]) -> list[R]:
        return [self._on_model(work, part) for part in batches(texts, TEXTS)]

    def _on_model(self, work: Callable[[DualEncoder, Any], R], items: Any) -> R:
        with self._lend() as inference, inference.turn:
            if self._stop is not None and self._stop.is_set():
                raise Stopped
            if inference.encoder.fingerprint != self.fingerprint:  # it was loaded anew meanwhile
                raise ModelMismatch(f"the files of the model {self.ref} were changed meanwhile: begin again")
            return inference.on_model(partial(work, inference.encoder), items)
