"""What a labeller's answers are worth, held against the truth: calibration, Brier score, precision, confusions.

Numpy alone; it learns nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from labelling.labeller import Labeller, Vectors

Has = npt.NDArray[np.bool_]  # (n, n_labels)

BINS = 15


class Bins(NamedTuple):
    """What scores said and what was true, in bins of equal width: (BINS,) each; 0 where there is none."""

    counts: npt.NDArray[np.intp]
    said: npt.NDArray[np.float64]
    true: npt.NDArray[np.float64]

    @property
    def error(self) -> float:
        """The expected calibration error (Guo et al., ICML 2017)."""
        return float((self.counts * np.abs(self.said - self.true)).sum() / max(1, self.counts.sum()))


@dataclass(frozen=True)
class Outcome:
    """What a labeller says of images, held against the truth.

    Attributes:
        bins: of the likeliest label of each image; of several labels of all of them.
        brier: mean squared distance of the scores from the truth, summed over labels (Brier 1950).
        accuracy: share of images whose likeliest label is one of theirs.
        coverage: share of images that are given a label.
        precision: share of the labels given that are right; None if none is given.
        recall: share of the labels that images have that are given.
    """

    scores: Vectors
    chosen: Has
    has: Has
    bins: Bins
    brier: float
    accuracy: float
    coverage: float
    precision: float | None
    recall: float


def outcome(labeller: Labeller, vectors: Vectors, has: Has) -> Outcome:
    """What a labeller says of unit vectors (n, dim) whose labels are known."""
    scores, chosen, _ = labeller.decide(vectors)
    best = scores.argmax(axis=1)
    right = has[np.arange(len(has)), best]
    asked, true = (scores.max(axis=1), right) if labeller.standard is None else (scores.ravel(), has.ravel())
    return Outcome(
        scores,
        chosen,
        has,
        bins_of(asked, true),
        brier=float(np.square(scores - has).sum(axis=1).mean()),
        accuracy=float(right.mean()),
        coverage=float(chosen.any(axis=1).mean()),
        precision=float((chosen & has).sum() / chosen.sum()) if chosen.any() else None,
        recall=float((chosen & has).sum() / has.sum()),
    )


def bins_of(scores: npt.NDArray[np.float32], right: npt.NDArray[np.bool_]) -> Bins:
    """Scores (n,) in [0, 1], and whether they were right, in bins of equal width."""
    at = np.minimum((scores * BINS).astype(np.intp), BINS - 1)
    counts = np.bincount(at, minlength=BINS)
    said = np.bincount(at, scores.astype(np.float64), BINS) / np.maximum(counts, 1)
    true = np.bincount(at, right.astype(np.float64), BINS) / np.maximum(counts, 1)
    return Bins(counts, said, true)


def confusion(outcome: Outcome) -> npt.NDArray[np.int64]:
    """(n_labels, n_labels + 1): of images that have the label of a row, how many are given that of a column instead.

    On the diagonal those that are given it; in the last column those that are given none.
    """
    has, chosen = outcome.has, outcome.chosen
    counts = has.T.astype(np.int64) @ (chosen & ~has).astype(np.int64)
    counts[np.diag_indices(len(counts))] = (has & chosen).sum(axis=0)
    return np.column_stack([counts, (has & ~chosen.any(axis=1, keepdims=True)).sum(axis=0)])
