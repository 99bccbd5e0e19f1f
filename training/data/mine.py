"""Chooses hard negatives out of ranked neighbours: numpy only. Who searches and who writes is not its matter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from base.errors import InputError


@dataclass(frozen=True)
class Choice:
    """What may be chosen, and how many.

    Two guards against negatives that are right but not labelled so. The rank window can leave out the very nearest,
    where unlabelled duplicates gather. The margin leaves out whoever scores above (1 - relative_margin) times the
    query's own positive (de Souza P. Moreira et al. 2024, "NV-Retriever": positive-aware mining, TopK-PercPos).
    """

    count: int = 3  # for each query, at most
    window: tuple[int, int] = (1, 50)  # first and last rank, from 1, counted among the wrong candidates
    relative_margin: float = 0.05  # 0: only what scores above the own positive is left out

    def __post_init__(self) -> None:
        first, last = self.window
        if self.count < 1:
            raise InputError(f"--negatives {self.count}: ask for at least 1")
        if not 1 <= first <= last:
            raise InputError(f"--rank-window {first}:{last}: give first and last rank, from 1, as in 1:50")
        if not 0 <= self.relative_margin <= 1:
            raise InputError(f"--relative-margin {self.relative_margin} is out of range; give 0 to 1")


def hard_negatives(
    candidates: npt.NDArray[np.int64],
    scores: npt.NDArray[np.float32],
    own_scores: npt.NDArray[np.float32],
    same: npt.NDArray[np.bool_],
    choice: Choice,
) -> list[list[int]]:
    """The nearest wrong candidates of each query, of those that `choice` lets pass.

    Args:
        candidates: (n, k) ids of what would be a negative; where an id occurs again, its first place, which scores
            highest, decides on it. -1 fills up a row.
        scores: (n, k) of the candidates, descending along a row.
        own_scores: (n,) of each query with its own positive. Of one below zero, the margin is the same distance down.
        same: (n, k) whether a candidate is right for its query, and so no negative.
        choice: what may be chosen.

    Returns:
        n lists of ids, hardest first.
    """
    first, last = choice.window
    wrong = (candidates >= 0) & ~same
    ranks = wrong.cumsum(axis=1)
    limits = own_scores - choice.relative_margin * np.abs(own_scores)
    passes = wrong & (ranks >= first) & (ranks <= last) & (scores <= limits[:, None])
    chosen = []
    for row, verdicts in zip(candidates.tolist(), passes.tolist(), strict=True):
        judged: dict[int, bool] = {}
        for candidate, verdict in zip(row, verdicts, strict=True):
            judged.setdefault(candidate, verdict)
        chosen.append([candidate for candidate, verdict in judged.items() if verdict][: choice.count])
    return chosen
