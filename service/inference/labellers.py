"""Label sets as requests use them: single and plain ones by a classifier, others by all that was learned of them.

What takes long, the word bank and a set's prompts, goes through the model a little at a time and in a thread.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from encoder.encoder import Encoder
from encoder.zero_shot.classifier import ScoredBy
from encoder.zero_shot.word_bank import WordBank, word_bank
from labelling.label_sets import LabelSet
from labelling.labeller import Labeller, build_labeller
from service.inference.inference import Inference
from service.inference.once import Once
from service.inference.shared_encoder import SharedEncoder

LABELLERS = 16  # of 1,000 labels and as many examples each takes some 8 MB


@dataclass(frozen=True)
class Asked:
    """What a labeller is for: labels, and how they score."""

    label_set: LabelSet
    scores: ScoredBy | None = None

    @property
    def is_plain(self) -> bool:
        """Whether a classifier says it all."""
        return self.label_set.mode == "single" and self.label_set.learned is None and not self.label_set.abstains


class Labellers:
    """Keeps the labellers of one model. Make it inside the event loop that uses it.

    Args:
        inference: of the model.
        held: keeps that from being unloaded to the end of a block, whoever asks for it.
    """

    def __init__(self, inference: Inference, held: Callable[[], AbstractContextManager[None]] = nullcontext) -> None:
        self._inference = inference
        self._held = held
        self._stop = threading.Event()
        self._kept = Once(self._build, LABELLERS)
        self._words: dict[tuple[str, ...], asyncio.Task[WordBank]] = {}

    @property
    def encoder(self) -> Encoder:
        """Of the model that they are for."""
        return self._inference.encoder

    async def get(self, asked: Asked) -> Labeller:
        """The labeller, kept for the next request that asks for the same.

        Raises:
            InputError: two labels that are the same to the model, scores that it does not have, too many prompts, or a
                set that another model learned.
        """
        if asked.is_plain:
            return Labeller((await self._inference.classifier(asked.label_set)).by(asked.scores))
        kept = self._kept.at_hand(asked)
        if kept is None:
            self._inference.check_prompts(asked.label_set)
            kept = await self._kept.get(asked)
        return kept

    async def close(self) -> None:
        """End what is being made."""
        self._stop.set()
        await asyncio.gather(*self._words.values(), return_exceptions=True)

    async def _build(self, asked: Asked) -> Labeller:
        if asked.label_set.needs_words:
            await asyncio.shield(self._word_bank(asked.label_set.templates))
        stop = threading.Event()
        encoder = self._encoder(stop)
        try:
            return await asyncio.to_thread(build_labeller, encoder, asked.label_set, asked.scores)
        except asyncio.CancelledError:
            stop.set()
            raise

    def _word_bank(self, templates: tuple[str, ...]) -> asyncio.Task[WordBank]:
        """Made once a model, however many leave meanwhile: else a proxy that waits a minute would never see it."""
        making = self._words.get(templates)
        if making is None:
            making = asyncio.create_task(self._make_word_bank(templates))
            self._words[templates] = making
            making.add_done_callback(lambda _: self._words.pop(templates, None))
        return making

    async def _make_word_bank(self, templates: tuple[str, ...]) -> WordBank:
        with self._held():
            return await asyncio.to_thread(word_bank, self._encoder(self._stop), templates)

    def _encoder(self, stop: threading.Event) -> SharedEncoder:
        return SharedEncoder(lambda: nullcontext(self._inference), stop)
