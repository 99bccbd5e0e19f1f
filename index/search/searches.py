"""What a collection is asked, in any store: its entries one by one, and searches of every kind over its read views."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import ArrayLike, NDArray

from base.errors import CollectionError, EntryNotFound, InputError, ModelMismatch
from index.entry import Hit, Modality, Record, known
from index.rows import as_ids
from index.search.query import Query
from index.search.searchable import View
from index.search.stages import ATTEMPTS, run


def check_model(name: str, model: str, own: str, fingerprint: str) -> None:
    """ModelMismatch unless `fingerprint` is the `own` one of the collection `name`, which `model` made."""
    if fingerprint != own:
        raise ModelMismatch(
            f"collection {name!r} is of another model, or of {model} before its files were changed: use its own (leave "
            f"--model out, or --model {model} with the files that it had; a service: restart it with that), or give it "
            f"another one (glimpse reindex --collection {name} --model NEW; the one that a service has: POST /v1/jobs "
            "with kind reindex)"
        )


class Searches(ABC):
    """A base for collections; what it lacks is the store's."""

    name: str

    @abstractmethod
    def read_view(self) -> View:
        """The vectors as they are now: every commit acknowledged before this call."""

    @abstractmethod
    def records_of(self, ids: Iterable[int]) -> dict[int, Record]:
        """The records of those `ids` that are there."""

    @abstractmethod
    def vectors(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Vectors (n, dim) in the order of `ids`, as stored (float16). EntryNotFound if one is not there."""

    def get(self, entry_id: int) -> Record:
        """One record. EntryNotFound."""
        if record := self.records_of([entry_id]).get(entry_id):
            return record
        raise EntryNotFound(f"collection {self.name!r} has no entry with id {entry_id}")

    def vector(self, entry_id: int) -> NDArray[np.float32]:
        """One vector (dim,), as stored (float16). EntryNotFound."""
        vector: NDArray[np.float32] = self.vectors([entry_id])[0]
        return vector

    def query(self, query: Query) -> list[Hit]:
        """The page of hits that a query with filter, groups, cut-off and so on asks for (index.search.query)."""
        return run(self, query)

    def search(
        self, vector: ArrayLike, k: int = 10, modality: Modality = "image", ids: ArrayLike | None = None
    ) -> list[Hit]:
        """The `k` entries of `modality` nearest to `vector` (dim,), of all or of `ids`. See `search_many`."""
        return self.search_many(np.asarray(vector)[None], k, modality, ids)[0]

    def search_many(
        self, xq: ArrayLike, k: int = 10, modality: Modality = "image", ids: ArrayLike | None = None
    ) -> list[list[Hit]]:
        """Search for each row of `xq` (nq, dim). Scores descend; equal scores stand in the order of ids.

        Queries are scaled to length 1, so every score is a cosine. Fewer than `k` hits if there are fewer entries.
        It sees every commit, of any process, that was acknowledged before the call.
        """
        if k < 1:
            raise InputError(f"k must be at least 1, not {k}")
        among = None if ids is None else np.unique(as_ids(ids))
        for _ in range(ATTEMPTS):
            view = self.read_view()
            selected = None if among is None else view.only(among)
            found = list(view.nearest(np.asarray(xq), k, known(modality), selected))
            records = self.records_of({key for _, ids_of in found for key in ids_of.tolist()})
            with suppress(KeyError):  # a hit was deleted since the search: search again for who takes its place
                return [
                    [Hit(score, records[key]) for score, key in zip(D.tolist(), I.tolist(), strict=True)]
                    for D, I in found
                ]
        raise CollectionError("entries are deleted faster than this search can look at them: try again")
