from contextlib import closing, contextmanager
from dataclasses import replace

import numpy as np
import pytest

from base.errors import CollectionError, InputError
from index.entry import Entry, NextInfo
from index.local.catalog.catalog import Catalog
from index.local.snapshot import SegmentRecord, Snapshot
from index.search.filters import parse_filter

META = {"name": "n", "model": "old", "fingerprint": "old-print", "dim": 4, "created_at": "2026-01-01T00:00:00+00:00"}
OLD = np.eye(4, dtype=np.float32)[0]
NEW = np.eye(3, dtype=np.float32)


@pytest.fixture
def catalog(tmp_path):
    Catalog.create(tmp_path / "catalog.sqlite", META)
    with closing(Catalog(tmp_path / "catalog.sqlite")) as catalog:
        yield catalog


def put(catalog, *paths, modality="image", **fields):
    entries = [Entry(OLD, modality, path, **fields) for path in paths]
    return catalog.upsert(entries, np.array([OLD] * len(paths)))


def left(catalog, **page):
    return [record.id for record in catalog.next.left(**page)]


def test_a_swap_puts_every_next_vector_and_the_model_in_place(catalog):
    images = put(catalog, "/a", "/b", "/c", metadata={"k": "v"})
    (text,) = put(catalog, None, modality="text")
    catalog.delete(put(catalog, "/gone"))
    with closing(Catalog(catalog.path)) as reader:
        assert catalog.next.begin("new", "new-print", 3) is False
        assert left(catalog, after_id=images[0], limit=2) == images[1:]
        catalog.next.write([text, images[2], images[0], 999], NEW[[2, 0, 1, 1]])
        assert catalog.next.info() == NextInfo("new", "new-print", 3, done=3, left=1)
        assert [r.path for r in catalog.next.left()] == ["/b"]
        ((ids, x16),) = catalog.next.rows("image")
        assert (ids.tolist(), x16.dtype, x16.tolist()) == ([images[0], images[2]], np.float16, NEW[[1, 0]].tolist())
        before = catalog.state()
        with pytest.raises(CollectionError, match="1 entries have no vector of new"):
            catalog.next.swap(None)
        assert (catalog.state(), catalog.meta["model"]) == (before, "old")
        assert (reader.vectors(images) == OLD).all()  # the present model is served all the while
        snapshot = Snapshot(0, {"image": SegmentRecord(2, 3, {}), "text": SegmentRecord(1, 3, {})})
        version = catalog.next.swap(snapshot, drop=[images[1]])
        assert version == before[0] + 1
        assert catalog.snapshot() == replace(snapshot, version=version)
        assert (catalog.meta["model"], catalog.meta["fingerprint"], catalog.dim) == ("new", "new-print", 3)
        # Another process that held the old version must start anew, and learns of the model on the way.
        with reader.changes(before[0]) as changes:
            assert not changes.complete
        with reader.changes(0) as changes:
            assert changes.meta == catalog.meta
            assert changes.counts == {"image": 2, "text": 1}
            rows = {m: (ids.tolist(), x.tolist()) for m, ids, x in changes.written}
        assert rows == {"image": ([images[0], images[2]], NEW[[1, 0]].tolist()), "text": ([text], NEW[[2]].tolist())}
        assert reader.dim == 3
    assert catalog.next.info() is None
    assert catalog.select.ids(parse_filter({"must": [{"key": "k", "match": {"value": "v"}}]}), "image").tolist() == [
        1,
        3,
    ]
    assert catalog.check() == []


def test_an_unfinished_change_goes_on_and_anothers_is_dropped(catalog):
    ids = put(catalog, "/a", "/b")
    catalog.next.begin("new", "new-print", 3)
    catalog.next.write(ids[:1], NEW[:1])
    with closing(Catalog(catalog.path)) as again:
        assert again.next.begin("new", "new-print", 3) is True
        assert left(again) == ids[1:]
        assert again.next.begin("other", "other-print", 3) is False
        assert left(again) == ids
        again.next.abandon()
        assert again.next.info() is None
        with pytest.raises(CollectionError, match="begin one first"):
            again.next.write(ids, NEW[:2])
    assert (catalog.vectors(ids) == OLD).all()


def test_what_is_written_meanwhile_is_due_again(catalog):
    a, b, c = put(catalog, "/a", "/b", "/c")
    catalog.next.begin("new", "new-print", 3)
    catalog.next.write([a, b, c], NEW)
    put(catalog, "/b")
    catalog.update({c: {"text": "its vector is the same"}})
    (d,) = put(catalog, "/d")
    catalog.delete([a])
    assert left(catalog) == [b, d]
    catalog.next.write([b, d], NEW[:2])
    assert catalog.next.info().done == 3
    catalog.next.swap(None)
    assert catalog.vectors([b, c, d]).tolist() == NEW[[0, 2, 1]].tolist()
    assert catalog.snapshot() is None


def test_next_vectors_must_fit(catalog):
    ids = put(catalog, "/a")
    catalog.next.begin("new", "new-print", 3)
    with pytest.raises(InputError, match=r"must be \(1, 3\), not \(1, 4\)"):
        catalog.next.write(ids, OLD[None])


def test_a_swap_that_is_not_committed_changes_nothing(catalog, monkeypatch):
    (a,) = put(catalog, "/a")
    catalog.next.begin("new", "new-print", 3)
    catalog.next.write([a], NEW[:1])
    commit = catalog._db.writing

    @contextmanager
    def full():
        with commit() as db:
            yield db
            raise CollectionError("the disk is full")

    monkeypatch.setattr(catalog._db, "writing", full)
    with pytest.raises(CollectionError, match="full"):
        catalog.next.swap(None)
    assert (catalog.dim, catalog.meta["model"]) == (4, "old")
