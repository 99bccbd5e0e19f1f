"""Says which hits of a query are relevant: a z-score, an estimate of relevance, and where the list should end.

No labels and no constants of a model. Each query is held against a random sample of the collection, so that what is a
high score for this query is read off this collection and not fixed beforehand. Knows no catalog, no index, no encoder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Product = Callable[[Vectors], NDArray[np.float32]]  # queries (n, dim) to their cosines (n, m) with a sample

SAMPLE = 2048  # rows: one more pass over 4 MB a query at 512 dimensions
FEWEST = 50  # rows: of fewer, the background of a query is not known
# Found on development queries over product photos; bench/index/cutoff.py measures them on others.
REACH = 0.6  # of the query's own spread: how far below the best hit a relevant one lies; 0.5 to 0.65 were best
SHARE = 0.3  # of the best hit's height above the middle: what that is at most, where few kinds make the spread wide
BEYOND = 1.28  # standard deviations above the mean of words at large: nine in ten of them stay below
TURNED_AWAY = 0.05  # of the texts that are known to belong here, at most


class Judgement(NamedTuple):
    """What is said of the hits of one query."""

    z: NDArray[np.float32]  # (k,) spreads above the middle of what this query scores against anything
    relevance: NDArray[np.float32]  # (k,) in [0, 1], not increasing; an estimate that orders, not a measured frequency
    cut: int  # how many of the k are relevant: those of relevance 0.5 and more


class Background(NamedTuple):
    """What queries score against anything; cosines."""

    middle: NDArray[np.float32]  # (n_queries,) median
    spread: NDArray[np.float32]  # (n_queries,) standard deviation as the lower half has it


@dataclass(frozen=True, slots=True)
class Rejection:
    """What a text's best hit must reach to fit anything in a collection, as it was measured with a model.

    Attributes:
        fingerprint: of that model.
        rows: images that the collection had then.
        threshold: how far above its own middle the best hit must be, as a cosine; None: too little is known to reject.
        doubt: how much that varies from one text that fits nothing to another, as a cosine.
    """

    fingerprint: str
    rows: int
    threshold: float | None
    doubt: float


@dataclass(frozen=True, eq=False)
class Calibration:
    """The background of one modality of a collection.

    Attributes:
        sample: (m, dim) float32 unit rows, drawn at random.
        threshold, doubt: as a Rejection's; without a threshold every query is taken to fit something.
        product: with the sample, if the store of the collection has a quicker one than NumPy.
    """

    sample: Vectors
    threshold: float | None = None
    doubt: float = 1.0
    product: Product | None = None

    def judge(self, query: Vectors, scores: NDArray[np.float32], *, text: bool, best: float | None = None) -> Judgement:
        """Judge the hits of one query. Takes the time of one product with the sample, 0.3 ms at 2,048 x 512.

        What is said of a hit does not depend on how many hits are given after it.

        Args:
            query: (dim,) unit vector.
            scores: (k,) cosines, descending.
            best: the cosine of the best hit in the whole collection, whatever filter gave `scores`: all is measured
                from it, so an entry is as relevant in a filtered list as in the full one. None: the first of `scores`.
            text: the query is a text, so it may be rejected.
        """
        if best is None:
            best = float(scores[0]) if len(scores) else 0.0
        return self.judge_many(query[None], [scores], text=[text], best=[best])[0]

    def judge_many(
        self,
        queries: Vectors,
        scores: Sequence[NDArray[np.float32]],
        *,
        text: Sequence[bool],
        best: Sequence[float],
    ) -> list[Judgement]:
        """The same for queries (n, dim), each with its own hits: one product. Equal to `judge` but for its rounding."""
        cosines = self.product(queries) if self.product else queries @ self.sample.T
        middle, spread = _background(cosines)
        top = np.asarray(best, np.float32)
        highest = (top - middle) / spread
        above = highest.astype(np.float64)  # how far the best hits stand above what fits nothing, in deviations
        if self.threshold is not None:
            over = (np.asarray(best, np.float64) - middle - self.threshold) / self.doubt
            above = np.where(text, over, above)
        fits = 1 / (1 + np.exp(-1.702 * np.clip(above, -20, 20)))  # a logistic close to the normal distribution's
        reach = np.clip(SHARE * highest, 1e-6, REACH)

        # from here on the hits of all queries in one row: for each query apart NumPy would take longer than its sums
        lengths = np.array([len(of) for of in scores], np.int64)
        ends = lengths.cumsum()
        of = np.repeat(np.arange(len(scores)), lengths)
        z = (np.concatenate([*scores, np.empty(0, np.float32)]) - middle[of]) / spread[of]
        near = np.exp2(np.minimum(z - highest[of], 0) / reach[of])  # a half at the reach
        relevance = np.minimum(near, fits[of]).astype(np.float32)
        cuts = np.bincount(of[relevance >= 0.5], minlength=len(scores))
        parts = zip(ends - lengths, ends, cuts.tolist(), strict=True)
        return [Judgement(z[start:end], relevance[start:end], cut) for start, end, cut in parts]


@dataclass(frozen=True, eq=False)
class Sampled:
    """What is known of one modality of a collection, of which `calibration` tells what scores mean.

    Attributes:
        rows: how many entries it has.
        sample, threshold, doubt, product: as a Calibration's; the sample may have any number of rows.
    """

    rows: int
    sample: Vectors
    product: Product
    threshold: float | None = None
    doubt: float = 1.0

    def calibration(self) -> Calibration | None:
        """None while there are too few entries to tell."""
        if len(self.sample) < FEWEST:
            return None
        return Calibration(self.sample, self.threshold, self.doubt, self.product)

    @classmethod
    def together(cls, parts: Sequence[Sampled]) -> Sampled:
        """Of several collections as if they were one: each has its share of the sample.

        What fits nothing in the one that asks most of a text fits nothing here.
        """
        rows = sum(part.rows for part in parts)
        shares = [min(len(part.sample), -(-SAMPLE * part.rows // max(rows, 1))) for part in parts]
        chosen = [
            np.linspace(0, max(len(part.sample) - 1, 0), share).astype(int)
            for part, share in zip(parts, shares, strict=True)
        ]
        sample = np.concatenate([part.sample[of] for part, of in zip(parts, chosen, strict=True)])

        def product(queries: Vectors) -> NDArray[np.float32]:
            each = [part.product(queries)[:, of] for part, of in zip(parts, chosen, strict=True) if len(of)]
            return np.concatenate(each, axis=1)

        bars = [(part.threshold, part.doubt) for part in parts if part.rows and part.threshold is not None]
        return cls(rows, sample, product, *max(bars, default=(None, 1.0)))


def fit(
    sample: Vectors,
    words: Vectors | None = None,
    known: Vectors | None = None,
    best: Callable[[Vectors], NDArray[np.float32]] | None = None,
) -> Calibration | None:
    """Calibrate a collection. The same sample gives the same result.

    Nine in ten of the words stay below the threshold, but it is no higher than that nineteen in twenty of
    the known texts pass: a model of few words takes any text for one that it knows.

    Args:
        sample: (m, dim) float32 unit rows of the collection, drawn at random; `SAMPLE` are enough.
        words: (p, dim) float32 unit rows of words at large (encoder.zero_shot.word_bank), by the collection's model:
            what such a text finds at best is what one finds that fits nothing.
        known: (r, dim) float32 unit rows of texts that belong here, as captions; some hundreds are enough.
        best: gives the cosine of each one's best hit in the whole collection, (p, dim) to (p,); without it the best is
            looked for in the sample, which says too little of a collection that is much larger.

    Returns:
        None if the sample has fewer than `FEWEST` rows.
    """
    if len(sample) < FEWEST:
        return None
    sample = np.ascontiguousarray(sample, np.float32)
    if words is None or not len(words):
        return Calibration(sample)

    def above(texts: Vectors) -> NDArray[np.float32]:
        found = best(texts) if best else (texts @ sample.T).max(axis=1)
        return found - background(sample, texts).middle

    heights = above(words)
    doubt = max(float(heights.std()), 1e-6)
    threshold = float(heights.mean()) + BEYOND * doubt
    if known is not None and len(known):
        threshold = min(threshold, float(np.quantile(above(known), TURNED_AWAY)))
    return Calibration(sample, threshold, doubt)


def background(sample: Vectors, queries: Vectors) -> Background:
    """What each of `queries` (n_queries, dim) scores against anything, by `sample` (m, dim).

    The spread is that of the lower half, mirrored: what is relevant lies in the upper half and would widen it. Efron
    (2004) takes the null distribution from the middle of the data for the same reason.
    """
    return _background(queries @ sample.T)


def _background(cosines: NDArray[np.float32]) -> Background:
    """The same of the cosines (n_queries, m) themselves."""
    half = cosines.shape[1] // 2  # the median, a tenth of what np.median takes, which asks for two places at once
    parted = np.partition(cosines, half, axis=1)
    middle = parted[:, half]
    if cosines.shape[1] % 2 == 0:
        middle = (middle + parted[:, :half].max(axis=1)) / 2
    below = np.minimum(cosines - middle[:, None], 0)
    return Background(middle, np.sqrt(2 * np.mean(below**2, axis=1)).clip(1e-6))
