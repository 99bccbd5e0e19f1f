"""What every store promises: the tests of collections, run on local, on Milvus Lite, and by name on a real server."""

import itertools
import operator
import random
import re
import shutil
import tempfile
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from pets import DIM, create, images, unit
from test_index_filters import FILTERS, FOLDERS, TAKEN, TEXTS

from base.errors import (
    CollectionError,
    CollectionExists,
    CollectionNotFound,
    EntriesLeft,
    EntryNotFound,
    InputError,
    ModelMismatch,
    NotInStore,
    QuotaExceeded,
)
from index.collection import (
    Entry,
    Folder,
    delete_collection,
    list_collections,
    open_collection,
    store_at,
)
from index.config import IndexConfig, Quota
from index.local.vectors import tuning as local_tuning
from index.milvus import tuning as milvus_tuning
from index.search.calibration import Rejection
from index.search.patience import FilterTooSlow, Patience
from index.search.query import Query
from index.search.stages import run_each


@pytest.fixture
def pets(store, tmp_path):
    with create(tmp_path) as collection:
        yield collection


# --- searching ---


def test_a_hit_carries_its_score_and_its_record(pets):
    ids = pets.upsert(images(*range(20)))
    hits = pets.search(unit(7), k=3)
    assert hits[0].id == ids[7]
    assert hits[0].score == pytest.approx(1, abs=1e-3)
    assert hits[0].record == pets.get(ids[7])
    assert hits[0].record.metadata == {"seed": 7}
    assert [h.score for h in hits] == sorted((h.score for h in hits), reverse=True)
    assert hits[1].score == pytest.approx(float(unit(7) @ pets.vector(hits[1].id)), abs=1e-6)


def test_k_ids_and_modality_choose_what_is_found(pets):
    ids = pets.upsert(images(*range(5)))
    (caption,) = pets.upsert([Entry(unit(1), "text", text="a dog")])
    assert len(pets.search(unit(1), k=100)) == 5
    assert [h.record.text for h in pets.search(unit(1), k=100, modality="text")] == ["a dog"]
    assert {h.id for h in pets.search(unit(1), k=100, ids=[ids[2], ids[4], caption, 999])} == {ids[2], ids[4]}
    assert pets.search(unit(1), ids=[]) == []
    assert [len(hits) for hits in pets.search_many(np.stack([unit(1), unit(2)]), k=2)] == [2, 2]
    assert (pets.count(), pets.count("image"), pets.count("text")) == (6, 5, 1)


def test_an_empty_collection_finds_nothing(pets):
    assert pets.search(unit(1)) == []
    assert pets.search_many(np.empty((0, DIM), np.float32)) == []


def test_scores_are_cosines_whatever_the_length_of_vectors(pets):
    (key,) = pets.upsert([Entry(unit(1) * 5, "image")])
    assert pets.search(unit(1) * 100)[0].score == pytest.approx(1, abs=1e-3)
    assert np.linalg.norm(pets.vector(key)) == pytest.approx(1, abs=1e-3)


def test_copies_stand_in_the_order_of_ids_so_pages_do_not_overlap(pets):
    ids = pets.upsert([Entry(unit(1), "image") for _ in range(30)])
    for k in (1, 10, 30):
        assert [h.id for h in pets.search(unit(1), k=k)] == ids[:k]


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        (lambda c: c.search(np.ones(DIM + 1)), "shape"),
        (lambda c: c.search(np.zeros(DIM)), "zeros"),
        (lambda c: c.search(np.full(DIM, np.nan)), "NaN"),
        (lambda c: c.search(np.ones(DIM), k=0), "k must"),
        (lambda c: c.search(np.ones(DIM), modality="sound"), "modality must be image or text"),
        (lambda c: c.upsert([Entry(np.ones(DIM), "sound")]), "modality"),
        (lambda c: c.upsert([Entry(np.ones(DIM), "image"), Entry(np.ones(3), "image")]), "shape"),
        (lambda c: c.upsert([Entry(np.zeros(DIM), "image")]), "zeros"),
        (lambda c: c.count("sound"), "modality"),
    ],
)
def test_wrong_input_is_refused_at_the_door(pets, wrong, what):
    with pytest.raises(InputError, match=what):
        wrong(pets)
    assert pets.count() == 0


# --- writing ---


def test_upsert_update_delete_are_seen_by_the_next_search(pets):
    a, b = pets.upsert(images(1, 2))
    assert pets.search(unit(1), k=1)[0].id == a
    assert pets.upsert([Entry(unit(3), "image", "/photos/1.jpg")]) == [a]
    assert pets.search(unit(3), k=1)[0].id == a
    pets.update({b: {"path": "/moved.jpg", "metadata": {"caption": "x"}}})
    assert pets.search(unit(2), k=1)[0].record.path == "/moved.jpg"
    assert pets.find_path("/photos/2.jpg") is None
    assert pets.find_path(Path("/moved.jpg")).metadata == {"caption": "x"}
    assert pets.delete([a, 999]) == 1
    assert [h.id for h in pets.search(unit(3))] == [b]
    with pytest.raises(EntryNotFound, match=f"no entry with id {a}"):
        pets.get(a)
    with pytest.raises(EntryNotFound):
        pets.vectors([b, a])
    assert pets.upsert([]) == []


def test_a_reader_does_not_write(pets, tmp_path):
    with open_collection(tmp_path, "pets") as reader:
        for write in (
            lambda: reader.upsert(images(1)),
            lambda: reader.delete([1]),
            lambda: reader.update({1: {}}),
            reader.compact,
        ):
            with pytest.raises(CollectionError, match="reading only"):
                write()


def test_searches_from_threads_while_one_writes_see_what_was_acknowledged(pets):
    written, wrong, done = [], [], threading.Event()

    def search():
        while not done.is_set():
            if written:
                seed, key = written[-1]
                if pets.search(unit(seed), k=1)[0].id != key:
                    wrong.append(key)

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    for seed in range(60):
        (key,) = pets.upsert(images(seed))
        written.append((seed, key))
        if seed % 3 == 0:
            old = written[seed // 3]
            assert pets.upsert(images(old[0])) == [old[1]]
        if seed % 20 == 0:
            pets.compact()
    done.set()
    for thread in threads:
        thread.join()
    assert wrong == []


# --- the collection itself ---


def test_create_list_open_delete(store, tmp_path):
    assert list_collections(tmp_path) == []
    with create(tmp_path, "b") as collection:
        collection.upsert(images(1, 2))
        assert (collection.name, collection.model, collection.fingerprint, collection.dim) == (
            "b", "ViT-B-32/x", "abc", DIM,
        )  # fmt: skip
    create(tmp_path, "a-1.x_y").close()
    a, b = list_collections(tmp_path)
    assert (a.name, b.name, b.counts, b.dim, b.problem) == ("a-1.x_y", "b", {"image": 2, "text": 0}, DIM, None)
    assert b.bytes > 0
    assert b.created_at.endswith("+00:00")
    with pytest.raises(CollectionExists, match="'b'"):
        create(tmp_path, "b")
    delete_collection(tmp_path, "b")
    assert [info.name for info in list_collections(tmp_path)] == ["a-1.x_y"]


def test_a_collection_that_is_not_there_names_those_that_are(store, tmp_path):
    with pytest.raises(CollectionNotFound, match="none yet: `glimpse index"):
        open_collection(tmp_path, "dogs")
    create(tmp_path, "cats").close()
    for ask in (open_collection, delete_collection):
        with pytest.raises(CollectionNotFound, match="there are: cats"):
            ask(tmp_path, "dogs")


@pytest.mark.parametrize("name", ["", "A", ".hidden", "../up", "a/b", "a" * 65, "ä", "a\n"])
def test_names_that_cannot_be(store, tmp_path, name):
    with pytest.raises(InputError, match="cannot name a collection"):
        create(tmp_path, name)


def test_another_model_is_refused_with_the_remedy(pets):
    pets.check_model("abc")
    with pytest.raises(ModelMismatch, match=r"'pets'.*--model ViT-B-32/x"):
        pets.check_model("def")
    with pytest.raises(ModelMismatch):
        pets.upsert(images(1), fingerprint="def")
    assert pets.count() == 0


def test_what_is_written_by_one_is_seen_by_others_at_once(pets, tmp_path):
    with open_collection(tmp_path, "pets") as reader:
        for seed in range(5):
            (key,) = pets.upsert(images(seed))
            assert reader.search(unit(seed), k=1)[0].id == key
            assert reader.find_path(f"/photos/{seed}.jpg").id == key
            assert reader.count() == seed + 1


def test_fields_come_back_as_they_were_given(pets):
    given = Entry(
        unit(1), "text", "/ä/\"quoted\"\\ '\n\t%_.jpg", "a\ndog \U0001f436",
        {"a": {"b": [1, None, 2.5, "x", True]}, "": "é"}, "0" * 64, -1, 2**40, 3, 4, "2024-05-01T12:00:00", "sku/ 42 %",
    )  # fmt: skip
    (key,) = pets.upsert([given])
    record = pets.get(key)
    names = ["modality", "path", "text", "metadata", "sha256", "mtime_ns", "size", "width", "height", "taken"]
    assert [getattr(record, name) for name in names] == [getattr(given, name) for name in names]
    assert record.external_id == given.external_id
    assert pets.find_path(given.path) == pets.find_external([given.external_id])[given.external_id] == record
    assert pets.find_sha256("0" * 64) == list(pets.records()) == [record]
    nothing = pets.get(pets.upsert([Entry(unit(2), "image")])[0])
    assert [getattr(nothing, name) for name in names[1:3]] == [None, None]
    assert (nothing.metadata, [getattr(nothing, name) for name in names[4:]]) == ({}, [None] * 6)
    np.testing.assert_array_equal(pets.vector(key), unit(1).astype(np.float16).astype(np.float32))


def test_streams_are_in_the_order_of_ids_and_of_paths(pets):
    ids = pets.upsert([Entry(unit(i), "image", f"/{'ab'[i % 2]}/{9 - i}", size=i) for i in range(9)])
    pets.upsert([Entry(unit(50), "text", "/a/text")])
    assert [record.id for record in pets.records("image")] == ids
    assert [record.id for record in pets.records("image", after_id=ids[3], limit=2)] == ids[4:6]
    assert [record.id for record in pets.records(under="/a", limit=2)] == ids[:3:2]
    assert [row[0] for row in pets.images()] == ids
    assert [(path, size) for path, _, _, size in pets.paths("/b")] == [(f"/b/{9 - i}", i) for i in (7, 5, 3, 1)]
    assert pets.bytes_inside("/b") == 16
    assert pets.paths_with_dots() == []


def test_a_title_is_kept_as_it_is_and_taken_away(pets):
    assert (pets.title, pets.info().title) == (None, None)
    pets.set_title("Tiere – “meine”")
    assert (pets.title, pets.info().title) == ("Tiere – “meine”",) * 2
    for wrong in ("", " a", "a\nb", "x" * 121):
        with pytest.raises(InputError, match="title"):
            pets.set_title(wrong)
    pets.set_title(None)
    assert (pets.title, pets.check()) == (None, [])


def test_a_quota_holds_and_counts_what_it_replaces(pets):
    pets.upsert(images(1, 2))
    pets.set_quota(Quota(entries=3))
    with pytest.raises(QuotaExceeded, match="has 2 entries and may have 3, so 2 more"):
        pets.upsert(images(3, 4))
    with pytest.raises(QuotaExceeded):
        pets.check_room(2)
    pets.upsert(images(1, 2, 3))
    assert (pets.count(), pets.quota, pets.info().quota) == (3, Quota(entries=3), Quota(entries=3))


def test_what_runs_keep_is_kept(pets, tmp_path):
    assert (pets.rejection(), pets.places()) == (None, {})
    measured = Rejection("abc", 7, 0.25, 0.5)
    pets.set_rejection(measured)
    pets.set_places({"looked": {"/photos": 5}})
    pets.compact(IndexConfig("exact", 0.9))
    with open_collection(tmp_path, "pets") as reader:
        assert (reader.rejection(), reader.places()) == (measured, {"looked": {"/photos": 5}})
        assert reader.index_config == IndexConfig("exact", 0.9)


def test_another_model_is_gathered_and_swapped_in_at_once(pets, tmp_path):
    ids = pets.upsert(images(*range(6)))
    assert pets.next.begin("new", "g", 8) is False
    half = np.eye(8, dtype=np.float32)[:6]
    pets.next.write(ids[:3], half[:3])
    assert pets.next.begin("new", "g", 8) is True
    assert [record.id for record in pets.next.left()] == ids[3:]
    assert (pets.next.info().done, pets.next.info().left) == (3, 3)
    pets.update({ids[0]: {"path": "/moved", "metadata": {"x": 1}}})
    pets.upsert([Entry(unit(9), "image", "/photos/1.jpg")])  # another picture: its next vector is of what it was
    pets.delete([ids[5]])
    assert [record.id for record in pets.next.left()] == [ids[1], *ids[3:5]]
    with pytest.raises(EntriesLeft, match="3 entries"):
        pets.next.swap()
    pets.next.write(ids[1:5], half[1:5])
    with open_collection(tmp_path, "pets") as reader:
        before = reader.read_view()
        pets.next.swap(drop=[ids[4]])
        assert (reader.made_by(), reader.dim, reader.count()) == (("new", "g"), 8, 4)
        assert [hit.id for hit in reader.search(half[0], k=1)] == [ids[0]]
        assert reader.get(ids[0]).metadata == {"x": 1}
        assert before.fingerprint == "abc"
    assert pets.next.info() is None
    assert pets.upsert([Entry(np.ones(8), "image")]) == [ids[-1] + 1]
    with pytest.raises(ModelMismatch):
        pets.check_model("abc")
    pets.next.begin("third", "h", 4)
    pets.next.abandon()
    assert pets.next.info() is None
    assert pets.check() == []


def test_what_was_deleted_is_gone_for_who_deleted_it_at_once(pets):
    for seed in range(3):
        ids = pets.upsert(images(seed, 50 + seed))
        assert pets.search(unit(seed), k=1)[0].id == ids[0]
        pets.delete(ids[:1])
        assert pets.search(unit(seed), k=1)[0].id != ids[0]
        pets.delete(ids[1:])
        assert pets.count() == 0


def test_what_is_written_anew_while_another_model_encodes_it_is_due_again(pets):
    ids = pets.upsert([Entry(unit(i), "text", text=f"{i}", external_id=f"{i}") for i in range(3)])
    pets.next.begin("new", "g", 4)
    given = [record.id for record in pets.next.left()]
    pets.upsert([Entry(unit(9), "text", text="another", external_id="1")])  # meanwhile
    pets.next.write(given, np.ones((3, 4)))
    assert [record.text for record in pets.next.left()] == ["another"]
    with pytest.raises(EntriesLeft):
        pets.next.swap()
    pets.next.write([ids[1]], np.ones((1, 4)))
    pets.next.swap()
    assert pets.vectors(ids).shape == (3, 4)


def test_an_index_comes_by_itself_as_a_collection_grows_and_stays_through_a_change_of_model(
    store, tmp_path, monkeypatch
):
    for tuning in (local_tuning, milvus_tuning):
        monkeypatch.setattr(tuning, "EXACT_ROWS", 500)
    with create(tmp_path) as pets:
        pets.compact(IndexConfig("auto", 0.8))
        ids = pets.upsert(images(*range(400)))
        assert not pets.is_due()
        ids += pets.upsert(images(*range(400, 1500)))
        assert pets.is_due()
        assert pets.info().index.get("image", {"kind": "exact"})["kind"] == "exact"
    with open_collection(tmp_path, "pets", writable=True) as pets, open_collection(tmp_path, "pets") as reader:
        index = reader.info().index["image"]
        assert (index["kind"] != "exact", index["rows"], index["fresh"]) == (True, 1500, 0)
        assert index["recall"] >= 0.8
        assert not pets.is_due()
        assert np.mean([reader.search(unit(seed), k=1)[0].id == ids[seed] for seed in range(50)]) > 0.9
        pets.next.begin("new", "g", 8)
        x = np.random.default_rng(0).standard_normal((1500, 8))
        pets.next.write(ids, x)
        pets.next.swap()
        index = reader.info().index["image"]
        assert (index["kind"] != "exact", index["recall"] >= 0.8, index["rows"]) == (True, True, 1500)
        assert np.mean([reader.search(x[i], k=1)[0].id == ids[i] for i in range(50)]) > 0.9


WIDE = [2**53, 2**53 + 1, 2**53 + 2, 2**63 - 1, 2**64 - 1, 0.5, 1e300, 1.75e308, 1.79e308, -(2**53) - 1, -1.79e308]


def test_ranges_are_exact_to_the_last_integer_and_to_the_largest_float(pets, store_address):
    ids = pets.upsert([Entry(unit(i), "image", metadata={"n": n}) for i, n in enumerate(WIDE)])
    operators = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}
    bounds = [*WIDE, 0, 10**400, -(10**400)]
    few = bounds[::4] if store_address.startswith("milvus://127") else bounds
    for name, bound in itertools.product(operators, few):
        found = pets.filter_ids({"must": [{"key": "n", "range": {name: bound}}]}, "image").tolist()
        passing = [key for n, key in zip(WIDE, ids, strict=True) if operators[name](n, bound)]
        assert found == passing, (name, bound)


def test_a_path_that_is_not_utf8_is_not_taken_for_another(pets, store_address):
    pets.upsert([Entry(unit(1), "image", "/p/?.jpg"), Entry(unit(2), "image", "/p/z.jpg")])
    for key, value in (("file.path", "/p/\udcff.jpg"), ("file.folder", "/\udcff")):
        assert pets.filter_ids({"must": [{"key": key, "match": {"value": value}}]}, "image").tolist() == []
        assert pets.filter_ids({"must_not": [{"key": key, "match": {"value": value}}]}, "image").tolist() == [1, 2]
    above = {"must": [{"key": "file.path", "range": {"gt": "/p/\udcff.jpg"}}]}
    if store_address == "local":
        assert pets.filter_ids(above, "image").tolist() == []
    else:
        with pytest.raises(NotInStore, match=r"not UTF-8.*local store"):
            pets.filter_ids(above, "image")


def test_as_many_folders_and_paths_may_be_named_as_values(pets):
    ids = pets.upsert(
        [Entry(unit(i), "image", path) for i, path in enumerate(("/é/7/a.jpg", "/é/2499/b.jpg", "/c.jpg"))]
    )
    pets.upsert([Entry(unit(5), "text", text="a dog"), Entry(unit(6), "image")])
    many = [f"/é/{i}" for i in range(10_000 if pets.is_near else 2_500)]  # with accents, each of which has two forms
    for values, found in ((many, ids[:2]), (many[8:], ids[1:2])):
        inside = {"key": "file.folder", "match": {"any": values}}
        outside = {"key": "file.folder", "match": {"except": values}}
        assert pets.filter_ids({"must": [inside]}, "image").tolist() == found
        assert pets.filter_ids({"must": [outside]}, "image").tolist() == [key for key in ids if key not in found]
    paths = {"key": "file.path", "match": {"any": [*many[1:], "/c.jpg"]}}
    assert pets.filter_ids({"must": [paths]}, "image").tolist() == ids[2:]
    if not pets.is_near:
        several = [{"key": "file.folder", "match": {"any": many}}, {"should": [outside]}]
        with pytest.raises(InputError, match="9,984 folders are more than the 5,000"):
            pets.filter_ids({"must": several}, "image")


def test_facets_are_counted(pets):
    described = [{"colour": "red", "price": "9.50", "tags": ["a", "b"]}, {"colour": "red", "price": 3, "new": True}]
    pets.upsert([Entry(unit(i), "image", metadata=metadata) for i, metadata in enumerate(described)])
    assert [(one.value, one.count) for one in pets.facet("colour")] == [("red", 2)]
    assert [(one.value, one.count) for one in pets.facet("price")] == [(3, 1), (9.5, 1)]
    assert [one.value for one in pets.facet("tags", filter={"must": [{"key": "price", "range": {"lt": 5}}]})] == []
    assert [(one.key, one.entries, one.values, one.min, one.max) for one in pets.facet_keys()] == [
        ("colour", 2, 1, None, None), ("new", 1, 1, None, None), ("price", 2, 2, 3, 9.5), ("tags", 1, 2, None, None)
    ]  # fmt: skip
    with pytest.raises(FilterTooSlow):
        pets.facet("colour", 3, {"must": [{"key": "new", "match": {"value": True}}]}, patience=Patience(0))


def test_folders_are_counted_a_level_at_a_time(pets):
    assert pets.folder_of() == Folder("/", 0, {})
    paths = ["/pets/a/1.jpg", "/pets/a/x/2.jpg", "/pets/a b/3.jpg", "/pets/é/4.jpg", "/pets/5.jpg", None]
    pets.upsert([Entry(unit(i), "image", path) for i, path in enumerate(paths)])
    everything = Folder("/pets", 5, {"a": 2, "a b": 1, "é": 1})
    assert pets.folder_of() == everything
    assert pets.folder_of("/pets/") == replace(everything, path="/pets/")
    assert list(pets.folder_of().below) == ["a", "a b", "é"]
    assert pets.folder_of("/") == Folder("/", 5, {"pets": 5})
    assert pets.folder_of("/pets/a") == Folder("/pets/a", 2, {"x": 1})
    assert pets.folder_of("/pets/a/x") == Folder("/pets/a/x", 1, {})
    assert pets.folder_of("/pet") == Folder("/pet", 0, {})
    assert pets.folder_of("/pets", without="/pets/a") == Folder("/pets", 3, {"a b": 1, "é": 1})
    pets.upsert([Entry(unit(9), "image", "/uploads/9.jpg")])
    assert pets.folder_of() == Folder("/", 6, {"pets": 5, "uploads": 1})
    assert pets.folder_of(without="/uploads") == everything
    with pytest.raises(FilterTooSlow):
        pets.folder_of("/never/asked", patience=Patience(0))


# --- the same operations on local and on another store give the same answers ---


@pytest.fixture(scope="module")
def described(store_address, tmp_path_factory):
    """A collection of a hundred entries with any metadata, on disk and in the store; and whether it is the same one."""
    data, rng = tmp_path_factory.mktemp("described"), random.Random(7)
    entries = []
    for number in range(100):
        metadata = draw(rng, number)
        size, taken = rng.choice([None, 0, 10, 10**12]), rng.choice([None, *TAKEN])
        path = None if number % 5 == 0 else f"{rng.choice(FOLDERS)}/{number}.jpg".replace("//", "/")
        fields = {"size": size, "width": size, "taken": taken, "mtime_ns": rng.choice(MOMENTS_NS)}
        entries.append(Entry(unit(number), "image" if number % 4 else "text", path, metadata=metadata, **fields))
    made = []
    for address in ("local", store_address):
        collection = store_at(data, address).create(f"of-{len(made)}", model="m", fingerprint="f", dim=DIM)
        collection.upsert(entries)
        made.append(collection)
    yield made
    for collection, address in zip(made, ("local", store_address), strict=True):
        collection.close()
        store_at(data, address).delete(collection.name)


MOMENTS_NS = [None, 0, 1714564800 * 10**9, 1714564800 * 10**9 - 1, -1]


def draw(rng, number):
    """Metadata with what filters are made of."""
    scalars = [*TEXTS, 0, 1, 2, -1, 100, 0.5, 1.0, 1e300, 2**53 - 1, True, False, None]

    def value(deep):
        kind = rng.random()
        if deep and kind < 0.2:
            return [value(deep - 1) for _ in range(rng.randrange(6))]
        if deep and kind < 0.3:
            return {rng.choice(["a", "b", "c"]): value(deep - 1)}
        return rng.choice(scalars)

    return {key: value(2) for key in ["a", "b", "a.b", "", "ü'\"", "c"] if rng.random() < 0.6}


@pytest.fixture(scope="module")
def often(store_address):
    """How many examples hypothesis draws: each read of a server waits for its clock, a fifth of a second."""
    return settings(max_examples=30 if store_address.startswith("milvus://127") else 150)


def test_a_filter_lets_the_same_through_in_every_store_or_is_refused_by_name(described, often):
    local, other = described

    @often
    @given(FILTERS, st.sampled_from(["image", "text"]))
    def compare(wanted, modality):
        expected = local.filter_ids(wanted, modality).tolist()
        try:
            found = other.filter_ids(wanted, modality).tolist()
        except NotInStore as error:
            said = str(error)
            event("refused by name")
            assert re.search(r"^filter: .* Milvus.*(must_not|one end|local store|characters)", said)
        else:
            assert found == expected

    compare()


def test_conditions_on_keys_with_several_values_are_the_same_or_refused(described, store_address):
    local, other = described
    lists = (["a"], ["a", "b"], [1], ["1", 2], [True, 1])
    tests = [{"match": {name: values}} for values in lists for name in ("except", "any")]
    tests += [{"range": {"gte": 0, "lt": 2}}, {"range": {"gt": "a"}}, {"range": {"lte": 1, "gt": -1}}]
    asked = [
        {clause: [{"key": key, **test}]}
        for key, test in itertools.product(["a", "c", "a.b"], tests)
        for clause in ("must", "must_not")
    ]
    few = asked[::6] if store_address.startswith("milvus://127") else asked
    refused = 0
    for wanted in few:
        expected = local.filter_ids(wanted, "image").tolist()
        try:
            assert other.filter_ids(wanted, "image").tolist() == expected, wanted
        except NotInStore:
            refused += 1
    assert refused < len(few) / 2


SHAPES = st.fixed_dictionaries(
    {"limit": st.integers(1, 12), "modality": st.just("image")},
    optional={
        "offset": st.integers(0, 90),
        "filter": FILTERS,
        "score_threshold": st.floats(-0.5, 0.5),
        "cutoff": st.just("auto"),
        "group_by": st.sampled_from(["a", "c"]),
        "group_size": st.integers(1, 3),
        "collapse": st.floats(0.2, 1),
        "diversity": st.floats(0, 1),
        "exclude": st.lists(st.integers(1, 99), max_size=3),
        "text": st.booleans(),
    },
)


def test_a_search_of_any_shape_has_the_same_page_with_the_same_scores(described, often):
    local, other = described

    @often
    @given(st.lists(st.tuples(st.integers(0, 200), SHAPES), min_size=1, max_size=3))
    def compare(asked):
        queries = [Query(unit(seed), **shape) for seed, shape in asked]
        for one, two in zip(run_each(local, queries), run_each(other, queries), strict=True):
            if isinstance(two, NotInStore):
                continue
            assert [hit.record for hit in one] == [hit.record for hit in two]
            for name in ("score", "z", "relevance"):
                values = [[getattr(hit, name) for hit in hits] for hits in (one, two)]
                assert values[0] == (pytest.approx(values[1], abs=2e-4) if None not in values[1] else values[1])

    compare()


class SameOperations(RuleBasedStateMachine):
    """Whatever is written to a local collection and to one in the store, both hold and find the same."""

    address = "local"
    number = itertools.count()

    def __init__(self):
        super().__init__()
        self.data = Path(tempfile.mkdtemp())
        self.name = f"same-{next(self.number)}"
        self.stores = [store_at(self.data, address) for address in ("local", self.address)]
        self.both = [store.create(self.name, model="m", fingerprint="f", dim=DIM) for store in self.stores[:1]]
        self.both.append(self.stores[1].create(f"{self.name}-other", model="m", fingerprint="f", dim=DIM))
        self.ids = []

    def teardown(self):
        for collection, store in zip(self.both, self.stores, strict=True):
            collection.close()
            store.delete(collection.name)
        shutil.rmtree(self.data)

    def same(self, ask):
        answers = []
        for collection in self.both:
            try:
                answers.append(ask(collection))
            except (InputError, EntryNotFound) as error:
                answers.append(type(error))
        assert answers[0] == answers[1]
        return answers[0]

    @rule(
        items=st.lists(
            st.tuples(
                st.integers(0, 15), st.sampled_from(["image", "image", "text"]),
                st.sampled_from([None, "/1", "/2", "/a/3", "/a/4"]), st.sampled_from([None, None, "x", "y", "z"]),
            ),
            max_size=5,
        )
    )  # fmt: skip
    def upsert(self, items):
        entries = [
            Entry(unit(seed), kind, path, text=str(seed), metadata={"n": seed}, sha256=str(seed % 4), external_id=name)
            for seed, kind, path, name in items
        ]
        ids = self.same(lambda collection: collection.upsert(entries))
        if isinstance(ids, list):
            self.ids += ids

    @precondition(lambda self: self.ids)
    @rule(choice=st.data())
    def delete(self, choice):
        ids = choice.draw(st.sets(st.sampled_from(self.ids), min_size=1, max_size=4))
        self.same(lambda collection: collection.delete(ids))

    @precondition(lambda self: self.ids)
    @rule(choice=st.data(), fields=st.fixed_dictionaries({}, optional={
        "path": st.sampled_from([None, "/1", "/2", "/b"]), "metadata": st.sampled_from([{}, {"n": "5"}]),
        "external_id": st.sampled_from([None, "x", "y"]), "size": st.sampled_from([None, 7]),
    }))  # fmt: skip
    def update(self, choice, fields):
        ids = choice.draw(st.sets(st.sampled_from(self.ids), min_size=1, max_size=2))
        self.same(lambda collection: collection.update(dict.fromkeys(ids, fields)))

    @rule(seed=st.integers(0, 40), k=st.integers(1, 8))
    def search(self, seed, k):
        one, other = (collection.search(unit(seed) + 1e-3, k) for collection in self.both)
        assert [hit.id for hit in one] == [hit.id for hit in other]
        assert [hit.score for hit in one] == pytest.approx([hit.score for hit in other], abs=2e-4)

    @rule(n=st.integers(0, 15), path=st.sampled_from(["/1", "/a/3", "/none"]), name=st.sampled_from(["x", "z"]))
    def find(self, n, path, name):
        self.same(
            lambda collection: collection.filter_ids({"must": [{"key": "n", "match": {"value": n}}]}, "image").tolist()
        )
        self.same(lambda collection: collection.find_path(path))
        self.same(lambda collection: collection.find_external([name, "w"]))
        self.same(lambda collection: collection.find_sha256(str(n % 4), 2))
        self.same(lambda collection: collection.facet("n"))

    @invariant()
    def both_hold_the_same(self):
        self.same(lambda collection: list(collection.records()))
        self.same(lambda collection: (collection.count(), collection.count("text")))


def test_the_same_operations_have_the_same_answers(store_address):
    if store_address == "local":
        pytest.skip("it is what others are compared with")
    machine = type("Machine", (SameOperations,), {"address": store_address})
    few = 3 if store_address.startswith("milvus://127") else 15
    run_state_machine_as_test(
        machine, settings=settings(max_examples=few, stateful_step_count=20, suppress_health_check=list(HealthCheck))
    )
