"""What a search needs of a store: the one on this disk, or another beside it. Types alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from index.entry import Modality, Record
from index.search.calibration import Judgement, Sampled
from index.search.filters import Filter
from index.search.patience import Patience

Vector = NDArray[np.float32]
Selection = Any  # what passes a filter, as the store that made it wants it back


class Judge(Protocol):
    """A collection's calibration, as index.search.calibration makes it."""

    def judge_many(
        self, queries: Vector, scores: Sequence[Vector], /, *, text: Sequence[bool], best: Sequence[float]
    ) -> list[Judgement]:
        """For queries (n, dim), each with descending scores (m,): z (m,), relevance (m,), how many are relevant."""


class Searchable(Protocol):
    """What a search needs of a collection as it is at one moment (index.local.read_view)."""

    @property
    def dim(self) -> int:
        """Values of a vector."""

    def nearest(
        self, xq: Vector, k: int, modality: Modality, among: Selection | None = None, /
    ) -> Iterable[tuple[NDArray[np.float32], NDArray[np.int64]]]:
        """For each row of `xq` (nq, dim) scores and ids (m,) of the k nearest, of all or of a selection.

        Scores descend, equal ones stand by id. A row scores the same whatever is asked in the same call.
        """

    def select(self, filter: Filter, modality: Modality, patience: Patience | None, /) -> Selection:  # noqa: A002
        """What passes a filter, for `nearest`. FilterTooSlow, GivenUp: the patience is over."""

    def vectors(self, ids: ArrayLike, modality: Modality, /) -> NDArray[np.float32]:
        """Unit rows (n, dim). EntryNotFound if one is gone."""

    def records_of(self, ids: Sequence[int], /) -> dict[int, Record]:
        """The records of those that are there."""

    def calibration(self, modality: Modality, /) -> Judge | None:
        """None while the collection is too small to have one."""

    def check_model(self, fingerprint: str, /) -> None:
        """ModelMismatch unless the vectors are of that model."""


class Readable(Protocol):
    """What can be searched, and goes on changing."""

    def read_view(self) -> Searchable:
        """It, as it is now."""


class Member(Searchable, Protocol):
    """A Searchable that can be searched as one of several (index.search.together)."""

    @property
    def fingerprint(self) -> str:
        """Of the model that made its vectors."""

    def sampled(self, modality: Modality, /) -> Sampled:
        """What the background of all of them is made of."""


class ReadableMember(Protocol):
    """The same, and it goes on changing."""

    def read_view(self) -> Member:
        """It, as it is now."""


class View(Member, Protocol):
    """A collection as it is now, with what only its own rooms ask for."""

    def only(self, ids: NDArray[np.int64], /) -> Selection:
        """A selection of these ids (n,), ascending."""

    def sample(self, modality: Modality, m: int, /) -> tuple[NDArray[np.int64], Vector]:
        """Up to `m` ids, evenly spread over all of them, and their unit rows (m, dim)."""
