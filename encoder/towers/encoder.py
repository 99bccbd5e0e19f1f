"""TowersEncoder: the Encoder that runs a model's exported towers with ONNX Runtime.

It starts in a tenth of a second where torch takes one and more. For many images a graph is worth half a second of
getting it ready, on processors where it is as fast as torch then.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from base.machine.cpus import threads
from encoder.cut import CutTexts, find_cut
from encoder.encoder import Encoder, Vectors
from encoder.image import Pixels, resize_by_pillow
from encoder.towers.folder import TEXTUAL, TOKENIZER, VISUAL, Tower, TowersCard, drop_towers, place_of, towers_of
from encoder.unread import ReadTokens, UnreadWords, find_unread

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

    from encoder.towers.tokenizer import TowerTokenizer

EACH = 8  # images at a time
TEXTS = 256  # at a time: a thousand take a gigabyte in a model of middling size, and no less time each


class TowersEncoder(Encoder):
    """The encoder of a folder of towers; a tower that is asked for must be there.

    With `many` images are encoded as fast as can be, and the first one later than without. Then each processor runs the
    whole graph on images of its own: threads that share them wait for each other at every product.
    """

    overlap = False
    resize = staticmethod(resize_by_pillow)

    def __init__(self, folder: Path, card: TowersCard, *, many: bool = False) -> None:
        self.ref, self.card = str(folder), card.model
        self.batch_size = EACH * threads() if many else EACH
        self._folder, self._towers, self._many = folder, card, many
        mean, std = (np.array(each, np.float32) for each in (self.preprocess.mean, self.preprocess.std))
        self._scale, self._shift = 1 / (255 * std), -mean / std  # (3,) each

    def encode_pixels(self, pixels: Pixels) -> Vectors:
        """As `Encoder.encode_pixels`."""
        tower = self._visual

        def run(some: Pixels) -> Vectors:
            return tower.run(None, {"pixels": self.normalise(some)})[0]  # type: ignore[no-any-return]

        if not self._many or len(pixels) < 2:
            return run(pixels)
        parts = np.array_split(pixels, min(len(pixels), threads()))
        return np.concatenate([*self._workers.map(run, parts)])

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """As `Encoder.encode_texts`."""
        if not texts:  # of a query by images alone, and there may be no tower for texts
            return np.empty((0, self.dim), np.float32)
        tokens = self._tokenizer.cut(self._tokenizer(texts))
        parts = (tokens[start : start + TEXTS] for start in range(0, len(tokens), TEXTS))
        return np.concatenate([self._textual.run(None, {"tokens": part})[0] for part in parts])

    def cut_texts(self, texts: Sequence[str]) -> CutTexts:
        """As `Encoder.cut_texts`."""
        return find_cut(self._tokenizer, texts) if texts else CutTexts()

    def unread_words(self, texts: Sequence[str]) -> UnreadWords:
        """As `Encoder.unread_words`."""
        return find_unread(self._tokenizer, self._read_tokens, texts) if texts else UnreadWords()

    def as_read(self, texts: Sequence[str]) -> list[str | bytes]:
        """As `Encoder.as_read`."""
        return [row.tobytes() for row in self._tokenizer(texts)] if texts else []

    def vocabulary(self) -> Mapping[str, int]:
        """As `Encoder.vocabulary`."""
        return self._tokenizer.vocabulary()

    def glance(self, tower: Tower) -> list[float]:
        """The beginning of one vector, always of the same text or picture: what a damaged tower would not give."""
        if tower == "text":
            vector = self.encode_texts(["a photo of a dog"])[0]
        else:
            height, width = self.preprocess.height_width
            row = np.linspace(0, 255, width * 3, dtype=np.float32).astype(np.uint8).reshape(1, 1, width, 3)
            vector = self.encode_pixels(np.broadcast_to(row, (1, height, width, 3)))[0]
        return [round(float(number), 5) for number in vector[:16]]

    def is_sound(self, tower: Tower) -> bool:
        """Whether a tower can be run, and gives what it gave when it was made."""
        try:
            return bool(np.allclose(self.glance(tower), self._towers.glances[tower], atol=1e-3))
        except Exception:  # of ONNX Runtime, of tokenizers: whatever a damaged file makes of them
            return False

    def normalise(self, pixels: Pixels) -> Vectors:
        """Pixels (n, h, w, 3) uint8 -> (n, 3, h, w) float32, shifted and scaled as the model was trained."""
        n, height, width, _ = pixels.shape
        planes = np.empty((n, 3, height, width), np.float32)
        for channel in range(3):  # a broadcast over channels, which lie innermost, takes five times as long
            np.multiply(pixels[..., channel], self._scale[channel], out=planes[:, channel])
            planes[:, channel] += self._shift[channel]
        return planes

    @cached_property
    def _workers(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(threads(), thread_name_prefix="tower")

    @cached_property
    def _visual(self) -> InferenceSession:
        return _session(self._folder / VISUAL, many=self._many)

    @cached_property
    def _textual(self) -> InferenceSession:
        return _session(self._folder / TEXTUAL)

    @cached_property
    def _read_tokens(self) -> ReadTokens | None:
        return ReadTokens.of_folder(self._folder)

    @cached_property
    def _tokenizer(self) -> TowerTokenizer:
        from tokenizers import Tokenizer

        from encoder.towers.tokenizer import TowerTokenizer

        assert self._towers.text is not None, "asked for a tower that is not there"
        return TowerTokenizer(Tokenizer.from_file(str(self._folder / TOKENIZER)), self._towers.text)


def kept_towers(
    fingerprint: str, *, texts: bool = True, images: bool = True, many: bool = False
) -> TowersEncoder | None:
    """The towers that are kept of a model, if those for what is asked are there and sound; damaged ones are dropped."""
    kept = towers_of(fingerprint)
    if kept is None or (texts and not kept.text) or (images and not kept.visual):
        return None
    encoder = TowersEncoder(place_of(fingerprint), kept, many=many)
    asked: dict[Tower, bool] = {"text": texts, "image": images}
    if all(encoder.is_sound(tower) for tower, is_asked in asked.items() if is_asked):
        return encoder
    drop_towers(fingerprint)
    return None


def _session(file: Path, *, many: bool = False) -> InferenceSession:
    """A session that is ready at once, the graph as it is and weights mapped where they lie; or one that takes longer
    to get ready, for many runs of a thread each.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # it would send events of its use to its makers
    from onnxruntime import GraphOptimizationLevel, InferenceSession, SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads = 1 if many else threads()
    if not many:
        options.graph_optimization_level = GraphOptimizationLevel.ORT_DISABLE_ALL
        options.add_session_config_entry("session.disable_prepacking", "1")
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
