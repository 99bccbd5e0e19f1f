"""What a person should know of one run: before its first step, as its epochs are measured, and when it has ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from encoder.cut import find_cut
from encoder.image import Pixels
from encoder.unread import ReadTokens, find_unread
from training.config import TrainConfig
from training.data.grounds import warnings_of_grounds
from training.evaluation.warnings import warnings_before, warnings_of
from training.learner import Learner
from training.records.checkpoint import TrainState
from training.run.held_out import HeldOut
from training.source import Source

LOOKED_AT = 100_000  # pairs whose captions are measured


class RunWarnings:
    """The warnings of a run, each a sentence with its kind before a colon.

    Attributes:
        before: what can be told before the first step.
    """

    def __init__(
        self,
        config: TrainConfig,
        source: Source,
        learner: Learner,
        held_out: HeldOut,
        picture: Callable[[Path | bytes], Pixels],  # of an image, as `RowReader.picture` gives it
        *,
        world: int,
    ) -> None:
        self._tokenizer = learner.parts.tokenizer
        self._held_out = source.val[:LOOKED_AT]
        pairs = [] if config.images_only or config.folders else [*source.val, *source.train[:LOOKED_AT]]
        self.before = list(source.told) + warnings_before(
            find_cut(self._tokenizer, [text for pair in pairs for text in pair.captions]),
            held_out.left_out,
            held_out=len(source.val),
            larger=config.larger_held_out,
            parts_norms=learner.has_batch_norm and bool(config.chunk_size or world > 1),
        )
        if config.grounds:
            self.before += warnings_of_grounds((pair.image for pair in source.at_hand), picture)

    def by_now(self, state: TrainState, *, ended: bool = False) -> dict[str, str]:
        """What the measures say, by kind: one that is there already is no news."""
        warnings = warnings_of(state.history, ended=ended) + (self._never_read(state) if ended else [])
        return {text.partition(":")[0]: text for text in warnings}

    def all(self, state: TrainState, *, ended: bool) -> list[str]:
        """All of them."""
        return self.before + list(self.by_now(state, ended=ended).values())

    def _never_read(self, state: TrainState) -> list[str]:
        """Of a model that began from random weights: held-out captions that it can make nothing of."""
        if not state.read:
            return []
        captions = list(dict.fromkeys(text for pair in self._held_out for text in pair.captions))
        unread = find_unread(self._tokenizer, ReadTokens(frozenset(state.read)), captions)
        return [f"Words never read: {line}." for line in unread.counted(captions, "held-out captions")]


def news(before: dict[str, str], after: dict[str, str]) -> Iterator[str]:
    """The warnings of a kind that was not there before."""
    return (text for kind, text in after.items() if kind not in before)
