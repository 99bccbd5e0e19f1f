"""How far an image is any of the labels at all: the labels held against words that have nothing to do with them.

NegLabel's idea (Jiang et al., ICLR 2024) in ranks instead of a softmax, so that a score means the same for any model
and any number of labels. Numpy alone; the words come from encoder.zero_shot.word_bank, and a score is
the labeller's to use.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from encoder.zero_shot.prompts import Label

if TYPE_CHECKING:
    from encoder.zero_shot.word_bank import WordBank

Vectors = npt.NDArray[np.float32]

KEPT = 0.5  # of the words, those least similar to the labels: found with bench/labelling/rejection.py; 0.3 to 0.9 do
EVEN = 0.5  # what half of the images that have nothing to do with the labels stay below
ENOUGH = 200  # images, to see how their scores are spread
PARTS = 20  # of [0, 1], in which they are counted
CELLS = 1 << 22  # cosines at a time: 16 MB


@dataclass(frozen=True, eq=False)
class Rejection:
    """Tells images that are none of the labels.

    Attributes:
        negatives: (m, dim) float32 unit rows: words that the labels are held against.
        logit_scale: what the model multiplies cosines by.
        threshold: the least `known` of an image that gets a label.
    """

    negatives: Vectors
    logit_scale: float
    threshold: float = EVEN

    @classmethod
    def of(cls, bank: WordBank, labels: Iterable[Label], weights: Vectors, logit_scale: float) -> Rejection:
        """For labels with their unit vectors (n_labels, dim).

        Left out of the words are those that share a word with a label, in singular or plural or as a part of it
        (handbag, bag), and of the rest the half that is most similar to any label: kinds of it, wider and narrower
        ones. NegRefine (ICCV 2025) has a language model find those, and proper names; cosines find most of the former.
        """
        named = _parts_of(labels)
        others = np.array([not _is_named(word, named) for word in bank.words], bool)
        rows = bank.vectors[others]
        nearest = np.full(len(rows), -np.inf, np.float32)
        for some in _blocks(weights, len(rows)):
            np.maximum(nearest, (some @ rows.T).max(axis=0), out=nearest)
        order = np.argsort(nearest, kind="stable")[: int(np.ceil(KEPT * len(rows)))]
        return cls(np.ascontiguousarray(rows[np.sort(order)]), logit_scale)

    def known(self, vectors: Vectors, logits: Vectors) -> Vectors:
        """How far each image is any of the labels: (n,) float32 in [0, 1].

        The chance that n_labels words, drawn from the negatives, all fit the image less well than the best label does.
        So of images for which the labels are words like any others a share t stays below t; one that has a label at
        all is near 1, as far as the model can tell. More labels need a better best one.

        Args:
            vectors: (n, dim) unit rows.
            logits: (n, n_labels), scaled; they may have been corrected by examples.
        """
        if not len(self.negatives):
            return np.ones(len(vectors), np.float32)
        best = logits.max(axis=1) / np.float32(self.logit_scale)
        below = np.empty(len(vectors))
        start = 0
        for some in _blocks(vectors, len(self.negatives)):
            end = start + len(some)
            below[start:end] = [np.count_nonzero(row) for row in some @ self.negatives.T < best[start:end, None]]
            start = end
        known: Vectors = ((below / len(self.negatives)) ** logits.shape[1]).astype(np.float32)
        return known

    def fitted(self, known: Vectors) -> Rejection:
        """The same with the threshold that suits images at large, of which `known` (n,) are scores.

        A score is even over [0, 1] for images that the labels have nothing to do with, so how many there are is seen
        below 0.5 (Storey 2002), and the threshold is where an image is as likely as not one of them: the local false
        discovery rate (Efron 2004). Where all have a label it is low, and where few have one it is high. With fewer
        than `ENOUGH` scores it stays as it is.
        """
        if len(known) < ENOUGH:
            return self
        strangers = min(1.0, float(np.mean(known <= EVEN)) / EVEN)
        density = _rising(np.histogram(known, PARTS, (0, 1))[0] * (PARTS / len(known)))
        above = np.flatnonzero(density >= 2 * strangers)
        return replace(self, threshold=float(above[0] if len(above) else PARTS - 1) / PARTS)


def _blocks(rows: Vectors, others: int) -> Iterator[Vectors]:
    """Rows (n, dim) in blocks, so that their product with so many others has no more than `CELLS` cells."""
    size = max(1, CELLS // max(1, others))
    return (rows[start : start + size] for start in range(0, len(rows), size))


def _rising(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The nearest values that never fall: isotonic regression, by pooling neighbours that do."""
    pools: list[list[float]] = []
    for value in values:
        pools.append([float(value)])
        while len(pools) > 1 and np.mean(pools[-2]) > np.mean(pools[-1]):
            pools[-2:] = [pools[-2] + pools[-1]]
    return np.array([np.mean(pool) for pool in pools for _ in pool])


def _parts_of(labels: Iterable[Label]) -> frozenset[str]:
    """The words of the labels' names and synonyms, in lower case and singular."""
    texts = [text for label in labels for text in (*label.levels, *label.synonyms)]
    words = re.findall(r"[^\W\d_]+", " ".join(texts).casefold())
    return frozenset(_singular(word) for word in words if len(word) >= 3)


def _is_named(word: str, named: frozenset[str]) -> bool:
    word = _singular(word.casefold())
    return word in named or any(word in part or (len(part) > 3 and part in word) for part in named)


def _singular(word: str) -> str:
    """As English has it, mostly: what is cut too much is cut alike on both sides."""
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    return word[:-1] if word.endswith("s") and len(word) > 3 else word
