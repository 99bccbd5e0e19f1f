"""A search with all that may be asked of it. How its hits are chosen is told in stages.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from base.errors import InputError
from index.entry import MODALITIES, Modality
from index.rows import unit_rows
from index.search.patience import Patience
from index.search.searchable import Vector

Cutoff = Literal["auto"]

MAX_LIMIT = 1000
MAX_OFFSET = 10_000
CANCELLED = 1e-3  # a sum this short beside its longest part is float16's rounding, not a direction


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """What is looked for. InputError, naming the field, if one has a value that it cannot have."""

    vector: Vector  # (dim,), of any length but 0
    limit: int = 10
    offset: int = 0
    modality: Modality = "image"
    filter: Mapping[str, Any] | None = None  # the grammar is index.search.filters'
    score_threshold: float | None = None  # cosine
    cutoff: Cutoff | None = None  # "auto" needs a calibration; a collection too small to have one keeps every hit
    group_by: str | None = None  # a key of the metadata; a.b is b inside of a
    group_size: int = 1
    collapse: float | None = None  # from this cosine on two hits count as the same
    diversity: float = 0.0  # 0: by score alone; 1: each as unlike those before as can be
    fingerprint: str | None = None  # of the model that made the vector; None: it is the collection's own
    text: bool = False  # the vector is that of words alone, so it may be found to fit nothing
    says_nothing: bool = False  # all that is wanted is words that say nothing to the model, so nothing fits
    exclude: Sequence[int] = ()  # ids, such as the query's own entries
    patience: Patience | None = None  # with the filter; None: as long as it takes

    def __post_init__(self) -> None:
        _check("limit", 1 <= self.limit <= MAX_LIMIT, f"1 to {MAX_LIMIT}", self.limit)
        _check("offset", 0 <= self.offset <= MAX_OFFSET, f"0 to {MAX_OFFSET}", self.offset)
        _check("modality", self.modality in MODALITIES, " or ".join(MODALITIES), self.modality)
        _check("cutoff", self.cutoff in (None, *get_args(Cutoff)), "auto", self.cutoff)
        _check("group_by", self.group_by != "", "a key of the metadata", self.group_by)
        _check("group_size", self.group_size >= 1, "at least 1", self.group_size)
        _check("collapse", self.collapse is None or 0 < self.collapse <= 1, "above 0, up to 1", self.collapse)
        _check("diversity", 0 <= self.diversity <= 1, "0 to 1", self.diversity)
        threshold = self.score_threshold
        _check("score_threshold", threshold is None or -1 <= threshold <= 1, "-1 to 1", threshold)


def mix(vectors: ArrayLike, weights: Sequence[float]) -> Vector:
    """One unit vector (dim,): the weighted sum of `vectors` (n, dim), each first scaled to length 1.

    A negative weight leads away from its vector.

    Raises:
        InputError: no weight is positive, or the vectors cancel each other.
    """
    w = np.asarray(weights, np.float64)
    if not (np.isfinite(w).all() and (w > 0).any()):
        raise InputError("query: give at least one part with a positive weight")
    w /= np.abs(w).max()
    weighted = w @ unit_rows(vectors, np.shape(vectors)[-1])
    length = np.linalg.norm(weighted)
    if length < CANCELLED:
        raise InputError("query: its parts cancel each other; change a weight or leave one out")
    mixed: Vector = (weighted / length).astype(np.float32)
    return mixed


def _check(field: str, right: bool, allowed: str, given: object) -> None:
    if not right:
        raise InputError(f"{field}: must be {allowed}, not {given!r}")
