"""Searches with everything that may be asked, against the plainest way to make the same list; and pages of them."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from base.errors import CollectionError, EntryNotFound, InputError
from index.entry import Record
from index.search import ranking, stages
from index.search.calibration import Judgement
from index.search.filters import parse_filter
from index.search.query import Query, mix
from index.search.stages import run, run_each

DIM = 6


class Shelf:
    """A collection in its simplest form: rows in memory. A filter is one match, and a selection a set of ids."""

    dim = DIM

    def __init__(self, x, metadata, calibrated=False):
        self.rows = dict(enumerate(x, start=1))
        self.metadata = dict(enumerate(metadata, start=1))
        self.calibrated = calibrated
        self.looked = []  # k of each search

    def nearest(self, xq, k, modality, among):
        self.looked.append(k)
        among = np.array(sorted(set(self.rows) if among is None else set(self.rows) & among), np.int64)
        for vector in xq:
            scores = np.array([self.rows[key] @ vector for key in among.tolist()], np.float32)
            order = np.lexsort((among, -scores))[:k]
            yield scores[order], among[order]

    def select(self, filter, modality, patience=None):  # noqa: A002
        (match,) = filter.must
        return {key for key in self.rows if self.metadata[key].get(match.key) in match.values}

    def read_view(self):
        return self

    def vectors(self, ids, modality):
        if not set(ids) <= set(self.rows):
            raise EntryNotFound("gone")
        return np.array([self.rows[key] for key in ids], np.float32).reshape(len(ids), DIM)

    def records_of(self, ids):
        rest = [None] * 7
        return {key: Record(key, "image", None, None, self.metadata[key], *rest[2:]) for key in ids if key in self.rows}

    def calibration(self, modality):
        return SimpleNamespace(judge_many=judge_many) if self.calibrated else None


def judge_many(xq, lists, *, best, text):
    """Relevant is what scores half as much as can be."""
    assert len(xq) == len(lists) == len(best) == len(text)
    assert all((np.diff(scores) <= 0).all() for scores in lists)
    return [Judgement(scores * 10, np.clip(scores, 0, 1), int((scores >= 0.5).sum())) for scores in lists]


def unit(rng, n, dim=DIM):
    x = rng.standard_normal((n, dim))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def shelf_of(n, seed=0, calibrated=False, spread=0.3):
    """Rows around a few directions; three of four have a colour."""
    rng = np.random.default_rng(seed)
    x = unit(rng, 5)[rng.integers(0, 5, n)] + spread * unit(rng, n)
    x[::4] = x[0:1]  # copies
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    colours = rng.choice(["red", "green", "blue", None], n).tolist()
    return Shelf(x, [{"colour": colour} if colour else {} for colour in colours], calibrated)


def whole_list(shelf, query):
    """Every stage on every entry; ids in order."""
    q = query.vector / np.linalg.norm(query.vector)
    among = None if query.filter is None else shelf.select(parse_filter(query.filter), query.modality)
    ((scores, ids),) = Shelf.nearest(shelf, q[None].astype(np.float32), len(shelf.rows), query.modality, among)
    keep = [key not in query.exclude for key in ids]
    scores, ids = scores[keep], ids[keep]
    if query.score_threshold is not None:
        ids, scores = ids[scores >= query.score_threshold], scores[scores >= query.score_threshold]
    if query.cutoff and shelf.calibrated:
        ids, scores = ids[scores >= 0.5], scores[scores >= 0.5]
    if query.collapse is not None:
        kept = ranking.collapse(shelf.vectors(ids.tolist(), "image"), query.collapse)
        ids, scores = ids[kept], scores[kept]
    if query.group_by is not None:
        kept = ranking.group([shelf.metadata[key].get(query.group_by) for key in ids.tolist()], query.group_size)
        ids, scores = ids[kept], scores[kept]
    if query.diversity:
        pool = stages.POOL
        order = ranking.mmr(scores[:pool], shelf.vectors(ids[:pool].tolist(), "image"), query.diversity, pool)
        ids = np.concatenate([ids[:pool][order], ids[pool:]])
    return ids.tolist()


RED = {"must": [{"key": "colour", "match": {"value": "red"}}]}

asked = st.fixed_dictionaries(
    {},
    optional={
        "filter": st.just(RED),
        "score_threshold": st.sampled_from([-0.5, 0.1, 0.6]),
        "cutoff": st.just("auto"),
        "group_by": st.just("colour"),
        "group_size": st.integers(1, 3),
        "collapse": st.sampled_from([0.8, 0.97, 1.0]),
        "diversity": st.sampled_from([0.2, 0.8, 1.0]),
        "exclude": st.lists(st.integers(1, 50), max_size=5),
    },
)


@settings(deadline=None)
@given(asked, st.integers(0, 80), st.integers(0, 9), st.booleans(), st.integers(1, 20))
def test_every_page_is_cut_out_of_the_one_list(fields, n, seed, calibrated, limit):
    shelf = shelf_of(n, seed, calibrated)
    vector = 3 * np.random.default_rng(seed + 100).standard_normal(DIM).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        for name, small in (("JUDGED", 4), ("POOL", 12), ("OVERFETCH", 2)):  # so that eighty rows are many
            patch.setattr(stages, name, small)
        expected = whole_list(shelf, Query(vector, **fields))
        for offset in range(0, len(expected) + 1, limit):
            hits = run(shelf, Query(vector, limit=limit, offset=offset, **fields))
            assert [hit.id for hit in hits] == expected[offset : offset + limit]
            for hit in hits:
                assert hit.record.metadata == shelf.metadata[hit.id]
                assert hit.score == pytest.approx(float(shelf.rows[hit.id] @ vector / np.linalg.norm(vector)), abs=1e-5)
                assert hit.z == (pytest.approx(10 * hit.score, abs=1e-4) if calibrated else None)
                assert hit.relevance == (pytest.approx(max(hit.score, 0)) if calibrated else None)


@settings(deadline=None)
@given(st.lists(asked, max_size=6), st.integers(0, 80), st.integers(0, 9), st.booleans(), st.integers(1, 20))
def test_many_queries_get_the_pages_that_each_gets_alone(each, n, seed, calibrated, limit):
    shelf = shelf_of(n, seed, calibrated)
    vectors = np.random.default_rng(seed).standard_normal((len(each), DIM)).astype(np.float32)
    queries = [
        Query(v, limit=limit, offset=i % 2, **fields) for i, (v, fields) in enumerate(zip(vectors, each, strict=True))
    ]
    with pytest.MonkeyPatch.context() as patch:
        for name, small in (("JUDGED", 4), ("POOL", 12), ("OVERFETCH", 2)):
            patch.setattr(stages, name, small)
        assert run_each(shelf, queries) == [run(shelf, query) for query in queries]


def test_many_queries_of_one_kind_are_one_search_and_one_look_at_records(monkeypatch):
    shelf, looks = shelf_of(100, calibrated=True), []
    records_of = shelf.records_of
    monkeypatch.setattr(shelf, "records_of", lambda ids: looks.append(ids) or records_of(ids))
    pages = run_each(shelf, [Query(q, filter=RED) for q in unit(np.random.default_rng(0), 50)])
    assert len(pages) == 50
    assert (len(shelf.looked), len(looks)) == (2, 1)  # with the filter, and without for what is the best of all
    for ask in (run, lambda shelf, query: run_each(shelf, [Query(np.ones(DIM)), query])):
        with pytest.raises(InputError, match="vector"):
            ask(shelf, Query(np.zeros(DIM)))
    page, refused = run_each(shelf, [Query(np.ones(DIM)), Query(np.ones(DIM + 1))])
    assert page == run(shelf, Query(np.ones(DIM)))
    assert isinstance(refused, InputError)
    with pytest.raises(InputError, match="vector"):
        run(shelf, Query(np.ones(DIM + 1)))


def test_a_plain_query_fetches_no_more_than_its_page():
    shelf = shelf_of(100)
    run(shelf, Query(unit(np.random.default_rng(1), 1)[0], limit=5, offset=10, exclude=[3, 3, 4]))
    assert sum(shelf.looked) <= 15 + 2  # the page, those before it, and those left out


def test_it_looks_on_until_the_page_is_full():
    x = np.tile(np.eye(DIM, dtype=np.float32)[0], (3000, 1))
    x[-3:] = np.eye(DIM, dtype=np.float32)[1:4]
    shelf = Shelf(x, [{}] * len(x))
    for fields in ({"collapse": 0.9}, {"collapse": 0.9, "diversity": 0.5}, {"collapse": 0.9, "cutoff": "auto"}):
        hits = run(shelf, Query(np.eye(DIM)[0] + 0.1, limit=4, **fields))
        assert {hit.id for hit in hits} == {1, 2998, 2999, 3000}
    assert sum(shelf.looked) <= 3 * 4 * len(x)  # going on costs no more than a few looks at all


def test_it_looks_no_deeper_than_it_says(monkeypatch):
    monkeypatch.setattr(stages, "DEEPEST", 50)
    x = np.tile(np.eye(DIM, dtype=np.float32)[0], (100, 1))
    x[-1] = np.eye(DIM)[1]
    shelf = Shelf(x, [{}] * len(x))
    hits = run(shelf, Query(np.eye(DIM)[0], collapse=0.9, limit=3))
    assert ([hit.id for hit in hits], max(shelf.looked)) == ([1], 50)


class Shrinking(Shelf):
    """Another process deletes the nearest entry between a search and the look at its records or vectors."""

    def __init__(self, shelf, times, at):
        super().__init__(shelf.rows.values(), shelf.metadata.values())
        self.times, self.at = times, at

    def shrink(self, at, ids):
        if at == self.at and self.times:
            self.times -= 1
            del self.rows[ids[0]]

    def records_of(self, ids):
        self.shrink("records", ids)
        return super().records_of(ids)

    def vectors(self, ids, modality):
        self.shrink("vectors", ids)
        return super().vectors(ids, modality)


@pytest.mark.parametrize(
    "fields", [{}, {"collapse": 0.999}, {"group_by": "colour", "group_size": 50}, {"diversity": 0.4}]
)
def test_entries_deleted_meanwhile_do_not_shorten_a_page(fields):
    vector = unit(np.random.default_rng(2), 1)[0]
    for at, times in itertools.product(("records", "vectors"), (1, 4)):
        shelf = Shrinking(shelf_of(60), times, at)
        hits = run(shelf, Query(vector, limit=8, **fields))
        assert [hit.id for hit in hits] == whole_list(shelf, Query(vector, **fields))[:8]
    with pytest.raises(CollectionError, match="try again"):
        run(Shrinking(shelf_of(60), 100, "records"), Query(vector, limit=8, **fields))


def test_groups_are_found_by_a_dotted_key():
    metadata = [
        {"product": {"id": 1}}, {"product": {"id": 1.5}}, {"product": {"id": True}}, {"product.id": 1},
        {"product": [{"id": [1, 2]}, {"id": 3}]}, {"product": {"id": None}}, {"product": "1"}, {"product": {"id": []}},
        {}, {"product": {"id": {"b": 1, "a": 2}}}, {"product": {"id": {"a": 2, "b": 1}}}, {"product": {"id": "1"}},
    ]  # fmt: skip
    shelf = Shelf([np.eye(DIM, dtype=np.float32)[0]] * len(metadata), metadata)
    hits = run(shelf, Query(np.eye(DIM)[0], group_by="product.id", limit=100))
    assert [hit.id for hit in hits] == [1, 2, 3, 6, 7, 8, 9, 10, 12]
    nested = run(shelf, Query(np.eye(DIM)[0], group_by="no.such.key", limit=100))
    assert len(nested) == len(metadata)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("limit", [0, 1001, -1]),
        ("offset", [-1, 10_001]),
        ("modality", ["sound"]),
        ("cutoff", ["never", ""]),
        ("group_by", [""]),
        ("group_size", [0]),
        ("collapse", [0, -0.5, 1.01, float("nan")]),
        ("diversity", [-0.1, 1.1, float("nan")]),
        ("score_threshold", [2, float("nan")]),
    ],
)
def test_a_wrong_value_is_named_with_its_field(field, values):
    for value in values:
        with pytest.raises(InputError, match=rf"^{field}: must be "):
            Query(np.ones(DIM), **{field: value})


@pytest.mark.parametrize("vector", [np.ones(DIM + 1), np.ones((1, DIM)), np.zeros(DIM), np.full(DIM, np.nan)])
def test_a_vector_that_cannot_be_compared_is_refused(vector):
    with pytest.raises(InputError, match="vector"):
        run(shelf_of(3), Query(vector))


# --- mixing ---


def test_a_mix_is_the_weighted_sum_of_unit_vectors():
    a, b, c = unit(np.random.default_rng(0), 3)
    mixed = mix([5 * a, b, 0.1 * c], [1, 0.5, -0.7])
    expected = a + 0.5 * b - 0.7 * c
    np.testing.assert_allclose(mixed, expected / np.linalg.norm(expected), atol=1e-6)
    assert mixed.dtype == np.float32
    np.testing.assert_allclose(mix([a], [3]), a, atol=1e-6)
    np.testing.assert_allclose(mix([a, b], [1e-30, 1e-30]), mix([a, b], [1, 1]), atol=1e-6)


def test_a_negative_part_leads_away_from_it():
    a, b = unit(np.random.default_rng(3), 2)
    assert mix([a, b], [1, -0.5]) @ b < a @ b


@pytest.mark.parametrize("weights", [[1, -1], [0, 0], [-1, -2], [1, float("nan")], [float("inf"), 1], []])
def test_a_mix_that_leaves_nothing_is_refused(weights):
    a = np.ones(DIM)
    with pytest.raises(InputError, match=r"^query: "):
        mix([a] * len(weights), weights)
