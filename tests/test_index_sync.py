"""Keeping a collection in step with folders: new, changed, moved, gone; interrupted, and with bad files among them."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
import unicodedata
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import ExifTags, Image
from test_encoder_image import scene
from tiny_world import SmallBatches, plain_picture

import index.ingest.places
import index.ingest.sync
from base.errors import InputError, ModelMismatch
from base.sources.rules import Rules
from base.sources.tables import TOO_MANY
from encoder.encoder import Vectors
from encoder.image import Pixels, sha256_of
from encoder.lazy import open_encoder
from encoder.model.dual_encoder import DualEncoder
from index.collection import Collection, Entry
from index.ingest.captions import Captions, read_captions
from index.ingest.report import IndexReport
from index.ingest.sync import SyncOptions, index_folders, index_paths, open_or_create
from index.search.query import Query


@pytest.fixture
def collection(tmp_path: Path, encoder: DualEncoder) -> Iterator[Collection]:
    with open_or_create(tmp_path / "data", "colours", encoder) as opened:
        yield opened


def counts(report: IndexReport) -> dict[str, int]:
    """The counts that are not zero."""
    numbers = asdict(report) | {"skipped": len(report.skipped)}
    names = ("added", "updated", "moved", "removed", "unchanged", "skipped", "encoded")
    return {name: numbers[name] for name in names if numbers[name]}


def paths(collection: Collection) -> set[str]:
    return {str(record.path) for record in collection.records()}


def test_while_a_model_loads_the_next_pictures_are_read(
    tmp_path: Path, collection: Collection, encoder: DualEncoder
) -> None:
    for i in range(30):
        plain_picture("red", i).save(tmp_path / f"{i:02}.png")
    read: list[Path] = []
    ahead = threading.Event()

    def note(path: Path) -> bytes:
        read.append(path)
        if len(read) == 20:
            ahead.set()
        return path.read_bytes()

    class SlowToLoad(SmallBatches):
        sizes: ClassVar[list[int]] = []

        def encode_pixels(self, pixels: Pixels) -> Vectors:
            assert self.sizes or ahead.wait(10)
            self.sizes.append(len(pixels))
            return super().encode_pixels(pixels)

    slow = SlowToLoad(encoder)
    slow.batch_size = 8
    index_folders(collection, slow, [tmp_path], SyncOptions(read=note))
    assert slow.sizes == [4, 8, 8, 8, 2]
    assert paths(collection) == {str(tmp_path / f"{i:02}.png") for i in range(30)}


def test_only_what_is_new_or_changed_is_encoded(
    collection: Collection, encoder: DualEncoder, colour_folder: Path
) -> None:
    def run(**options: Any) -> dict[str, int]:
        return counts(index_folders(collection, encoder, [colour_folder], **options))

    assert run() == {"added": 12, "encoded": 12}
    assert run() == {"unchanged": 12}

    plain_picture("yellow").save(colour_folder / "new.png")
    plain_picture("white", -30).save(colour_folder / "red" / "0.png")  # changed
    (colour_folder / "red" / "1.png").rename(colour_folder / "blue" / "from-red.png")  # moved
    (colour_folder / "green" / "0.png").unlink()  # gone
    os.utime(colour_folder / "green" / "1.png", ns=(1, 1))  # touched
    shutil.copy(colour_folder / "green" / "2.png", colour_folder / "copy.png")  # the same bytes once more
    ids = {record.path: record.id for record in collection.records()}
    assert run() == {"added": 2, "updated": 1, "moved": 1, "removed": 1, "unchanged": 9, "encoded": 2}

    assert paths(collection) == {str(path) for path in colour_folder.rglob("*.png")}
    moved = collection.find_path(colour_folder / "blue" / "from-red.png")
    assert moved is not None
    assert moved.id == ids[str(colour_folder / "red" / "1.png")]
    for record in collection.records():
        expected = encoder.encode_images([str(record.path)])[0]
        assert collection.vector(record.id) @ expected > 0.999
    assert run() == {"unchanged": 13}


def test_bad_files_are_listed_and_tried_again(
    collection: Collection, encoder: DualEncoder, colour_folder: Path
) -> None:
    (colour_folder / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    (colour_folder / "empty.png").touch()
    (colour_folder / "notes.txt").write_text("no image")
    (colour_folder / ".hidden").mkdir()
    plain_picture("red").save(colour_folder / ".hidden" / "x.png")
    report = index_folders(collection, encoder, [colour_folder])
    assert counts(report) == {"added": 12, "skipped": 2, "encoded": 12}
    assert {Path(file["path"]).name: file["reason"] for file in report.skipped}["empty.png"] == "the file is empty"
    plain_picture("red", 5).save(colour_folder / "empty.png")
    assert counts(index_folders(collection, encoder, [colour_folder])) == {
        "added": 1,
        "unchanged": 12,
        "skipped": 1,
        "encoded": 1,
    }


def test_an_interrupted_run_is_continued(collection: Collection, encoder: DualEncoder, colour_folder: Path) -> None:
    class Interrupt(Exception):
        pass

    def stop(done: int, total: int) -> None:
        assert total == 12
        if done >= 4:
            raise Interrupt

    small = SmallBatches(encoder)
    with pytest.raises(Interrupt):
        index_folders(collection, small, [colour_folder], progress=stop)
    assert collection.count() == 4
    assert counts(index_folders(collection, small, [colour_folder])) == {"added": 8, "unchanged": 4, "encoded": 8}


def test_a_folder_that_is_suddenly_empty_loses_nothing(
    collection: Collection, encoder: DualEncoder, colour_folder: Path
) -> None:
    index_folders(collection, encoder, [colour_folder])
    shutil.rmtree(colour_folder)
    with pytest.raises(InputError, match="no such folder"):
        index_folders(collection, encoder, [colour_folder])
    colour_folder.mkdir()
    with pytest.raises(InputError, match=r"has 12 from it\. Is a disk not mounted"):
        index_folders(collection, encoder, [colour_folder])
    assert collection.count() == 12
    assert counts(index_folders(collection, encoder, [colour_folder], SyncOptions(allow_empty=True))) == {"removed": 12}


def test_several_folders_share_a_collection(collection: Collection, encoder: DualEncoder, colour_folder: Path) -> None:
    red, green = colour_folder / "red", colour_folder / "green"
    assert counts(index_folders(collection, encoder, [red, green, red])) == {"added": 8, "encoded": 8}
    (red / "0.png").unlink()
    (green / "0.png").unlink()
    assert counts(index_folders(collection, encoder, [red])) == {"removed": 1, "unchanged": 3}  # green is left alone
    assert counts(index_folders(collection, encoder, [colour_folder, red])) == {
        "added": 4,
        "removed": 1,
        "unchanged": 6,
        "encoded": 4,
    }


def test_captions_are_attached_and_kept(
    collection: Collection, encoder: DualEncoder, colour_folder: Path, tmp_path: Path
) -> None:
    table = colour_folder / "captions.csv"
    table.write_text("image,title,tag\nred/0.png,A red one,warm\nred/0.png,A red one,bright\nblue/1.png,A blue one,\n")
    captions = read_captions(table)
    assert captions[colour_folder / "red" / "0.png"] == {"title": "A red one", "tag": ["warm", "bright"]}
    index_folders(collection, encoder, [colour_folder])
    report = index_folders(collection, encoder, [colour_folder], SyncOptions(captions))
    assert counts(report) == {"updated": 2, "unchanged": 10}
    record = collection.find_path(colour_folder / "blue" / "1.png")
    assert record is not None
    assert record.metadata == {"title": "A blue one"}
    assert counts(index_folders(collection, encoder, [colour_folder], SyncOptions(captions))) == {"unchanged": 12}
    plain_picture("black").save(colour_folder / "blue" / "1.png")  # another picture keeps its caption
    index_folders(collection, encoder, [colour_folder])
    assert collection.get(record.id).metadata == {"title": "A blue one"}
    with pytest.raises(InputError, match='no column "file"; it has image, title, tag'):
        read_captions(table, image_key="file")


def test_what_cannot_be_entered_is_not_gone(
    collection: Collection, encoder: DualEncoder, colour_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index_folders(collection, encoder, [colour_folder])
    scandir = os.scandir

    def refuse(path: str | Path) -> Any:
        if str(path).endswith("red"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    report = index_folders(collection, encoder, [colour_folder])
    assert counts(report) == {"unchanged": 8, "skipped": 1}
    assert report.skipped[0]["reason"] == "Permission denied"
    assert collection.count() == 12


def test_another_model_is_refused(
    collection: Collection, encoder: DualEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection.close()
    monkeypatch.setattr(encoder, "fingerprint", "of another model")
    with pytest.raises(ModelMismatch, match="of another model"):
        open_or_create(tmp_path / "data", "colours", encoder)
    monkeypatch.undo()
    open_or_create(tmp_path / "data", "colours", encoder).close()  # the refusal did not keep the lock


def test_a_picture_finds_itself(collection: Collection, encoder: DualEncoder, colour_folder: Path) -> None:
    index_folders(collection, encoder, [colour_folder])
    for record in collection.records():
        hits = collection.search(encoder.encode_images([str(record.path)])[0], 12)
        assert record.path in [hit.record.path for hit in hits if np.isclose(hit.score, 1, atol=2e-3)]
        assert (record.width, record.height) == (48, 40)


def test_captions_are_found_through_a_link(
    collection: Collection, encoder: DualEncoder, colour_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(colour_folder)
    table = tmp_path / "captions.csv"
    table.write_text("image,title\nlink/red/0.png,linked\n")
    index_folders(collection, encoder, [tmp_path / "link"], SyncOptions(read_captions(table)))
    record = collection.find_path(tmp_path / "link" / "red" / "0.png")
    assert record is not None
    assert record.metadata == {"title": "linked"}


@pytest.mark.parametrize("first", ["colours", "link"])
def test_a_folder_by_its_other_name_is_the_same_folder(
    collection: Collection, encoder: DualEncoder, colour_folder: Path, tmp_path: Path, first: str
) -> None:
    link, named = tmp_path / "link", tmp_path / first
    link.symlink_to(colour_folder)
    (tmp_path / "green").symlink_to(link / "green")
    index_folders(collection, encoder, [named])
    for others in ([link], [colour_folder], [link, colour_folder]):
        assert counts(index_folders(collection, encoder, others)) == {"unchanged": 12}
    assert counts(index_folders(collection, encoder, [tmp_path / "green", link / "red"])) == {"unchanged": 8}
    assert all(Path(str(record.path)).is_relative_to(named) for record in collection.records())


def test_two_names_of_a_folder_in_one_command_are_one_folder(
    collection: Collection, encoder: DualEncoder, colour_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(colour_folder)
    assert index_folders(collection, encoder, [tmp_path / "link", colour_folder]).added == 12


@pytest.mark.parametrize("leads_to", ["colours", "colours/red", ""])
def test_what_is_indexed_is_not_indexed_again_through_a_link_in_another_folder(
    collection: Collection, encoder: DualEncoder, colour_folder: Path, tmp_path: Path, leads_to: str
) -> None:
    wide = tmp_path / "wide"
    (wide / "own").mkdir(parents=True)
    plain_picture("red", 7).save(wide / "own" / "7.png")
    (wide / "link").symlink_to(tmp_path / leads_to)
    options = SyncOptions(rules=Rules(follow_links=True))
    index_folders(collection, encoder, [colour_folder])
    for folders in ([wide], [wide], [wide, colour_folder], [colour_folder, wide]):
        report = index_folders(collection, encoder, folders, options)
        assert len(paths(collection)) == 13
        [said] = report.left_out.lines()
        assert "1 linked folders whose pictures are indexed by another name" in said
    assert {str(colour_folder / "red" / "0.png"), str(wide / "own" / "7.png")} <= paths(collection)


def test_a_folder_that_a_link_led_to_is_the_same_by_its_own_name(
    collection: Collection, encoder: DualEncoder, colour_folder: Path, tmp_path: Path
) -> None:
    wide = tmp_path / "wide"
    wide.mkdir()
    (wide / "link").symlink_to(colour_folder)
    options = SyncOptions(rules=Rules(follow_links=True))
    index_folders(collection, encoder, [wide], options)
    plain_picture("red", 7).save(colour_folder / "red" / "7.png")
    assert counts(index_folders(collection, encoder, [colour_folder / "red"]))["added"] == 1
    for folders in ([colour_folder], [wide], [wide, colour_folder]):
        assert counts(index_folders(collection, encoder, folders, options)) == {"unchanged": 13}
    assert all(str(path).startswith(str(wide / "link")) for path in paths(collection))


def test_a_folder_that_was_pruned_is_found_through_a_link(
    collection: Collection, encoder: DualEncoder, colour_folder: Path, tmp_path: Path
) -> None:
    index_folders(collection, encoder, [colour_folder])
    (tmp_path / "wide").mkdir()
    (tmp_path / "wide" / "link").symlink_to(colour_folder)
    collection.delete([record.id for record in collection.records()])
    assert (
        index_folders(collection, encoder, [tmp_path / "wide"], SyncOptions(rules=Rules(follow_links=True))).added == 12
    )


def test_a_link_to_nothing_is_listed(collection: Collection, encoder: DualEncoder, colour_folder: Path) -> None:
    (colour_folder / "dangling.png").symlink_to(colour_folder / "nothing.png")
    report = index_folders(collection, encoder, [colour_folder])
    assert counts(report) == {"added": 12, "skipped": 1, "encoded": 12}


def test_a_file_of_a_far_century_is_indexed_and_known_again(
    collection: Collection, encoder: DualEncoder, colour_folder: Path
) -> None:
    first = next(colour_folder.rglob("*.png"))
    os.utime(first, ns=(0, 11_000_000_000 * 10**9))
    if first.stat().st_mtime_ns < 2**63:
        pytest.skip("this disk does not hold such times")
    assert counts(index_folders(collection, encoder, [colour_folder]))["added"] == 12
    assert "encoded" not in counts(index_folders(collection, encoder, [colour_folder]))


def test_a_folder_that_was_moved_needs_no_model(
    collection: Collection, tiny_run: Path, colour_folder: Path, tmp_path: Path
) -> None:
    index_folders(collection, open_encoder(tiny_run, "cpu", "fp32"), [colour_folder])
    unloaded = open_encoder(tiny_run, "cpu", "fp32")
    report = index_folders(collection, unloaded, [colour_folder.rename(tmp_path / "moved")])
    assert counts(report) == {"moved": collection.count("image")}
    assert {"_torch", "_of_images", "_of_texts"}.isdisjoint(vars(unloaded))


def test_copies_of_one_picture_are_encoded_once_and_moved_one_by_one(
    collection: Collection, encoder: DualEncoder, tmp_path: Path
) -> None:
    folder = tmp_path / "copies"
    folder.mkdir()
    plain_picture("red").save(folder / "000.png")
    index_folders(collection, encoder, [folder])
    for i in range(1, 100):
        shutil.copy(folder / "000.png", folder / f"{i:03}.png")
    assert counts(index_folders(collection, encoder, [folder])) == {"added": 99, "unchanged": 1}
    for i in range(0, 100, 2):
        (folder / f"{i:03}.png").rename(folder / f"moved-{i:03}.png")
    assert counts(index_folders(collection, encoder, [folder])) == {"moved": 50, "unchanged": 50}
    assert paths(collection) == {str(path) for path in folder.iterdir()}


def test_a_file_that_moves_from_one_folder_to_the_next_keeps_its_entry(
    collection: Collection, encoder: DualEncoder, colour_folder: Path
) -> None:
    folders = [colour_folder / "blue", colour_folder / "green", colour_folder / "red"]
    index_folders(collection, encoder, folders)
    record = collection.find_path(colour_folder / "blue" / "0.png")
    assert record is not None
    (colour_folder / "blue" / "0.png").rename(colour_folder / "red" / "from-blue.png")
    assert counts(index_folders(collection, encoder, folders)) == {"moved": 1, "unchanged": 11}
    assert collection.get(record.id).path == str(colour_folder / "red" / "from-blue.png")


def test_what_another_folder_holds_is_left_alone_while_its_disk_is_away(
    collection: Collection, encoder: DualEncoder, tmp_path: Path
) -> None:
    disk, home = tmp_path / "disk", tmp_path / "home"
    disk.mkdir()
    home.mkdir()
    plain_picture("red").save(disk / "red.png")
    index_folders(collection, encoder, [disk])
    shutil.copy(disk / "red.png", home / "copy.png")
    disk.rename(tmp_path / "away")
    assert counts(index_folders(collection, encoder, [home])) == {"added": 1}
    assert paths(collection) == {str(disk / "red.png"), str(home / "copy.png")}


def test_only_the_named_places_are_looked_at(collection: Collection, encoder: DualEncoder, colour_folder: Path) -> None:
    index_folders(collection, encoder, [colour_folder])
    red, green, blue = (colour_folder / name for name in ("red", "green", "blue"))
    (red / "0.png").rename(blue / "from-red.png")
    shutil.rmtree(green)
    plain_picture("yellow").save(blue / "unnamed.png")
    before = collection.find_path(red / "0.png")

    def look(*places: Path) -> dict[str, int]:
        return counts(index_paths(collection, encoder, [colour_folder], places))

    assert look(red / "0.png", blue / "from-red.png", green, red / "1.png") == {
        "moved": 1,
        "removed": 4,
        "unchanged": 1,
    }
    moved = collection.find_path(blue / "from-red.png")
    assert before is not None
    assert moved is not None
    assert moved.id == before.id
    (red / "1.png").unlink()
    (red / "1.png").mkdir()  # a folder where a file was
    plain_picture("black").save(red / "1.png" / "x.png")
    assert look(red / "1.png") == {"added": 1, "removed": 1, "encoded": 1}
    assert look(blue) == {"added": 1, "unchanged": 5, "encoded": 1}
    (colour_folder / "link").symlink_to(blue)
    assert look(colour_folder / "link", colour_folder / "link" / "0.png") == {}  # what it leads to is not walked
    assert paths(collection) == {str(path) for path in colour_folder.rglob("*.png") if path.is_file()}


def test_entries_that_move_while_their_page_is_read_are_not_deleted(
    collection: Collection, encoder: DualEncoder, tmp_path: Path
) -> None:
    """Every file moves to the front of the walk, so its entry moves before the stream of entries comes to its place."""
    folder = tmp_path / "photos"
    (folder / "z").mkdir(parents=True)
    for i in range(40):
        plain_picture("red", 4 * i % 200, size=(8 + i, 8)).save(folder / "z" / f"{i:02}.png")
    index_folders(collection, encoder, [folder])
    ids = {record.id for record in collection.records()}
    (folder / "z").rename(folder / "a")
    assert counts(index_folders(collection, SmallBatches(encoder), [folder])) == {"moved": 40}
    assert {record.id for record in collection.records()} == ids
    assert paths(collection) == {str(path) for path in (folder / "a").iterdir()}


@pytest.mark.parametrize("everything", [True, False])
def test_a_disk_that_goes_away_during_a_run_loses_nothing(
    collection: Collection,
    encoder: DualEncoder,
    colour_folder: Path,
    tmp_path: Path,
    everything: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(index.ingest.sync, "AHEAD", 4)  # so that some are not looked at before
    index_folders(collection, encoder, [colour_folder])
    ids = {record.id for record in collection.records()}
    plain_picture("yellow").save(colour_folder / "a.png")

    class Unmount(SmallBatches):
        batch_size = 1

        def encode_pixels(self, pixels: Any) -> Any:
            colour_folder.rename(tmp_path / "away")
            colour_folder.mkdir()
            return encoder.encode_pixels(pixels)

    if everything:
        report = index_folders(collection, Unmount(encoder), [colour_folder])
        assert report.skipped  # the subfolders cannot be entered
    else:
        places = [colour_folder / "a.png", *colour_folder.rglob("*.png")]
        with pytest.raises(InputError, match="Is a disk not mounted"):
            index_paths(collection, Unmount(encoder), [colour_folder], places)
    assert ids <= {record.id for record in collection.records()}


def test_when_a_picture_was_taken(collection: Collection, encoder: DualEncoder, tmp_path: Path) -> None:
    def photo(name: str, changed: str | None, original: str | None, offset: str | None = None) -> None:
        exif = Image.Exif()
        inner = exif.get_ifd(ExifTags.IFD.Exif)
        for block, tag, value in (
            (exif, ExifTags.Base.DateTime, changed),
            (inner, ExifTags.Base.DateTimeOriginal, original),
            (inner, ExifTags.Base.OffsetTimeOriginal, offset),
        ):
            if value is not None:
                block[tag] = value
        plain_picture("red", size=(20 + len(name), 20)).save(tmp_path / "photos" / name, exif=exif)

    def placed(name: str, day: str, changed: str, clock: tuple[float, ...] = (12.0, 34.0, 56.5)) -> None:
        exif = Image.Exif()
        exif[ExifTags.Base.DateTime] = changed
        place = exif.get_ifd(ExifTags.IFD.GPSInfo)
        place[ExifTags.GPS.GPSDateStamp], place[ExifTags.GPS.GPSTimeStamp] = day, clock
        plain_picture("red", size=(40 + len(name), 20)).save(tmp_path / "photos" / name, exif=exif)

    (tmp_path / "photos").mkdir()
    placed("place.jpg", "2021:07:04", "2022:02:02 02:02:02")
    placed("no-place.webp", "", "2022:02:02 02:02:02")
    placed("minutes.jpg", "2021:07:04", "2022:02:02 02:02:02", (1.0, 34.5, 3.0))
    placed("midnight.jpg", "2021:07:04", "2022:02:02 02:02:02", (23.0, 59.0, 60.0))
    placed("no-clock.jpg", "2021:07:04", "2022:02:02 02:02:02", (12345.0, 0.0, 0.0))
    photo("slashes.jpg", None, "2021/07/04 12:34:56")
    photo("dots.png", "2022:02:02 02:02:02", "2021.07.04T12:34:56")
    photo("hour24.jpg", None, "2021:07:04 24:15:00")
    photo("second60.jpg", None, "2021:07:04 23:59:60")
    photo("second61.jpg", None, "2021:07:04 23:59:61")
    photo("both.jpg", "2022:02:02 02:02:02", "2021:07:04 12:34:56")
    photo("offset.heic", None, "2021:07:04 12:34:56", "+02:00")
    photo("odd-offset.png", "2022:02:02 02:02:02", "2021:07:04 12:34:56", "   :  ")
    photo("edited.webp", "2022:02:02 02:02:02", "0000:00:00 00:00:00")
    photo("month13.jpg", None, "2021:13:04 12:34:56")
    photo("blank.jpg", "    :  :     :  :  ", None)
    photo("year1.jpg", None, "0001:01:01 00:00:00")
    index_folders(collection, encoder, [tmp_path / "photos"])
    assert {Path(str(record.path)).name: record.taken for record in collection.records()} == {
        "place.jpg": "2021-07-04T12:34:56+00:00",
        "no-place.webp": "2022-02-02T02:02:02",
        "minutes.jpg": "2021-07-04T01:34:33+00:00",
        "midnight.jpg": "2021-07-04T23:59:59+00:00",
        "no-clock.jpg": "2022-02-02T02:02:02",
        "slashes.jpg": "2021-07-04T12:34:56",
        "dots.png": "2021-07-04T12:34:56",
        "hour24.jpg": "2021-07-04T00:15:00",
        "second60.jpg": "2021-07-04T23:59:59",
        "second61.jpg": None,
        "both.jpg": "2021-07-04T12:34:56",
        "offset.heic": "2021-07-04T12:34:56+02:00",
        "odd-offset.png": "2021-07-04T12:34:56",
        "edited.webp": "2022-02-02T02:02:02",
        "month13.jpg": None,
        "blank.jpg": None,
        "year1.jpg": None,
    }


def captions_of(metadata: dict[Path, dict[str, Any]]) -> Captions:
    captions = Captions()
    for path, values in metadata.items():
        captions.add(path, values, str(path))
    return captions


def entries(collection: Collection) -> dict[str, tuple[int, dict[str, Any]]]:
    """Id and metadata by path."""
    return {str(record.path): (record.id, record.metadata) for record in collection.records()}


@pytest.mark.parametrize("state", ["empty", "missing", "with empty subfolders"])
def test_a_disk_in_a_subfolder_that_is_away_keeps_its_entries(
    collection: Collection, encoder: DualEncoder, colour_folder: Path, tmp_path: Path, state: str
) -> None:
    (colour_folder / "nas").mkdir()
    for colour in ("green", "blue"):  # 8 of 12 pictures
        (colour_folder / colour).rename(colour_folder / "nas" / colour)
    captions = captions_of({path: {"stars": 5} for path in colour_folder.rglob("*.png")})
    index_folders(collection, encoder, [colour_folder], SyncOptions(captions))
    before = entries(collection)
    (colour_folder / "nas").rename(tmp_path / "away")
    if state != "missing":
        (colour_folder / "nas").mkdir()
    if state == "with empty subfolders":
        (colour_folder / "nas" / "green").mkdir()
    (colour_folder / "red" / "0.png").unlink()  # what is deleted beside it is gone
    report = index_folders(collection, encoder, [colour_folder])
    assert counts(report) == {"removed": 1, "unchanged": 3}
    (kept,) = report.kept
    assert (kept.folder, kept.entries) == (str(colour_folder / "nas"), 8)
    assert "--allow-empty removes them" in str(kept)
    if state != "missing":
        (colour_folder / "nas" / "green").exists() and (colour_folder / "nas" / "green").rmdir()
        (colour_folder / "nas").rmdir()
    (tmp_path / "away").rename(colour_folder / "nas")
    report = index_folders(collection, encoder, [colour_folder])
    assert (counts(report), report.kept) == ({"unchanged": 11}, [])
    assert entries(collection) == {path: entry for path, entry in before.items() if not path.endswith("red/0.png")}
    (colour_folder / "nas").rename(tmp_path / "away")
    assert counts(index_folders(collection, encoder, [colour_folder], SyncOptions(allow_empty=True)))["removed"] == 8


def test_a_small_disk_is_known_by_its_folder(
    collection: Collection, encoder: DualEncoder, colour_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    green = colour_folder / "green"  # 4 of 12
    monkeypatch.setattr(index.ingest.places, "is_mount", lambda here, above: os.path.samestat(here, green.stat()))
    index_folders(collection, encoder, [colour_folder])
    monkeypatch.undo()
    green.rename(tmp_path / "away")
    report = index_folders(collection, encoder, [colour_folder])
    assert counts(report) == {"unchanged": 8}
    assert "the folder is missing, and a disk was mounted there" in str(report.kept[0])
    green.mkdir()
    assert index_folders(collection, encoder, [colour_folder]).kept[0].entries == 4
    green.rmdir()
    shutil.copytree(tmp_path / "away", tmp_path / "home")  # what is here is a copy of what is there
    report = index_folders(collection, encoder, [tmp_path / "home"])
    assert counts(report) == {"added": 4}
    (tmp_path / "away").rename(green)
    assert counts(index_folders(collection, encoder, [colour_folder])) == {"unchanged": 12}


def test_a_folder_that_was_emptied_is_not_taken_for_a_disk(
    collection: Collection, encoder: DualEncoder, colour_folder: Path
) -> None:
    index_folders(collection, encoder, [colour_folder])
    for path in (colour_folder / "green").iterdir():
        path.unlink()
    assert counts(index_folders(collection, encoder, [colour_folder])) == {"removed": 4, "unchanged": 8}
    shutil.rmtree(colour_folder / "red")
    report = index_folders(collection, encoder, [colour_folder, colour_folder / "blue"])
    assert (counts(report), report.kept) == ({"removed": 4, "unchanged": 4}, [])


def test_a_folder_of_odd_names_is_not_empty_and_what_is_remembered_may_be_damaged(
    collection: Collection, encoder: DualEncoder, tmp_path: Path
) -> None:
    folder, options = tmp_path / "odd", SyncOptions(rules=Rules(any_name=True))
    (folder / "b").mkdir(parents=True)
    plain_picture("red").save(folder / "1.png")
    for number in range(4):
        plain_picture("blue", 10 * number).save(folder / "b" / f"{number}.jpg_large", "JPEG")
    assert index_folders(collection, encoder, [folder], options).added == 5
    for number in range(3):
        (folder / "b" / f"{number}.jpg_large").unlink()
    report = index_folders(collection, encoder, [folder], options)
    assert (report.removed, report.kept) == (3, [])
    collection.set_places({"folders": [], "looked": {str(folder): "then"}})
    assert counts(index_folders(collection, encoder, [folder], options)) == {"unchanged": 2}


def test_a_root_that_was_renamed_keeps_its_entries(
    collection: Collection, encoder: DualEncoder, colour_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(colour_folder / "red", colour_folder / "red2")  # the same bytes under other names
    captions = captions_of({path: {"name": "/".join(path.parts[-2:])} for path in colour_folder.rglob("*.png")})
    index_folders(collection, encoder, [colour_folder], SyncOptions(captions))
    ids = {key for key, _ in entries(collection).values()}
    new = colour_folder.rename(tmp_path / "elsewhere")
    assert counts(index_folders(collection, encoder, [new])) == {"moved": 16}
    now = entries(collection)
    assert {key for key, _ in now.values()} == ids
    assert all(path.endswith(metadata["name"]) for path, (_, metadata) in now.items())


def test_what_was_changed_with_its_time_and_size_kept_is_found(
    collection: Collection, encoder: DualEncoder, colour_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index_folders(collection, encoder, [colour_folder])
    path = colour_folder / "red" / "0.png"
    before, (old, *_) = path.stat(), collection.find_sha256(sha256_of(path.read_bytes()))
    data = bytearray((colour_folder / "blue" / "0.png").read_bytes())
    path.write_bytes(data.ljust(before.st_size, b"\0")[: before.st_size])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert counts(index_folders(collection, encoder, [colour_folder])) == {"updated": 1, "unchanged": 11, "encoded": 1}
    assert collection.get(old.id).sha256 != old.sha256
    collection.set_places({})  # as of a collection that was made before places were remembered
    monkeypatch.setattr("index.ingest.sync.decode_picture", None)  # nothing is decoded
    assert counts(index_folders(collection, encoder, [colour_folder])) == {"unchanged": 12}
    assert counts(index_folders(collection, encoder, [colour_folder], SyncOptions(check_contents=True))) == {
        "unchanged": 12
    }


def test_a_clock_that_was_ahead_hides_no_change(
    collection: Collection, encoder: DualEncoder, colour_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time_ns
    with monkeypatch.context() as ahead:
        ahead.setattr(time, "time_ns", lambda: now() + 10 * 365 * 86_400 * 10**9)
        index_folders(collection, encoder, [colour_folder])
    path, other = colour_folder / "red" / "0.png", colour_folder / "blue" / "0.png"
    before = path.stat()
    path.write_bytes(other.read_bytes().ljust(before.st_size, b"\0")[: before.st_size])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert counts(index_folders(collection, encoder, [colour_folder])) == {"updated": 1, "unchanged": 11, "encoded": 1}
    assert max(collection.places()["looked"].values()) < now()  # so the next run need not read them all


def test_entries_of_what_is_left_out_now_go_with_a_word_and_those_behind_links_stay(
    collection: Collection, encoder: DualEncoder, colour_folder: Path, tmp_path: Path
) -> None:
    (colour_folder / "green").rename(tmp_path / "green")
    (colour_folder / "link").symlink_to(tmp_path / "green")
    options = SyncOptions(rules=Rules(follow_links=True))
    assert counts(index_folders(collection, encoder, [colour_folder], options)) == {"added": 12, "encoded": 12}
    report = index_folders(collection, encoder, [colour_folder])
    assert counts(report) == {"unchanged": 8}
    assert "4 entries of" in str(report.kept[0])
    assert "--follow-links" in str(report.kept[0])
    report = index_folders(collection, encoder, [colour_folder], SyncOptions(rules=Rules(("link", "red"))))
    assert (report.removed, report.left_out_entries, report.unchanged) == (8, 8, 4)
    report = index_paths(
        collection, encoder, [colour_folder], [colour_folder / "red"], SyncOptions(rules=Rules(("red/*",)))
    )
    assert counts(report) == {}


def test_a_file_that_was_cut_off_is_taken_and_counted(encoder: DualEncoder, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    scene(640, 480).save(folder / "whole.jpg", quality=90)
    (folder / "cut.jpg").write_bytes((folder / "whole.jpg").read_bytes()[:-2500])
    with open_or_create(tmp_path / "data", "photos", encoder) as collection:
        report = index_folders(collection, encoder, [folder])
    assert (report.added, report.skipped) == (2, [])
    ((path, reason),) = (file.values() for file in report.cut_off)
    assert path == str(folder / "cut.jpg")
    assert "% of its rows are missing" in reason


def test_rows_of_captions_that_are_of_no_use_are_counted(
    collection: Collection, encoder: DualEncoder, colour_folder: Path
) -> None:
    (colour_folder / "red/empty.png").touch()
    table = colour_folder / "captions.txt"
    table.write_text(
        "image;title;price\n"
        "red\\0.png; A red one ;9.5\n"
        "red/empty.png;unreadable, but there;1\n"
        "else/1.png;one;1\n"
        "else/1.png;other;1\n"
        ";nameless;1\n"
        "red/1.png;too;many;cells\n"
    )
    report = index_folders(collection, encoder, [colour_folder], SyncOptions(read_captions(table)))
    record = collection.find_path(colour_folder / "red/0.png")
    assert record is not None
    assert record.metadata == {"title": "A red one", "price": "9.5"}
    assert report.left_out.lines() == [
        "1 of 6 rows without an image's name, the first: line 6",
        f"1 of 6 {TOO_MANY}, the first: line 7",
        "2 of 6 rows name no image of these folders, the first: else/1.png (line 4)",
    ]
    table.write_text("image,title,title\nred/0.png,a,b\n")
    with pytest.raises(InputError, match='2 columns are named "title"'):
        read_captions(table)
    table.write_text(json.dumps({"image": "red/0.png", "price": 9, "deep": None, "tags": ["a"]}) + "\n")
    assert read_captions(table) == {colour_folder / "red/0.png": {"price": 9, "tags": ["a"]}}
    table.write_text('{"image": "1.png", "deep": ' + "[" * 50 + "]" * 50 + '}\n{"image": "1.png", "t": "\\ud800"}\n')
    assert read_captions(table).left_out().count("cannot be kept as JSON") == 2
    table.write_text('{"image": "red/0.png", "price": 1e999}\n{"image": "red/1.png", "price": 2}\n')
    report = index_folders(collection, encoder, [colour_folder], SyncOptions(read_captions(table)))
    assert report.left_out.lines() == [
        "1 of 2 rows with values that cannot be kept as JSON, the first: red/0.png (line 1)"
    ]
    record = collection.find_path(colour_folder / "red/1.png")
    assert record is not None
    assert record.metadata == {"price": 2}


def test_a_folder_is_filtered_by_in_either_form_of_its_accents(collection: Collection, encoder: DualEncoder) -> None:
    forms = [unicodedata.normalize(form, "/café") for form in ("NFC", "NFD")]
    x = encoder.encode_texts(["x"])[0]
    collection.upsert([Entry(x, "image", f"{folder}/{i}.png") for i, folder in enumerate([*forms, "/other"])])
    for folder in forms:
        match = {"must": [{"key": "file.folder", "match": {"value": folder}}]}
        assert len(collection.query(Query(x, filter=match))) == 2
        path = {"must_not": [{"key": "file.path", "match": {"value": f"{folder}/0.png"}}]}
        assert [hit.record.id for hit in collection.query(Query(x, filter=path))] == [2, 3]


def test_equal_files_that_are_new_together_are_encoded_once(
    collection: Collection, encoder: DualEncoder, tmp_path: Path
) -> None:
    folder = tmp_path / "copies"
    folder.mkdir()
    for name in ("a.png", "b.png", "c.png"):
        plain_picture("red").save(folder / name)
    assert counts(index_folders(collection, encoder, [folder])) == {"added": 3, "encoded": 1}
