"""A search with all that may be asked of it, and how its hits are chosen. Storage and neighbours are the collection's.

The stages, in this order, whatever is asked:

1. the entries of `modality` that pass `filter`, without those in `exclude`, nearest first;
2. the list ends at `score_threshold`, and where relevance ends if `cutoff` is "auto";
3. `collapse` drops near-duplicates of better hits;
4. `group_by` keeps the best `group_size` of each group;
5. `diversity` orders the best POOL of what is left anew; the others follow as they stood;
6. `offset` and `limit` cut a page out of that list.

The list is the same for every page, so pages neither overlap nor leave gaps while the collection stays as it is (on an
approximate index a deeper look may find a hit that a shallower one missed, and move the rest by one).
3 and 4 look at the nearest DEEPEST entries at most: a list that they shorten ends there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from base.errors import CollectionError, EntryNotFound, InputError
from index.entry import MODALITIES, Hit, Modality, Record
from index.rows import unit_rows
from index.search import ranking
from index.search.calibration import Judgement
from index.search.filters import Filter, parse_filter
from index.search.patience import Patience

Vector = NDArray[np.float32]
Cutoff = Literal["auto"]
Selection = Any  # what passes a filter, as the store that made it wants it back

MAX_LIMIT = 1000
MAX_OFFSET = 10_000
OVERFETCH = 4  # candidates a hit wanted, where some are dropped; also how much further each next look goes
JUDGED = 1000  # candidates among which the end of relevance is looked for: a number that no page changes
POOL = 200  # hits that diversity orders: a number that no page changes
DEEPEST = 20_000
ATTEMPTS = 5
COPIES = 10  # hits looked at for one that is not
COPY = 0.99  # the query's own picture, perhaps scaled or saved again
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


class Judge(Protocol):
    """A collection's calibration, as index.search.calibration makes it."""

    def judge(self, query: Vector, scores: NDArray[np.float32], /, *, text: bool, best: float) -> Judgement:
        """The z (m,) and relevance (m,) of descending `scores` (m,), and how many of them are relevant."""


class Searchable(Protocol):
    """What a search needs of a collection as it is at one moment (index.local.read_view)."""

    @property
    def dim(self) -> int:
        """Values of a vector."""

    def nearest(
        self, vector: Vector, k: int, modality: Modality, among: Selection | None, /
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Scores and ids (m,) of the k nearest, of all or of a selection: descending, equal scores by id."""

    def select(self, filter: Filter, modality: Modality, patience: Patience | None, /) -> Selection:  # noqa: A002
        """What passes a filter, for `nearest`. FilterTooSlow, GivenUp: the patience is over."""

    def vectors(self, ids: NDArray[np.int64], modality: Modality, /) -> NDArray[np.float32]:
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


def run(readable: Readable, query: Query) -> list[Hit]:
    """The page of hits that `query` asks for; shorter only where its list ends.

    Raises:
        InputError: the vector has not the collection's length, or the filter cannot be read.
        FilterTooSlow, GivenUp: the query's `patience` is over.
        ModelMismatch: the collection is not, or no longer, of the model with the query's `fingerprint`.
        CollectionError: entries are deleted faster than they can be looked at.
    """
    wanted = None if query.filter is None else parse_filter(query.filter)
    for _ in range(ATTEMPTS):
        view = readable.read_view()
        if query.fingerprint is not None:
            view.check_model(query.fingerprint)
        if np.shape(query.vector) != (view.dim,):
            raise InputError(f"vector: must have the collection's {view.dim} values, not {np.size(query.vector)}")
        try:
            return _page(view, query, wanted, unit_rows(np.asarray(query.vector)[None], view.dim)[0])
        except EntryNotFound:
            continue  # a candidate was deleted meanwhile: search again for who takes its place
    raise CollectionError("entries are deleted faster than this search can look at them: try again")


def _page(collection: Searchable, query: Query, passing: Filter | None, q: Vector) -> list[Hit]:
    among = None if passing is None else collection.select(passing, query.modality, query.patience)
    wanted = query.offset + query.limit
    needed = max(wanted, POOL) if query.diversity else wanted
    if query.cutoff:
        k = JUDGED
    elif query.collapse is not None or query.group_by is not None:
        k = min(OVERFETCH * needed, DEEPEST)
    else:
        k = needed
    while True:
        found = _nearest(collection, query, q, among, k)
        kept = _kept(collection, query, found)
        if len(kept) >= needed or found.ended or k == DEEPEST:
            break
        k = min(OVERFETCH * k, DEEPEST)
    if query.diversity:
        pool = kept[:POOL]
        order = ranking.mmr(
            found.scores[pool], collection.vectors(found.ids[pool], query.modality), query.diversity, wanted
        )
        kept = np.concatenate([pool[order], kept[POOL:]])
    page = kept[query.offset : wanted]
    return found.hits(page, _records(collection, found.ids[page]))


@dataclass(frozen=True, slots=True)
class _Candidates:
    """Candidates, best first, m of them."""

    scores: NDArray[np.float32]
    ids: NDArray[np.int64]
    z: NDArray[np.float32] | None
    relevance: NDArray[np.float32] | None
    ended: bool  # there are no more

    def hits(self, positions: ranking.Positions, records: Mapping[int, Record]) -> list[Hit]:
        return [
            Hit(
                float(self.scores[i]),
                records[int(self.ids[i])],
                None if self.z is None else float(self.z[i]),
                None if self.relevance is None else float(self.relevance[i]),
            )
            for i in positions
        ]


def _nearest(collection: Searchable, query: Query, q: Vector, among: Selection | None, k: int) -> _Candidates:
    """Stages 1 and 2: the best k candidates or a few more; fewer if the list ends before."""
    excluded = np.unique(np.asarray(query.exclude, np.int64))
    fetch = k + len(excluded)
    scores, ids = collection.nearest(q, fetch, query.modality, among)
    ended = len(ids) < fetch
    if len(excluded):
        others = ~np.isin(ids, excluded)
        scores, ids = scores[others], ids[others]
    z, relevance, end = None, None, len(ids)
    calibration = collection.calibration(query.modality)
    if calibration is not None and len(ids):
        first = scores[:COPIES]
        if among is not None or not (query.text or ended or len(first) == COPIES):
            first, at = collection.nearest(q, COPIES + len(excluded), query.modality, None)
            first = first[~np.isin(at, excluded)][:COPIES]
        z, relevance, relevant = calibration.judge(q, scores, best=_best(first, query.text), text=query.text)
        end = relevant if query.cutoff else end
    if query.score_threshold is not None:
        end = min(end, int(np.count_nonzero(scores >= np.float32(query.score_threshold))))
    ended = ended or end < len(ids)
    z, relevance = (None if values is None else values[:end] for values in (z, relevance))
    return _Candidates(scores[:end], ids[:end], z, relevance, ended)


def _best(first: NDArray[np.float32], text: bool) -> float:
    """The score that relevance is measured from, of the first hits in the whole collection, the query itself aside."""
    others = first[first < COPY]  # a copy of the image that was asked with says nothing of the others
    return float(first[0] if text or not len(others) else others[0]) if len(first) else 0.0


def _kept(collection: Searchable, query: Query, found: _Candidates) -> ranking.Positions:
    """Stages 3 and 4."""
    kept = np.arange(len(found.ids))
    if query.collapse is not None:
        kept = ranking.collapse(collection.vectors(found.ids, query.modality), query.collapse)
    if query.group_by is not None:
        ids = found.ids[kept]
        records = _records(collection, ids)
        keys = [_group_key(records[int(key)].metadata, query.group_by) for key in ids]
        kept = kept[ranking.group(keys, query.group_size)]
    return kept


def _group_key(value: Any, path: str) -> str | None:
    """What stands at a dotted path, as JSON text; None if nothing does. Of a list the first element counts."""
    while isinstance(value, list):
        value = next(iter(value), None)
    if not path:
        return None if value is None else json.dumps(value, sort_keys=True)
    if not isinstance(value, Mapping):
        return None
    if path in value:
        return _group_key(value[path], "")
    head, _, rest = path.partition(".")
    if head.endswith("[]"):  # as filters may have it
        return _group_key(value.get(head[:-2]), rest)
    return _group_key(value.get(head), rest) if rest else None


def _records(collection: Searchable, ids: NDArray[np.int64]) -> dict[int, Record]:
    records = collection.records_of(ids.tolist())
    if len(records) < len(ids):
        raise EntryNotFound("an entry was deleted meanwhile")
    return records


def _check(field: str, right: bool, allowed: str, given: object) -> None:
    if not right:
        raise InputError(f"{field}: must be {allowed}, not {given!r}")
