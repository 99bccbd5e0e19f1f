"""Milvus's indexes by glimpse's words: tuned to a recall, measured against the exact answer, with exact scores."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from base.errors import CollectionError, NotInStore, StoreUnavailable
from index.collection import Entry, store_at
from index.config import IndexConfig
from index.milvus import tuning, vector_index
from index.milvus.tuning import Tuning
from index.rows import stored_rows, unit_rows

N, DIM = 600, 32


@pytest.fixture(scope="module", params=["lite", pytest.param("server", marks=pytest.mark.milvus_server)])
def store(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kinds")
    server = request.param == "server"
    address = request.getfixturevalue("real_milvus").address if server else f"milvus://{folder}/lite.db"
    return store_at(folder, address)


@pytest.fixture(scope="module")
def world():
    """Rows in clumps, as embeddings stand in clumps, and queries."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((50, DIM))
    x = unit_rows(centres[rng.integers(50, size=N)] + 0.6 * rng.standard_normal((N, DIM)), DIM)
    q = unit_rows(centres[rng.integers(50, size=60)] + 0.6 * rng.standard_normal((60, DIM)), DIM)
    return stored_rows(x, DIM).astype(np.float32), q


@pytest.fixture(scope="module")
def pets(store, world):
    with store.create("kinds", model="m", fingerprint="f", dim=DIM) as made:
        made.upsert([Entry(row, "image", f"/{i}.jpg", metadata={"n": i}) for i, row in enumerate(world[0])])
        yield made
    store.delete("kinds")


def is_lite(store):
    return store.place.endswith(".db")


def recall_of(pets, x, q, where=None, k=10):
    """Recall@k of searches whose scores are the exact ones."""
    passing = np.arange(len(x)) if where is None else np.flatnonzero(where)
    found = pets.search_many(q, k=k, **({} if where is None else {"ids": (passing + 1).tolist()}))
    shares = []
    for one, hits in zip(q, found, strict=True):
        exact = x @ one
        np.testing.assert_allclose([hit.score for hit in hits], [exact[hit.id - 1] for hit in hits], atol=1e-5)
        truth = passing[np.argsort(-exact[passing])[:k]] + 1
        shares.append(len({hit.id for hit in hits} & set(truth.tolist())) / len(truth))
    return np.mean(shares)


@pytest.mark.parametrize("kind", ["hnsw-sq8", "ivf-sq8"])
def test_an_index_reaches_its_recall_with_exact_scores_and_sees_what_is_written(store, pets, world, kind):
    if kind == "ivf-sq8" and is_lite(store):
        pytest.skip("Lite makes 128 lists of however few rows")
    x, q = world
    records = list(pets.records())
    with store.open("kinds") as reader:
        pets.compact(IndexConfig(kind, 0.95))
        for opened in (pets, reader):  # to one that was open the alias leads as well
            index = opened.info().index["image"]
            assert (index["kind"], index["target"], index["rows"], index["recall"] >= 0.95) == (kind, 0.95, N, True)
            assert recall_of(opened, x, q) > 0.9
    assert list(pets.records()) == records
    assert recall_of(pets, x, q, where=np.arange(N) % 20 == 0) > 0.9
    assert recall_of(pets, x, q[:5], k=500) > 0.9
    assert len(pets.search(q[0], k=100, ids=list(range(1, N, 100)))) == N // 100  # few, and all of them
    [new] = pets.upsert([Entry(q[0], "image", "/new.jpg")])
    assert pets.search(q[0], k=1)[0].id == new
    pets.delete([new])
    assert pets.search(q[0], k=1)[0].id != new


def test_back_to_comparing_all(pets, world):
    pets.compact(IndexConfig("exact"))
    assert pets.info().index["image"]["kind"] == "exact"
    assert recall_of(pets, *world) == 1.0


def test_auto_takes_an_index_where_rows_are_many_and_leaves_it_if_it_finds_too_little(store, pets, monkeypatch):
    if not is_lite(store):
        pytest.skip("what is decided here needs no server, and building takes one seconds each time")
    pets.compact(IndexConfig())
    assert pets.info().index["image"]["kind"] == "exact"
    monkeypatch.setattr(tuning, "EXACT_ROWS", 500)
    pets.compact(IndexConfig("auto", 0.9))
    assert pets.info().index["image"]["kind"] == "hnsw-sq8"
    measured = vector_index.tuned
    monkeypatch.setattr(vector_index, "tuned", lambda *given: replace(measured(*given), recall=0.5))
    pets.compact()  # what there was is of before, so it goes too
    assert pets.info().index["image"]["kind"] == "exact"


def test_what_is_written_while_an_index_is_built_is_in_it(store, pets, monkeypatch):
    if not is_lite(store):
        pytest.skip("what is decided here needs no server, and building takes one seconds each time")
    before, build = pets.count(), pets.server.build
    rng = np.random.default_rng(5)
    new, late = (rng.standard_normal(DIM).astype(np.float32) for _ in range(2))

    def write():
        [first, second] = pets.upsert([Entry(new, "image", "/built.jpg"), Entry(new, "text", text="gone at once")])
        pets.upsert([Entry(late, "image", "/5.jpg", metadata={"late": True})])
        pets.update({7: {"metadata": {"n": "updated"}}})
        pets.delete([8, second])
        pets.set_title("Meanwhile")
        return first

    def build_and_write(table, check):
        build(table, check)
        with ThreadPoolExecutor(1) as other:
            written.append(other.submit(write).result(timeout=60))

    written = []
    monkeypatch.setattr(pets.server, "build", build_and_write)
    table = pets.identity().table
    pets.compact(IndexConfig("hnsw-sq8", 0.9))
    monkeypatch.undo()
    assert pets.identity().table != table
    assert (pets.count(), pets.title) == (before, "Meanwhile")
    assert [pets.search(q, k=1)[0].id for q in (new, late)] == [written[0], 6]
    assert (pets.get(6).metadata, pets.get(7).metadata) == ({"late": True}, {"n": "updated"})
    assert pets.records_of([8]) == {}
    assert pets.check() == []


def test_an_index_is_built_beside_writes_and_measured_anew_in_its_place_as_it_grows(store, monkeypatch):
    if not is_lite(store):
        pytest.skip("what is decided here needs no server, and building takes one seconds each time")
    monkeypatch.setattr(tuning, "EXACT_ROWS", 500)
    monkeypatch.setattr(vector_index, "BACKGROUND_ROWS", 300)
    x = np.random.default_rng(1).standard_normal((2000, DIM))

    def write(start, end):
        made.upsert([Entry(row, "image", f"/{i}.jpg") for i, row in enumerate(x[start:end], start)])

    with store.create("grown", model="m", fingerprint="f", dim=DIM) as made:
        made.compact(IndexConfig("auto", 0.8))
        write(0, 600)
        end = time.monotonic() + 60
        while made.identity().tuning is None:
            assert time.monotonic() < end, "no index came"
            write(600, 610)
        built = made.identity()
        assert (built.tuning.kind, built.tuning.rows in (600, 610)) == ("hnsw-sq8", True)
        write(610, 1000)
        while made.is_due():  # until the thread that built it has ended
            assert time.monotonic() < end
            time.sleep(0.01)
    with store.open("grown", writable=True) as made:
        write(1000, 2000)
    with store.open("grown") as made:
        now = made.identity()
        assert (now.table, now.tuning.rows, made.count()) == (built.table, 2000, 2000)
    store.delete("grown")


def test_an_index_that_is_being_built_is_given_up_before_the_lock_is_let_go_of(store, monkeypatch):
    if not is_lite(store):
        pytest.skip("what is decided here needs no server, and building takes one seconds each time")
    monkeypatch.setattr(tuning, "EXACT_ROWS", 500)
    monkeypatch.setattr(vector_index, "BACKGROUND_ROWS", 300)
    building, go = threading.Event(), threading.Event()
    x = np.random.default_rng(3).standard_normal((600, DIM))
    failing = store.create("failing", model="m", fingerprint="f", dim=DIM)
    build = failing.server.build

    def held(table, check):
        building.set()
        assert go.wait(60)
        build(table, check)

    monkeypatch.setattr(failing.server, "build", held)

    def fail():
        with failing:
            failing.upsert([Entry(row, "image", f"/{i}.jpg") for i, row in enumerate(x)])
            assert building.wait(60)
            threading.Timer(0.2, go.set).start()
            raise RuntimeError("something else")

    table = failing.identity().table
    with pytest.raises(RuntimeError, match="something else"):
        fail()
    monkeypatch.undo()
    with store.open("failing", writable=True) as again:
        assert (again.identity().table, again.count()) == (table, 600)
        assert [name for name in again.server.names() if name.startswith("glimpse_failing")] == [table]
    store.delete("failing")


def test_an_index_that_found_too_little_is_not_tried_at_each_close(store, monkeypatch):
    if not is_lite(store):
        pytest.skip("what is decided here needs no server, and building takes one seconds each time")
    monkeypatch.setattr(tuning, "EXACT_ROWS", 500)
    monkeypatch.setattr(vector_index, "tuned", lambda *given: Tuning("hnsw-sq8", 600, 16, 0.5, 0.98))
    with store.making("hard", model="m", fingerprint="f", dim=DIM) as made:
        made.upsert([Entry(row, "image") for row in np.random.default_rng(2).standard_normal((600, DIM))])
        made.compact()
        assert (made.identity().tuning, made.identity().tried) == (None, 600)
    with store.open("hard", writable=True) as made:
        made.upsert([Entry(np.ones(DIM), "image")])
        assert not made.is_due()
        assert made.info().index["image"] == {"kind": "exact", "recall": 1.0, "rows": 601, "fresh": 0}
    store.delete("hard")


GRAPH = Tuning("hnsw-sq8", 150_000, 64, 0.99, 0.98)


@pytest.mark.parametrize(
    ("rows", "config", "there", "tried", "due"),
    [
        (100_000, IndexConfig(), None, 0, False),
        (100_001, IndexConfig(), None, 0, True),
        (200_000, IndexConfig(), None, 100_001, False),
        (200_003, IndexConfig(), None, 100_001, True),
        (300_000, IndexConfig(), GRAPH, 0, False),
        (300_001, IndexConfig(), GRAPH, 0, True),
        (80_000, IndexConfig(), GRAPH, 0, False),  # not at each crossing
        (70_000, IndexConfig(), GRAPH, 0, True),
        (399, IndexConfig("ivf-sq8"), None, 0, False),
        (400, IndexConfig("ivf-sq8"), None, 0, True),
        (150_000, IndexConfig("ivf-sq8"), GRAPH, 0, True),
        (150_000, IndexConfig("exact"), GRAPH, 0, True),
        (10**7, IndexConfig("exact"), None, 0, False),
    ],
)
def test_when_another_index_is_due(rows, config, there, tried, due):
    assert tuning.is_due(rows, config, there, tried) is due


def test_an_answer_that_is_lost_as_the_alias_is_led_elsewhere_loses_no_entry(store, pets, monkeypatch):
    if not is_lite(store):
        pytest.skip("what is decided here needs no server, and building takes one seconds each time")
    records, point = list(pets.records()), pets.server.point

    def lost(alias, name, *, anew):
        point(alias, name, anew=anew)
        raise StoreUnavailable("does not answer")

    monkeypatch.setattr(pets.server, "point", lost)
    with pytest.raises(StoreUnavailable):
        pets.compact(IndexConfig("hnsw-sq8", 0.9))
    assert list(pets.records()) == records
    monkeypatch.undo()
    pets.compact(IndexConfig("exact"))
    assert list(pets.records()) == records


def test_a_copy_that_lacks_entries_is_not_taken(store, pets, monkeypatch):
    if not is_lite(store):
        pytest.skip("what is decided here needs no server, and building takes one seconds each time")
    records, upsert = list(pets.records()), pets.server.upsert
    monkeypatch.setattr(pets.server, "upsert", lambda table, rows: upsert(table, rows[1:]))
    with pytest.raises(StoreUnavailable, match=f"of {N} entries of 'kinds' in the new index: the old one is used"):
        pets.compact(IndexConfig("hnsw-sq8", 0.9))
    assert list(pets.records()) == records


@pytest.mark.parametrize(("kind", "word"), [("ivf-rabitq", "Milvus 2.6"), ("ivf-pq", "hnsw-sq8 or ivf-sq8")])
def test_a_kind_that_milvus_has_not_is_refused_by_name(pets, kind, word):
    with pytest.raises(NotInStore, match=word):
        pets.compact(IndexConfig(kind))
    assert pets.index_config.kind != kind


def test_no_index_is_built_while_another_model_is_gathered(pets):
    pets.next.begin("new", "g", 4)
    with pytest.raises(CollectionError, match="changes its model"):
        pets.compact(IndexConfig("hnsw-sq8"))
    pets.next.abandon()
