"""Which labels fit an image, if any: zero-shot, by examples, one or several, or none of these.

Vectors in, decisions out; numpy alone, so that a collection is labelled without a model. Reads no image, writes no row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from base.errors import InputError
from base.progress import Progress
from encoder.zero_shot.classifier import Classifier, ScoredBy, build_classifier, sigmoid
from labelling.standardise import Standard

if TYPE_CHECKING:
    from encoder.encoder import Encoder
    from encoder.zero_shot.word_bank import WordBank
    from labelling.label_sets import LabelSet
    from labelling.learned import Learned

Vectors = npt.NDArray[np.float32]

SIGMOID = 1.702  # times a z is nearest to the normal distribution's share below it
CELLS = 1 << 19  # scores at a time: 2 MB, which stay in the processor's cache
STANDS_OUT = 1.5  # standard deviations, from which on a label is given in multi; bench/labelling/multi_label.py


class Decisions(NamedTuple):
    """What is said of n images."""

    scores: Vectors  # (n, n_labels) in [0, 1]
    chosen: npt.NDArray[np.bool_]  # (n, n_labels); a row without one is abstained
    known: Vectors  # (n,) in [0, 1], how far an image is any of the labels; 1 where that is not asked


class Rejection(Protocol):
    """Tells images that are none of the labels."""

    @property
    def threshold(self) -> float:
        """The least `known` of an image that gets a label."""

    def known(self, vectors: Vectors, logits: Vectors) -> Vectors:
        """Of unit vectors (n, dim) and their logits (n, n_labels): (n,) in [0, 1]."""


@dataclass(frozen=True, eq=False)
class Labeller:
    """Says which of its labels fit.

    Attributes:
        classifier: the labels' vectors, and how the model scores.
        correction: from unit vectors (n, dim) and logits (n, n_labels) to better logits, by examples.
        rejection: None: the likeliest label is given, however unlikely.
        named: (n_labels,) whether a label is known by its name, so that the rejection may keep it off; None: all are.
            Examples know what their label looks like, and words say nothing of that.
        standard: makes it one of several labels ("multi"); None: one label ("single").
        temperature: what logits, or how far they stand out, are divided by before they become probabilities.
        stands_out: in multi the standard deviations from which on a label is likelier than not.
        alone: its one label's score is how far an image is that label, for a softmax over one is 1 whatever the image.
        thresholds: (n_labels,) least scores; None: in single none, in multi 0.5.
    """

    classifier: Classifier
    correction: Callable[[Vectors, Vectors], Vectors] | None = None
    rejection: Rejection | None = None
    named: npt.NDArray[np.bool_] | None = None
    standard: Standard | None = None
    temperature: float = 1.0
    stands_out: float = STANDS_OUT
    thresholds: Vectors | None = None
    alone: bool = False

    @property
    def labels(self) -> tuple[str, ...]:
        """Their names."""
        return self.classifier.labels

    def evidence(self, vectors: Vectors) -> Vectors:
        """What speaks for each label of unit image vectors (n, dim): (n, n_labels) logits; in multi z."""
        if self.standard is None:
            return self._corrected(vectors, self.classifier.logits(vectors))
        z = self.standard.z(vectors)
        return self._corrected(vectors, SIGMOID * (z - STANDS_OUT)) / SIGMOID + STANDS_OUT

    @property
    def competes(self) -> bool:
        """Whether its labels share one probability, by a softmax; else each has its own, by a sigmoid."""
        return self.standard is None and self.classifier.logit_bias is None

    def logits(self, vectors: Vectors) -> Vectors:
        """What scores of unit image vectors (n, dim) are made of: (n, n_labels).

        A score is the softmax of logits divided by `temperature`, or their sigmoid where labels do not compete. Of one
        label that is `alone` the score is made of something else.
        """
        evidence = self.evidence(vectors)
        if self.standard is not None:
            return np.float32(SIGMOID) * (evidence - np.float32(self.stands_out))
        return evidence if self.classifier.logit_bias is None else evidence + np.float32(self.classifier.logit_bias)

    def _corrected(self, vectors: Vectors, logits: Vectors) -> Vectors:
        return logits if self.correction is None else self.correction(vectors, logits)

    def decide(self, vectors: Vectors) -> Decisions:
        """Of unit image vectors (n, dim) float32."""
        shape = len(vectors), len(self.labels)
        made = Decisions(np.empty(shape, np.float32), np.zeros(shape, bool), np.ones(len(vectors), np.float32))
        for rows in self._parts(len(vectors)):
            self._decide(vectors[rows], Decisions(made.scores[rows], made.chosen[rows], made.known[rows]))
        return made

    def decide_in_parts(self, vectors: Vectors) -> Iterator[tuple[slice, Decisions]]:
        """The same some rows at a time, so that there are never more than `CELLS` scores; a row at least."""
        for rows in self._parts(len(vectors)):
            yield rows, self.decide(vectors[rows])

    def _parts(self, n: int) -> Iterator[slice]:
        step = max(1, CELLS // len(self.labels))
        return (slice(start, start + step) for start in range(0, n, step))

    def _decide(self, vectors: Vectors, into: Decisions) -> None:
        """Fill in scores, what is chosen (all False until now) and what is known of some images."""
        scores, chosen, known = into
        if self.rejection is not None or self.standard is None:
            self.classifier.logits(vectors, out=scores)  # until they are scores
        if self.rejection is not None:
            known[:] = self.rejection.known(vectors, scores)
        if self.standard is not None:
            above = self.evidence(vectors)
            above -= np.float32(self.stands_out)
            above *= np.float32(SIGMOID / self.temperature)
            sigmoid(above, out=scores)
            np.greater_equal(scores, np.float32(0.5) if self.thresholds is None else self.thresholds, out=chosen)
        else:
            evidence = self._corrected(vectors, scores)
            chosen[np.arange(len(chosen)), evidence.argmax(axis=1)] = True  # several scores may round to one
            if self.temperature != 1:
                evidence /= np.float32(self.temperature)
            self.classifier.scores_of(evidence, out=scores)
            if self.thresholds is not None:
                chosen &= scores >= self.thresholds
        if self.rejection is not None:
            if self.alone:
                scores[:, 0] = known
            strange = (known < self.rejection.threshold)[:, None]
            chosen &= ~(strange if self.named is None else strange & self.named)

    def margins(self, decisions: Decisions) -> Vectors:
        """How clear decisions are: (n,) in [0, 1], 0 where another would be as good.

        In single the likeliest label's score less the next one's, in multi how far the score nearest to its threshold
        is from that; and never more than how far an image is from a threshold at which it gets no label.
        """
        scores = decisions.scores
        if self.standard is not None:
            margins = np.abs(scores - (0.5 if self.thresholds is None else self.thresholds)).min(axis=1)
        else:
            best, next_best = scores.max(axis=1), np.zeros(len(scores), np.float32)
            if scores.shape[1] > 1:
                next_best = np.partition(scores, -2, axis=1)[:, -2]
            margins = best - next_best
            if self.thresholds is not None:
                margins = np.minimum(margins, np.abs(best - self.thresholds[scores.argmax(axis=1)]))
        if self.rejection is not None:
            margins = np.minimum(margins, np.abs(decisions.known - np.float32(self.rejection.threshold)))
        return margins.astype(np.float32)  # type: ignore[no-any-return]


def build_labeller(
    encoder: Encoder,
    label_set: LabelSet,
    scores: ScoredBy | None = None,
    *,
    images: Vectors | None = None,
    progress: Progress | None = None,
) -> Labeller:
    """A labeller for a label set, by the model of an encoder, with all that was learned of it.

    Args:
        encoder: of the model.
        label_set: with what was learned of it by this model.
        scores: of one label; None: softmax if something was learned of it, or else as the model was trained. With
            one label alone None is how far an image is that label, where it would be a softmax.
        images: (n, dim) unit vectors of a sample of those to label, that several labels are standardised by, and that
            tell how near an image must be to be any of the labels. A calibrated set has its own standard.
        progress: told of the word bank that labels are held against, if it must be encoded first.

    Raises:
        InputError: a label in another encoding than UTF-8, two labels that are the same to the model, `scores` that it
            does not have or that nothing was learned for, or a set that another model learned.
    """
    label_set.check_model(encoder.fingerprint, encoder.ref)
    for label in label_set.labels:  # outputs write them, and not each can write such bytes
        if any("\ud800" <= character <= "\udfff" for character in label.name):
            raise InputError(f"the label {label.name!r} is not in UTF-8: write it anew, or name its folder anew")
    learned = label_set.learned
    classifier = build_classifier(encoder, label_set.labels, label_set.templates)
    if learned is not None:
        if scores == "sigmoid":
            raise InputError("a label set with examples or a calibration has softmax scores: leave scores out")
        scores = "softmax"
    labeller = Labeller(classifier.by(scores))
    if label_set.needs_words:
        from encoder.zero_shot.word_bank import word_bank

        bank = word_bank(encoder, label_set.templates, progress)
        if label_set.mode == "multi":
            labeller = replace(labeller, standard=_standard(bank, classifier, label_set, images))
        if label_set.rejects:
            labeller = replace(labeller, rejection=_rejection(bank, classifier, label_set, images))
        by_softmax = scores is None and labeller.classifier.logit_bias is None
        labeller = replace(labeller, alone=by_softmax and label_set.mode == "single" and len(label_set.labels) == 1)
    if learned is None:
        return labeller
    if len(learned.examples):
        labeller = replace(
            labeller, correction=_by_examples(labeller, learned), named=np.logical_not(learned.targets.any(axis=0))
        )
    if learned.temperature is not None:
        labeller = replace(labeller, temperature=learned.temperature)
    if learned.stands_out is not None:
        labeller = replace(labeller, stands_out=learned.stands_out)
    thresholds = np.array(learned.thresholds, np.float32) if learned.thresholds else None
    return replace(labeller, thresholds=thresholds)


def _by_examples(labeller: Labeller, learned: Learned) -> Callable[[Vectors, Vectors], Vectors]:
    from labelling.examples import Examples, fit

    evidence = labeller.evidence(learned.examples)
    is_multi = labeller.standard is not None
    logits = SIGMOID * (evidence - STANDS_OUT) if is_multi else evidence
    return fit(Examples(learned.examples, learned.targets), logits, each_alone=is_multi).logits


def _rejection(bank: WordBank, classifier: Classifier, label_set: LabelSet, images: Vectors | None) -> Rejection:
    from labelling import rejection

    made = rejection.Rejection.of(bank, label_set.labels, classifier.weights, classifier.logit_scale)
    return made if images is None else made.fitted(made.known(images, classifier.logits(images)))


def _standard(bank: WordBank, classifier: Classifier, label_set: LabelSet, images: Vectors | None) -> Standard:
    """What the labels are standardised by: as it was calibrated, or of the images given."""
    sample = np.empty((0, classifier.weights.shape[1]), np.float32) if images is None else images
    standard = Standard.of(classifier.weights, bank.vectors, sample)
    if label_set.learned is None or not label_set.learned.standard.size:
        return standard
    mean, spread = label_set.learned.standard
    return replace(standard, mean=mean, spread=spread)
