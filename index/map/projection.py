"""Projection: where images lie in two dimensions, in which cluster, and where those would lie that came since.

Plain arrays; it knows neither collections nor files, nor how it is made (index.map.fit).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from index.rows import Rows

Method = Literal["pca", "umap"]
Ids = NDArray[np.int64]
Places = NDArray[np.float32]

NEIGHBOURS = 5  # landmarks that a new place is a mean of
AT_ONCE = 1024  # rows that are held against all landmarks at a time: 80 MB for 20,000 of these


@dataclass(frozen=True)
class Cluster:
    """Images that lie together. `place` is amidst them; `words` are those nearest to what sets them apart."""

    size: int
    place: tuple[float, float]
    words: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Axes:
    """The principal axes of vectors, and so a few numbers in the place of each vector.

    Attributes:
        mean: (dim,) float32.
        axes: (k, dim) float32, orthonormal, that of the greatest variance first.
    """

    mean: Rows
    axes: Rows

    def reduced(self, x: Rows) -> Rows:
        """Vectors (n, dim) to (n, k)."""
        return ((x - self.mean) @ self.axes.T).astype(np.float32, copy=False)


@dataclass(frozen=True, eq=False)
class Landmarks:
    """Vectors whose places are known, by which places are found for others.

    Attributes:
        x: (m, k) float32, reduced.
        places: (m, 2) float32.
    """

    x: Rows
    places: Places

    def places_for(self, x: Rows) -> Places:
        """Places (n, 2) of reduced vectors (n, k): the mean of their nearest landmarks', nearer ones counting more."""
        squares = np.einsum("ij,ij->i", self.x, self.x)
        found = np.empty((len(x), 2), np.float32)
        k = min(NEIGHBOURS, len(self.x))
        for start in range(0, len(x), AT_ONCE):
            some = x[start : start + AT_ONCE]
            apart = squares - 2 * some @ self.x.T + np.einsum("ij,ij->i", some, some)[:, None]
            near = np.argpartition(apart, k - 1, axis=1)[:, :k]
            weights = 1 / (np.maximum(np.take_along_axis(apart, near, axis=1), 0) + 1e-6)
            weights /= weights.sum(axis=1, keepdims=True)
            found[start : start + AT_ONCE] = np.einsum("nk,nkd->nd", weights, self.places[near])
        return found


@dataclass(frozen=True, eq=False)
class Projection:
    """A map. Places lie in the unit square, both directions to the same scale.

    Attributes:
        method: how it was made.
        fingerprint: of the model whose vectors these are; another model's have no place here.
        version: the collection's commit up to which its images are in it.
        made_at: ISO 8601, UTC.
        ids: (n,) int64, ascending.
        places: (n, 2) float32.
        clusters: (n,) uint8, numbers from 1.
        axes: principal axes, the first two being the map of `pca`.
        centres: (c, k) float32, of the clusters, reduced; with landmarks (c, 2), among their places.
        scale: the least x and y of what `axes` or landmarks give, and how much of it is 1 here.
        landmarks: what others are placed by; None: by the first two axes.
        known: the clusters, from number 1.
    """

    method: Method
    fingerprint: str
    version: int
    made_at: str
    ids: Ids
    places: Places
    clusters: NDArray[np.uint8]
    axes: Axes
    centres: Rows
    scale: tuple[float, float, float]
    landmarks: Landmarks | None
    known: tuple[Cluster, ...]

    def place(self, x: Rows) -> tuple[Places, NDArray[np.uint8]]:
        """Places (n, 2) and clusters (n,) for unit vectors (n, dim) that need not be in it."""
        reduced = self.axes.reduced(x)
        raw = reduced[:, :2] if self.landmarks is None else self.landmarks.places_for(reduced)
        return scaled(raw, self.scale), nearest_centres(reduced if self.landmarks is None else raw, self.centres)


def scaled(raw: Rows, scale: tuple[float, float, float]) -> Places:
    """Raw places (n, 2) into the unit square; what lies beyond stands at its edge."""
    left, low, size = scale
    places: Places = np.clip((raw - np.array([left, low], np.float32)) / np.float32(size), 0, 1)
    return places


def nearest_centres(reduced: Rows, centres: Rows) -> NDArray[np.uint8]:
    """The number, from 1, of the centre that each of (n, k) is nearest to."""
    apart = np.einsum("ij,ij->i", centres, centres) - 2 * reduced @ centres.T
    numbers: NDArray[np.uint8] = (apart.argmin(axis=1) + 1).astype(np.uint8)
    return numbers
