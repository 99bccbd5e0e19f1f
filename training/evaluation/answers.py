"""The same queries answered by several models over the same images: what a person looks at, beside the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from encoder.encoder import Encoder, Vectors

Hits = list[tuple[Path, float]]  # images with their cosines, best first


@dataclass(frozen=True)
class Answer:
    """A query, and what each model finds for it, by the model's name."""

    query: str
    hits: Mapping[str, Hits]


def nearest_images(
    encoder: Encoder, images: Sequence[Path], vectors: Vectors, queries: Sequence[str], k: int
) -> list[Hits]:
    """For each query the k images whose vectors (n, dim) are nearest to it."""
    cosines = encoder.encode_texts(list(queries)) @ vectors.T
    best = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    return [[(images[i], float(row[i])) for i in found] for row, found in zip(cosines, best, strict=True)]
