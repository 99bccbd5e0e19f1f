"""Which tokens a run fed to its text tower, and what the words of them say: what is known of words it never read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from encoder.model.load import fingerprint, load_clip
from encoder.model.text import TextTower
from encoder.towers.folder import drop_towers
from encoder.unread import ReadTokens
from training.evaluation.saying import what_words_say
from training.model.distributed import Ranks
from training.records.checkpoint import save_read_tokens


class Fed:
    """The ids of tokens, noted batch by batch, which takes a hundredth of a millisecond."""

    def __init__(self, ids: Iterable[int]) -> None:
        """Begin with those that it was fed before."""
        self._is_fed = np.zeros(0, bool)
        self._note(np.fromiter(ids, np.int64))

    def note(self, others: Tensor) -> None:
        """What a step was taken with: (k, length) int64 tokens; second views are passed over."""
        if others.dtype == torch.int64:
            self._note(others.numpy().ravel())

    def ids(self, ranks: Ranks) -> list[int]:
        """Of all processes, ascending; all of them call it."""
        return sorted({token for each in ranks.everyone(np.flatnonzero(self._is_fed).tolist()) for token in each})

    def _note(self, ids: np.ndarray[tuple[int], np.dtype[np.int64]]) -> None:
        if len(ids) and (more := int(ids.max()) + 1 - len(self._is_fed)) > 0:
            self._is_fed = np.pad(self._is_fed, (0, more))
        self._is_fed[ids] = True


def note_what_words_say(out: Path, captions: Iterable[str], device: torch.device) -> None:
    """Measure the model of a run folder, and put what its words say beside the tokens that it has read, if any."""
    read = ReadTokens.of_folder(out)
    if read is None or not read.ids:
        return
    parts = load_clip(out)
    tower = TextTower(parts.clip.to(device).eval(), parts.tokenizer)
    save_read_tokens(out, replace(read, says=what_words_say(tower, captions, read.ids)), parts.tokenizer)
    drop_towers(fingerprint(parts))  # kept by who searched with it before, and have not what its words say
