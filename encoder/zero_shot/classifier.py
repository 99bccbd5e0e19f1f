"""Zero-shot classification: a classifier is one unit vector a label, made of prompts (CLIP, section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from base.errors import InputError
from encoder.cut import CutTexts
from encoder.encoder import Encoder, Vectors
from encoder.zero_shot.prompts import Label, as_labels, check_templates, prompts_of

Scores = npt.NDArray[np.float32]
ScoredBy = Literal["softmax", "sigmoid"]
REWORD = "reword one, or leave it out"


@dataclass(frozen=True)
class Classifier:
    """Labels, their unit vectors (n_labels, dim), the model's scale, and its bias if it is one for the sigmoid loss.

    Attributes:
        cut: those of its prompts that are longer than the model reads.
        unread: a line, if its labels have words that the model has never read.
    """

    labels: tuple[str, ...]
    weights: Vectors
    logit_scale: float
    logit_bias: float | None = None
    cut: CutTexts = field(default_factory=CutTexts)
    unread: tuple[str, ...] = ()

    @classmethod
    def of_prompts(
        cls, labels: Sequence[str], sizes: Sequence[int], vectors: Vectors, logit_scale: float, logit_bias: float | None
    ) -> Classifier:
        """Of the prompts' unit vectors (n_prompts, dim), label by label, `sizes` of each: their means, unit again."""
        starts = np.cumsum([0, *sizes[:-1]])
        means = np.add.reduceat(vectors, starts, axis=0) / np.asarray(sizes, np.float32)[:, None]
        weights = means / np.linalg.norm(means, axis=1, keepdims=True)
        return cls(tuple(labels), weights, logit_scale, logit_bias)

    def warnings(self) -> list[str]:
        """What a person should know of its labels, a line each."""
        return [*self.unread, *self.cut.warnings()]

    def by(self, scores: ScoredBy | None) -> Classifier:
        """The same with another kind of `scores`; None stands for the model's own.

        Raises:
            InputError: "sigmoid" of a model without logit_bias.
        """
        check_scores(self.logit_bias, scores)
        return replace(self, logit_bias=None) if scores == "softmax" else self

    def logits(self, vectors: Vectors, out: Vectors | None = None) -> Vectors:
        """logit_scale * cosine (n, n_labels) float32 of unit image vectors (n, dim), without the bias; into `out`."""
        return np.matmul(np.float32(self.logit_scale) * vectors, self.weights.T, out=out)

    def scores(self, vectors: Vectors) -> Scores:
        """Probabilities (n, n_labels) of unit image vectors (n, dim), as the model was trained to give them.

        Without a logit_bias softmax(logit_scale * cosine): the labels compete, and a row sums to one. With one
        sigmoid(logit_scale * cosine + logit_bias): each label on its own, and where none fits none is likely.
        """
        return self.scores_of(self.logits(vectors))

    def scores_of(self, logits: Vectors, out: Scores | None = None) -> Scores:
        """The same of logits (n, n_labels) as `logits` gives them, put into `out` if that is given."""
        if self.logit_bias is not None:
            return sigmoid(logits + np.float32(self.logit_bias), out)
        out = np.subtract(logits, logits.max(axis=1, keepdims=True), out=out)
        np.exp(out, out=out)
        out *= 1 / out.sum(axis=1, keepdims=True)
        return out

    def best(self, vectors: Vectors) -> list[tuple[str, float]]:
        """The likeliest label of each of unit image vectors (n, dim), with its probability."""
        nearest = (vectors @ self.weights.T).argmax(axis=1)  # of probabilities that round to one there are several
        return [(self.labels[i], float(row[i])) for row, i in zip(self.scores(vectors), nearest, strict=True)]


def sigmoid(x: Vectors, out: Scores | None = None) -> Scores:
    """1 / (1 + exp(-x)) of float32, put into `out` if that is given."""
    out = np.negative(x, out=out)
    with np.errstate(over="ignore"):  # 1 / inf is what is meant
        np.exp(out, out=out)
    out += 1
    return np.reciprocal(out, out=out)


def check_scores(logit_bias: float | None, scores: ScoredBy | None) -> None:
    """InputError for "sigmoid" of a model without logit_bias."""
    if scores == "sigmoid" and logit_bias is None:
        raise InputError(
            "this model has no sigmoid scores: they need a logit_bias, as SigLIP's models have and those trained "
            "with --loss siglip; leave scores out, or take softmax"
        )


def build_classifier(
    encoder: Encoder, labels: Sequence[str | Label], templates: Sequence[str] = (), remedy: str = REWORD
) -> Classifier:
    """A classifier for `labels`: each label's vector is the mean of its prompts' unit vectors, scaled to unit again.

    Args:
        encoder: encodes the prompts.
        labels: labels, or texts as `Label.parse` takes them; blank and repeated ones are dropped.
        templates: sentences with `{}`; none stands for `encoder.zero_shot.prompts.DEFAULT_TEMPLATES`.
        remedy: what to do about two labels that are the same to the model.

    Raises:
        InputError: no label, two that are the same to the model, or a template without `{}`.
    """
    checked = as_labels(labels)
    names = [label.name for label in checked]
    each = prompts_of(checked, check_templates(templates))
    cut = check_prompts(encoder, names, each, remedy)
    prompts, sizes = [prompt for of_label in each for prompt in of_label], [len(of_label) for of_label in each]
    made = Classifier.of_prompts(names, sizes, encoder.encode_texts(prompts), encoder.logit_scale, encoder.logit_bias)
    return replace(made, cut=cut, unread=tuple(unread_labels(encoder, checked)))


def unread_labels(encoder: Encoder, labels: Sequence[Label]) -> list[str]:
    """A line, if labels have words that the model has never read."""
    asked = [label.asked for label in labels]
    return encoder.unread_words(asked).counted(asked, "labels")


def check_prompts(
    encoder: Encoder, labels: Sequence[str], each: Sequence[Sequence[str]], remedy: str = REWORD
) -> CutTexts:
    """Which prompts, `each` label's, are longer than the model reads. InputError for two labels that it reads alike."""
    prompts = [prompt for of_label in each for prompt in of_label]
    cut = encoder.cut_texts(prompts)
    check_apart(labels, [len(of_label) for of_label in each], encoder.as_read(prompts), cut, remedy)
    return cut


def check_apart(
    labels: Sequence[str], sizes: Sequence[int], as_read: Sequence[str | bytes], cut: CutTexts, remedy: str = REWORD
) -> None:
    """Refuse labels that a model cannot tell apart, because what it reads of their prompts is the same.

    Args:
        labels: their names.
        sizes: how many prompts each has.
        as_read: what the model reads of the prompts, as `Encoder.as_read` gives it, label by label.
        cut: those of the prompts that are longer than the model reads.
        remedy: what to do about it.

    Raises:
        InputError: two labels have the same prompts, as far as they are read: CLIP reads no capitals.
    """
    seen: dict[tuple[str | bytes, ...], str] = {}
    start = 0
    for label, size in zip(labels, sizes, strict=True):
        read = tuple(as_read[start : start + size])
        start += size
        if (other := seen.setdefault(read, label)) is not label:
            why = f", which reads {cut.tokens} tokens of a prompt" if cut.read else ""
            both = f"{_quoted(other)} and {_quoted(label)}"
            raise InputError(f"the labels {both} are the same to the model{why}; {remedy}")


def _quoted(label: str) -> str:
    return f'"{label}"' if len(label) <= 60 else f'"{label[:40]}...{label[-17:]}"'
