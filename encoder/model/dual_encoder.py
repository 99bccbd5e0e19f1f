"""DualEncoder: the Encoder that runs a model itself, with all that belongs to the model travelling along."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from base.errors import ModelError
from encoder.cut import CutTexts, find_cut
from encoder.encoder import Encoder, Vectors
from encoder.image import Pixels, Preprocess
from encoder.model.text import TextTower, Tokenizer, as_read
from encoder.unread import ReadTokens, UnreadWords, find_unread

TEXT_CACHE = 4096  # texts; at 512 dimensions 8 MB


class EncodedText(NamedTuple):
    """What is kept of a text."""

    vector: Vectors  # (dim,)
    tokens: int  # that the tower was fed for it


class Normalise:
    """Pixels (n, h, w, 3) uint8 -> (n, 3, h, w) on a device, shifted and scaled as the model was trained.

    Whole rows of h * w * 3 at a time: with three channels innermost, a broadcast over channels is ten times slower.
    """

    def __init__(self, preprocess: Preprocess, device: torch.device, dtype: torch.dtype) -> None:
        height, width = preprocess.height_width
        mean, std = torch.tensor(preprocess.mean), torch.tensor(preprocess.std)
        self._shape = (-1, height, width, 3)
        self._scale = (1 / (255 * std)).repeat(height * width).to(device)
        self._shift = (-mean / std).repeat(height * width).to(device)
        self._dtype = dtype

    def __call__(self, pixels: Tensor) -> Tensor:
        """Move first, so that bytes travel and not floats."""
        rows = pixels.to(self._scale.device, non_blocking=True).flatten(1)
        scaled = torch.addcmul(self._shift, rows, self._scale)
        return scaled.to(self._dtype).view(self._shape).permute(0, 3, 1, 2)


class DualEncoder(Encoder):
    """A CLIP-style model in eval mode, ready to encode; runs it as it is, where it is.

    Attributes, beside an Encoder's:
        text: its text tower with the tokenizer.
        device, precision: where and in what it runs ("fp32" or "bf16").
        bytes: that its weights take there.
        read_tokens: what its text tower was fed in training; None: nobody knows.
    """

    def __init__(
        self,
        clip: nn.Module,
        tokenizer: Tokenizer,
        preprocess: Preprocess,
        *,
        ref: str,
        fingerprint: str,
        logit_scale: float,
        precision: str,
    ) -> None:
        self.ref = ref
        self.fingerprint = fingerprint
        self.preprocess = preprocess
        self.logit_scale = logit_scale
        self.logit_bias = logit_bias_of(clip)
        self.precision = precision
        self.read_tokens: ReadTokens | None = None
        self._clip: Any = clip
        self.device = next(clip.parameters()).device
        self.bytes = sum(weights.nbytes for weights in (*clip.parameters(), *clip.buffers()))
        self.batch_size = 256 if self.device.type == "cuda" else 32
        self.overlap = self.device.type != "cpu"
        self.text = TextTower(clip, tokenizer)
        self._normalise = Normalise(preprocess, self.device, next(clip.parameters()).dtype)
        self._texts: OrderedDict[str, EncodedText] = OrderedDict()
        self._texts_lock = threading.Lock()
        self.dim = self.encode_texts([""]).shape[1]

    def encode_pixels(self, pixels: Pixels) -> Vectors:
        """As `Encoder.encode_pixels`."""
        with torch.inference_mode():
            rows = _unit(self._clip.encode_image(self._normalise(torch.from_numpy(pixels))))
        if not (np.square(rows).sum(-1) > 0.5).all():  # weights of zeros, or numbers beyond the precision
            raise ModelError(
                "the model gives vectors of zeros or NaN: its weights are damaged, or --precision is too low"
            )
        return rows

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """As `Encoder.encode_texts`. Texts seen lately come from a cache."""
        found = self._seen(texts)
        missing = [text for text in dict.fromkeys(texts) if text not in found]
        for text, vector, tokens in zip(missing, *self._encode_texts(missing), strict=True):
            found[text] = EncodedText(vector.copy(), tokens)  # a view would keep the whole batch alive in the cache
        with self._texts_lock:
            self._texts.update((text, found[text]) for text in missing)
            while len(self._texts) > TEXT_CACHE:
                self._texts.popitem(last=False)
        return np.stack([found[text].vector for text in texts]) if texts else np.empty((0, self.dim), np.float32)

    def cut_texts(self, texts: Sequence[str]) -> CutTexts:
        """The texts that are longer than the model reads."""
        return find_cut(self.text.tokenize, texts)

    def unread_words(self, texts: Sequence[str]) -> UnreadWords:
        """As `Encoder.unread_words`."""
        return find_unread(self.text.tokenize, self.read_tokens, texts)

    def as_read(self, texts: Sequence[str]) -> list[str | bytes]:
        """The bytes of each text's tokens."""
        return as_read(self.text.tokenize, texts)

    def vocabulary(self) -> Mapping[str, int]:
        """As `Encoder.vocabulary`."""
        return self.text.vocabulary()

    def seen_texts(self, texts: Sequence[str]) -> list[EncodedText] | None:
        """What is kept of texts that are all in the cache of `encode_texts`, else None. Any thread may ask."""
        found = self._seen(texts)
        return [found[text] for text in texts] if all(text in found for text in texts) else None

    def _seen(self, texts: Iterable[str]) -> dict[str, EncodedText]:
        """Those of the texts that are in the cache."""
        with self._texts_lock:
            found = {text: self._texts[text] for text in texts if text in self._texts}
            for text in found:
                self._texts.move_to_end(text)
        return found

    def _encode_texts(self, texts: Sequence[str]) -> tuple[Vectors, list[int]]:
        """Vectors (n, dim) without the cache, texts of like length together, and how many tokens each was."""
        if not texts:
            return np.empty((0, 0), np.float32), []
        tokens = self.text.tokenize(texts)
        lengths = self.text.lengths(tokens)
        order = lengths.argsort(stable=True)
        with torch.inference_mode():
            parts = [_unit(self.text(tokens[rows])) for rows in torch.split(order, max(64, self.batch_size))]
        vectors = np.empty((len(texts), parts[0].shape[1]), np.float32)
        vectors[order.numpy()] = np.concatenate(parts)
        return vectors, lengths.tolist()


def logit_scale_of(clip: nn.Module) -> float:
    """What a model multiplies cosines by: CLIP's `logit_scale.exp()`."""
    parameter: Any = clip.logit_scale
    return float(parameter.detach().float().exp())


def logit_bias_of(clip: nn.Module) -> float | None:
    """What a model for the sigmoid loss adds to scaled cosines; None for one that was trained without."""
    parameter: Any = getattr(clip, "logit_bias", None)
    return None if parameter is None else float(parameter.detach().float())


def _unit(x: Tensor) -> Vectors:
    """Rows scaled to length one, in float32 whatever the model ran in."""
    rows: Vectors = F.normalize(x.float(), dim=-1).cpu().numpy()
    return rows
