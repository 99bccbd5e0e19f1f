"""Following folders as they change, with the system's real notifications."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from service_world import until
from tiny_world import plain_picture

import index.ingest.watch
from base.errors import CollectionError, InputError
from encoder.model.dual_encoder import DualEncoder
from index.collection import open_collection
from index.ingest.report import IndexReport
from index.ingest.sync import open_or_create
from index.ingest.watch import Watching, watch_folders


class Watch:
    """A watch of one folder, read step by step; it ends by itself if nothing comes."""

    def __init__(self, data: Path, encoder: DualEncoder, folder: Path) -> None:
        self.data = data
        self.waits: list[str] = []
        self.stop = threading.Event()
        self._timer = threading.Timer(60, self.stop.set)
        self._timer.start()
        self._reports = watch_folders(
            data, "photos", encoder, [folder], watching=Watching(on_wait=self.waits.append, stop=self.stop)
        )

    def next(self) -> dict[str, int]:
        """The counts of the next report that are not zero; {} if there is none."""
        report = next(self._reports, IndexReport())
        names = ("added", "updated", "moved", "removed", "encoded")
        counts = {name: getattr(report, name) for name in names} | {"skipped": len(report.skipped)}
        return {name: count for name, count in counts.items() if count}

    def until(self, **wanted: int) -> None:
        """Read reports until their sums are those; which changes share a batch is up to the clock.

        So is whether a file is met half-written, and skipped until its next change.
        """
        sums = dict.fromkeys(wanted, 0)
        while any(sums[name] < wanted[name] for name in wanted):
            counts = self.next()
            assert counts, f"{sums} and no more, not {wanted}"
            sums = {name: sums.get(name, 0) + counts.get(name, 0) for name in sums | counts}
        assert sums | {"skipped": 0} == wanted | {"skipped": 0}

    def paths(self) -> dict[str, int]:
        with open_collection(self.data, "photos") as collection:
            return {str(record.path): record.id for record in collection.records()}

    def close(self) -> None:
        self._timer.cancel()
        self._reports.close()  # type: ignore[attr-defined]


@pytest.fixture
def watch(
    tmp_path: Path, encoder: DualEncoder, colour_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Watch]:
    """A watch of a folder of 12 pictures that has done its first pass."""
    monkeypatch.setattr(index.ingest.watch, "QUIET_MS", 100)
    monkeypatch.setattr(index.ingest.watch, "IDLE_MS", 100)
    monkeypatch.setattr(index.ingest.watch, "RETRY_S", 0.1)
    watch = Watch(tmp_path / "data", encoder, colour_folder)
    assert watch.next() == {"added": 12, "encoded": 12}
    yield watch
    watch.close()


def test_what_happens_in_a_folder_happens_in_the_collection(watch: Watch, colour_folder: Path) -> None:
    plain_picture("yellow").save(colour_folder / "new.png")
    watch.until(added=1, encoded=1)
    (colour_folder / "red" / "0.png").unlink()
    plain_picture("white").save(colour_folder / "red" / "1.png")
    (colour_folder / "notes.txt").write_text("no image")
    watch.until(removed=1, updated=1, encoded=1)
    (colour_folder / "blue" / "0.png").rename(colour_folder / "green" / "from-blue.png")
    watch.until(moved=1)
    (colour_folder / "green").rename(colour_folder / "later")  # a folder, with all that is in it
    watch.until(moved=5)
    (colour_folder / "later").rename(colour_folder / ".hidden")
    watch.until(removed=5)
    shutil.copytree(colour_folder / ".hidden", colour_folder / "a" / "b")
    watch.until(added=5)
    assert set(watch.paths()) == {str(path) for path in colour_folder.rglob("*.png") if ".hidden" not in path.parts}


def test_an_ignore_file_counts_at_once(watch: Watch, colour_folder: Path) -> None:
    (colour_folder / ".glimpseignore").write_text("green/\n")
    watch.until(removed=4)


def test_a_moved_file_keeps_its_entry(watch: Watch, colour_folder: Path) -> None:
    before = watch.paths()
    (colour_folder / "blue").rename(colour_folder / "red" / "blue")
    watch.until(moved=4)
    after = watch.paths()
    for i in range(4):
        assert (
            after[str(colour_folder / "red" / "blue" / f"{i}.png")] == before[str(colour_folder / "blue" / f"{i}.png")]
        )


def test_a_file_that_is_still_being_written_is_read_when_it_is_whole(
    watch: Watch, colour_folder: Path, tmp_path: Path
) -> None:
    plain_picture("yellow", size=(200, 200)).save(tmp_path / "whole.png")
    whole = (tmp_path / "whole.png").read_bytes()
    (colour_folder / "slow.png").write_bytes(whole[: len(whole) // 2])
    watch.until(skipped=1)
    with (colour_folder / "slow.png").open("ab") as file:
        file.write(whole[len(whole) // 2 :])
    watch.until(added=1, encoded=1)


def test_a_folder_that_goes_away_is_an_error_and_loses_nothing(
    watch: Watch, colour_folder: Path, tmp_path: Path
) -> None:
    colour_folder.rename(tmp_path / "unmounted")
    with pytest.raises(CollectionError, match=r"colours: No such file or directory\. Is a disk not mounted"):
        watch.next()
    assert len(watch.paths()) == 12


def test_a_subfolder_that_goes_away_keeps_its_entries(watch: Watch, colour_folder: Path, tmp_path: Path) -> None:
    nas = colour_folder / "nas"
    nas.mkdir()
    for colour in ("green", "blue"):
        (colour_folder / colour).rename(nas / colour)
    watch.until(moved=8)
    nas.rename(tmp_path / "away")
    kept = next(watch._reports).kept
    assert [(one.folder, one.entries) for one in kept] == [(str(nas), 8)]
    (tmp_path / "away").rename(nas)
    plain_picture("yellow").save(colour_folder / "new.png")
    watch.until(added=1, encoded=1)
    assert len(watch.paths()) == 13


def test_another_folder_in_its_place_is_an_error_and_loses_nothing(
    watch: Watch, colour_folder: Path, tmp_path: Path
) -> None:
    colour_folder.rename(tmp_path / "unmounted")
    colour_folder.mkdir()  # as the mount point of a disk that is gone
    with pytest.raises(CollectionError, match="another one than before"):
        watch.next()
    assert len(watch.paths()) == 12


def test_a_folder_that_is_emptied_is_an_error_and_loses_nothing(watch: Watch, colour_folder: Path) -> None:
    for path in colour_folder.iterdir():
        shutil.rmtree(path)
    with pytest.raises(CollectionError, match="no images there now"):
        watch.next()
    assert len(watch.paths()) == 12


@pytest.mark.parametrize(("limit", "value"), [("MANY", 1), ("STOPPED_S", 0.0)])
def test_everything_is_looked_at_where_events_may_have_been_lost(
    watch: Watch, colour_folder: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: float
) -> None:
    first = sorted(colour_folder.rglob("*.png"))[0]
    with open_collection(watch.data, "photos", writable=True) as collection:
        collection.delete([watch.paths()[str(first)]])  # as if its file had come without an event
    monkeypatch.setattr(index.ingest.watch, limit, value)
    for i in range(3):  # in a folder that is watched: what comes with a new one may be one event
        plain_picture("red", i).save(first.with_name(f"new-{i}.png"))
    watch.until(added=4, encoded=3)
    assert len(watch.paths()) == 15


def test_other_writers_come_in_between(watch: Watch, colour_folder: Path, tmp_path: Path, encoder: DualEncoder) -> None:
    writer = open_or_create(tmp_path / "data", "photos", encoder)  # the watch holds no lock between its batches
    plain_picture("yellow").save(colour_folder / "new.png")

    def close_once_waited_for() -> None:
        until(lambda: watch.waits)
        writer.close()

    closing = threading.Thread(target=close_once_waited_for)
    closing.start()
    watch.until(added=1, encoded=1)
    closing.join()
    assert len(watch.waits) == 1
    assert "being written to" in watch.waits[0]


def test_a_name_that_is_not_utf8_is_seen(watch: Watch, colour_folder: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(colour_folder) + b"/\xff.png"))
    plain_picture("yellow").save(colour_folder / "plain.tmp", "png")
    (colour_folder / "plain.tmp").rename(path)
    watch.until(added=1, encoded=1)
    plain_picture("black").save(colour_folder / "next.png")
    watch.until(added=1, encoded=1)
    assert str(path) in watch.paths()


@pytest.mark.parametrize("linked", ["", "data", "watched"])
def test_the_watch_does_not_wake_itself(
    linked: str, tmp_path: Path, encoder: DualEncoder, colour_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The collections lie in the watched folder, named as it is or by a link: their writes are no reason to write."""
    monkeypatch.setattr(index.ingest.watch, "QUIET_MS", 50)
    monkeypatch.setattr(index.ingest.watch, "IDLE_MS", 50)
    opened: list[str] = []
    monkeypatch.setattr(
        index.ingest.watch, "open_or_create", lambda *given: opened.append("") or open_or_create(*given)
    )
    data, watched = colour_folder / "data", colour_folder
    data.mkdir()
    if linked:
        (tmp_path / "link").symlink_to(data if linked == "data" else watched)
        data, watched = (tmp_path / "link", watched) if linked == "data" else (data, tmp_path / "link")
    watch = Watch(data, encoder, watched)
    assert watch.next() == {"added": 12, "encoded": 12}
    threading.Timer(0.7, watch.stop.set).start()
    assert watch.next() == {}
    assert len(opened) == 1
    watch.close()


def test_photos_in_the_data_folder_are_watched_and_what_it_keeps_is_not(
    tmp_path: Path, encoder: DualEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index.ingest.watch, "QUIET_MS", 100)
    monkeypatch.setattr(index.ingest.watch, "IDLE_MS", 100)
    (tmp_path / "photos").mkdir()
    plain_picture("red").save(tmp_path / "photos" / "1.png")
    (tmp_path / "link").symlink_to(tmp_path)
    watch = Watch(tmp_path / "link", encoder, tmp_path / "link" / "photos")
    assert watch.next() == {"added": 1, "encoded": 1}
    plain_picture("blue").save(tmp_path / "photos" / "2.png")
    watch.until(added=1, encoded=1)
    watch.close()
    watch = Watch(tmp_path, encoder, tmp_path / "photos")  # the same folder by another name
    assert watch.next() == {}
    plain_picture("green").save(tmp_path / "photos" / "3.png")
    watch.until(added=1, encoded=1)
    assert {Path(path).parent for path in watch.paths()} == {tmp_path / "link" / "photos"}
    watch.close()
    watch = Watch(tmp_path, encoder, tmp_path / "link" / "collections")
    with pytest.raises(InputError, match="where collections are kept"):
        watch.next()
    watch.close()
