"""A collection on Milvus as one search sees it: every write acknowledged before it, and perhaps some after.

Milvus has no moments to go back to, so where others write while a search looks several times, a page may shift by one.
A change of model does not mix in: a view stays with the vectors that it began with. Where another index's table was put
in place of its own, with the same rows, it goes on with that one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from base.errors import CollectionNotFound, EntryNotFound, NotInStore
from index.entry import Modality, Record
from index.milvus.identity import Identity
from index.milvus.rows.expressions import EVERY, expression_of, ids_among
from index.milvus.rows.schema import RECORD, record_of, vectors_of
from index.milvus.server import MOST, Freshness, Server
from index.rows import as_ids, unit_rows
from index.search.calibration import FEWEST, SAMPLE, Calibration, Sampled
from index.search.filters import Filter
from index.search.patience import Patience

TIES = 16  # hits looked at behind the last, for those that are as near
BLOCK = 1000  # rows read at a time
QUERIES = 64  # in one request
DRIFT = 0.05  # a share of the rows: so much growth changes little of what scores mean

T = TypeVar("T")
Ids = NDArray[np.int64]
Samples = dict[Modality, tuple[str, int, NDArray[np.float32]]]  # rows drawn, of which model and of how many


class ReadView:
    """The vectors of one of Milvus's collections.

    Args:
        now: says what the glimpse collection is by now; None: no alias leads to this table.
    """

    def __init__(
        self,
        server: Server,
        identity: Identity,
        samples: Samples,
        fresh: Freshness,
        now: Callable[[], Identity] | None = None,
    ) -> None:
        self.dim = identity.dim
        self.fingerprint = identity.fingerprint
        self._server = server
        self._identity = identity
        self._samples = samples  # shared by the views of a collection
        self._fresh: Freshness = fresh
        self._now = now

    def check_model(self, fingerprint: str) -> None:
        """ModelMismatch unless these vectors are of the model with that fingerprint."""
        self._identity.check_model(fingerprint)

    def nearest(
        self, xq: ArrayLike, k: int, modality: Modality, among: str | None = None
    ) -> list[tuple[NDArray[np.float32], Ids]]:
        """For each row of `xq` (nq, dim) scores and ids (m,) of the `k` nearest, of all or of a selection.

        Scores descend, equal ones stand by id. Milvus gives 16,384 at most, so a longer list ends there.
        """
        x, where, k = unit_rows(xq, self.dim), _of(modality, among), min(k, MOST)
        return self._asked_of_what_is_there(lambda _: self._nearest(x, k, where))

    def _nearest(self, x: NDArray[np.float32], k: int, where: str) -> list[tuple[NDArray[np.float32], Ids]]:
        found: list[tuple[NDArray[np.float32], Ids] | None] = [None] * len(x)
        left, fetch = list(range(len(x))), min(k + TIES, MOST)
        while left:
            again = []
            for i, (scores, ids) in zip(left, self._found(x[left], fetch, where), strict=True):
                if len(ids) == fetch < MOST and scores[-1] == scores[k - 1]:  # more of those that are as near
                    again.append(i)
                else:
                    found[i] = scores[:k], ids[:k]
            left, fetch = again, min(8 * fetch, MOST)
        return [one for one in found if one is not None]

    def _found(self, x: NDArray[np.float32], fetch: int, where: str) -> Iterator[tuple[NDArray[np.float32], Ids]]:
        tuning = self._identity.tuning
        most = min(fetch * max(tuning.candidates, 1), MOST) if tuning else fetch
        lists = self._asked(x, most, where, tuning.params(most) if tuning else {})
        if tuning and (short := [i for i, hits in enumerate(lists) if len(hits) < most]):
            wide = self._asked(x[short], most, where, tuning.params(most, wide=True))
            lists = [wide.pop(0) if i in short else hits for i, hits in enumerate(lists)]
        for q, hits in zip(x, lists, strict=True):
            ids = np.array([key for _, key in hits], np.int64)
            found = np.array([score for score, _ in hits], np.float32)
            if tuning and tuning.candidates:  # those scores are of codes
                ids, found = self._compared(q, ids)
            # kernels differ in the last bit from segment to segment: copies must not stand in another order for that
            scores = found.round(6)
            order = np.lexsort((ids, -scores))[:fetch]
            yield scores[order], ids[order]

    def _asked(
        self, x: NDArray[np.float32], fetch: int, where: str, params: dict[str, int]
    ) -> list[list[tuple[float, int]]]:
        found: list[list[tuple[float, int]]] = []
        fresh = self._fresh
        for start in range(0, len(x), QUERIES):
            some = x[start : start + QUERIES]
            found += self._server.search(self._identity.table, some, fetch, where, fresh, params)
            fresh = "Eventually"  # the first one waited
        return found

    def _compared(self, q: NDArray[np.float32], ids: Ids) -> tuple[Ids, NDArray[np.float32]]:
        """Candidates (n,) that are there, and their scores by their vectors."""
        rows = list(self.rows(ids.tolist(), ["id", "vector"], "Eventually"))
        return np.array([row["id"] for row in rows], np.int64), vectors_of(rows, self.dim) @ q

    def vectors(self, ids: ArrayLike, modality: Modality) -> NDArray[np.float32]:
        """Unit rows (n, dim) in the order of `ids`. EntryNotFound."""
        return unit_rows(self.stored([int(key) for key in as_ids(ids)], "Eventually"), self.dim)

    def stored(self, ids: list[int], fresh: Freshness | None = None) -> NDArray[np.float32]:
        """Vectors (n, dim) as they are stored, in the order of `ids`. EntryNotFound."""
        rows = {row["id"]: row for row in self.rows(ids, ["id", "vector"], fresh)}
        if absent := [key for key in ids if key not in rows]:
            raise EntryNotFound(f"no entry with id {absent[0]}")
        return vectors_of([rows[key] for key in ids], self.dim)

    def rows(self, ids: Iterable[int], fields: list[str], fresh: Freshness | None = None) -> Iterator[dict[str, Any]]:
        """The rows of those ids that are there, in no order; as fresh as the view, if nothing else is said."""
        wanted = list(dict.fromkeys(int(key) for key in ids if 0 < key < 2**63))
        for start in range(0, len(wanted), BLOCK):
            yield from self.query(ids_among(wanted[start : start + BLOCK]), fields, fresh)
            fresh = "Eventually"  # the first read waited

    def query(self, where: str, fields: list[str], fresh: Freshness | None = None) -> list[dict[str, Any]]:
        """The rows, in no order, that pass an expression."""
        return self._asked_of_what_is_there(
            lambda table: self._server.query(table, where, fields, fresh or self._fresh),
            vectors="vector" in fields,
        )

    def ids(self, where: str, after: int = 0) -> Iterator[list[int]]:
        """Stream the ids above `after` that pass an expression, ascending, some at a time."""
        table, fresh = self._identity.table, self._fresh
        while True:
            try:
                for some in self._server.ids(table, where, after, fresh):
                    yield some
                    after, fresh = some[-1], "Eventually"
                return
            except CollectionNotFound as error:
                table = self._instead_of(table, error, vectors=False)

    def count(self, where: str, fresh: Freshness | None = None) -> int:
        """How many rows pass an expression."""
        return self._asked_of_what_is_there(
            lambda table: self._server.count(table, where, fresh or self._fresh), vectors=False
        )

    def only(self, ids: Ids) -> str:
        """A selection of these ids, for `nearest`."""
        return ids_among([key for key in ids.tolist() if key > 0])

    def select(self, filter: Filter, modality: Modality, patience: Patience | None = None) -> str:  # noqa: A002
        """What passes a filter, as an expression.

        Raises:
            NotInStore: Milvus cannot tell.
            FilterTooSlow, GivenUp: the patience is over.
        """
        expression = expression_of(filter)
        for doubt in expression.doubts:
            if patience is not None and (reason := patience.over()):
                raise reason
            if self.count(_of(modality, doubt.where)):
                raise NotInStore(doubt.message)
        return expression.where

    def records_of(self, ids: Iterable[int]) -> dict[int, Record]:
        """The records of those `ids`, which a search of this view found, that are there."""
        return {row["id"]: record_of(row) for row in self.rows(ids, RECORD, "Eventually")}

    def sample(self, modality: Modality, m: int) -> tuple[Ids, NDArray[np.float32]]:
        """Up to `m` ids, evenly spread over all of them, and their unit rows (m, dim)."""
        every = [key for some in self.ids(_of(modality)) for key in some]
        places = np.linspace(0, max(len(every) - 1, 0), min(m, len(every))).astype(int)
        drawn = [every[place] for place in places.tolist()]
        rows = sorted(self.rows(drawn, ["id", "vector"], "Eventually"), key=lambda row: int(row["id"]))
        ids = np.array([row["id"] for row in rows], np.int64)
        return ids, unit_rows(vectors_of(rows, self.dim), self.dim)

    def calibration(self, modality: Modality) -> Calibration | None:
        """What scores mean here (index.search.calibration); None while there are too few entries to tell."""
        return self.sampled(modality).calibration()

    def sampled(self, modality: Modality) -> Sampled:
        """What that is told by."""
        rows = self.count(_of(modality), "Eventually")
        drawn = self._samples.get(modality)
        if drawn is None or drawn[0] != self.fingerprint or abs(rows - drawn[1]) > DRIFT * drawn[1]:
            _, sample = self.sample(modality, SAMPLE)
            self._samples[modality] = drawn = self.fingerprint, rows, sample
        sample = drawn[2]
        known = Sampled(rows, sample, lambda queries: queries @ sample.T)
        if modality != "image" or len(sample) < FEWEST:
            return known
        rejection = self._identity.rejection
        if rejection is None or rejection.fingerprint != self.fingerprint:
            return known
        return replace(known, threshold=rejection.threshold, doubt=rejection.doubt)

    def _asked_of_what_is_there(self, ask: Callable[[str], T], *, vectors: bool = True) -> T:
        """What `ask` says of the table; where that was dropped, of the one in its place."""
        table = self._identity.table
        try:
            return ask(table)
        except CollectionNotFound as error:
            return ask(self._instead_of(table, error, vectors=vectors))

    def _instead_of(self, table: str, error: CollectionNotFound, *, vectors: bool) -> str:
        """The table that was put in the place of one that was dropped; the `error` if there is none.

        EntryNotFound where that has the `vectors` of another model.
        """
        if self._now is None or (now := self._now()).table == table:
            raise error
        if now.fingerprint == self.fingerprint:
            self._identity = now
        elif vectors:
            raise EntryNotFound("the vectors were replaced by another model's meanwhile: ask again") from error
        return now.table


def _of(modality: Modality, among: str | None = None) -> str:
    return f'modality == "{modality}" and ({among or EVERY})'
