"""Finding what is there twice: groups around the best, without chains, and nothing that must not go."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_world import plain_picture

import index.duplicates
from base.errors import InputError
from encoder.model.dual_encoder import DualEncoder
from index.collection import Collection, Entry, Record, create_collection
from index.duplicates import Duplicate, Group, identical_files, near_duplicates, spare_files
from index.ingest.sync import index_folders, open_or_create


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    with create_collection(tmp_path, "plane", model="none", fingerprint="f", dim=2) as opened:
        yield opened


def at(*degrees: float, pixels: int | None = None, sha256: str | None = None) -> list[Entry]:
    """Images whose vectors have these angles."""
    return [
        Entry(
            np.array([np.cos(np.radians(a)), np.sin(np.radians(a))], np.float32),
            "image",
            width=pixels,
            height=1,
            sha256=sha256,
        )
        for a in degrees
    ]


def ids_of(groups: list[index.duplicates.Group]) -> list[list[int]]:
    return [[group.best.id, *sorted(other.record.id for other in group.others)] for group in groups]


def test_a_chain_of_small_steps_is_not_one_group(collection: Collection) -> None:
    collection.upsert(at(*range(0, 100, 10)))  # each is 10 degrees from the next, the ends are 90 apart
    groups = near_duplicates(collection, threshold=float(np.cos(np.radians(15))))
    assert ids_of(groups) == [[1, 2], [3, 4], [5, 6], [7, 8], [9, 10]]
    assert groups[0].others[0].score == pytest.approx(np.cos(np.radians(10)), abs=1e-3)


def test_the_best_has_the_most_pixels(collection: Collection) -> None:
    collection.upsert([*at(0, pixels=10), *at(12, pixels=30), *at(24, pixels=20), *at(180, pixels=99)])
    assert ids_of(near_duplicates(collection, threshold=float(np.cos(np.radians(15))))) == [[2, 1, 3]]


@pytest.mark.parametrize(
    "spare",
    [
        "#recycle/IMG_1.jpg",
        "$RECYCLE.BIN/S-1-5/IMG_1.jpg",
        "2020/IMG_1 copy.jpg",
        "2020/IMG_1 (1).jpg",
        ".trash/x.jpg",
        "Backups/IMG_1.jpg",
        "Deleted/IMG_1.jpg",
        "2020/IMG_1_dup.jpg",
    ],
)
def test_what_lies_in_a_recycle_bin_or_is_named_as_a_copy_is_never_the_best(spare: str, collection: Collection) -> None:
    paths = [Path("/photos", spare), Path("/photos/2020/IMG_1.jpg")]
    row = at(0, pixels=10, sha256="a" * 64)[0]
    larger = replace(row, width=99, path=paths[0])
    collection.upsert([larger, replace(row, path=paths[1])])
    for groups in (near_duplicates(collection), identical_files(collection)):
        assert [group.best.path for group in groups] == [str(paths[1])]


@pytest.mark.parametrize("copy", ["IMG_1-1.jpg", "IMG_1 2.jpg", "IMG_1_2.jpg", "IMG_1~2.jpg", "IMG_1[1].jpg"])
def test_of_files_that_are_alike_in_all_the_one_with_a_number_more_is_the_copy(
    copy: str, collection: Collection
) -> None:
    row = at(0, pixels=10, sha256="a" * 64)[0]
    collection.upsert([replace(row, path=f"/photos/{name}") for name in (copy, "IMG_1.jpg")])
    for groups in (near_duplicates(collection), identical_files(collection)):
        assert [group.best.path for group in groups] == ["/photos/IMG_1.jpg"]


def test_a_near_vector_alone_is_no_duplicate(collection: Collection) -> None:
    rows = [replace(row, path=f"/{number}.jpg") for number, row in enumerate(at(0, 1, 2, 3, sha256="b" * 64))]
    collection.upsert([replace(rows[0], sha256="a" * 64), *rows[1:]])
    asked: list[tuple[str, str]] = []

    def twins(one: str, other: str) -> bool:
        asked.append((one, other))
        return False

    assert ids_of(near_duplicates(collection, twins=twins)) == [[2, 3, 4]]  # the same bytes need no second opinion
    assert asked == [("/0.jpg", f"/{number}.jpg") for number in (1, 2, 3)]


def test_many_copies_are_one_group_and_come_first(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index.duplicates, "NEAREST", 2)  # so that it has to look further, again and again
    monkeypatch.setattr(index.duplicates, "BATCH", 7)
    collection.upsert([*at(90, 90), *at(*[0] * 200, sha256="a"), *at(200), *at(0, sha256="b")])
    steps: list[tuple[int, int]] = []
    groups = near_duplicates(collection, 0.99, progress=lambda done, total: steps.append((done, total)))
    assert [len(group.others) for group in groups] == [200, 1]
    assert sum(other.identical for other in groups[0].others) == 199
    assert steps[-1] == (204, 204)
    steps.clear()
    near_duplicates(collection, 0.99, twins=lambda *_: True, progress=lambda done, total: steps.append((done, total)))
    assert any(done % 7 for done, _ in steps[:-1]), "said of images whose files are compared, not of batches alone"
    assert steps == sorted(steps)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    images=st.lists(st.tuples(st.integers(0, 359), st.integers(1, 4)), max_size=40),
    angle=st.integers(2, 80),
    nearest=st.sampled_from([1, 3, 16]),
    batch=st.sampled_from([1, 5, 256]),
)
def test_groups_are_those_of_the_definition(
    collection: Collection, images: list[tuple[int, int]], angle: int, nearest: int, batch: int
) -> None:
    index.duplicates.NEAREST, before = nearest, (index.duplicates.NEAREST, index.duplicates.BATCH)
    index.duplicates.BATCH = batch
    try:
        collection.delete([record.id for record in collection.records()])
        ids = collection.upsert([entry for a, pixels in images for entry in at(a, pixels=pixels)])
        threshold = float(np.cos(np.radians(angle + 0.5)))  # angles are whole, so nothing lies on it
        groups = near_duplicates(collection, threshold)
    finally:
        index.duplicates.NEAREST, index.duplicates.BATCH = before
    left = sorted(range(len(images)), key=lambda i: (-images[i][1], i))
    expected = []
    while left:
        best, *left = left
        apart = {i: abs((images[i][0] - images[best][0] + 180) % 360 - 180) for i in left}
        if others := [i for i in left if apart[i] <= angle]:
            expected.append([ids[best], *sorted(ids[i] for i in others)])
            left = [i for i in left if i not in others]
    assert ids_of(groups) == sorted(expected, key=lambda group: (-len(group), group[0]))


def test_a_threshold_must_be_one(collection: Collection) -> None:
    assert near_duplicates(collection) == identical_files(collection) == []
    for threshold in (0, 1.1, float("nan")):
        with pytest.raises(InputError, match="above 0 and at most 1"):
            near_duplicates(collection, threshold)


def test_files_with_the_same_bytes(encoder: DualEncoder, colour_folder: Path, tmp_path: Path) -> None:
    red, green = colour_folder / "red", colour_folder / "green"
    for name in ("b.png", "c.png"):
        shutil.copy(red / "0.png", colour_folder / name)
    shutil.copy(green / "0.png", green / "z.png")
    with open_or_create(tmp_path / "data", "colours", encoder) as collection:
        index_folders(collection, encoder, [colour_folder])
        groups = identical_files(collection)
        near = near_duplicates(collection, 0.9999)
    assert [[Path(str(group.best.path)), *spare_files(group)] for group in groups] == [
        [colour_folder / "b.png", str(colour_folder / "c.png"), str(red / "0.png")],
        [green / "0.png", str(green / "z.png")],
    ]
    pairs = [(group.best, other) for group in near for other in group.others]
    assert any(other.identical for _, other in pairs)
    assert all(other.identical == (other.record.sha256 == best.sha256) for best, other in pairs)


def test_what_would_be_lost_is_not_spare(encoder: DualEncoder, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    plain_picture("red").save(folder / "real.png")
    (folder / "a-link.png").symlink_to(folder / "real.png")  # indexed first, so it is the best of the two
    shutil.copy(folder / "real.png", folder / "z-copy.png")
    (folder / "y-hard.png").hardlink_to(folder / "real.png")
    with open_or_create(tmp_path / "data", "photos", encoder) as collection:
        index_folders(collection, encoder, [folder])
        (group,) = near_duplicates(collection)
        assert group.best.path == str(folder / "a-link.png")
        assert len(group.others) == 3
        assert spare_files(group) == [str(folder / "z-copy.png")]
        (folder / "a-link.png").unlink()
        assert spare_files(group) == []  # without the best, each of the others may be the last


@pytest.mark.parametrize(
    ("best", "other", "spare"),
    [
        ("a.jpg", "b.jpg", True),
        ("a.png", "b.jpg", True),
        ("a.jpg", "b.tif", False),
        ("a.png", "b.dng", False),
        ("a.dng", "b.jpg", True),
    ],
)
def test_what_a_lesser_kind_cannot_replace_is_not_spare(best: str, other: str, spare: bool, tmp_path: Path) -> None:
    records = [recorded(tmp_path / name, b"same") for name in (best, other)]
    group = Group(records[0], [Duplicate(records[1], 1.0, identical=True)])
    assert spare_files(group) == [str(tmp_path / other)] * spare


def test_what_changed_since_it_was_indexed_or_says_more_is_not_spare(tmp_path: Path) -> None:
    best, other = (recorded(tmp_path / name, b"same") for name in ("a.jpg", "b.jpg"))
    noted = replace(other, metadata={"note": "grandma"})
    assert spare_files(Group(best, [Duplicate(noted, 1.0, identical=True)])) == []
    known = replace(best, metadata={"note": "grandma", "stars": 5})
    assert spare_files(Group(known, [Duplicate(noted, 1.0, identical=True)])) == [other.path]
    (tmp_path / "b.jpg").write_bytes(b"other")
    assert spare_files(Group(known, [Duplicate(noted, 1.0, identical=True)])) == []
    (tmp_path / "b.jpg").write_bytes(b"same")
    (tmp_path / "a.jpg").write_bytes(b"cut")
    assert spare_files(Group(known, [Duplicate(noted, 1.0, identical=True)])) == []


def recorded(path: Path, data: bytes) -> Record:
    """A file, and what the catalog would say of it."""
    path.write_bytes(data)
    sha256 = hashlib.sha256(data).hexdigest()
    return Record(1, "image", str(path), None, {}, sha256, None, len(data), 8, 8)
