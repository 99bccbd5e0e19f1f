"""Maps of collections: structure that is there is found, new images find their places, and a map is only derived."""

from __future__ import annotations

import importlib.util
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from odd_zips import odd

from base.errors import CollectionNotFound, InputError
from index.backup import back_up, restore
from index.collection import Entry, create_collection, delete_collection, open_collection
from index.columns import AllVectors
from index.map.fit import LANDMARKS, _are_forms, fit, named
from index.map.kept import FILE, KeptMap, make_map, read_map
from index.map.projection import Landmarks
from index.rows import unit_rows

DIM = 24
NEEDS_UMAP = pytest.mark.skipif(importlib.util.find_spec("umap") is None, reason="umap-learn is not installed")


def clumps(n, seed=0, clumps=4, dim=DIM):
    """Vectors (n, dim) in well-separated clumps, and which clump each is in."""
    centres = np.linalg.qr(np.random.default_rng(1).normal(size=(dim, clumps)))[0].T
    rng = np.random.default_rng(seed)
    which = rng.integers(0, clumps, n)
    return unit_rows(centres[which] + 0.05 * rng.normal(size=(n, dim)), dim), which


def source_of(x, block=100, version=1):
    x16 = x.astype(np.float16)

    def blocks():
        for start in range(0, len(x), block):
            yield np.arange(start, min(start + block, len(x))) + 1, x16[start : start + block]

    return AllVectors(blocks, len(x), "f", version)


def fill(collection, x, first=0):
    entries = [Entry(row, "image", f"/p/{first + i}") for i, row in enumerate(x)]
    return [key for start in range(0, len(x), 500) for key in collection.upsert(entries[start : start + 500])]


@pytest.fixture
def collection(tmp_path):
    with create_collection(tmp_path, "c", model="m", fingerprint="f", dim=DIM) as made:
        yield made


def test_pca_is_that_of_the_definition():
    x, _ = clumps(700)
    made = fit(source_of(x), "pca")
    x16 = x.astype(np.float16).astype(np.float32)
    centred = x16 - x16.mean(axis=0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    true = u[:, :2] * s[:2]
    back = made.places * made.scale[2]
    for found, axis in zip((back - back.mean(axis=0)).T, (true - true.mean(axis=0)).T, strict=True):
        assert min(abs(found - axis).max(), abs(found + axis).max()) < 1e-3
    assert made.ids.tolist() == list(range(1, 701))
    assert ((made.places > 0) & (made.places < 1)).all()


def test_clumps_are_clusters_and_the_same_each_time():
    x, which = clumps(640)
    made, again = fit(source_of(x), "pca"), fit(source_of(x, block=64), "pca")
    assert (made.clusters == again.clusters).all()
    assert abs(made.places - again.places).max() < 1e-4
    for number in range(1, len(made.known) + 1):
        inside = which[made.clusters == number]
        assert (inside == inside[0]).all()  # no cluster has two clumps
        assert made.known[number - 1].size == len(inside) > 0
    sizes = [one.size for one in made.known]
    assert sizes == sorted(sizes, reverse=True)
    assert sum(sizes) == 640


def test_what_was_not_there_lies_where_it_would_have():
    x, _ = clumps(500)
    made = fit(source_of(x), "pca")
    places, clusters = made.place(x[:50])
    assert abs(places - made.places[:50]).max() < 1e-3  # float16 and float32
    assert (clusters == made.clusters[:50]).all()
    new, which = clumps(40, seed=5)
    places, clusters = made.place(new)
    old = {int(which_one): set() for which_one in range(4)}
    for cluster, clump in zip(made.clusters, clumps(500)[1], strict=True):
        old[int(clump)].add(int(cluster))
    assert all(int(cluster) in old[int(clump)] for cluster, clump in zip(clusters, which, strict=True))


def test_landmarks_place_by_the_nearest_of_them():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 8)).astype(np.float32)
    places = x[:, :2]
    landmarks = Landmarks(x, places)
    assert abs(landmarks.places_for(x) - places).max() < 1e-2  # a landmark is where it is
    near = landmarks.places_for(x[:20] + 1e-3)
    assert abs(near - places[:20]).max() < 0.05


@pytest.mark.parametrize(
    ("word", "other", "same"),
    [
        ("bird", "birds", True),
        ("Box", "boxes", True),
        ("car", "carpet", False),
        ("a", "an", False),
        ("sea", "sea", True),
    ],
)
def test_another_form_of_a_word_says_nothing_new(word, other, same):
    assert _are_forms(word, other) == _are_forms(other, word) == same


def test_clusters_are_named_by_what_sets_them_apart():
    x, which = clumps(400)
    made = fit(source_of(x), "pca")
    truth = np.stack([x[which == clump].mean(axis=0) for clump in range(4)])
    words = tuple(f"clump{clump}{letter}" for clump in range(4) for letter in "abcdefghijkl")
    vectors = unit_rows(np.repeat(truth, 12, axis=0) + 0.02 * np.random.default_rng(2).normal(size=(48, DIM)), DIM)
    told = named(made, words, vectors)
    seen = [word for one in told.known for word in one.words]
    assert len(seen) == len(set(seen)) > 0
    for number, one in enumerate(told.known, start=1):
        clump = int(which[made.clusters == number][0])
        assert all(word.startswith(f"clump{clump}") for word in one.words)
    assert all(one.words == () for one in made.known)


def test_no_cluster_is_named_by_a_stop_word_where_there_are_others():
    x, which = clumps(400)
    made = fit(source_of(x), "pca")
    truth = unit_rows(np.stack([x[which == clump].mean(axis=0) for clump in range(4)]), DIM)
    told = named(made, ("the", "With", "bird", "boat"), truth)
    assert {word for one in told.known for word in one.words} == {"bird", "boat"}
    told = named(made, ("the", "with", "one", "two"), truth)
    assert {word for one in told.known for word in one.words} == {"the", "with", "one", "two"}


def test_a_map_of_too_few_or_of_one_place():
    x, _ = clumps(2)
    with pytest.raises(InputError, match="needs 3 images, and there are 2"):
        fit(source_of(x), "pca")
    same = np.tile(clumps(1)[0], (10, 1))
    made = fit(source_of(same), "pca")
    assert np.isfinite(made.places).all()
    assert sum(one.size for one in made.known) == 10
    narrow = fit(source_of(unit_rows(np.random.default_rng(0).normal(size=(9, 1)), 1)), "pca")
    assert narrow.places.shape == (9, 2)


def test_memory_is_bounded_by_a_block_and_the_places():
    dim, n, block = 64, 400_000, 8192
    rng = np.random.default_rng(0)
    x16 = unit_rows(rng.normal(size=(block, dim)), dim).astype(np.float16)

    def blocks():
        for start in range(0, n, block):
            m = min(block, n - start)
            yield np.arange(start, start + m), x16[:m]

    tracemalloc.start()
    made = fit(AllVectors(blocks, n, "f", 1), "pca")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(made.ids) == n
    assert peak < n * dim * 4 * 0.9  # all of the vectors in float32 would be 102 MB; the sample of 100,000 is a quarter


def test_a_map_is_kept_read_and_looked_at(collection):
    x, _ = clumps(300)
    ids = fill(collection, x)
    kept = KeptMap(collection)
    assert kept.get() is None
    assert kept.placed(collection.columns().ids) is None
    made = make_map(collection)
    columns = collection.columns()
    placed = kept.placed(columns.ids)
    at = {key: i for i, key in enumerate(columns.ids.tolist())}
    assert abs(placed.places[[at[key] for key in ids]] - made.places).max() == 0
    assert (placed.clusters[[at[key] for key in ids]] == made.clusters).all()
    assert kept.mark() == placed.mark
    assert read_map(collection.folder / FILE).known == made.known


def test_new_images_have_places_without_another_run(collection):
    x, which = clumps(400)
    fill(collection, x)
    make_map(collection)
    kept = KeptMap(collection)
    before = kept.mark()
    new, clump = clumps(30, seed=9)
    (moved, *_) = fill(collection, new, first=1000)
    assert kept.mark() != before
    columns = collection.columns()
    placed = kept.placed(columns.ids)
    assert not np.isnan(placed.places).any()
    assert (placed.clusters > 0).all()
    here = columns.ids.tolist().index(moved)
    mine = [columns.ids.tolist().index(key + 1) for key in np.flatnonzero(which == clump[0])[:20]]
    others = [columns.ids.tolist().index(key + 1) for key in np.flatnonzero(which != clump[0])[:20]]
    near = np.linalg.norm(placed.places[mine] - placed.places[here], axis=1).mean()
    far = np.linalg.norm(placed.places[others] - placed.places[here], axis=1).mean()
    assert near < far / 3
    # one that got another picture moves
    collection.upsert([Entry(x[np.flatnonzero(which != clump[0])[0]], "image", "/p/1000")])
    again = kept.placed(columns.ids)
    assert np.linalg.norm(again.places[here] - placed.places[here]) > 0.1
    collection.delete([moved])
    assert moved not in collection.columns().ids
    assert len(kept.placed(collection.columns().ids).places) == collection.count("image")


def test_a_map_is_derived_lost_damaged_or_of_another_model_is_none(collection, tmp_path):
    x, _ = clumps(50)
    fill(collection, x)
    make_map(collection)
    kept = KeptMap(collection)
    path = collection.folder / FILE
    whole = path.read_bytes()
    for damage in (
        whole[:100],
        whole[:-400],
        b"",
        b"PK" + whole[2:200],
        whole.replace(b'"format": 1', b'"format": 9'),
        *odd(whole),
    ):
        path.write_bytes(damage)
        assert kept.get() is None
        assert kept.placed(collection.columns().ids) is None
    path.unlink()
    assert kept.get() is None
    make_map(collection)
    assert kept.get() is not None
    assert collection.check() == []
    back_up(tmp_path, "c", tmp_path / "c.backup")
    restore(tmp_path, tmp_path / "c.backup", "again")
    with open_collection(tmp_path, "again") as again:
        assert KeptMap(again).get() is None
        assert again.count() == 50
    other = KeptMap(collection)
    other.get()
    other._map = replace(other._map, fingerprint="another")
    assert other.get() is None


def test_a_run_that_is_ended_leaves_the_map_of_before(collection, tmp_path):
    x, _ = clumps(60)
    fill(collection, x)
    before = make_map(collection).made_at

    def stop(done, total):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_map(collection, progress=stop)
    assert read_map(collection.folder / FILE).made_at == before
    assert [path.name for path in collection.folder.iterdir() if "map" in path.name] == [FILE]


def test_a_collection_that_was_deleted_meanwhile_gets_no_map(tmp_path):
    with create_collection(tmp_path, "gone", model="m", fingerprint="f", dim=DIM) as made:
        fill(made, clumps(10)[0])
    with open_collection(tmp_path, "gone") as reader:

        def delete(done, total):
            if done:
                delete_collection(tmp_path, "gone")

        with pytest.raises(CollectionNotFound, match="deleted meanwhile"):
            make_map(reader, progress=delete)


def test_umap_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr("index.map.umap.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"needs umap-learn, which is not installed: .*pip install"):
        fit(source_of(clumps(100)[0]), "umap")


@NEEDS_UMAP
@pytest.mark.slow
def test_umap_keeps_clumps_apart_and_can_be_ended():
    x, which = clumps(600)
    made = fit(source_of(x), "umap")
    apart = np.linalg.norm(made.places[:, None] - made.places[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    near = apart.argsort(axis=1)[:, :5]
    assert (which[near] == which[:, None]).mean() > 0.99
    new, clump = clumps(20, seed=4)
    places, _ = made.place(new)
    nearest = np.linalg.norm(places[:, None] - made.places[None], axis=2).argmin(axis=1)
    assert (which[nearest] == clump).all()
    assert len(made.landmarks.x) == 600 <= LANDMARKS

    class Ended(Exception):
        pass

    asked = []

    def stop(done, total):
        asked.append(done)
        if len(asked) > 2:
            raise Ended

    with pytest.raises(Ended):
        fit(source_of(x), "umap", stop)


def test_clusters_have_words_of_the_collection_where_it_has_enough(collection, monkeypatch):
    x, _ = clumps(120)
    own = [f"own{chr(97 + i)}{chr(97 + j)}" for i in range(8) for j in range(5)]
    told = [
        {"title": f"A {own[i % 40]}, No 7", "filename": f"{own[i % 40]}.jpeg", "code": "x" * 31} for i in range(120)
    ]
    collection.upsert(
        [Entry(row, "image", f"/p/{i}", metadata=said) for i, (row, said) in enumerate(zip(x, told, strict=True))]
    )
    vectors = unit_rows(np.random.default_rng(3).normal(size=(80, DIM)), DIM)
    asked = []

    def words(wanted):
        asked.append(wanted)
        return (*own, *(f"other{i}" for i in range(40))), vectors

    monkeypatch.setattr("index.map.kept.FEWEST_OWN", 50)
    found = {word for one in make_map(collection, words=words).known for word in one.words}
    assert any(word.startswith("other") for word in found)
    assert sorted(asked[0]) == own  # neither a word that is too long nor what a file ends with
    monkeypatch.setattr("index.map.kept.FEWEST_OWN", 40)
    found = {word for one in make_map(collection, words=words).known for word in one.words}
    assert found
    assert found <= set(own)


def test_a_cluster_for_which_no_own_word_is_left_has_another(collection, monkeypatch):
    x, _ = clumps(200)
    collection.upsert([Entry(row, "image", f"/p/{i}", metadata={"title": "mushroom"}) for i, row in enumerate(x)])
    made = make_map(collection)
    assert len(made.known) > 1
    means = unit_rows(np.stack([x[made.clusters == n].mean(axis=0) for n in range(1, len(made.known) + 1)]), DIM)
    others = tuple(f"thing{letter}" for letter in "abcdefghijklmno"[: len(means)])
    monkeypatch.setattr("index.map.kept.FEWEST_OWN", 1)
    told = make_map(collection, words=lambda own: ((*own, *others), np.concatenate([means[:1], means])))
    assert told.known[0].words == ("mushroom",)
    assert [one.words[0] for one in told.known[1:]] == list(others[1:])
    assert all("mushroom" not in one.words for one in told.known[1:])
