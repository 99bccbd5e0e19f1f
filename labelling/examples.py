"""A few labelled images make zero-shot labels better: closed form, nothing trained and nothing held out. Numpy alone.

    logits(x) = text * zero_shot(x) + image * ridge(x) + bias

`ridge` is ridge regression from image vectors to labels, each label weighing alike: ProKeR (arXiv 2501.11175) with the
linear kernel, and but for a scale what Gaussian discriminants with a shared, shrunken covariance say (GDA, arXiv
2402.04087). What it says of an example when fitted on all others is known in closed form (Allen 1974). By that its
strength and the other terms are chosen, as those that make the examples' own labels likeliest: texts that say nothing
of their labels are turned off, and examples that say little weigh little. Reads no image, knows no prompt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.intp]

STRENGTHS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)  # of the ridge, where an example's square length is 1 in the mean
# What is believed before any example has spoken, and how firmly, as a normal's mean and precision: tried by
# bench/labelling/few_shot.py.
STRENGTH, STRENGTH_PRECISION = 0.3, 8.0  # of its logarithm
TEXT, TEXT_PRECISION = 1.0, 1.0
IMAGE, IMAGE_PRECISION = 10.0, 0.15
BIAS_PRECISION = 0.1
LEAST_TEXT = 1e-3  # of labels without examples, which have nothing else
CELLS = 400_000  # examples times labels that the terms are weighed by
LEAST_ROWS = 256  # examples for it, however many labels
STEPS = 30  # of Newton
BLOCK = 16_384  # images at a time


@dataclass(frozen=True, eq=False)
class Examples:
    """Labelled images.

    Attributes:
        vectors: (n, dim) float32 unit rows.
        targets: (n, n_labels) float32, 1 where an image has the label, else 0. A row of zeros has none of them.
    """

    vectors: Vectors
    targets: Vectors

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or self.targets.ndim != 2 or len(self.vectors) != len(self.targets):
            raise ValueError(f"{self.vectors.shape} vectors and {self.targets.shape} targets: not a row for a row")

    def each_once(self) -> tuple[Examples, Rows]:
        """With equal vectors as one, which has the labels of all; and the row that each of these was first."""
        _, first, of = np.unique(self.vectors, axis=0, return_index=True, return_inverse=True)
        targets = np.zeros((len(first), self.targets.shape[1]), np.float32)
        np.maximum.at(targets, of.reshape(-1), self.targets)
        return Examples(self.vectors[first], targets), first


@dataclass(frozen=True, eq=False)
class Shots:
    """What was learned of examples.

    Attributes:
        text: (n_labels,) float32, what zero-shot logits are multiplied by; near 0 where the names say nothing.
        weights: (dim, n_labels) float32, what image vectors add.
        bias: (n_labels,) float32, what each label adds.
    """

    text: Vectors
    weights: Vectors
    bias: Vectors

    def logits(self, vectors: Vectors, zero_shot: Vectors) -> Vectors:
        """Better logits (n, n_labels) float32, of unit vectors (n, dim) and their zero-shot logits (n, n_labels)."""
        out = (zero_shot * self.text).astype(np.float32, copy=False)
        for start in range(0, len(vectors), BLOCK):
            rows = slice(start, start + BLOCK)
            out[rows] += vectors[rows] @ self.weights + self.bias
        return out


def fit(examples: Examples, zero_shot: Vectors, *, each_alone: bool = False) -> Shots:
    """Learn from examples.

    Labels without any keep their order among each other. With a softmax they are set against the others so that they
    are found as often as by zero-shot alone, as far as the others tell, each when its own examples are taken away.

    Args:
        examples: any number of them.
        zero_shot: (n, n_labels) float32 zero-shot logits of the examples.
        each_alone: whether logits go through a sigmoid, each label on its own, and not through a softmax.
    """
    merged, first = examples.each_once()
    n, n_labels = merged.targets.shape
    text, bias = np.ones(n_labels), np.zeros(n_labels)
    weights = np.zeros((merged.vectors.shape[1], n_labels))
    seen: Mask = np.asarray(merged.targets.any(axis=0))
    if n and seen.any():
        ridge = _Ridge(merged.vectors, merged.targets[:, seen])
        rows = _spread(n, n_labels)
        own = zero_shot[first[rows]].astype(np.float64)
        terms = _Terms(own[:, seen], ridge.targets[rows], ridge.weight[rows] * (n / len(rows)), each_alone)
        strength, mix = _chosen(ridge, rows, terms)
        weights[:, seen] = mix.image * ridge.coefficients(strength)
        text[seen] = mix.text
        bias[seen] = mix.bias
        if not each_alone and not seen.all():
            text[~seen] = max(mix.text, LEAST_TEXT)
            bias[~seen] = _bias_of_unseen(own, seen, ridge.label_left_out(strength).of(rows), mix)
        bias -= ridge.centre @ weights
    return Shots(text.astype(np.float32), weights.astype(np.float32), bias.astype(np.float32))


def _spread(n: int, n_labels: int) -> Rows:
    """Rows spread evenly over n, as many as can be looked at again and again."""
    most = max(LEAST_ROWS, CELLS // n_labels)
    return np.arange(n) if n <= most else np.linspace(0, n - 1, most).astype(np.intp)


def _chosen(ridge: _Ridge, rows: Rows, terms: _Terms) -> tuple[float, _Mix]:
    """The strength that makes the examples' labels likeliest, and the terms with it."""

    def loss(strength: float) -> float:
        firmly = 0.5 * STRENGTH_PRECISION * np.log(strength / STRENGTH) ** 2
        return terms.weigh(ridge.left_out(strength, rows), with_bias=False).loss + float(firmly)

    strength = min(STRENGTHS, key=loss)
    return strength, terms.weigh(ridge.left_out(strength, rows))


def _bias_of_unseen(zero_shot: Array, seen: Mask, unseen: _Unseen, mix: _Mix) -> float:
    """What labels without examples add, so that they win against the others as often as by zero-shot alone.

    Each example is taken as one of such a label: those of its own are left out. Only those count that would not go to
    another label without examples.
    """
    row, label = np.nonzero(unseen.lacks)
    if not len(row):
        return 0.0
    texts, others = zero_shot[row][:, seen], zero_shot[row][:, ~seen].max(axis=1)
    own = texts[np.arange(len(row)), label]
    logits = mix.text * texts + mix.image * unseen.said[row] + mix.bias
    for known in (texts, logits):
        known[np.arange(len(row)), label] = -np.inf
    counts = own >= others
    if not counts.any():
        counts[:] = True
    wins = (own >= texts.max(axis=1))[counts].mean()
    lacks = logits.max(axis=1) - max(mix.text, LEAST_TEXT) * own
    return float(np.quantile(lacks[counts & np.isfinite(lacks)], wins)) if np.isfinite(lacks[counts]).any() else 0.0


class _Unseen(NamedTuple):
    """What examples are said to be when a label of theirs has none."""

    said: Array  # (n, n_labels)
    lacks: Mask  # (n, n_labels) which label that is; of a row without one nothing is said

    def of(self, rows: Rows) -> _Unseen:
        """Some of the rows."""
        return _Unseen(self.said[rows], self.lacks[rows])


class _Ridge:
    """Weighted ridge regression of targets on centred vectors, for any strength.

    Attributes:
        targets: (n, n_labels), as given.
        weight: (n,) of the examples, 1 in the mean: each label's sum to the same, and those of none.
        centre: (dim,) weighted mean of the vectors.
    """

    def __init__(self, vectors: Vectors, targets: Vectors) -> None:
        x, self.targets = vectors.astype(np.float64), targets.astype(np.float64)
        counts, n_own = self.targets.sum(axis=0), self.targets.sum(axis=1)
        none = n_own == 0
        weight = (self.targets / counts).sum(axis=1) / np.maximum(n_own, 1)
        weight[none] = 1 / max(none.sum(), 1)
        self.weight: Array = weight / weight.mean()
        self._lone = (self.targets @ counts <= 1) & ~none
        self.centre: Array = self.weight @ x / len(x)
        x -= self.centre
        self._length = np.sqrt(max(self.weight @ np.square(x).sum(axis=1) / len(x), 1e-12))
        self._root = np.sqrt(self.weight)[:, None]
        self._x = self._root * x / self._length
        self._apart: Array = self.targets - self.weight @ self.targets / len(x)
        is_wide = self._x.shape[0] < self._x.shape[1]
        square: Array = self._x @ self._x.T if is_wide else self._x.T @ self._x
        values, sides = np.linalg.eigh(square)
        real = values > 1e-9 * len(x)
        self._values = values[real]
        self._left = sides[:, real] if is_wide else self._x @ sides[:, real] / np.sqrt(self._values)
        self._along = self._left.T @ (self._root * self._apart)

    def coefficients(self, strength: float) -> Array:
        """(dim, n_labels), for vectors less the centre."""
        found: Array = self._x.T @ (self._left @ (self._along / (self._values + strength)[:, None])) / self._length
        return found

    def left_out(self, strength: float, rows: Rows) -> Array:
        """(n_rows, n_labels): what it says of examples, fitted on all others; 0 of those whose labels have no other.

        Weights, centre and length are those of all, so that no label is rarer for the example that it lacks.
        """
        shrunk = self._values / (self._values + strength)
        leverage = np.square(self._left[rows]) @ shrunk
        said: Array = self._apart[rows] - self._rest(shrunk, rows) / np.maximum(1 - leverage, 1e-9)[:, None]
        return np.where(self._lone[rows, None], 0, said)

    def label_left_out(self, strength: float) -> _Unseen:
        """The same of all, fitted on the examples of other labels; where one has several, on those without one.

        Here the others have a centre and a mean of their own: theirs would tell where the label is that is left out.
        """
        n = len(self.targets)
        shrunk = self._values / (self._values + strength)
        said, lacks = np.zeros_like(self.targets), np.zeros(self.targets.shape, bool)
        for label in range(self.targets.shape[1]):
            block = np.flatnonzero((self.targets[:, label] > 0) & ~lacks.any(axis=1))
            left, root, weight = self._left[block], self._root[block], self.weight[block]
            within = (1 + 1e-9) * np.eye(len(block)) - (left * shrunk) @ left.T - root * root.T / n
            rest = np.linalg.solve(within, root * self._rest(shrunk, block)) / root
            mean = -(weight @ self._apart[block]) / max(n - weight.sum(), 1e-9)
            said[block] = self._apart[block] - rest - mean
            lacks[block, label] = True
        return _Unseen(said, lacks)

    def _rest(self, shrunk: Array, rows: Rows) -> Array:
        """What it does not say of examples that it was fitted on."""
        said: Array = self._left[rows] @ (shrunk[:, None] * self._along) / self._root[rows]
        return self._apart[rows] - said


class _Mix(NamedTuple):
    """How the terms are weighed, and how unlikely that makes the examples' labels."""

    loss: float
    text: float
    image: float
    bias: Array


class _Terms:
    """Weighs the terms of the logits by how likely they make the labels of examples: convex, so by Newton's steps."""

    def __init__(self, zero_shot: Array, targets: Array, weight: Array, each_alone: bool) -> None:
        self._zero_shot = zero_shot  # (n, n_labels)
        self._targets = targets
        self._weight = weight  # (n,)
        self._each_alone = each_alone
        if not each_alone:  # a softmax shares one among the labels, and has no word for none of them
            own = targets.sum(axis=1)
            self._targets = targets / np.maximum(own, 1)[:, None]
            self._weight = weight * (own > 0)

    def weigh(self, image: Array, *, with_bias: bool = True) -> _Mix:
        """Choose the weights by what images say of the examples, (n, n_labels)."""
        believed, precision = np.array([TEXT, IMAGE]), np.array([TEXT_PRECISION, IMAGE_PRECISION])

        def loss_of(terms: Array, bias: Array) -> tuple[float, Array]:
            unlikely, likely = self._unlikely(terms[0] * self._zero_shot + terms[1] * image + bias)
            prior = precision @ np.square(terms - believed) + BIAS_PRECISION * (bias @ bias)
            return float(self._weight @ unlikely + prior / 2), likely

        terms, bias = believed, np.zeros(image.shape[1])
        loss, likely = loss_of(terms, bias)
        for _ in range(STEPS):
            gradient, curvature = self._slope(image, likely)
            step = np.linalg.solve(curvature + np.diag(precision), gradient + precision * (terms - believed))
            bias_step = np.zeros_like(bias)
            if with_bias:  # by its own curvature alone, as if each label's had nothing to do with the others'
                off = self._weight @ (likely - self._targets) + BIAS_PRECISION * bias
                bias_step = off / (self._weight @ (likely * (1 - likely)) + BIAS_PRECISION)
            before = loss
            for share in (1.0, 0.5, 0.25, 0.1, 0.01):
                new, new_bias = (terms - share * step).clip(0), bias - share * bias_step
                new_loss, new_likely = loss_of(new, new_bias)
                if new_loss < loss:
                    terms, bias, loss, likely = new, new_bias, new_loss, new_likely
                    break
            if before - loss < 1e-4 * max(loss, 1):
                break
        return _Mix(loss, float(terms[0]), float(terms[1]), bias)

    def _slope(self, image: Array, likely: Array) -> tuple[Array, Array]:
        """Gradient (2,) and curvature (2, 2) of the terms that all labels share."""
        parts = (self._zero_shot, image)
        off = self._weight[:, None] * (likely - self._targets)
        spread = self._weight[:, None] * likely * (1 - likely if self._each_alone else 1)
        gradient = np.array([(off * part).sum() for part in parts])
        curvature = np.array([[(spread * one * other).sum() for other in parts] for one in parts])
        if not self._each_alone:
            means = np.stack([(likely * part).sum(axis=1) for part in parts])
            curvature -= (means * self._weight) @ means.T
        return gradient, curvature

    def _unlikely(self, logits: Array) -> tuple[Array, Array]:
        """How unlikely logits make the targets (n,), as negative log likelihoods, and how likely each label."""
        if self._each_alone:
            unlikely = (np.logaddexp(0, logits) - logits * self._targets).sum(axis=1)
            return unlikely, np.exp(-np.logaddexp(0, -logits))
        top = logits.max(axis=1, keepdims=True)
        powers = np.exp(logits - top)
        total = powers.sum(axis=1, keepdims=True)
        return (np.log(total) + top)[:, 0] - (logits * self._targets).sum(axis=1), powers / total
