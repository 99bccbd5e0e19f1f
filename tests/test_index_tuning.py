import numpy as np
import pytest

from base.errors import InputError
from index.config import INDEX_KINDS, IndexConfig
from index.local.vectors import segment as segments
from index.local.vectors import tuning
from index.local.vectors.ann import CoarseIndex, FlatRows
from index.local.vectors.segment import RowMask
from index.local.vectors.tuning import build, choose, factory
from index.rows import unit_rows

DIM = 32


@pytest.fixture(scope="module")
def world():
    """12,000 rows in 300 clumps, as embeddings stand in clumps; ids with gaps."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((300, DIM))
    x = unit_rows(centres[rng.integers(300, size=12_000)] + 0.6 * rng.standard_normal((12_000, DIM)), DIM)
    q = unit_rows(centres[rng.integers(300, size=300)] + 0.6 * rng.standard_normal((300, DIM)), DIM)
    return np.arange(12_000) * 2 + 1, FlatRows.of([x.astype(np.float16)], DIM), q


def recall(found, truth):
    return np.mean(
        [len(set(a.tolist()) & set(b.tolist())) / len(b) for (_, a), (_, b) in zip(found, truth, strict=True)]
    )


def test_exact_while_it_is_fast_enough_then_what_is_wished():
    assert choose(100_000, IndexConfig()) == "exact"
    assert choose(100_001, IndexConfig()) == "ivf-rabitq"
    assert choose(500, IndexConfig("hnsw-sq8")) == "hnsw-sq8"
    assert choose(50, IndexConfig("ivf-sq8")) == "exact"  # nothing to measure on
    assert choose(10**7, IndexConfig("exact")) == "exact"
    for config in ({"kind": "ivf"}, {"recall": 0.2}, {"recall": 1.1}):
        with pytest.raises(InputError, match="index"):
            IndexConfig(**config)


def test_the_factory_string_fits_the_number_of_rows_and_the_dimension():
    assert factory("ivf-rabitq", 1_000_000, 512) == "IVF2048,RaBitQ"
    assert factory("ivf-sq8", 200, 512) == "IVF3,SQ8"
    assert factory("ivf-pq", 1_000_000, 512) == "IVF2048,PQ64np"
    assert factory("ivf-pq", 1_000_000, 30) == "IVF2048,PQ3np"
    assert factory("ivf-pq", 1_000_000, 7) == "IVF2048,PQ1np"


@pytest.mark.parametrize("kind", [kind for kind in INDEX_KINDS if kind != "exact"])
def test_an_index_is_tuned_to_its_recall_and_reaches_it_on_other_queries(world, kind, monkeypatch):
    ids, rows, q = world
    monkeypatch.setattr(segments, "FILTERED_ROWS", 100)
    exact = build(ids, rows, IndexConfig("exact"))
    truth = exact.search(q, 10)
    low, high = (build(ids, rows, IndexConfig(kind, target)) for target in (0.7, 0.98))
    for segment, target in ((low, 0.7), (high, 0.98)):
        assert segment.tuning.kind == kind
        assert segment.tuning.recall >= target
        assert recall(segment.search(q, 10), truth) > target - 0.03
    # with a filter it finds what comparing all that pass finds
    chosen = RowMask(np.random.default_rng(1).random(len(ids)) < 0.3)
    assert recall(high.search(q, 10, chosen), exact.search(q, 10, chosen)) > 0.95


def test_a_trained_index_is_filled_again_until_it_has_grown_too_much(world, tmp_path):
    ids, rows, q = world
    some = FlatRows.of([rows.x16[:7000]], DIM)
    first = build(ids[:7000], some, IndexConfig("ivf-rabitq"))
    first.coarse.write(tmp_path / "a")
    again = build(ids, rows, IndexConfig("ivf-rabitq"), (CoarseIndex.trained(tmp_path / "a"), first.tuning))
    assert again.tuning.trained_rows == 7000
    assert recall(again.search(q, 10), build(ids, rows, IndexConfig("exact")).search(q, 10)) > 0.95
    little = FlatRows.of([rows.x16[:3000]], DIM)
    first = build(ids[:3000], little, IndexConfig("ivf-rabitq"))
    first.coarse.write(tmp_path / "b")
    again = build(ids, rows, IndexConfig("ivf-rabitq"), (CoarseIndex.trained(tmp_path / "b"), first.tuning))
    assert again.tuning.trained_rows == 12_000


def test_a_target_that_codes_do_not_reach_leaves_the_exact_search_unless_a_kind_is_wished(world, monkeypatch):
    ids, rows, _ = world
    monkeypatch.setattr(tuning, "FACTORS", (2,))
    monkeypatch.setattr(tuning, "EXACT_ROWS", 1000)
    assert build(ids, rows, IndexConfig("auto", 1.0)).tuning is None
    wished = build(ids, rows, IndexConfig("ivf-rabitq", 1.0)).tuning
    assert wished.target == 1.0
    assert 0.3 < wished.recall < 1.0


@pytest.mark.parametrize("kind", [kind for kind in INDEX_KINDS if kind != "exact"])
@pytest.mark.parametrize("n", [200, 400, 460])
def test_a_wish_can_be_built_on_any_number_of_rows(world, kind, n):
    _, rows, q = world
    segment = build(np.arange(n), FlatRows.of([rows.x16[:n]], DIM), IndexConfig(kind))
    assert [len(ids) for _, ids in segment.search(q, 10)] == [10] * len(q)


def test_many_hits_are_found_as_well_as_ten(world, monkeypatch):
    ids, rows, q = world
    monkeypatch.setattr(segments, "FILTERED_ROWS", 100)
    exact, coarse = build(ids, rows, IndexConfig("exact")), build(ids, rows, IndexConfig("ivf-sq8"))
    for k in (10, 50, 200, 1000):
        assert recall(coarse.search(q[:50], k), exact.search(q[:50], k)) > 0.95, k


def test_a_filter_against_the_query_is_answered_well(world, monkeypatch):
    """All but the clumps nearest to the query pass: what is looked for does not lie where its share says."""
    ids, rows, q = world
    monkeypatch.setattr(segments, "FILTERED_ROWS", 100)
    exact, coarse = build(ids, rows, IndexConfig("exact")), build(ids, rows, IndexConfig("ivf-rabitq"))
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((300, DIM))
    clump = rng.integers(300, size=12_000)  # as in `world`
    found = []
    for one in q[:40]:
        scores = centres @ one
        chosen = RowMask((scores < np.quantile(scores, 0.7))[clump], filtered=True)
        found.append(recall(coarse.search(one[None], 10, chosen), exact.search(one[None], 10, chosen)))
    assert np.mean(found) > 0.95
