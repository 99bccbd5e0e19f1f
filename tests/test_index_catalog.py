import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict

import numpy as np
import pytest

from base.errors import CollectionDamaged, CollectionError, CollectionNotFound, EntryNotFound, InputError
from index.entry import Entry
from index.local.catalog.catalog import SCHEMA_VERSION, Catalog
from index.local.snapshot import Snapshot
from index.search.filters import parse_filter

DIM = 4
META = {
    "name": "pets",
    "model": "ViT-B-32/x",
    "fingerprint": "abc",
    "dim": DIM,
    "created_at": "2026-01-01T00:00:00+00:00",
}


@pytest.fixture
def catalog(tmp_path):
    Catalog.create(tmp_path / "catalog.sqlite", META)
    catalog = Catalog(tmp_path / "catalog.sqlite")
    yield catalog
    catalog.close()


def put(catalog, *paths, modality="image", **fields):
    entries = [Entry(np.eye(DIM, dtype=np.float32)[i % DIM], modality, path, **fields) for i, path in enumerate(paths)]
    return catalog.upsert(entries, np.array([entry.vector for entry in entries], np.float32))


def seen(catalog, since):
    with catalog.changes(since) as changes:
        written = {m: ids.tolist() for m, ids, _ in changes.written}
        return changes.version, changes.complete, changes.deleted, written


def test_every_field_comes_back(catalog):
    fields = {
        "path": "/photos/a b/Ünï.jpg",
        "text": "a café",
        "metadata": {"tags": ["x", "ü"], "n": 1.5, "deep": {"none": None}},
        "sha256": "f" * 64,
        "mtime_ns": 2**62,
        "size": 123,
        "width": 640,
        "height": 480,
        "taken": "2024-05-01T12:00:00",
        "external_id": "sku/42 👩‍🚀",
    }
    (key,) = catalog.upsert([Entry(np.ones(DIM), "image", **fields)], np.array([[0.1, 0.2, 0.3, 0.4]], np.float32))
    assert asdict(catalog.records.get([key])[key]) == {"id": key, "modality": "image", **fields}
    assert catalog.vectors([key]).dtype == np.float32
    assert catalog.vectors([key])[0] == pytest.approx([0.1, 0.2, 0.3, 0.4], abs=2e-4)
    assert catalog.meta == META


def test_a_path_that_is_there_keeps_its_id_and_gets_the_new_row(catalog):
    first = put(catalog, "/a", "/b", sha256="1")
    again = put(catalog, "/b", "/c", sha256="2")
    assert again[0] == first[1]
    assert [(r.path, r.sha256) for r in catalog.records.stream()] == [("/a", "1"), ("/b", "2"), ("/c", "2")]
    assert put(catalog, "/d", "/d")[0] == catalog.records.find("path", "/d")[0].id
    assert len(put(catalog, None, None)) == 2  # entries without a path are always new
    assert catalog.count() == 6


def test_paths_need_not_be_utf8(catalog):
    path = os.fsdecode(b"/photos/caf\xe9.jpg")
    (key,) = put(catalog, path)
    assert catalog.records.get([key])[key].path == path
    assert catalog.records.find("path", path)[0].id == key
    assert [r.id for r in catalog.records.stream(under="/photos")] == [key]


def test_one_bad_entry_and_none_is_written(catalog):
    put(catalog, "/a")
    good = Entry(np.ones(DIM), "image", "/new")
    for bad, what in [
        (Entry(np.ones(DIM), "image", metadata={"x": object()}), "JSON"),
        (Entry(np.ones(DIM), "image", metadata={"x": float("nan")}), "JSON"),
        (Entry(np.ones(DIM), "image", width="wide"), "cannot be stored"),
        (Entry(np.ones(DIM), "image", size=2**70), "cannot be stored"),
        (Entry(np.ones(DIM), "image", text="\ud800"), "cannot be stored"),
        (Entry(np.ones(DIM), "text", "/a"), "another modality"),
    ]:
        with pytest.raises(InputError, match=what):
            catalog.upsert([good, bad], np.ones((2, DIM), np.float32))
    assert [r.path for r in catalog.records.stream()] == ["/a"]
    assert catalog.state()[0] == 1


def test_update_sets_fields_and_leaves_the_vector(catalog):
    a, b, c = put(catalog, "/a", "/b", "/c", metadata={"old": 1})
    before = catalog.vectors([a, b, c])
    catalog.update(
        {a: {"path": "/b", "metadata": {"caption": "x"}}, b: {"path": "/a", "mtime_ns": 7}, c: {"path": "/d"}}
    )
    records = catalog.records.get([a, b, c])
    assert [records[i].path for i in (a, b, c)] == ["/b", "/a", "/d"]
    assert [records[i].metadata for i in (a, b)] == [{"caption": "x"}, {"old": 1}]
    assert records[b].mtime_ns == 7
    assert (catalog.vectors([a, b, c]) == before).all()
    assert seen(catalog, 1) == (1, True, {"image": [], "text": []}, {})


def test_update_is_all_or_nothing(catalog):
    a, b = put(catalog, "/a", "/b")
    with pytest.raises(EntryNotFound, match="99"):
        catalog.update({a: {"text": "new"}, 99: {"text": "new"}})
    with pytest.raises(InputError, match="same path"):
        catalog.update({a: {"text": "new", "path": "/b"}})
    with pytest.raises(InputError, match="cannot update vector"):
        catalog.update({a: {"text": "new"}, b: {"vector": 1}})
    assert [(r.path, r.text) for r in catalog.records.stream()] == [("/a", None), ("/b", None)]


def test_records_stream_in_the_order_of_ids(catalog):
    ids = put(catalog, *(f"/p/{i % 2}/{i:04d}" for i in range(2500)))
    put(catalog, "/p/0.jpg", "/p/00/x", "/p", modality="text")
    assert [r.id for r in catalog.records.stream("image")] == ids
    assert [r.id for r in catalog.records.stream(under="/p/0")] == ids[::2]
    assert [r.id for r in catalog.records.stream(under="/p/0/")] == ids[::2]
    assert len(list(catalog.records.stream(under="/"))) == 2503
    assert [r.id for r in catalog.records.stream("image", after_id=ids[9], limit=1200)] == ids[10:1210]
    assert list(catalog.records.stream(limit=0)) == []
    half = catalog.records.stream()
    next(half)  # left half-way: nothing stays open that would stop a writer or a close
    assert catalog.delete(ids) == 2500
    assert [r.path for r in half if r.modality == "text"] == ["/p/0.jpg", "/p/00/x", "/p"]


def test_find_by_hash_gives_all_copies(catalog):
    ids = put(catalog, "/a", "/b", sha256="h")
    assert [r.id for r in catalog.records.find("sha256", "h")] == ids
    assert catalog.records.find("sha256", "other") == []


def test_ids_are_never_given_twice(catalog):
    ids = put(catalog, "/a", "/b")
    assert catalog.delete([*ids, 12345]) == 2
    assert min(put(catalog, "/a")) > max(ids)
    with pytest.raises(EntryNotFound):
        catalog.vectors(ids[:1])
    with pytest.raises(InputError, match="integer"):
        catalog.delete(["x"])


def test_changes_tell_what_is_newer(catalog):
    a, b = put(catalog, "/a", "/b")  # version 1
    (t,) = put(catalog, None, modality="text")  # 2
    catalog.delete([a])  # 3
    put(catalog, "/b")  # 4
    assert seen(catalog, 0) == (4, True, {"image": [a], "text": []}, {"image": [b], "text": [t]})
    assert seen(catalog, 2) == (4, True, {"image": [a], "text": []}, {"image": [b]})
    assert seen(catalog, 4) == (4, True, {"image": [], "text": []}, {})
    assert seen(catalog, 5)[1] is False  # an index from the future: the catalog was restored from a backup
    assert catalog.count_changes(0) == {"image": 2, "text": 1}
    assert catalog.count_changes(3) == {"image": 1, "text": 0}


def test_deletions_are_kept_back_to_the_snapshot_before_the_last(catalog):
    ids = put(catalog, "/a", "/b", "/c")  # version 1
    for i in ids:
        catalog.delete([i])  # 2, 3, 4
    catalog.set_snapshot(Snapshot(3))
    assert seen(catalog, 1)[1:3] == (True, {"image": ids, "text": []})
    catalog.set_snapshot(Snapshot(4))
    assert catalog.snapshot() == Snapshot(4)
    assert seen(catalog, 1)[1] is False
    assert seen(catalog, 3)[1:3] == (True, {"image": ids[2:], "text": []})
    assert seen(catalog, 0)[1] is True


def test_a_wanted_id_is_given_unless_it_is_or_was_taken(catalog):
    def want(*ids, path=None):
        entries = [Entry(np.ones(DIM), "image", path, metadata={"id": i}, id=i) for i in ids]
        return catalog.upsert(entries, np.ones((len(ids), DIM), np.float32))

    assert want(70, 3, None) == [70, 3, 71]
    assert [r.metadata["id"] for r in catalog.records.stream()] == [3, 70, None]
    (there,) = put(catalog, "/there")
    catalog.delete([3])
    for ids, path, what in [
        ((70,), None, "id 70 is taken"),
        ((3,), None, "id 3 is taken, or was"),
        ((80, 80), None, "stand once"),
        ((0,), None, "positive"),
        ((90,), "/there", f"with id {there}, not 90"),
    ]:
        with pytest.raises(InputError, match=what):
            want(*ids, path=path)
    assert put(catalog, "/next") == [there + 1]


def test_entries_of_one_batch_with_the_same_path_are_one(catalog):
    entries = [Entry(np.ones(DIM), "image", path, text) for path, text in [("/a", "1"), ("/b", "2"), ("/a", "3")]]
    assert catalog.upsert(entries, np.eye(3, DIM, dtype=np.float32)) == [1, 2, 1]
    assert [(r.path, r.text) for r in catalog.records.stream()] == [("/a", "3"), ("/b", "2")]
    assert catalog.vectors([1])[0].tolist() == [0, 0, 1, 0]
    with pytest.raises(InputError, match="another modality"):
        catalog.upsert([entries[0], Entry(np.ones(DIM), "text", "/a")], np.ones((2, DIM), np.float32))


def test_the_revision_counts_what_changes_and_the_version_what_moves_vectors(catalog):
    assert catalog.state() == (0, 0)
    (key,) = put(catalog, "/a")
    assert catalog.state() == (1, 1)
    catalog.update({key: {"text": "x"}})
    assert catalog.state() == (1, 2)
    with pytest.raises(InputError):
        put(catalog, "/a", modality="text")
    assert catalog.state() == (1, 2)
    catalog.delete([key])
    assert catalog.state() == (2, 3)


def test_every_row_comes_in_the_order_of_ids(catalog):
    images = put(catalog, *(f"/{i}" for i in range(20)))
    texts = put(catalog, None, None, modality="text")
    put(catalog, "/3", "/1")  # newer versions
    with catalog.changes(0) as changes:
        assert changes.meta == META
        rows = [(m, ids.tolist(), x16.dtype, x16.shape) for m, ids, x16 in changes.written]
    assert rows == [("image", images, np.float16, (20, DIM)), ("text", texts, np.float16, (2, DIM))]


def test_metadata_leave_no_facets_behind(catalog):
    (a, b) = put(catalog, "/a", "/b", metadata={"k": [1, "2", True], "deep": {"x": "y"}})
    put(catalog, "/a", metadata={"k": 1})
    catalog.update({b: {"metadata": {"k": None}}})
    wanted = {"must": [{"key": "deep.x", "match": {"value": "y"}}]}
    assert catalog.select.ids(parse_filter(wanted), "image").size == 0
    catalog.delete([a])
    with closing(sqlite3.connect(catalog.path)) as db:
        assert db.execute("SELECT * FROM facets").fetchall() == []


def test_many_threads_write_and_read(catalog):
    def work(name):
        for i in range(20):
            (key,) = put(catalog, f"/{name}/{i}")
            assert catalog.records.get([key])[key].path == f"/{name}/{i}"

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))  # raises what a thread raised
    assert catalog.count() == 80
    assert catalog.state()[0] == 80


def test_a_newer_schema_is_refused_with_the_remedy(catalog):
    with sqlite3.connect(catalog.path) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    db.close()
    with pytest.raises(CollectionError, match="upgrade glimpse"):
        Catalog(catalog.path)


def test_a_file_that_is_not_a_catalog_is_named(tmp_path):
    path = tmp_path / "catalog.sqlite"
    with pytest.raises(CollectionNotFound):
        Catalog(path)
    path.write_bytes(b"")
    with pytest.raises(CollectionDamaged, match="not a glimpse catalog"):
        Catalog(path)
    path.write_bytes(b"not a database at all" * 1000)
    with pytest.raises(CollectionDamaged, match=r"catalog\.sqlite.*not a database"):
        Catalog(path)


def test_a_page_gone_bad_is_named_when_it_is_read(catalog):
    put(catalog, *(f"/{i}" for i in range(2000)))
    catalog.close()
    size = catalog.path.stat().st_size
    with catalog.path.open("r+b") as file:
        file.seek(16384)
        file.write(b"\xaa" * (size - 16384))
    with pytest.raises(CollectionDamaged, match="restore it from a backup"), closing(Catalog(catalog.path)) as damaged:
        list(damaged.records.stream())


def test_a_closed_or_replaced_catalog_is_not_read(catalog):
    catalog.path.rename(catalog.path.with_name("old"))
    with pytest.raises(CollectionNotFound, match="deleted or replaced"):
        catalog.state()[0]
    Catalog.create(catalog.path, META)
    with pytest.raises(CollectionNotFound, match="deleted or replaced"):
        catalog.state()[0]
    catalog.close()
    with pytest.raises(CollectionError, match="closed"):
        catalog.state()[0]
