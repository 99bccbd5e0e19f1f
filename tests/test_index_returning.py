"""What a person said of pictures goes with their bytes: through folders that are away, swapped names, later finds."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image
from tiny_world import SmallBatches

import index.local.catalog.keepsakes
from base.sources.rules import Rules
from encoder.model.dual_encoder import DualEncoder
from index.backup import back_up, restore
from index.collection import Collection, check_collection, open_collection
from index.ingest.captions import Captions
from index.ingest.gone import find_dead
from index.ingest.report import IndexReport
from index.ingest.sync import SyncOptions, index_folders, open_or_create


@pytest.fixture
def collection(tmp_path: Path, encoder: DualEncoder) -> Iterator[Collection]:
    with open_or_create(tmp_path / "data", "colours", encoder) as opened:
        yield opened


@pytest.fixture
def photos(colour_folder: Path) -> Path:
    """Twelve pictures, of which `green` has four."""
    return colour_folder


@pytest.fixture
def described(collection: Collection, encoder: DualEncoder, photos: Path) -> dict[str, dict[str, Any]]:
    """All of them are in the collection, each with its name as metadata. Gives the metadata by path."""
    captions = Captions()
    for path in photos.rglob("*.png"):
        captions.add(path, {"name": f"{path.parent.name}/{path.name}"}, "row")
    index_folders(collection, encoder, [photos], SyncOptions(captions))
    return said(collection)


def said(collection: Collection) -> dict[str, dict[str, Any]]:
    """Metadata by path."""
    return {str(record.path): record.metadata for record in collection.records()}


def noise(path: Path, seed: int, taken: str = "") -> None:
    """A picture that looks like no other."""
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    exif = Image.Exif()
    if taken:
        exif[ExifTags.Base.DateTime] = taken
    Image.fromarray(pixels).resize((64, 64), Image.Resampling.NEAREST).save(path, exif=exif)


class Telling(SmallBatches):
    """Its vectors are the pixels, so that it knows pictures apart; the small model has hardly learned to."""

    def encode_pixels(self, pixels: Any) -> Any:
        flat = np.asarray(pixels, np.float32).reshape(len(pixels), -1)
        x = flat[:, np.linspace(0, flat.shape[1] - 1, self.dim).astype(int)] - 128
        return x / np.linalg.norm(x, axis=1, keepdims=True)


def swap(a: Path, b: Path) -> None:
    a.rename(a.with_name("swapped"))
    b.rename(a)
    a.with_name("swapped").rename(b)


def found_again(report: IndexReport, number: int) -> bool:
    return (report.returned, report.encoded) == (number, 0)


def test_a_small_folder_that_was_away_comes_back_with_all_that_was_said(
    collection: Collection, encoder: DualEncoder, photos: Path, described: dict[str, Any], tmp_path: Path
) -> None:
    shutil.copy(photos / "green/1.png", photos / "red/copy.png")  # one of its bytes stays, with nothing said of it
    described |= {str(photos / "red/copy.png"): {}}
    index_folders(collection, encoder, [photos])
    (photos / "green").rename(tmp_path / "away")
    report = index_folders(collection, encoder, [photos])
    assert (report.removed, report.kept) == (4, [])
    assert not any("green" in path for path in said(collection))  # no search finds what is not there
    (tmp_path / "away").rename(photos / "green")
    assert found_again(index_folders(collection, encoder, [photos]), 4)
    assert said(collection) == described
    assert collection.check() == []


def evict(photo: Path) -> None:
    """What macOS does with a photo that it keeps in iCloud alone."""
    photo.unlink()
    photo.with_name(f".{photo.name}.icloud").write_bytes(b"bplist00")


@pytest.mark.parametrize("all_of_them", [False, True])
def test_photos_that_are_in_icloud_alone_stay(
    collection: Collection,
    encoder: DualEncoder,
    photos: Path,
    described: dict[str, Any],
    tmp_path: Path,
    all_of_them: bool,
) -> None:
    for photo in photos.rglob("*.png") if all_of_them else [photos / "green/1.png", photos / "red/1.png"]:
        shutil.copy(photo, tmp_path / "kept.png")
        evict(photo)
    number = len(described) if all_of_them else 2
    for options in (SyncOptions(), SyncOptions(allow_empty=True)):
        report = index_folders(collection, encoder, [photos], options)
        [kept] = report.kept
        assert (report.removed, kept.entries, kept.reason) == (0, number, "the photos are in iCloud alone")
    assert find_dead(collection, [photos], tmp_path / "data") == []
    shutil.copy(tmp_path / "kept.png", tmp_path / "another")  # a copy of one of them is not that one, moved
    (tmp_path / "another").rename(photos / "copy.png")
    report = index_folders(collection, encoder, [photos])
    assert (report.added, report.moved, report.removed, report.encoded) == (1, 0, 0, 0)
    assert said(collection) == described | {str(photos / "copy.png"): {}}


def test_a_link_whose_target_was_away_comes_back(
    collection: Collection, encoder: DualEncoder, photos: Path, tmp_path: Path
) -> None:
    (photos / "green").rename(tmp_path / "elsewhere")
    (photos / "green").symlink_to(tmp_path / "elsewhere")
    captions = Captions()
    captions.add(tmp_path / "elsewhere/1.png", {"stars": 5}, "row")
    options = SyncOptions(captions, rules=Rules(follow_links=True))
    index_folders(collection, encoder, [photos], options)
    before = said(collection)
    (tmp_path / "elsewhere").rename(tmp_path / "away")
    options = SyncOptions(rules=Rules(follow_links=True))
    assert index_folders(collection, encoder, [photos], options).removed == 4
    (tmp_path / "away").rename(tmp_path / "elsewhere")
    assert found_again(index_folders(collection, encoder, [photos], options), 4)
    assert said(collection) == before


@pytest.mark.parametrize("by", ["vectors", "times"])
def test_other_pictures_in_its_place_are_not_taken_for_those_of_before(
    collection: Collection, encoder: DualEncoder, photos: Path, tmp_path: Path, by: str
) -> None:
    def camera(folder: Path, first: int) -> None:
        """Four pictures with the names that a camera gives on every card."""
        folder.mkdir()
        for number in range(4):
            noise(folder / f"{number}.png", first + number, f"2024:01:0{first + number} 10:00:00" * (by == "times"))

    telling = Telling(encoder) if by == "vectors" else encoder
    camera(photos / "card", 1)
    captions = Captions()
    for path in (photos / "card").iterdir():
        captions.add(path, {"name": path.name}, "row")
    index_folders(collection, telling, [photos], SyncOptions(captions))
    before = said(collection)
    (photos / "card").rename(tmp_path / "away")
    camera(photos / "card", 5)
    report = index_folders(collection, telling, [photos])
    assert (report.updated, report.encoded) == (4, 4)
    assert [metadata for metadata in said(collection).values() if metadata] == []
    (photos / "card").rename(tmp_path / "other")
    (tmp_path / "away").rename(photos / "card")
    assert found_again(index_folders(collection, telling, [photos]), 4)
    assert said(collection) == before


def test_edited_pictures_keep_what_was_said_of_them_in_a_new_folder_too(
    collection: Collection, encoder: DualEncoder, photos: Path, described: dict[str, Any], tmp_path: Path
) -> None:
    (photos / "green").rename(tmp_path / "before")
    (photos / "green").mkdir()
    for path in (tmp_path / "before").iterdir():  # an export writes all of them anew
        Image.open(path).resize((40, 40)).save(photos / "green" / path.name)
    assert index_folders(collection, encoder, [photos]).updated == 4
    assert said(collection) == described


@pytest.mark.parametrize("together", [True, False])
def test_names_that_were_swapped_change_what_is_said(
    collection: Collection, encoder: DualEncoder, photos: Path, described: dict[str, Any], together: bool
) -> None:
    """In one batch both old entries are there still; in two the first is overwritten before the second is looked at."""
    one = encoder if together else _one_by_one(encoder)
    a, b, c = (photos / name for name in ("blue/0.png", "green/0.png", "red/0.png"))
    swap(a, b)
    swap(b, c)
    report = index_folders(collection, one, [photos])
    assert (report.updated, report.encoded, report.unchanged) == (3, 0, 9)
    expected = described | {
        str(a): {"name": "green/0.png"}, str(b): {"name": "red/0.png"}, str(c): {"name": "blue/0.png"}
    }  # fmt: skip
    assert said(collection) == expected
    assert all(
        collection.vector(record.id) @ encoder.encode_images([str(record.path)])[0] > 0.999
        for record in collection.records()
    )
    collection.update({record.id: {"metadata": {"new": 1}} for record in [collection.find_path(a)] if record})
    swap(a, b)  # what was said since goes along
    index_folders(collection, one, [photos])
    assert said(collection) == expected | {str(a): {"name": "red/0.png"}, str(b): {"new": 1}}


@pytest.mark.parametrize("name", ["0.png", "9.png"])  # before and behind the others in the walk
def test_a_chain_of_renames_takes_everything_along(
    collection: Collection, encoder: DualEncoder, photos: Path, described: dict[str, Any], name: str
) -> None:
    red = photos / "red"
    (red / "0.png").rename(photos / "spare.png")
    index_folders(collection, encoder, [photos])
    (red / "2.png").rename(red / name)
    (red / "1.png").rename(red / "2.png")
    report = index_folders(collection, _one_by_one(encoder), [photos])
    assert (report.removed, report.encoded) == (1, 0)
    now = {path.removeprefix(f"{photos}/"): metadata.get("name") for path, metadata in said(collection).items()}
    assert (now[f"red/{name}"], now["red/2.png"], now["spare.png"]) == ("red/2.png", "red/1.png", "red/0.png")


def test_a_file_that_is_found_elsewhere_at_a_later_run(
    collection: Collection, encoder: DualEncoder, photos: Path, described: dict[str, Any], tmp_path: Path
) -> None:
    (photos / "green/0.png").rename(tmp_path / "0.png")
    index_folders(collection, encoder, [photos])
    (tmp_path / "0.png").rename(photos / "blue/found.png")
    assert found_again(index_folders(collection, encoder, [photos]), 1)
    assert said(collection)[str(photos / "blue/found.png")] == {"name": "green/0.png"}
    shutil.copy(photos / "blue/found.png", photos / "copy.png")  # what was said has gone to the one that was found
    index_folders(collection, encoder, [photos])
    assert said(collection)[str(photos / "copy.png")] == {}


def test_what_an_edit_replaced_can_be_had_back(
    collection: Collection, encoder: DualEncoder, photos: Path, described: dict[str, Any], tmp_path: Path
) -> None:
    path = photos / "green/0.png"
    shutil.copy(path, tmp_path / "0.png")
    noise(path, 1)
    index_folders(collection, encoder, [photos])
    assert said(collection) == described  # an edited picture keeps what was said of it
    shutil.copy(tmp_path / "0.png", path)
    assert found_again(index_folders(collection, encoder, [photos]), 1)
    assert said(collection) == described


def test_a_file_laid_over_another_brings_what_was_said_of_it(
    collection: Collection, encoder: DualEncoder, photos: Path, described: dict[str, Any]
) -> None:
    (photos / "green/0.png").replace(photos / "red/0.png")
    report = index_folders(collection, encoder, [photos])
    assert (report.updated, report.removed, report.encoded) == (1, 1, 0)
    assert said(collection)[str(photos / "red/0.png")] == {"name": "green/0.png"}


def test_what_is_kept_is_bounded_and_says_most_for_longest(
    collection: Collection,
    encoder: DualEncoder,
    photos: Path,
    described: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(index.local.catalog.keepsakes, "MOST", 8)
    records = list(collection.records())
    collection.update({record.id: {"metadata": {}} for record in records[::2]})
    for record in records:  # one after the other
        collection.keepsakes.keep([record.id])
        collection.delete([record.id])
    kept = [collection.keepsakes.of(str(record.sha256)) for record in records]
    assert sum(map(len, kept)) <= 8
    assert [bool(one) for one in kept[1::2]] == [True] * 6
    path = photos / "red/0.png"
    for seed in range(6):
        noise(path, seed)
        index_folders(collection, encoder, [photos])
    assert collection.keepsakes.count(photos / "red") <= 4 + 3


def test_what_is_kept_is_in_a_backup_and_damage_to_it_is_known(
    collection: Collection, encoder: DualEncoder, photos: Path, described: dict[str, Any], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.rmtree(photos / "green")
    index_folders(collection, encoder, [photos])
    collection.close()
    back_up(data, "colours", tmp_path / "kept.backup")
    restore(data, tmp_path / "kept.backup", "again")
    with open_collection(data, "again") as again:
        assert again.keepsakes.count(photos) == 4
        assert again.keepsakes.count(photos / "gree") == 0
    assert check_collection(data, "again")[0] == []
    with closing(sqlite3.connect(data / "collections/again/catalog.sqlite", isolation_level=None)) as db:
        sha256, *_ = db.execute("SELECT sha256 FROM keepsakes WHERE path LIKE '%/green/0.png'").fetchone()
        db.execute("UPDATE keepsakes SET metadata = '{}' WHERE sha256 = ?", (sha256,))
    assert check_collection(data, "again")[0] == ["1 of what is kept of files that went are not what was written"]
    with open_collection(data, "again") as again:
        assert again.keepsakes.of(sha256) == []


def test_vectors_of_another_model_are_not_taken(
    collection: Collection, encoder: DualEncoder, photos: Path, described: dict[str, Any], tmp_path: Path
) -> None:
    (photos / "green").rename(tmp_path / "away")
    index_folders(collection, encoder, [photos])
    collection.next.begin("another", "its fingerprint", 3)
    ids = [record.id for record in collection.records()]
    collection.next.write(ids, np.eye(3)[np.arange(len(ids)) % 3])
    collection.next.swap()
    (tmp_path / "away").rename(photos / "green")

    class Another(SmallBatches):
        dim = 3

        def encode_pixels(self, pixels: Any) -> Any:
            return np.tile(np.eye(3, dtype=np.float32)[0], (len(pixels), 1))

    report = index_folders(collection, Another(encoder), [photos])
    assert (report.returned, report.encoded) == (4, 4)
    assert said(collection) == described


def _one_by_one(encoder: DualEncoder) -> SmallBatches:
    small = SmallBatches(encoder)
    small.batch_size = 1
    return small


def test_names_of_any_bytes_are_kept(collection: Collection, encoder: DualEncoder, photos: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    (photos / "green").rename(photos / name)
    index_folders(collection, encoder, [photos])
    for path in (photos / name).iterdir():
        record = collection.find_path(path)
        assert record
        collection.update({record.id: {"metadata": {"stars": 5}}})
    (photos / name).rename(photos.parent / "away")
    index_folders(collection, encoder, [photos])
    (photos.parent / "away").rename(photos / name)
    assert found_again(index_folders(collection, encoder, [photos]), 4)
    assert sum(metadata == {"stars": 5} for metadata in said(collection).values()) == 4
