"""Measures of an embedding space: how alike, how spread out, how confused.

A loss can fall while the space goes bad, so these look at the vectors themselves. Functions of tensors run on the
batch, wherever it is, and carry no gradient; `examine`, `confusions` and `neighbours_kept` look at held-out data in
bounded memory. Nothing here trains, encodes, or reads an image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from base.errors import InputError
from encoder.encoder import Vectors
from training.evaluation.metrics import scored_chunks

if TYPE_CHECKING:
    from training.evaluation.evaluate import Encoded

SAMPLE = 2000  # pairs that `examine` looks at: 16 MB of cosines
BINS = 40  # of cosine in [-1, 1]
CHUNK = 512  # rows whose cosines with all others are held at a time


@torch.no_grad()
def alignment(x: Tensor, y: Tensor) -> Tensor:
    """Mean squared distance of positives, 0 to 4; lower is better (Wang & Isola 2020).

    Args:
        x: (n, dim) unit rows.
        y: (n, dim) unit rows; row i belongs to row i of `x`.

    Returns:
        () float32.
    """
    return (x.float() - y.float()).square().sum(1).mean()


@torch.no_grad()
def uniformity(x: Tensor) -> Tensor:
    """Log of the mean of exp(-2 |xi - xj|^2) over i < j; lower is more spread out (Wang & Isola 2020).

    0 when all rows are the same, about -4 + 8/dim when they are drawn uniformly from the sphere.

    Args:
        x: (n, dim) unit rows.

    Returns:
        () float32; NaN for a single row.
    """
    exponents = 4 * (x.float() @ x.float().T - 1)  # |xi - xj|^2 = 2 - 2 cos
    exponents.fill_diagonal_(-math.inf)
    pairs = len(x) * (len(x) - 1)
    return exponents.flatten().logsumexp(0) - (math.log(pairs) if pairs else math.nan)


@torch.no_grad()
def effective_rank(x: Tensor) -> Tensor:
    """How many directions the rows really use: exp of the entropy of the normalised singular values.

    Source: Roy & Vetterli 2007. From 1, all rows on one line, to min(n, dim), all directions alike.

    Args:
        x: (n, dim).

    Returns:
        () float32; NaN where `x` holds a number that is not finite.
    """
    x = x.float()
    if not x.isfinite().all():  # which the decomposition would refuse with an error
        return x.new_tensor(math.nan)
    values = torch.linalg.svdvals(x)
    entropy: Tensor = torch.special.entr(values / values.sum()).sum()
    return entropy.exp()


@torch.no_grad()
def positive_similarity(images: Tensor, texts: Tensor) -> Tensor:
    """() mean cosine of (n, dim) unit rows with the (n, dim) unit rows they belong to."""
    return (images.float() * texts.float()).sum(1).mean()


@torch.no_grad()
def hardest_negative_similarity(images: Tensor, texts: Tensor, positives: Tensor) -> Tensor:
    """Mean over images of the largest cosine with a text that is not theirs.

    Args:
        images: (n, dim) unit rows.
        texts: (m, dim) unit rows.
        positives: (n, m) bool, true where the text belongs to the image.

    Returns:
        () float32 over the rows that have a negative; NaN if none has.
    """
    negatives = (images.float() @ texts.float().T).masked_fill(positives, -math.inf)
    hardest: Tensor = negatives.amax(1).masked_fill(positives.all(1), math.nan)
    return hardest.nanmean()


def mutual_information_bound(loss: float, guess: float) -> float:
    """What InfoNCE proves that image and text share, in nats: max(0, guess - loss).

    A lower bound of the mutual information (van den Oord et al. 2018). `guess` is the loss of guessing, log n for one
    right answer of n; more than that it can never show.
    """
    return max(0.0, guess - loss)


@dataclass(frozen=True)
class Geometry:
    """How the images and texts of held-out pairs lie in the space; None where there was nothing to measure.

    Attributes:
        alignment: mean squared distance of positives, 0 to 4.
        uniformity_images, uniformity_texts: see `uniformity`; 0 is collapsed.
        effective_rank_images, effective_rank_texts: directions in use, from 1.
        positive_similarity, negative_similarity: mean cosine of pairs that belong together, and of all others.
        hardest_negative_similarity: mean over images of the largest cosine with a wrong text.
        modality_gap: distance of the mean image from the mean text, 0 to 2 (Liang et al. 2022).
        positive_histogram, negative_histogram: counts in 40 equal bins of cosine in [-1, 1].
    """

    alignment: float | None
    uniformity_images: float | None
    uniformity_texts: float | None
    effective_rank_images: float | None
    effective_rank_texts: float | None
    positive_similarity: float | None
    negative_similarity: float | None
    hardest_negative_similarity: float | None
    modality_gap: float | None
    positive_histogram: list[int]
    negative_histogram: list[int]


def examine(encoded: Encoded, seed: int = 0) -> Geometry:
    """Measure the space on at most `SAMPLE` pairs, the same ones for the same seed."""
    of_image, of_text = np.asarray(encoded.image_of_pair), np.asarray(encoded.text_of_pair)
    sample = np.random.default_rng(seed).permutation(len(of_image))[:SAMPLE]
    image_rows, text_rows = np.unique(of_image[sample]), np.unique(of_text[sample])
    images, texts = torch.from_numpy(encoded.images[image_rows]), torch.from_numpy(encoded.texts[text_rows])

    # Every pair between the sampled rows is a positive, those that were not drawn too.
    both = np.isin(of_image, image_rows) & np.isin(of_text, text_rows)
    positives = torch.zeros(len(images), len(texts), dtype=torch.bool)
    positives[np.searchsorted(image_rows, of_image[both]), np.searchsorted(text_rows, of_text[both])] = True
    return geometry_of(images, texts, positives)


@torch.no_grad()
def geometry_of(images: Tensor, texts: Tensor, positives: Tensor) -> Geometry:
    """Measure (n, dim) and (m, dim) unit rows; `positives` (n, m) bool says which of them belong together."""
    at_image, at_text = positives.nonzero(as_tuple=True)
    cosines = images @ texts.T
    return Geometry(
        alignment=_number(alignment(images[at_image], texts[at_text])),
        uniformity_images=_number(uniformity(images)),
        uniformity_texts=_number(uniformity(texts)),
        effective_rank_images=_number(effective_rank(images)),
        effective_rank_texts=_number(effective_rank(texts)),
        positive_similarity=_number(cosines[positives].mean()),
        negative_similarity=_number(cosines[~positives].mean()),
        hardest_negative_similarity=_number(hardest_negative_similarity(images, texts, positives)),
        modality_gap=_number((images.mean(0) - texts.mean(0)).norm()),
        positive_histogram=_histogram(cosines[positives]),
        negative_histogram=_histogram(cosines[~positives]),
    )


def neighbours_kept(before: Vectors, after: Vectors, k: int = 10) -> float:
    """Mean share of each row's `k` nearest neighbours that stays: what a model has not forgotten of unlabelled images.

    Args:
        before: (n, dim) unit rows in the space of the one model.
        after: (n, other_dim) unit rows of the same images, in the same order, in the space of the other.
        k: neighbours by cosine, the row itself left out; n - 1 if that is fewer.

    Returns:
        0 to 1; two spaces that have nothing to do with each other share k / (n - 1) by chance.

    Raises:
        InputError: fewer than two rows, or not the same number in both.
    """
    if len(before) != len(after) or len(before) < 2:
        raise InputError(f"{len(before)} and {len(after)} images have no neighbours to compare; give two or more")
    k = min(k, len(before) - 1)
    kept = 0
    for start in range(0, len(before), CHUNK):
        old, new = _nearest(before, start, k), _nearest(after, start, k)
        kept += int((old[:, :, None] == new[:, None, :]).sum())
    return kept / (k * len(before))


@dataclass(frozen=True)
class Confusion:
    """An image that lies closer to a wrong text than to any of its own.

    Attributes:
        image: its path.
        text: the best of its own texts, at cosine `score`.
        wrong_text: the best of the others, at cosine `wrong_score`.
        wrong_image: the path of an image that the wrong text belongs to.
    """

    image: str
    text: str
    wrong_text: str
    wrong_image: str
    score: float
    wrong_score: float


def confusions(encoded: Encoded, limit: int = 24) -> list[Confusion]:
    """The images whose best wrong text most exceeds their best right one, the worst first; those that are files.

    Of the wrong texts those that an image belongs to: of a class whose images cannot be read there is none to show.
    """
    of_image, of_text = np.asarray(encoded.image_of_pair), np.asarray(encoded.text_of_pair)
    owner = dict(zip(encoded.text_of_pair, encoded.image_of_pair, strict=True))  # an image of each text
    without = np.setdiff1d(np.arange(len(encoded.texts)), of_text)
    found: list[Confusion] = []
    for start, cosines, relevant in scored_chunks(encoded.images, encoded.texts, of_image, of_text, CHUNK):
        right, wrong = np.where(relevant, cosines, -np.inf), np.where(relevant, -np.inf, cosines)
        wrong[:, without] = -np.inf
        for row in np.flatnonzero(wrong.max(axis=1) > right.max(axis=1)):
            best, worst = int(right[row].argmax()), int(wrong[row].argmax())
            image, other = encoded.sources[start + row], encoded.sources[owner[worst]]
            if isinstance(image, Path) and isinstance(other, Path):
                texts = encoded.strings[best], encoded.strings[worst]
                scores = float(right[row, best]), float(wrong[row, worst])
                found.append(Confusion(str(image), *texts, str(other), *scores))
        found = sorted(found, key=lambda confusion: confusion.score - confusion.wrong_score)[:limit]
    return found


def _nearest(vectors: Vectors, start: int, k: int) -> Tensor:
    """(chunk, k) rows nearest to each row from `start` on, itself left out."""
    chunk = torch.from_numpy(vectors[start : start + CHUNK])
    cosines = chunk @ torch.from_numpy(vectors).T
    here = torch.arange(len(chunk))
    cosines[here, here + start] = -math.inf
    return cosines.topk(k, dim=1).indices


def _number(value: Tensor) -> float | None:
    """A float that JSON can hold."""
    number = float(value)
    return number if math.isfinite(number) else None


def _histogram(cosines: Tensor) -> list[int]:
    clipped = cosines[cosines.isfinite()].clamp(-1, 1).numpy()  # rounding takes some past 1
    return [int(count) for count in np.histogram(clipped, bins=BINS, range=(-1, 1))[0]]
