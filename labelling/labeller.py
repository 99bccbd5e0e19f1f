"""Which labels fit an image, if any: zero-shot, by examples, one or several, or none of these.

Vectors in, decisions out; numpy alone, so that a collection is labelled without a model. Reads no image, writes no row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from encoder.zero_shot import Classifier, ScoredBy, build_classifier
from labelling.standardise import Standard

if TYPE_CHECKING:
    from encoder.encoder import Encoder
    from labelling.label_sets import LabelSet

Vectors = npt.NDArray[np.float32]

STANDS_OUT = 1.5  # standard deviations, from which on a label is given in multi; bench/multi_label.py


class Decisions(NamedTuple):
    """What is said of n images."""

    scores: Vectors  # (n, n_labels) in [0, 1]
    chosen: npt.NDArray[np.bool_]  # (n, n_labels); a row without one is abstained
    known: Vectors  # (n,) in [0, 1], how far an image is any of the labels; 1 where that is not asked


class Rejection(Protocol):
    """Tells images that are none of the labels."""

    threshold: float

    def known(self, vectors: Vectors, logits: Vectors) -> Vectors:
        """Of unit vectors (n, dim) and their logits (n, n_labels): (n,) in [0, 1]."""


@dataclass(frozen=True, eq=False)
class Labeller:
    """Says which of its labels fit.

    Attributes:
        classifier: the labels' vectors, and how the model scores.
        correction: from unit vectors (n, dim) and zero-shot logits (n, n_labels) to better logits, by examples.
        rejection: None: the likeliest label is given, however unlikely.
        standard: makes it one of several labels ("multi"); None: one label ("single").
        temperature: what logits, or how far they stand out, are divided by before they become probabilities.
        thresholds: (n_labels,) least scores; None: in single none, in multi 0.5.
    """

    classifier: Classifier
    correction: Callable[[Vectors, Vectors], Vectors] | None = None
    rejection: Rejection | None = None
    standard: Standard | None = None
    temperature: float = 1.0
    thresholds: Vectors | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """Their names."""
        return self.classifier.labels

    def decide(self, vectors: Vectors) -> Decisions:
        """Of unit image vectors (n, dim) float32."""
        logits = self.classifier.logits(vectors)
        if self.correction is not None:
            logits = self.correction(vectors, logits)
        known = np.ones(len(vectors), np.float32)
        if self.rejection is not None:
            known = self.rejection.known(vectors, logits)
        if self.standard is not None:
            above = (self.standard.z(vectors) - STANDS_OUT) / self.temperature
            scores = (1 / (1 + np.exp(-1.702 * above.clip(-50, 50)))).astype(np.float32)
            chosen = scores >= (0.5 if self.thresholds is None else self.thresholds)
        else:
            scores = self.classifier.scores_of(logits / np.float32(self.temperature))
            chosen = np.zeros(scores.shape, bool)
            nearest = logits.argmax(axis=1)  # several scores may round to one
            chosen[np.arange(len(logits)), nearest] = True
            if self.thresholds is not None:
                chosen &= scores >= self.thresholds
        if self.rejection is not None:
            chosen &= (known >= self.rejection.threshold)[:, None]
        return Decisions(scores, chosen, known)


def build_labeller(encoder: Encoder, label_set: LabelSet, scores: ScoredBy | None = None) -> Labeller:
    """A labeller for a label set, by the model of an encoder.

    Raises:
        InputError: two labels that are the same to the model, or `scores` that it does not have.
    """
    return Labeller(build_classifier(encoder, label_set.labels, label_set.templates).by(scores))
