"""Scores that mean what they say: a temperature, and a threshold a label for a wanted precision. Numpy alone.

Half of the labelled images are fitted on, the other half says what it was worth. Of images with a score of 0.8 eight in
ten should be right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from base.errors import InputError
from base.progress import Progress
from base.sources.tables import some_of
from encoder.encoder import Encoder
from labelling.label_sets import LabelSet
from labelling.labeller import SIGMOID, STANDS_OUT, Labeller, build_labeller
from labelling.learned import Learned, Measured
from labelling.measure import Has, Outcome, outcome
from labelling.truth import Truth

Rows = npt.NDArray[np.float32]  # (n, n_labels), or (n, dim)
Ids = npt.NDArray[np.intp]

FEWEST = 20  # images to calibrate with
SAME = 0.9995  # cosine of an image and what is kept of it as an example
TEMPERATURES = (1 / 64, 64.0)
SURE = 1.28  # standard errors that a precision must be above what is asked: one in ten would be by chance
NEVER = 2.0  # a threshold that no score reaches
Found = Literal["own", "shared", "out of reach"]


class Halves(NamedTuple):
    """Rows to fit on, and rows to measure on."""

    fit: Ids
    held_out: Ids


@dataclass(frozen=True)
class Thresholds:
    """The least score of each label for a precision.

    Attributes:
        least: (n_labels,); NEVER for those out of reach.
        found: of each label: by its own images, with all labels' ("shared": it has too few), or not at all.
    """

    least: npt.NDArray[np.float32]
    found: tuple[Found, ...]


@dataclass(frozen=True)
class Calibration:
    """A label set that was calibrated, and what that is worth.

    Attributes:
        label_set: with what was learned.
        truth: the held-out images.
        before, after: what was said of them without it and with it.
        scored: the same with what was learned but the thresholds.
        thresholds: None if no precision was asked for.
        warnings: what a person should know, a line each.
    """

    label_set: LabelSet
    truth: Truth
    before: Outcome
    after: Outcome
    scored: Outcome
    thresholds: Thresholds | None
    warnings: tuple[str, ...]


def calibrate_set(
    encoder: Encoder,
    label_set: LabelSet,
    truth: Truth,
    vectors: Rows,
    precision: float | None = None,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> Calibration:
    """Calibrate a label set for a model, by images whose labels are known.

    Args:
        encoder: of the model.
        label_set: what was calibrated before is forgotten; its examples are kept, and not measured on.
        truth: the images.
        vectors: (n, dim) their unit vectors.
        precision: what is wanted of each label, above 0 and below 1; None: no thresholds.
        seed: of the halves.
        progress: told of the word bank that several labels are held against, if they must be encoded first.

    Raises:
        InputError: too few images, one label alone, no such precision, or a set with examples of another model.
    """
    if precision is not None and not 0 < precision < 1:
        raise InputError(f"a precision of {precision:g} cannot be asked for; give one above 0 and below 1, as 0.95")
    if label_set.mode == "single" and len(label_set.labels) == 1:
        raise InputError("one label alone has a score of 1 for any image: make it a set for several labels (--multi)")
    learned = label_set.learned
    if learned is None or not len(learned.examples):
        learned = Learned(encoder.fingerprint)
    plain = replace(label_set, learned=learned.uncalibrated())
    truth, vectors = _without_examples(truth, vectors, learned)
    if len(vectors) < FEWEST:
        raise InputError(f"{len(vectors)} images are too few to calibrate with; give {FEWEST} and more, some a label")
    fit, held_out = halves(truth.has, copies(vectors), seed)
    labeller = build_labeller(encoder, plain, images=vectors[fit], progress=progress)
    before = outcome(labeller, vectors[held_out], truth.has[held_out])
    fitted = _fitted(labeller, vectors[fit], truth.has[fit])
    scored, thresholds = outcome(fitted, vectors[held_out], truth.has[held_out]), None
    if precision is not None:
        scores, chosen, _ = fitted.decide(vectors[fit])
        thresholds = fit_thresholds(scores, chosen, truth.has[fit], precision)
        fitted = replace(fitted, thresholds=thresholds.least)
    after = outcome(fitted, vectors[held_out], truth.has[held_out]) if thresholds else scored
    measured = _measured(len(fit), before, after, precision)
    standard = fitted.standard
    kept = replace(
        learned,
        model=encoder.ref,
        temperature=fitted.temperature,
        stands_out=fitted.stands_out if standard else None,
        thresholds=tuple(thresholds.least.tolist()) if thresholds else (),
        measured=measured,
        standard=np.stack([standard.mean, standard.spread]) if standard else np.empty((0, 0), np.float32),
    )
    done = replace(label_set, learned=kept)
    warnings = tuple(_warnings(done, truth.has[fit], thresholds, precision))
    return Calibration(done, truth.of(held_out), before, after, scored, thresholds, warnings)


def _measured(n_fit: int, before: Outcome, after: Outcome, precision: float | None) -> Measured:
    return Measured(
        n_fit,
        len(after.has),
        ece_before=round(before.bins.error, 5),
        ece_after=round(after.bins.error, 5),
        brier_before=round(before.brier, 5),
        brier_after=round(after.brier, 5),
        precision=precision,
    )


def copies(vectors: Rows) -> Ids:
    """(n,) the same number for images with the same vector."""
    _, group = np.unique(vectors, axis=0, return_inverse=True)
    return group.ravel().astype(np.intp)


def _without_examples(truth: Truth, vectors: Rows, learned: Learned) -> tuple[Truth, Rows]:
    """The images that are no examples of the set: those it knows, and they cannot tell how good it is."""
    if not len(learned.examples):
        return truth, vectors
    known = (vectors @ learned.examples.T).max(axis=1) > SAME
    if known.any():
        first = truth.images[int(known.argmax())]
        truth.left_out.add("images that are examples of the set", str(first), int(known.sum()))
    rows = np.flatnonzero(~known)
    return truth.of(rows), vectors[rows]


def _fitted(labeller: Labeller, vectors: Rows, has: Has) -> Labeller:
    """The same with a temperature, by images that are fitted on. The scores of one label are softmax from then on."""
    evidence = labeller.evidence(vectors)
    if labeller.standard is not None:
        temperature, stands_out = fit_standing_out(evidence, has)
        return replace(labeller, temperature=temperature, stands_out=stands_out)
    return replace(labeller, classifier=labeller.classifier.by("softmax"), temperature=fit_temperature(evidence, has))


def _warnings(label_set: LabelSet, has: Has, thresholds: Thresholds | None, precision: float | None) -> Iterable[str]:
    def those(rows: Iterable[int]) -> str:
        return some_of([label_set.names[row] for row in rows], most=8)

    if len(without := np.flatnonzero(~has.any(axis=0))):
        yield f"no image shows how the scores of these are, which are taken to be as the others': {those(without)}"
    learned = label_set.learned
    if learned is not None and learned.temperature is not None and learned.temperature > 0.99 * TEMPERATURES[1]:
        yield "the scores hardly tell these labels apart: give examples, other words or templates, or another model"
    if thresholds is None:
        return
    of: dict[Found, list[int]] = {"shared": [], "out of reach": [], "own": []}
    for row, how in enumerate(thresholds.found):
        of[how].append(row)
    if shared := of["shared"]:
        yield (
            f"too few images to be sure of each by itself, so the threshold of all ({thresholds.least[shared[0]]:.2f}) "
            f"is taken for {those(shared)}"
        )
    if missed := of["out of reach"]:
        yield (f"a precision of {precision:g} is out of reach for what is never given from now on: {those(missed)}")


def halves(has: Has, groups: npt.NDArray[np.generic], seed: int = 0) -> Halves:
    """Two halves with as much of each label: by the rarest label of each image; what is of one group stays together.

    Args:
        has: (n, n_labels) which labels images have, at least one each.
        groups: (n,) equal for copies of one image.
        seed: of the draw.
    """
    frequency = has.sum(axis=0)
    rarest = np.where(has, frequency, len(has) + 1).argmin(axis=1)
    order = np.random.default_rng(seed).permutation(len(has))
    _, first, group = np.unique(groups, return_index=True, return_inverse=True)
    side = np.zeros(len(first), bool)
    is_even = np.zeros(has.shape[1], bool)
    for row in order:
        if first[group[row]] == row:
            label = rarest[row]
            side[group[row]] = is_even[label]
            is_even[label] = not is_even[label]
    return Halves(np.flatnonzero(~side[group]), np.flatnonzero(side[group]))


def fit_temperature(logits: Rows, has: Has) -> float:
    """What logits are to be divided by, so that a softmax gives the likeliest truth (Guo et al., ICML 2017).

    The likelihood is concave in its inverse, so its slope is 0 but once: found by halving. The truth is taken for a
    little less than sure, by how few the images are, or else a perfect labeller would be given no end of confidence.
    """
    n, n_labels = logits.shape
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=1, keepdims=True)
    sure = (n + 1) / (n + 2)
    truth = sure * has / has.sum(axis=1, keepdims=True) + (1 - sure) / n_labels
    wanted = float((truth * wide).sum())

    def slope(inverse: float) -> float:
        exp = np.exp(inverse * wide)
        return wanted - float(((exp * wide).sum(axis=1) / exp.sum(axis=1)).sum())

    return 1 / _zero(slope, 1 / TEMPERATURES[1], 1 / TEMPERATURES[0])


def fit_standing_out(z: Rows, has: Has) -> tuple[float, float]:
    """(temperature, stands_out) of several labels: from how many standard deviations on a label is likelier than not.

    The sigmoid of Platt (1999), one for all labels, since their z mean the same; by Newton's method.
    """
    x, y = z.astype(np.float64).ravel(), has.ravel()
    n_true, n_false = int(y.sum()), int((~y).sum())
    wanted = np.where(y, (n_true + 1) / (n_true + 2), 1 / (n_false + 2))
    a, b = SIGMOID, -SIGMOID * STANDS_OUT
    loss = _log_loss(a * x + b, wanted)
    for _ in range(100):
        p = 1 / (1 + np.exp(-(a * x + b).clip(-500, 500)))
        weight, off = p * (1 - p) + 1e-12, p - wanted
        hessian = np.array([[(weight * x * x).sum(), (weight * x).sum()], [(weight * x).sum(), weight.sum()]])
        step = np.linalg.solve(hessian + 1e-9 * np.eye(2), np.array([(off * x).sum(), off.sum()]))
        size = 1.0
        while (new := _log_loss((a - size * step[0]) * x + b - size * step[1], wanted)) > loss and size > 1e-6:
            size /= 2
        a, b = a - size * step[0], b - size * step[1]
        if loss - new < 1e-9 * len(x):
            break
        loss = new
    a = max(a, SIGMOID / TEMPERATURES[1])  # where labels do not stand out of the images that have them
    return SIGMOID / a, -b / a


def fit_thresholds(scores: Rows, chosen: Has, has: Has, precision: float) -> Thresholds:
    """The least scores with which labels are right as often as asked: where the lower Wilson bound says so (1927).

    A label with too few images of its own to be that sure gets the threshold of all labels together, unless what it has
    speaks against it; then it is out of reach, and never given.

    Args:
        scores: (n, n_labels) calibrated.
        chosen: which labels would be given without a threshold.
        has: which labels images have.
        precision: between 0 and 1.
    """
    shared = _least(scores[chosen], has[chosen], precision)
    least = np.full(scores.shape[1], NEVER, np.float32)
    found: list[Found] = []
    for label in range(scores.shape[1]):
        given = chosen[:, label]
        mine, right = scores[given, label], has[given, label]
        own = _least(mine, right, precision)
        if own is not None:
            least[label] = own
            found.append("own")
        elif shared is not None and _upper(right[mine >= shared]) >= precision:
            least[label] = shared
            found.append("shared")
        else:
            found.append("out of reach")
    return Thresholds(least, tuple(found))


def _least(scores: npt.NDArray[np.float32], right: npt.NDArray[np.bool_], precision: float) -> float | None:
    """The least score from which on the lower bound of the precision is what is asked; None if it never is."""
    order = np.argsort(-scores, kind="stable")
    sorted_scores, hits = scores[order], np.cumsum(right[order], dtype=np.intp)
    n = np.arange(1, len(order) + 1)
    whole = np.append(sorted_scores[1:] < sorted_scores[:-1], True)[: len(order)]  # equal scores are given together
    good = np.flatnonzero(whole & (_wilson(hits, n, -SURE) >= precision))
    return float(sorted_scores[good[-1]]) if len(good) else None


def _upper(right: npt.NDArray[np.bool_]) -> float:
    """What a precision may well be, by few images; 1 by none."""
    return float(_wilson(np.array([int(right.sum())]), np.array([len(right)]), SURE)[0]) if len(right) else 1.0


def _wilson(hits: Ids, n: Ids, z: float) -> npt.NDArray[np.float64]:
    """The bound of Wilson's interval for hits of n, z standard errors away: below for a negative z."""
    share = hits / n
    middle = share + z * z / (2 * n)
    away = z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return (middle + away) / (1 + z * z / n)


def _zero(falling: Callable[[float], float], low: float, high: float) -> float:
    """Where a falling function is 0, or the end that is nearest to that; halved on a scale of ratios."""
    for _ in range(60):
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)
    return float(np.sqrt(low * high))


def _log_loss(logits: npt.NDArray[np.float64], wanted: npt.NDArray[np.float64]) -> float:
    return float((np.logaddexp(0, logits) - wanted * logits).sum())
