"""How the hits of a search are chosen. Storage and neighbours are the collection's.

Stages, in this order, whatever is asked:

1. the entries of `modality` that pass `filter`, without those in `exclude`, nearest first;
2. the list ends at `score_threshold`, and where relevance ends if `cutoff` is "auto"; one that says nothing at once;
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
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from base.errors import CollectionError, EntryNotFound, GlimpseError, InputError, ModelMismatch, NotInStore
from index.entry import MODALITIES, Hit, Modality, Record
from index.rows import unit_rows
from index.search import ranking
from index.search.calibration import Judgement
from index.search.filters import Filter, parse_filter
from index.search.patience import FilterTooSlow
from index.search.query import Query
from index.search.searchable import Readable, Searchable, Selection, Vector

OVERFETCH = 4  # candidates a hit wanted, where some are dropped; also how much further each next look goes
JUDGED = 1000  # candidates among which the end of relevance is looked for: a number that no page changes
POOL = 200  # hits that diversity orders: a number that no page changes
DEEPEST = 20_000
ATTEMPTS = 5
COPIES = 10  # hits looked at for one that is not
COPY = 0.99  # the query's own picture, perhaps scaled or saved again


def run(readable: Readable, query: Query) -> list[Hit]:
    """The page of hits that `query` asks for; shorter only where its list ends.

    Raises:
        InputError: the vector has not the collection's length, or the filter cannot be read.
        FilterTooSlow, GivenUp: the query's `patience` is over.
        ModelMismatch: the collection is not, or no longer, of the model with the query's `fingerprint`.
        CollectionError: entries are deleted faster than they can be looked at.
    """
    [answer] = run_each(readable, [query])
    if isinstance(answer, GlimpseError):
        raise answer
    return answer


def run_each(readable: Readable, queries: Sequence[Query]) -> list[list[Hit] | GlimpseError]:
    """The page of each query, all of one moment: as `run`, and faster than that for each.

    Those that look equally deep into the same entries are searched for together. A query that `run` would refuse has
    the error in its place, and the others are answered.

    Raises:
        InputError: a vector is all zeros, or not of finite numbers.
        GivenUp: nobody waits for it any more.
        CollectionError: entries are deleted faster than they can be looked at.
    """
    passing = [_parsed(query) for query in queries]
    for _ in range(ATTEMPTS):
        view = readable.read_view()
        looks = _looks(view, queries, passing)
        try:
            pages = iter(_pages(view, [look for look in looks if isinstance(look, _Look)]))
        except EntryNotFound:
            continue  # a candidate was deleted meanwhile: search again for who takes its place
        return [next(pages) if isinstance(look, _Look) else look for look in looks]
    raise CollectionError("entries are deleted faster than this search can look at them: try again")


def _parsed(query: Query) -> Filter | InputError | None:
    try:
        return None if query.filter is None else parse_filter(query.filter)
    except InputError as error:
        return error


@dataclass(slots=True, eq=False)
class _Look:
    """A query, and how far its list has been looked at."""

    query: Query
    q: Vector  # (dim,), unit
    among: Selection | None
    excluded: NDArray[np.int64]
    needed: int = field(init=False)  # hits that are to be left after stage 4
    k: int = field(init=False)  # candidates to look at

    def __post_init__(self) -> None:
        query = self.query
        wanted = query.offset + query.limit
        self.needed = max(wanted, POOL) if query.diversity else wanted
        if query.cutoff:
            self.k = JUDGED
        elif query.collapse is not None or query.group_by is not None:
            self.k = min(OVERFETCH * self.needed, DEEPEST)
        else:
            self.k = self.needed


def _looks(
    view: Searchable, queries: Sequence[Query], passing: Sequence[Filter | InputError | None]
) -> list[_Look | GlimpseError]:
    found: dict[tuple[str, Modality], Selection | GlimpseError] = {}
    looks: list[_Look | GlimpseError] = []
    sound = [_problem(view, query, wanted) for query, wanted in zip(queries, passing, strict=True)]
    directions = iter(_unit([query for query, problem in zip(queries, sound, strict=True) if not problem], view.dim))
    for query, wanted, problem in zip(queries, passing, sound, strict=True):
        if problem:
            looks.append(problem)
            continue
        q, among = next(directions), None
        if isinstance(wanted, Filter):
            key = repr(wanted), query.modality  # 1 and True are equal, and not the same
            if key not in found:
                found[key] = _selection(view, wanted, query)
            among = found[key]
            if isinstance(among, GlimpseError):
                looks.append(among)
                continue
        looks.append(_Look(query, q, among, np.unique(np.asarray(query.exclude, np.int64))))
    return looks


def _problem(view: Searchable, query: Query, wanted: Filter | InputError | None) -> GlimpseError | None:
    """Why a query cannot be asked of this view."""
    if isinstance(wanted, InputError):
        return wanted
    try:
        if query.fingerprint is not None:
            view.check_model(query.fingerprint)
    except ModelMismatch as error:
        return error
    if np.shape(query.vector) != (view.dim,):
        return InputError(f"vector: must have the collection's {view.dim} values, not {np.size(query.vector)}")
    return None


def _selection(view: Searchable, wanted: Filter, query: Query) -> Selection | GlimpseError:
    try:
        return view.select(wanted, query.modality, query.patience)
    except (FilterTooSlow, NotInStore) as error:
        return error


def _unit(queries: Sequence[Query], dim: int) -> Vector:
    return unit_rows(np.array([query.vector for query in queries]).reshape(-1, dim), dim)


def _pages(view: Searchable, looks: Sequence[_Look]) -> list[list[Hit]]:
    """Stages 1 to 6 for each: a round looks deeper for those whose page is not full yet."""
    done: dict[_Look, tuple[_Candidates, ranking.Positions]] = {}
    left = list(looks)
    while left:
        deeper = []
        for look, found in zip(left, _nearest(view, left), strict=True):
            kept = _kept(view, look.query, found)
            if len(kept) >= look.needed or found.ended or look.k == DEEPEST:
                done[look] = found, _page(view, look.query, found, kept)
            else:
                look.k = min(OVERFETCH * look.k, DEEPEST)
                deeper.append(look)
        left = deeper
    pages = [done[look] for look in looks]
    if not pages:
        return []
    records = _records(view, np.unique(np.concatenate([found.ids[page] for found, page in pages])))
    return [found.hits(page, records) for found, page in pages]


def _page(view: Searchable, query: Query, found: _Candidates, kept: ranking.Positions) -> ranking.Positions:
    """Stages 5 and 6."""
    wanted = query.offset + query.limit
    if query.diversity:
        pool = kept[:POOL]
        x = view.vectors(found.ids[pool], query.modality)
        order = ranking.mmr(found.scores[pool], x, query.diversity, wanted)
        kept = np.concatenate([pool[order], kept[POOL:]])
    return kept[query.offset : wanted]


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


class _List(NamedTuple):
    """What a query found, best first."""

    scores: NDArray[np.float32]
    ids: NDArray[np.int64]
    ended: bool  # there are no more


def _nearest(view: Searchable, looks: Sequence[_Look]) -> list[_Candidates]:
    """Stages 1 and 2 of each: the best k candidates or a few more; fewer if the list ends before."""
    lists = _searched(view, looks, [(look.k + len(look.excluded), look.among) for look in looks])
    judgements = _judged(view, looks, lists)
    found = []
    for look, (scores, ids, ended), judged in zip(looks, lists, judgements, strict=True):
        end = judged.cut if judged and look.query.cutoff else len(ids)
        if look.query.says_nothing:
            end = 0 if look.query.cutoff else end
            judged = judged and judged._replace(relevance=np.zeros_like(judged.relevance))
        if look.query.score_threshold is not None:
            end = min(end, int(np.count_nonzero(scores >= np.float32(look.query.score_threshold))))
        z, relevance = (judged.z[:end], judged.relevance[:end]) if judged else (None, None)
        found.append(_Candidates(scores[:end], ids[:end], z, relevance, ended or end < len(ids)))
    return found


def _searched(view: Searchable, looks: Sequence[_Look], asked: Sequence[tuple[int, Selection | None]]) -> list[_List]:
    """Of each, `asked` for so many of a selection: scores, ids, whether that is all; without those excluded."""
    alike: dict[tuple[Modality, int, int], list[int]] = {}
    for i, (look, (fetch, among)) in enumerate(zip(looks, asked, strict=True)):
        alike.setdefault((look.query.modality, fetch, id(among)), []).append(i)
    answers: dict[int, _List] = {}
    for (modality, fetch, _), those in alike.items():
        found = view.nearest(np.stack([looks[i].q for i in those]), fetch, modality, asked[those[0]][1])
        for i, (scores, ids) in zip(those, found, strict=True):
            ended = len(ids) < fetch
            if len(looks[i].excluded):
                others = ~np.isin(ids, looks[i].excluded)
                scores, ids = scores[others], ids[others]
            answers[i] = _List(scores, ids, ended)
    return [answers[i] for i in range(len(looks))]


def _judged(view: Searchable, looks: Sequence[_Look], lists: Sequence[_List]) -> list[Judgement | None]:
    """What is said of the hits of each; None where there are none, or the collection is too small."""
    judgements: list[Judgement | None] = [None] * len(looks)
    for modality in MODALITIES:
        those = [i for i, look in enumerate(looks) if look.query.modality == modality and len(lists[i].ids)]
        calibration = view.calibration(modality) if those else None
        if calibration is None:
            continue
        firsts = {i: lists[i].scores[:COPIES] for i in those}
        again = [i for i in those if looks[i].among is not None or not _tells_best(looks[i].query, lists[i])]
        asked = [(COPIES + len(looks[i].excluded), None) for i in again]
        for i, found in zip(again, _searched(view, [looks[i] for i in again], asked), strict=True):
            firsts[i] = found.scores[:COPIES]
        text = [looks[i].query.text for i in those]
        judged = calibration.judge_many(
            np.stack([looks[i].q for i in those]),
            [lists[i].scores for i in those],
            text=text,
            best=[_best(firsts[i], is_text) for i, is_text in zip(those, text, strict=True)],
        )
        for i, judgement in zip(those, judged, strict=True):
            judgements[i] = judgement
    return judgements


def _tells_best(query: Query, found: _List) -> bool:
    """Whether a list of the whole collection shows the first hit that is no copy, or that there is none."""
    return query.text or found.ended or len(found.scores) >= COPIES


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
