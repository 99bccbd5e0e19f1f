"""Makes a projection of vectors that come block by block: principal axes, clusters, places, and names of the clusters.

What it holds of a collection are the ids and places, a sample of its vectors, and one block: a million images take no
more memory than ten thousand but for those. PCA: Pearson 1901; k-means: Lloyd 1982, by FAISS; UMAP: McInnes, Healy
and Melville 2018 (arXiv 1802.03426), by umap-learn.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from base.errors import InputError
from base.progress import Progress
from index.columns import AllVectors
from index.local.vectors.ann import centres_of
from index.map.projection import (
    Axes,
    Cluster,
    Landmarks,
    Method,
    Places,
    Projection,
    nearest_centres,
)
from index.map.stop_words import STOP_WORDS
from index.map.umap import umap_places
from index.rows import Rows

FEWEST = 3  # images; fewer are no map
AXES = 50  # principal axes that are kept: what UMAP and the clusters are made of
SAMPLED = 100_000  # images, evenly spread, that the axes are found by
LANDMARKS = 20_000  # of them that UMAP places; all others lie among their nearest
CLUSTERS = 15  # at most: as many as colours that a person tells apart
PER_CLUSTER = 40  # images, at least, on the average
WORDS = 3  # a cluster
CELLS = 20  # a side, in which it is counted where most of a cluster are


def fit(source: AllVectors, method: Method, progress: Progress | None = None) -> Projection:
    """A projection of all vectors of a source. The same source gives the same.

    Args:
        source: what is projected.
        method: "pca", which takes a second for 100,000, or "umap", which takes minutes and keeps neighbours together.
        progress: told how many images have their place, of how many; what it raises ends the work.

    Raises:
        InputError: there are too few images, or umap-learn is not installed.
    """
    if source.count < FEWEST:
        raise InputError(f"a map needs {FEWEST} images, and there are {source.count}: index some first")
    tell = progress or (lambda done, total: None)
    tell(0, source.count)
    sample = _sample(source, min(SAMPLED, source.count))
    axes = _axes(sample)
    reduced = axes.reduced(sample)
    landmarks = None
    if method == "umap":
        few = reduced[:: -(-len(reduced) // LANDMARKS)]
        landmarks = Landmarks(few, umap_places(few, lambda: tell(0, source.count)))
    raw = reduced[:, :2] if landmarks is None else landmarks.places
    clustered = reduced if landmarks is None else landmarks.places  # what lies apart on an island is of it
    centres = centres_of(clustered, int(np.clip(source.count // PER_CLUSTER, 2, CLUSTERS)))
    made = Projection(
        method, source.fingerprint, source.version, datetime.now(UTC).isoformat(timespec="seconds"),
        np.empty(0, np.int64), np.empty((0, 2), np.float32), np.empty(0, np.uint8),
        axes, centres, _scale(raw), landmarks, (),
    )  # fmt: skip
    return _in_order_of_size(_filled(made, source, tell))


def named(projection: Projection, words: tuple[str, ...], vectors: Rows) -> Projection:
    """The same with words for each cluster that has none: those nearest to what sets it apart from the others, no word
    twice, not in another form either. Of stop words none, where there are others.

    Args:
        projection: what is named.
        words: of the same model as its vectors.
        vectors: (n_words, dim) float32 unit rows.
    """
    if telling := [i for i, word in enumerate(words) if word.casefold() not in STOP_WORDS]:
        words, vectors = tuple(words[i] for i in telling), vectors[telling]
    means = projection.centres
    if (landmarks := projection.landmarks) is not None:
        numbers = nearest_centres(landmarks.places, projection.centres)
        means = np.zeros((len(projection.centres), landmarks.x.shape[1]), np.float32)
        for number in np.unique(numbers):
            means[number - 1] = landmarks.x[numbers == number].mean(axis=0)
    apart = means @ projection.axes.axes  # from the mean of all images, so that what all share is gone
    apart /= np.maximum(np.linalg.norm(apart, axis=1, keepdims=True), 1e-9)
    likeness = (vectors - vectors.mean(axis=0)) @ apart.T  # (n_words, c)
    chosen = [list(one.words) for one in projection.known]
    lacking = {number for number, words_of_it in enumerate(chosen) if not words_of_it}
    given = [word for each in chosen for word in each]
    seen = {i for i, word in enumerate(words) if any(_are_forms(word, other) for other in given)}
    for place in np.argsort(-likeness, axis=None, kind="stable") if lacking else ():
        word, cluster = divmod(int(place), len(chosen))
        if word not in seen and cluster in lacking and len(chosen[cluster]) < WORDS:
            seen.update(i for i, other in enumerate(words) if _are_forms(words[word], other))
            chosen[cluster].append(words[word])
            if len(seen) == len(words) or all(len(chosen[each]) == WORDS for each in lacking):
                break
    known = (replace(one, words=tuple(each)) for one, each in zip(projection.known, chosen, strict=True))
    return replace(projection, known=tuple(known))


def _are_forms(word: str, other: str) -> bool:
    """Whether two words are the same but for an ending, as bird and birds: of any language, so no more is known."""
    short, long = sorted((word.casefold(), other.casefold()), key=len)
    return short == long or (len(short) > 2 and long.startswith(short) and len(long) - len(short) <= 2)


def _sample(source: AllVectors, most: int) -> Rows:
    """About `most` rows, evenly spread over the ids."""
    step = -(-source.count // most)
    parts, start = [], 0
    for _, x16 in source.blocks():
        parts.append(x16[-start % step :: step].astype(np.float32))
        start += len(x16)
    return np.concatenate(parts)


def _axes(x: Rows) -> Axes:
    """By the covariance, which has as many values as the square of the dimension, however many rows there are."""
    mean = x.mean(axis=0, dtype=np.float64)
    covariance = (x.T @ x).astype(np.float64) / len(x) - np.outer(mean, mean)
    _, vectors = np.linalg.eigh(covariance)
    axes = vectors[:, ::-1].T[: min(AXES, x.shape[1])]
    if len(axes) == 1:
        axes = np.concatenate([axes, np.zeros_like(axes)])
    signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])
    axes = axes * np.where(signs == 0, 1, signs)[:, None]  # else they may come the other way round on another machine
    return Axes(mean.astype(np.float32), np.ascontiguousarray(axes, np.float32))


def _scale(raw: Rows) -> tuple[float, float, float]:
    """That has the unit square hold all of these places, with a little room for those to come."""
    low, high = raw.min(axis=0), raw.max(axis=0)
    size = max(float((high - low).max()), 1e-6) * 1.1
    left, bottom = ((low + high) / 2 - size / 2).tolist()
    return left, bottom, size


def _filled(made: Projection, source: AllVectors, tell: Progress) -> Projection:
    """With a place for every image."""
    ids, places, clusters = [], [], []
    done = 0
    for some, x16 in source.blocks():
        x = x16.astype(np.float32)
        where, cluster = made.place(x)
        ids.append(some)
        places.append(where)
        clusters.append(cluster)
        done += len(some)
        tell(done, source.count)
    return replace(made, ids=np.concatenate(ids), places=np.concatenate(places), clusters=np.concatenate(clusters))


def _in_order_of_size(made: Projection) -> Projection:
    """With the largest cluster first, and none that is empty."""
    counts = np.bincount(made.clusters, minlength=len(made.centres) + 1)[1:]
    order = np.argsort(-counts, kind="stable")
    order = order[counts[order] > 0]
    number = np.zeros(len(counts) + 1, np.uint8)
    number[order + 1] = np.arange(1, len(order) + 1)
    clusters = number[made.clusters]
    known = tuple(
        Cluster(int(counts[each]), _middle(made.places[clusters == i])) for i, each in enumerate(order, start=1)
    )
    return replace(made, centres=made.centres[order], clusters=clusters, known=known)


def _middle(places: Places) -> tuple[float, float]:
    """Where most of them are."""
    cells = np.minimum((places * CELLS).astype(int), CELLS - 1) @ np.array([1, CELLS])
    x, y = places[cells == np.bincount(cells).argmax()].mean(axis=0).tolist()
    return x, y
