"""Labelling runs: what is read again and what is not, that outputs follow, and that all can be taken back."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sidecars
from label_world import AS_USUAL, COLOURS, World, counts, tree
from tiny_world import plain_picture
from xmp_words import read_marks

from base.errors import GlimpseError, InputError, RunBusy, RunNotFound
from base.sources.rules import Rules
from index.collection import Collection, Entry, create_collection, open_collection
from labelling.label_sets import LabelSet
from labelling.labeller import Rejection
from labelling.outputs.asked import OutputsAsked
from labelling.review import Item, review, take_back
from labelling.runs import deciding, tables
from labelling.runs.deciding import LabelsAsked
from labelling.runs.kept import LabelRuns
from labelling.runs.report import Going, RunReport, SourceAsked
from labelling.runs.sources import CollectionSource, FolderSource
from labelling.runs.store import RunStore


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


# --- what is read, and what is not ---


def test_only_what_is_new_or_changed_is_read(world: World, tmp_path: Path) -> None:
    world.add_colours()
    out = tmp_path / "labels.csv"
    assert counts(world.run(files=(str(out),))) == (9, 0, 0, 0)
    assert world.encoder.seen == 9
    before = out.read_text()
    assert counts(world.run(files=(str(out),))) == (0, 0, 9, 0)
    assert (world.encoder.seen, out.read_text()) == (9, before)

    world.add("0/red.png", "blue", 7)
    world.add("new.png", "green")
    (world.folder / "1" / "green.png").unlink()
    assert counts(world.run(files=(str(out),))) == (1, 1, 7, 1)
    assert world.encoder.seen == 11
    text = out.read_text()
    assert f"{world.folder / '0' / 'red.png'},blue," in text
    assert f"{world.folder / 'new.png'},green," in text
    assert "1/green.png" not in text


def test_an_image_that_is_in_icloud_alone_keeps_what_it_has(world: World, tmp_path: Path) -> None:
    world.add_colours()
    to = tmp_path / "sorted"
    world.run(to=str(to), how="symlink")
    before = tree(to)
    photo = world.folder / "1" / "green.png"
    photo.unlink()
    photo.with_name(".green.png.icloud").write_bytes(b"bplist00")
    assert counts(world.run(to=str(to), how="symlink")) == (0, 0, 8, 0)
    assert tree(to) == before


@pytest.mark.parametrize("batches", [0, 1, 2, 3])
def test_a_run_that_was_ended_goes_on_behind_its_last_image(world: World, tmp_path: Path, batches: int) -> None:
    world.add_colours(4)
    for name in ("broken.png", "empty.jpg"):
        (world.folder / name).write_bytes(b"no picture"[: 10 * (name == "broken.png")])
    whole, parts = tmp_path / "whole.csv", tmp_path / "parts.csv"
    expected = world.run(files=(str(whole),)).labels

    class Ended(Exception):
        pass

    read = 0

    def watch(what: str, done: int, total: int) -> None:
        nonlocal read
        read += what == "reading"
        if read > batches or what != "reading":
            raise Ended

    with pytest.raises(Ended):
        world.run(files=(str(parts),), going=Going(watch=watch))
    assert not parts.exists()
    report = world.run(files=(str(parts),))
    assert parts.read_bytes() == whole.read_bytes()
    assert (report.labels.labelled, report.labels.per_label, report.labels.skipped) == (12, expected.per_label, 2)
    assert (report.unchanged, world.encoder.seen) == (min(4 * batches + 4, 14), 24)  # 12 a run, none of them twice


def test_other_labels_need_no_picture_another_model_needs_all(world: World, tmp_path: Path) -> None:
    world.add_colours()
    out = tmp_path / "labels.jsonl"
    world.run(files=(str(out),))
    assert world.run(["purple", "blue"], files=(str(out),)).labels.per_label.keys() == {"purple", "blue"}
    assert {row["labels"][0]["label"] for row in map(json.loads, out.read_text().splitlines())} <= {"purple", "blue"}
    assert world.encoder.seen == 9
    world.encoder.fingerprint = "colours-2"
    world.run(["purple", "blue"], files=(str(out),))
    assert world.encoder.seen == 18


def test_labels_that_are_refused_change_nothing(world: World) -> None:
    world.add_colours()
    name = world.run().id

    def kept() -> list[object]:
        with LabelRuns(world.data).open(name) as run:
            return [list(run.store.rows()), LabelsAsked.of(run.store)]

    with LabelRuns(world.data).open(name) as run:
        source = FolderSource(world.folder, Rules(), world.encoder, lambda: world.encoder)
        review(run, source, [Item(next(run.store.rows()).id, "correct", ["green"])])
    before = kept()
    with pytest.raises(InputError, match='the labels "light_blue" and "light blue" are the same to the model'):
        world.run(["light_blue", "light blue"])
    assert kept() == before
    assert world.run().labels.labelled == 9
    assert kept() == before


def test_what_cannot_be_read_is_tried_again(world: World, tmp_path: Path) -> None:
    world.add_colours(1)
    (world.folder / "broken.png").write_bytes(b"no picture")
    for expected in ((4, 0, 0, 0), (0, 0, 4, 0)):
        report = world.run(files=(str(tmp_path / "a.csv"),))
        assert (counts(report), report.labels.skipped, report.labels.labelled) == (expected, 1, 3)
    world.add("broken.png", "red")
    assert counts(world.run(files=(str(tmp_path / "a.csv"),))) == (0, 1, 3, 0)


def test_a_folder_that_cannot_be_entered_is_not_gone(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add_colours(2)
    world.run(to=str(world.to), how="symlink")
    before = world.sorted()

    def scandir(folder: Path | str) -> object:
        if str(folder).endswith("photos/1"):
            raise PermissionError(13, "Permission denied", str(folder))
        return real(folder)

    real = os.scandir
    monkeypatch.setattr(os, "scandir", scandir)
    report = world.run(to=str(world.to), how="symlink")
    assert (report.gone, len(report.labels.unread), world.sorted()) == (0, 1, before)


def test_no_image_is_an_error_and_changes_nothing(world: World, tmp_path: Path) -> None:
    world.add_colours(1)
    world.run(to=str(world.to), how="copy")
    before = world.sorted()
    shutil.rmtree(world.folder)
    world.folder.mkdir()
    with pytest.raises(InputError, match="no image in"):
        world.run(to=str(world.to), how="copy")
    assert world.sorted() == before


def test_many_images_are_decided_without_the_index_of_pages_which_comes_back(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def indexes() -> set[str]:
        with LabelRuns(world.data).open("last") as run:
            return {name for (name,) in run.store.query("SELECT name FROM sqlite_master WHERE type = 'index'")}

    world.add_colours()
    out = tmp_path / "labels.csv"
    world.run(files=(str(out),))
    expected, before = out.read_text(), indexes()
    monkeypatch.setattr("labelling.runs.store.MANY", 1)
    asked = LabelSet.of([*COLOURS, "white"])
    kept = RunStore.decide

    def dies(store: RunStore, *given: object) -> None:
        assert "clearness" not in {name for (name,) in store.query("SELECT name FROM sqlite_master")}
        raise KeyboardInterrupt

    monkeypatch.setattr(RunStore, "decide", dies)
    with pytest.raises(KeyboardInterrupt):
        world.run(asked, files=(str(out),))
    monkeypatch.setattr(RunStore, "decide", kept)
    assert indexes() == before
    world.run(asked, files=(str(out),))
    assert (out.read_text() == expected, indexes()) == (True, before)


# --- none of these ---


class NotDark(Rejection):
    threshold = 0.5

    def known(self, vectors, logits):  # type: ignore[no-untyped-def]
        return (vectors[:, 4] < 0.5).astype("float32")


def test_none_of_these_is_no_label_anywhere(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    plain = deciding.labeller_for
    monkeypatch.setattr(deciding, "labeller_for", lambda *asked: replace(plain(*asked), rejection=NotDark()))
    world.add_colours(1)
    world.add("dark.png", "black")
    out = tmp_path / "labels.csv"
    report = world.run(to=str(world.to), how="move", files=(str(out),))
    assert (report.labels.labelled, report.labels.abstained) == (3, 1)
    assert world.sorted() == {f"{colour}/{colour}.png" for colour in COLOURS}
    assert f"{world.folder / 'dark.png'},," in out.read_text()


# --- files that list all ---


def test_a_file_of_others_is_not_overwritten(world: World, tmp_path: Path) -> None:
    world.add_colours(1)
    out = tmp_path / "labels.csv"
    out.write_text("mine")
    with pytest.raises(InputError, match="is there already, and not as this run wrote it"):
        world.run(files=(str(out),), to=str(world.to), how="move")
    assert (out.read_text(), world.to.exists(), world.encoder.seen) == ("mine", False, 0)
    world.run(files=(str(out),), going=Going(overwrite=True))
    world.run(files=(str(out),))
    out.write_text("edited")
    with pytest.raises(InputError, match="--force"):
        world.run(files=(str(out),))
    assert [failure.reason for failure in world.undo().failed] == ["was changed since it was written; it stays"]
    assert out.read_text() == "edited"


# --- a run ---


def test_several_labels_stand_in_several_places(world: World, tmp_path: Path) -> None:
    """With a bank of texts at large, as a model's own words are."""
    world.add_colours(3)
    for i in range(9):
        world.add(f"other/{i}.png", ["yellow", "black", "white"][i % 3], i)
    out = tmp_path / "labels.jsonl"
    report = world.run(LabelSet.of(COLOURS, mode="multi"), to=str(world.to), how="symlink", files=(str(out),))
    assert (report.labels.labelled, report.labels.abstained) == (9, 9)
    assert {name.partition("/")[0] for name in world.sorted()} == set(COLOURS)
    for line in map(json.loads, out.read_text().splitlines()):
        assert [answer["label"] for answer in line["labels"]] in ([Path(line["path"]).stem], [])


def test_a_dry_run_says_what_would_be_done(world: World, tmp_path: Path) -> None:
    world.add_colours(2)
    before = tree(world.folder)
    out = tmp_path / "labels.csv"
    report = world.run(to=str(world.to), how="move", files=(str(out),), going=Going(dry=True))
    [changes] = report.outputs.values()
    assert (changes.done, len(changes.first), report.written) == ({"folders made": 4, "moved": 6}, 5, {})
    assert changes.first[0] == f"move {world.folder}/0/blue.png -> {world.to}/blue/blue.png"
    assert (tree(world.folder), world.to.exists(), out.exists()) == (before, False, False)
    world.run(to=str(world.to), how="move", files=(str(out),))
    assert (world.encoder.seen, len(world.sorted())) == (6, 6)


def test_runs_are_listed_and_one_process_works_on_one(world: World, tmp_path: Path) -> None:
    world.add_colours(1)
    runs = LabelRuns(world.data)
    with pytest.raises(RunNotFound, match="no labelling run"):
        runs.open("last")
    first = world.run(files=(str(tmp_path / "a.csv"),)).id
    second = world.run(files=(str(tmp_path / "b.csv"),)).id
    assert [(info.id, info.state, info.images) for info in runs.list()] == [(second, "done", 3), (first, "done", 3)]
    assert first.startswith("photos-")
    with runs.open(first), pytest.raises(RunBusy, match=f"run {first} is at work in process {os.getpid()}"):
        runs.open(first)
    world.undo(first)
    assert [info.state for info in runs.list()] == ["undone", "done"]
    for name in ("../x", "no-such"):
        with pytest.raises(RunNotFound, match=second):
            runs.open(name)


def test_a_damaged_run_hides_no_other(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.add_colours()
    good = world.run().id
    runs = LabelRuns(world.data)
    for name, content in (("noise", bytes(range(256)) * 20), ("cut", b"SQLite format 3\0" + bytes(50))):
        (world.data / "label-runs" / name).mkdir()
        (world.data / "label-runs" / name / "run.sqlite").write_bytes(content)
    assert [one.id for one in runs.list()] == [good]
    assert sorted(record.args[0] for record in caplog.records if isinstance(record.args, tuple)) == ["cut", "noise"]
    with runs.open("last") as run:
        assert run.id == good
    with pytest.raises(GlimpseError, match=r"the run's file is damaged .*; restore it, or delete its folder"):
        runs.open("noise")
    assert [line.split(":")[0] for line in runs.problems()] == ["labelling run cut", "labelling run noise"]


def test_a_damaged_page_of_a_run_is_named_by_a_look_that_changes_nothing(world: World, tmp_path: Path) -> None:
    world.add_colours()
    run = world.run().id
    kept = world.data / "label-runs" / run / "run.sqlite"
    with closing(sqlite3.connect(kept)) as db:
        db.execute("PRAGMA journal_mode = DELETE")
        [page] = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'images'").fetchone()
        [size] = db.execute("PRAGMA page_size").fetchone()
    before = tree(world.data)
    assert LabelRuns(world.data).problems() == []
    assert tree(world.data) == before
    with kept.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(bytes(8))
    [problem] = LabelRuns(world.data).problems()
    assert problem.startswith(f"labelling run {run}: {kept}: the run's file is damaged (")
    assert "\n" not in problem


@pytest.mark.parametrize(
    "damage",
    ["DROP TABLE images", "UPDATE images SET answers = '['", "UPDATE images SET answers = CAST(x'ff' AS TEXT)"],
)
def test_rows_of_a_run_that_say_nothing_are_called_damaged(world: World, damage: str) -> None:
    world.add_colours()
    run = world.run().id
    with closing(sqlite3.connect(world.data / "label-runs" / run / "run.sqlite")) as db:
        db.create_function("seal", -1, lambda *_: 0, deterministic=True)
        db.execute(damage)
        db.commit()
    runs = LabelRuns(world.data)
    [problem] = runs.problems()
    assert re.search(r"the run's file is damaged .*; restore it, or delete its folder", problem)
    runs.list()
    with runs.look(run) as looked, pytest.raises(GlimpseError, match="the run's file is damaged"):
        list(looked.store.listed())


def flip(world: World, run: str, text: bytes) -> None:
    """Change a bit of each place in the run's file where the text stands; its sidecars are put into it first."""
    kept = world.data / "label-runs" / run / "run.sqlite"
    with closing(sqlite3.connect(kept)) as db:
        db.execute("PRAGMA journal_mode = DELETE")
    data = kept.read_bytes()
    assert text in data
    kept.write_bytes(data.replace(text, text[:-1] + bytes([text[-1] ^ 1])))


@pytest.mark.parametrize(
    ("text", "what"),
    [(b'[["red"', "a row of images"), (b"/0/red.png", "[a-z ]+"), (b'{"label_set": {', "a row of about")],
)
def test_a_changed_bit_in_a_run_is_never_taken_for_what_was_said(world: World, text: bytes, what: str) -> None:
    world.add_colours()
    run = world.run(to=str(world.to)).id
    flip(world, run, text)
    [problem] = LabelRuns(world.data).problems()
    assert re.search(r"the run's file is damaged \(.+\); restore it, or delete its folder", problem)
    before = tree(world.folder, world.to)
    with pytest.raises(GlimpseError, match=rf"the run's file is damaged \({what}"):
        world.run(["blue"], to=str(world.to))
    assert tree(world.folder, world.to) == before


def test_a_changed_bit_in_a_vector_is_found_before_labels_are_given_by_it(world: World) -> None:
    world.add_colours()
    run = world.run().id
    with LabelRuns(world.data).look(run) as looked:
        [(vector,)] = looked.store.query("SELECT vector FROM images LIMIT 1")
    flip(world, run, vector)
    [problem] = LabelRuns(world.data).problems()
    assert "(a vector is not as it was written)" in problem
    with pytest.raises(GlimpseError, match="a vector is not as it was written"):
        world.run(["red", "green"])


def test_a_step_that_is_damaged_stays_as_it_is_and_all_others_are_taken_back(world: World) -> None:
    world.add_colours()
    before = tree(world.folder)
    run = world.run(to=str(world.to), how="move").id
    flip(world, run, f'"source": "{world.folder}/0/red.png'.encode())
    for _ in range(2):
        [failure] = world.undo(run).failed
        assert re.fullmatch(r"step \d+: what the journal says of it is damaged, so what it did stays as it is",
                            ": ".join(failure))  # fmt: skip
        assert world.sorted() == {"red/red.png"}
        missing = {str(world.folder / "0" / "red.png")}
        assert before.keys() - tree(world.folder).keys() == missing


def test_an_image_that_is_damaged_keeps_no_step_from_being_taken_back_and_stays_damaged(world: World) -> None:
    world.add_colours()
    before = tree(world.folder)
    run = world.run(to=str(world.to), how="move").id
    flip(world, run, b'[["red"')
    assert not world.undo(run).failed
    assert tree(world.folder) == before
    [problem] = LabelRuns(world.data).problems()
    assert "a row of images is not as it was written" in problem


def test_a_changed_bit_gets_no_new_checksum_by_a_review_or_by_taking_one_back(world: World) -> None:
    world.add_colours(1)
    name = world.run().id
    source = FolderSource(world.folder, Rules(), world.encoder, lambda: world.encoder)

    def said(labels: Sequence[str] | None) -> None:
        with LabelRuns(world.data).open(name) as run:
            if labels is None:
                take_back(run, source)
            else:
                review(run, source, [Item(next(run.store.rows()).id, "correct", labels)])

    said(["red"])
    said(["green"])
    kept = (world.data / "label-runs" / name / "run.sqlite").read_bytes()
    for text, table, labels in ((b'[["red", 1.', "said", None), (b"/0/red.png", "images", ["blue"])):
        flip(world, name, text)
        with pytest.raises(GlimpseError, match=f"a row of {table} is not as it was written"):
            said(labels)
        [problem] = LabelRuns(world.data).problems()
        assert "is not as it was written" in problem
        (world.data / "label-runs" / name / "run.sqlite").write_bytes(kept)
    said(None)


def test_how_clear_labels_are_is_sealed_to_the_last_bit_however_sqlite_writes_it_as_text(world: World) -> None:
    world.add_colours(1)
    with LabelRuns(world.data).open(world.run().id) as run:
        seals = set()
        for margin in (0.3, 0.1 + 0.2):
            run.store.change("UPDATE images SET margin = :margin", margin=margin)
            seals |= set(run.store.query("SELECT checksum FROM images WHERE id = 1"))
        assert len(seals) == 2


def test_a_run_that_is_closed_is_not_called_damaged(world: World) -> None:
    world.add_colours()
    run = world.run().id
    with LabelRuns(world.data).look(run) as looked:
        pass
    with pytest.raises(GlimpseError, match=r"run.sqlite: Cannot operate on a closed database"):
        looked.store.count()


def test_after_an_undo_the_same_run_does_all_of_it_anew_without_reading(world: World) -> None:
    world.add_colours(1)
    world.run(to=str(world.to), how="move")
    world.undo()
    world.run(to=str(world.to), how="move")
    assert (len(world.sorted()), world.encoder.seen) == (3, 3)


# --- a collection ---


@pytest.fixture
def collection(world: World) -> Callable[[], Collection]:
    """A collection of nine pictures and a text, opened for writing."""
    world.add_colours()
    paths = sorted(world.folder.rglob("*.png"))
    vectors = world.encoder.encode_images(paths)
    entries = [
        Entry(vector, "image", path, metadata={"title": path.name}, width=48, height=40, sha256=path.stem)
        for path, vector in zip(paths, vectors, strict=True)
    ]
    fingerprint = world.encoder.fingerprint
    with create_collection(world.data, "colours", model="colours", fingerprint=fingerprint, dim=8) as made:
        made.upsert([*entries, Entry(vectors[0], "text", text="red")])
    return lambda: open_collection(world.data, "colours", writable=True)


def label_collection(world: World, opened: Collection, going: Going = AS_USUAL, **outputs: object) -> RunReport:
    asked = OutputsAsked(**outputs)  # type: ignore[arg-type]
    with LabelRuns(world.data).make(SourceAsked(collection="colours"), asked) as run:
        source = CollectionSource(opened, lambda: world.encoder)
        return run.go_on(source, LabelsAsked(LabelSet.of(COLOURS)), opened, going)[0]


def test_a_collection_is_labelled_by_its_vectors(
    world: World, collection: Callable[[], Collection], tmp_path: Path
) -> None:
    seen, out = world.encoder.seen, tmp_path / "labels.jsonl"
    with collection() as opened:
        assert counts(label_collection(world, opened, metadata="labels", files=(str(out),))) == (9, 0, 0, 0)
        assert world.encoder.seen == seen
        found = opened.filter_ids({"must": [{"key": "labels", "match": {"value": "red"}}]}, "image")
        assert {Path(str(opened.get(int(key)).path)).name for key in found} == {"red.png"}
        record = opened.get(int(found[0]))
        assert record.metadata["title"] == "red.png"
        assert record.metadata["labels_score"] > 0.5
        assert counts(label_collection(world, opened, metadata="labels", files=(str(out),))) == (0, 0, 9, 0)
        opened.update({int(found[0]): {"metadata": record.metadata | {"labels": ["mine"]}}})
        opened.delete([int(found[1])])
        report = label_collection(world, opened, metadata="labels", files=(str(out),))
        assert (counts(report), report.failures) == ((0, 0, 8, 1), [])
        assert len(out.read_text().splitlines()) == 8
        with LabelRuns(world.data).open("last") as run:
            changes = run.undo(opened)
        assert [failure.reason for failure in changes.failed] == [
            f"labels of entry {found[0]} was changed since; it stays"
        ]
        assert opened.get(int(found[0])).metadata["labels"] == ["mine"]
        assert opened.get(int(found[2])).metadata == {"title": "red.png"}


@pytest.mark.parametrize("mode", ["single", "multi"])
def test_what_is_deleted_while_others_are_decided_is_gone(
    world: World, collection: Callable[[], Collection], tmp_path: Path, mode: str
) -> None:
    out = tmp_path / "labels.jsonl"
    with collection() as opened:
        first = next(iter(opened.records("image"))).id

        def delete(what: str, done: int, total: int) -> None:
            if what == "reading" and done == total:
                opened.delete([first])

        asked = LabelsAsked(LabelSet.of(COLOURS, mode=mode))  # type: ignore[arg-type]
        with LabelRuns(world.data).make(SourceAsked(collection="colours"), OutputsAsked(files=(str(out),))) as run:
            source = CollectionSource(opened, lambda: world.encoder)
            report, _ = run.go_on(source, asked, opened, Going(watch=delete))
            assert (report.gone, report.labels.done, run.store.count()) == (1, 8, 8)
        assert len(out.read_text().splitlines()) == 8


def test_a_copy_follows_its_file_to_another_entry(world: World, collection: Callable[[], Collection]) -> None:
    with collection() as opened:
        label_collection(world, opened, to=str(world.to), how="copy")
        before = world.sorted()
        record = next(iter(opened.records("image")))
        [vector] = opened.vectors([record.id])
        opened.delete([record.id])
        plain_picture("red", 9).save(str(record.path))
        opened.upsert([Entry(vector, "image", record.path, width=48, height=40, sha256="new")])
        report = label_collection(world, opened, to=str(world.to), how="copy")
        assert (counts(report), report.failures) == ((1, 0, 8, 0), [])
        assert world.sorted() == before
        copied = {path.read_bytes() for path in world.to.rglob("*.png")}
        assert Path(str(record.path)).read_bytes() in copied


def test_metadata_of_others_stay(world: World, collection: Callable[[], Collection]) -> None:
    with collection() as opened:
        report = label_collection(world, opened, metadata="title")
        assert len(report.failures) == 9
        assert report.failures[0].reason == "has other metadata title; choose another key, or replace it with --force"
        report = label_collection(world, opened, Going(overwrite=True), metadata="title")
        assert not report.failures
        assert {tuple(record.metadata["title"]) for record in opened.records("image")} == {(c,) for c in COLOURS}
        with LabelRuns(world.data).open("last") as run:
            run.undo(opened)
        assert all(str(record.metadata["title"]).endswith(".png") for record in opened.records("image"))


# --- keywords ---


def words_of(image: Path) -> list[str]:
    return [mark.word.label for _, mark in read_marks(image)]


@pytest.mark.parametrize("words", ["sidecar", "embedded"])
def test_photos_get_keywords_and_lose_them(world: World, tmp_path: Path, words: str) -> None:
    world.add_colours(1)
    theirs = world.folder / "0" / "red.png.xmp"
    theirs.write_text(sidecars.ALL["Lightroom"] if "Lightroom" in sidecars.ALL else next(iter(sidecars.ALL.values())))
    before = tree(tmp_path)
    report = world.run(words=words)
    assert not report.failures
    assert [len(read_marks(path)) for path in sorted(world.folder.rglob("*.png"))] == [1, 1, 1]
    after = tree(world.folder)
    assert counts(world.run(words=words)) == (0, 0, 3, 0)
    assert (tree(world.folder), world.encoder.seen) == (after, 3)

    world.run(["purple"], words=words)
    world.add("0/blue.png", "blue", 9)
    world.run(["purple", "blue"], words=words)
    world.undo()
    (world.folder / "0" / "blue.png").write_bytes(before[str(world.folder / "0" / "blue.png")][1])  # type: ignore[arg-type]
    shutil.rmtree(world.data)
    assert tree(tmp_path) == before


def test_sidecars_are_written_then_moved_and_come_back(world: World, tmp_path: Path) -> None:
    world.add_colours(2)
    before = tree(tmp_path)
    world.run(words="sidecar", to=str(world.to), how="move")
    assert len(world.sorted()) == 12
    for image in world.to.rglob("*.png"):
        assert len(read_marks(image)) == 1
    assert counts(world.run(words="sidecar", to=str(world.to), how="move")) == (0, 0, 6, 0)
    world.run(["purple", "orange"], words="sidecar", to=str(world.to), how="move")
    assert not world.undo().failed
    shutil.rmtree(world.data)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("words", ["sidecar", "embedded"])
def test_what_was_moved_by_hand_is_not_said_to_be_undone(world: World, tmp_path: Path, words: str) -> None:
    world.add_colours(1)
    before = tree(world.folder)
    world.run(words=words)
    for file in (world.folder / "0").glob("red.png*"):
        file.rename(tmp_path / file.name)
    changes = world.undo()
    assert [failure.reason for failure in changes.failed] == [
        "is no longer there; where it was moved to, it has these keywords still"
    ]
    assert changes.taken_back == 2
    assert len(read_marks(tmp_path / "red.png")) == 1
    for file in tmp_path.glob("red.png*"):
        file.rename(world.folder / "0" / file.name)
    assert (world.undo().taken_back, tree(world.folder)) == (1, before)


def test_a_sidecar_that_is_no_xmp_is_one_image_s_trouble(world: World) -> None:
    world.add_colours(1)
    broken = world.folder / "0" / "red.png.xmp"
    broken.write_text("no xml")
    report = world.run(words="sidecar")
    assert [Path(failure.path).name for failure in report.failures] == ["red.png.xmp"]
    assert broken.read_text() == "no xml"
    assert len(list(world.folder.rglob("*.xmp"))) == 3
    broken.unlink()
    assert not world.run(words="sidecar").failures


def test_a_full_disk_is_told_where_sqlite_has_undone_the_transaction_itself(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "run.sqlite")
    store._db.execute(f"PRAGMA max_page_count = {store._db.execute('PRAGMA page_count').fetchone()[0] + 2}")
    store._db.execute("PRAGMA cache_spill = 1")
    with pytest.raises(GlimpseError, match="the disk is full"), store.writing():
        store.set(much="x" * 1_000_000)
    store._db.execute("PRAGMA max_page_count = 100000")
    with store.writing():
        store.set(little="x")
    assert (store.get("much"), store.get("little")) == (None, "x")
    store.close()


class InterruptedAfterCommit(sqlite3.Connection):
    """Ctrl-C as Python heeds it: when the statement is done."""

    def execute(self, sql: str, *given: Any) -> sqlite3.Cursor:  # type: ignore[override]
        found = super().execute(sql, *given)
        if sql == "COMMIT":
            raise KeyboardInterrupt
        return found


def test_an_interrupt_after_the_commit_stays_an_interrupt(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "run.sqlite")
    store.close()
    store._db = sqlite3.connect(store.path, isolation_level=None, factory=InterruptedAfterCommit)
    store._db.create_function("seal", -1, tables.seal, deterministic=True)
    with pytest.raises(KeyboardInterrupt), store.writing():
        store.set(name="x")
    assert store.get("name") == "x"
    store.close()
