"""Several collections searched together find what one collection with all of their entries finds."""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from base.errors import InputError, ModelMismatch
from index.collection import Entry, create_collection, delete_collection
from index.search.calibration import Rejection
from index.search.query import Query
from index.search.stages import run
from index.search.together import PlacedRecord, Together

DIM = 8
SHAPE = st.fixed_dictionaries(
    {"limit": st.sampled_from([1, 7, 40])},
    optional={
        "offset": st.sampled_from([0, 3, 11]),
        "filter": st.sampled_from([{"must": [{"key": "kind", "match": {"value": "a"}}]}, None]),
        "group_by": st.just("kind"),
        "group_size": st.sampled_from([1, 3]),
        "collapse": st.sampled_from([0.9, 1]),
        "diversity": st.just(0.4),
        "score_threshold": st.just(0.2),
        "modality": st.sampled_from(["image", "text"]),
    },
)


def entries_of(seed: int, n: int) -> list[Entry]:
    """Some with the same vectors in every collection, of the same four groups."""
    rng = np.random.default_rng(seed)
    x = np.vstack([np.eye(DIM), rng.standard_normal((n, DIM))])[:n].astype(np.float32)
    return [
        Entry(row, "text" if i % 7 == 6 else "image", f"/{seed}/{i}", metadata={"kind": "abcd"[i % 4]})
        for i, row in enumerate(x)
    ]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Three collections, and one with the entries of all of them, in the order of their ids there."""
    data = tmp_path_factory.mktemp("together")
    parts = {"a": entries_of(1, 60), "b": entries_of(2, 25), "c": []}
    with ExitStack() as stack:
        opened = {}
        for name, entries in {**parts, "all": [entry for part in parts.values() for entry in part]}.items():
            opened[name] = stack.enter_context(
                create_collection(data, name, model="m", fingerprint="f", dim=DIM),
            )
            opened[name].upsert(entries)
        yield opened


def together(made):
    return Together({name: made[name] for name in "abc"})


@settings(max_examples=80)
@given(SHAPE, st.integers(0, 5))
def test_they_find_what_one_with_all_of_them_finds(made, shape, seed):
    """Whatever is asked; but equal scores stand by the ids of a collection, which are others in the one with all."""
    q = np.random.default_rng(100 + seed).standard_normal(DIM).astype(np.float32)
    query = Query(q, **shape)
    found = run(together(made), query)
    expected = run(made["all"], query)
    np.testing.assert_allclose([hit.score for hit in found], [hit.score for hit in expected], atol=1e-6)
    if not any(shape.get(name) for name in ("collapse", "group_by", "diversity")):
        assert {hit.record.path for hit in found} == {hit.record.path for hit in expected}
    for hit in found:
        assert isinstance(hit.record, PlacedRecord)
        assert hit.record.path == made[hit.record.collection].get(hit.id).path
        assert hit.relevance is not None or query.modality == "text"  # 12 texts are too few to tell


def test_what_a_score_means_is_told_by_all_of_them(made):
    q = np.ones(DIM, np.float32)
    whole = {hit.record.path: hit for hit in run(made["all"], Query(q, limit=100))}
    for hit in run(together(made), Query(q, limit=100)):
        assert hit.z == pytest.approx(whole[hit.record.path].z, abs=1e-4)
        assert hit.relevance == pytest.approx(whole[hit.record.path].relevance, abs=1e-4)


def test_a_text_must_reach_what_the_most_demanding_collection_asks(made):
    q = np.eye(DIM, dtype=np.float32)[0]
    query = Query(q, text=True, cutoff="auto")
    assert run(together(made), query)
    try:
        made["a"].set_rejection(Rejection("f", 52, 5.0, 0.1))
        assert run(together(made), query) == run(made["a"], query) == []
    finally:
        made["a"].set_rejection(Rejection("f", 52, None, 1.0))
    assert run(together(made), query)


def test_models_must_be_one_and_names_few(made, tmp_path):
    with create_collection(tmp_path, "other", model="n", fingerprint="g", dim=DIM) as other:
        with pytest.raises(ModelMismatch, match=r"'a' and 'other' are of different models.*reindex"):
            run(Together({"a": made["a"], "other": other}), Query(np.ones(DIM, np.float32)))
        with pytest.raises(ModelMismatch, match="'a'"):
            run(Together({"a": made["a"]}), Query(np.ones(DIM, np.float32), fingerprint="g"))
    delete_collection(tmp_path, "other")
    with pytest.raises(InputError, match="1 to 64"):
        Together({})
    with pytest.raises(InputError, match="1 to 64"):
        Together({str(i): made["a"] for i in range(65)})


def test_an_id_beyond_what_fits_is_named(tmp_path):
    with create_collection(tmp_path, "far", model="m", fingerprint="f", dim=DIM) as far:
        far.upsert([Entry(np.ones(DIM, np.float32), "image", id=2**57)])
        with pytest.raises(InputError, match=f"id {2**57} is too large"):
            run(Together({"far": far}), Query(np.ones(DIM, np.float32)))
