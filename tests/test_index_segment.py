import gc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.errors import EntryNotFound
from index.config import IndexConfig
from index.local.vectors import ann
from index.local.vectors import segment as segments
from index.local.vectors.ann import FlatRows
from index.local.vectors.segment import RowMask, Segment
from index.local.vectors.tuning import build
from index.local.vectors.view import View
from index.rows import unit_rows

DIM = 8


def random_rows(n, seed=0):
    return unit_rows(np.random.default_rng(seed).standard_normal((n, DIM)), DIM).astype(np.float16)


def flat(ids, x16):
    return Segment(np.array(ids, np.int64), FlatRows.of([x16], DIM))


def brute(ids, x16, q, k, allowed=None):
    """The k best by score, equal scores by id, computed one by one."""
    scored = [
        (-float(np.einsum("ij,j->i", x16[i : i + 1].astype(np.float32), q)[0]), key)
        for i, key in enumerate(ids)
        if allowed is None or key in allowed
    ]
    return [key for _, key in sorted(scored)[:k]]


@pytest.fixture(scope="module")
def few_are_many():
    """A product already for some queries, in blocks of a few rows, so that small segments have several."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments, "BATCH", 16)
        patch.setattr(ann, "BLOCK", 7)
        yield


@pytest.mark.usefixtures("few_are_many")
@pytest.mark.parametrize("nq", [1, 30])  # two ways of searching
@given(data=st.data())
def test_a_search_is_what_comparing_all_gives(nq, data):
    n = data.draw(st.integers(1, 60))
    x16 = random_rows(n)
    for copy in data.draw(st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=40)):
        x16[copy[0]] = x16[copy[1]]  # ties
    ids = np.cumsum(data.draw(st.lists(st.integers(1, 40), min_size=n, max_size=n)))
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    k = data.draw(st.integers(1, n + 3))
    segment = flat(ids, x16)
    xq = random_rows(nq, seed=1).astype(np.float32)
    for rows, allowed in ((None, None), (RowMask(mask), set(ids[mask]))):
        for q, (scores, found) in zip(xq, segment.search(xq, k, rows), strict=True):
            assert found.tolist() == brute(ids, x16, q, k, allowed)
            assert (np.diff(scores) <= 0).all()


def test_few_chosen_of_many_are_found_exactly():
    x16 = random_rows(5000)
    ids = np.arange(1, 5001) * 3
    segment = flat(ids, x16)
    q = random_rows(1, seed=2).astype(np.float32)
    for count in (1, 11, 12, 13, 300):  # 12 is GATHER_SHARE of them
        mask = np.zeros(5000, bool)
        mask[np.random.default_rng(count).choice(5000, count, replace=False)] = True
        assert segment.search(q, 5, RowMask(mask))[0][1].tolist() == brute(ids, x16, q[0], 5, set(ids[mask]))


@given(
    ids=st.sets(st.integers(1, 300), min_size=1, max_size=80),
    asked=st.sets(st.integers(1, 320), max_size=80),
    far=st.booleans(),
)
def test_mask_and_locate_know_which_ids_are_here(ids, asked, far):
    here = sorted(ids) + ([10**12] if far else [])  # so far apart that no table of ids is made
    segment = flat(here, random_rows(len(here)))
    asked = np.array(sorted(asked), np.int64)
    assert segment.mask_of(asked).tolist() == [key in asked for key in here]
    mask, positions = segment.locate(asked)
    assert mask.tolist() == [key in here for key in asked]
    assert [here[i] for i in positions] == [key for key in asked if key in here]


@given(
    st.lists(st.tuples(st.sets(st.integers(1, 60), max_size=8), st.sets(st.integers(1, 60), max_size=12)), max_size=12),
    st.integers(0, 99),
)
def test_a_view_is_what_its_changes_left(steps, seed):
    """Rows come, are replaced and go; the segments merge; what is found is what a plain table would give."""
    view, table = View(DIM), {}
    for i, (gone, written) in enumerate(steps):
        ids = np.array(sorted(written), np.int64)
        x16 = random_rows(len(ids), seed=seed * 100 + i) if len(ids) else np.empty((0, DIM), np.float16)
        before = view
        was = before.ids().tolist()
        view = view.changed(np.array(sorted(gone - written), np.int64), [(ids[::-1], x16[::-1])])
        assert before.ids().tolist() == was  # a search that runs meanwhile sees its own moment
        for key in gone - written:
            table.pop(key, None)
        table |= dict(zip(ids.tolist(), x16, strict=True))
    keys = sorted(table)
    assert view.count == len(keys)
    assert view.ids().tolist() == keys
    assert len(view.parts) <= 2 + np.log2(max(len(keys), 1))
    if keys:
        x16 = np.stack([table[key] for key in keys])
        q = random_rows(1, seed=seed).astype(np.float32)
        assert view.search(q, 7)[0][1].tolist() == brute(keys, x16, q[0], 7)
        some = np.array(keys[::2], np.int64)
        assert view.search(q, 7, some)[0][1].tolist() == brute(keys, x16, q[0], 7, set(keys[::2]))
        assert (view.vectors(some) == x16[::2]).all()
        ids, x = view.sample(5)
        assert len(ids) == min(5, len(keys))
        assert (x == view.vectors(ids)).all()
    else:
        assert view.search(random_rows(1).astype(np.float32), 3)[0][1].tolist() == []
    with pytest.raises(EntryNotFound):
        view.vectors(np.array([61]))


@pytest.mark.usefixtures("few_are_many")
@given(
    steps=st.lists(
        st.tuples(st.sets(st.integers(1, 60), max_size=8), st.sets(st.integers(1, 60), max_size=12)), max_size=8
    ),
    among=st.none() | st.sets(st.integers(1, 60)),
    k=st.integers(1, 20),
)
def test_many_queries_find_what_each_finds_alone_bit_for_bit(steps, among, k):
    """In fresh segments, with dead rows, with a filter."""
    view = View(DIM)
    for i, (gone, written) in enumerate(steps):
        x16 = random_rows(max(len(written), 1), seed=i // 2)[: len(written)]  # copies in other segments
        view = view.changed(np.array(sorted(gone - written), np.int64), [(np.array(sorted(written), np.int64), x16)])
    ids = None if among is None else np.array(sorted(among), np.int64)
    xq = random_rows(40, seed=9).astype(np.float32)
    together = view.search(xq, k, ids)
    assert len(together) == 40
    for q, (scores, found) in zip(xq, together, strict=True):
        ((alone, its),) = view.search(q[None], k, ids)
        assert found.tolist() == its.tolist()
        assert scores.tolist() == alone.tolist()


@pytest.mark.parametrize("kind", ["ivf-rabitq", "ivf-sq8", "hnsw-sq8"])
def test_many_queries_of_codes_find_what_each_finds_alone(kind, monkeypatch):
    """By codes, by codes until the best no longer change, and by a product where that is faster for many."""
    monkeypatch.setattr(segments, "FILTERED_ROWS", 100)
    monkeypatch.setattr(segments, "BATCH", 16)
    monkeypatch.setattr(segments, "HELD", 1000)  # candidates of a few queries
    n = 6000
    indexed = build(np.arange(n) * 2, FlatRows.of([random_rows(n)], DIM), IndexConfig(kind, 0.7))
    assert indexed.tuning.kind == kind
    xq = random_rows(40, seed=5).astype(np.float32)
    exact = Segment(indexed.ids, indexed.rows)
    some = np.random.default_rng(0).random(n) < 0.4
    for mask in (None, RowMask(np.arange(n) % 50 > 0), RowMask(some, filtered=True)):
        alone = [indexed.search(q[None], 10, mask)[0] for q in xq]
        with monkeypatch.context() as patch:
            patch.setattr(segments, "PRODUCT_SHARE", 0)  # no product
            for (scores, ids), (its, own) in zip(indexed.search(xq, 10, mask), alone, strict=True):
                assert (ids.tolist(), scores.tolist()) == (own.tolist(), its.tolist())
    truth = exact.search(xq, 10, mask)
    by_product = indexed.search(xq, 10, mask)
    assert (by_product.ids == truth.ids).all()
    assert (by_product.scores == truth.scores).all()


@pytest.mark.usefixtures("few_are_many")
def test_where_all_tie_the_first_by_id_are_found(monkeypatch):
    """However many queries ask, and with no more candidates in memory at a time than a few of them have."""
    monkeypatch.setattr(segments, "HELD", 400)
    x16 = np.repeat(random_rows(1), 300, axis=0)
    for nq in (1, 40):
        for scores, ids in flat(np.arange(300) + 5, x16).search(np.repeat(x16[:1].astype(np.float32), nq, axis=0), 3):
            assert ids.tolist() == [5, 6, 7]
            assert len(set(scores.tolist())) == 1


def test_a_row_scores_the_same_however_it_is_found(monkeypatch):
    monkeypatch.setattr(segments, "BATCH", 16)
    x16 = random_rows(3000)
    segment = flat(np.arange(3000), x16)
    q = random_rows(40, seed=3).astype(np.float32)
    at_once = segment.search(q, 20)
    one_by_one = [segment.search(q[i : i + 1], 20)[0] for i in range(40)]
    everything = RowMask(np.arange(3000) != 2999)
    filtered = [segment.search(q[i : i + 1], 20, everything)[0] for i in range(40)]
    monkeypatch.setattr(segments, "GATHER_SHARE", 1)
    gathered = [segment.search(q[i : i + 1], 20, everything)[0] for i in range(40)]
    for answers in (one_by_one, filtered, gathered):
        for (scores, ids), (other_scores, other_ids) in zip(at_once, answers, strict=True):
            here, there = np.isin(ids, other_ids), np.isin(other_ids, ids)
            assert here.sum() >= 19  # one filter leaves out one row
            assert (ids[here] == other_ids[there]).all()
            assert (scores[here] == other_scores[there]).all()


def test_a_view_of_rows_holds_their_memory():
    x16 = random_rows(50_000)
    rows = FlatRows.of([x16], DIM).x16  # nobody else holds the index
    gc.collect()
    assert (rows == x16).all()
