"""`glimpse train` as a person gives it: what cannot be is said before any work, and leaves nothing behind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from glimpse_here import glimpse_here
from tiny_world import plain_picture

QUICK = ("--epochs", "1", "--batch-size", "4", "--device", "cpu", "--precision", "fp32")
ALIKE = (
    'glimpse: the labels "RED" and "red" are the same to the model; rename one of their folders, or put the images of '
    "both into one\n"
)


@pytest.fixture
def alike(tmp_path: Path) -> Path:
    """Class folders of which two have the same name but for capitals, which the model does not read."""
    folder = tmp_path / "alike"
    for i, name in enumerate(("red", "green", "blue", "RED")):
        (folder / name).mkdir(parents=True)
        for shade in range(4):
            plain_picture(name.lower(), 50 + 10 * i + shade).save(folder / name / f"{shade}.png")
    return folder


def test_classes_that_are_one_to_the_model_are_said_before_a_run_begins(
    alike: Path, colour_folder: Path, tiny_run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    for words in ([alike], [colour_folder, "--val", alike], [colour_folder, "--probe", alike]):
        done = glimpse_here("train", *words, "--folders", "--model", tiny_run, "--out", out, *QUICK)
        assert (done.returncode, done.stdout, done.stderr) == (2, "", ALIKE)
        assert not out.exists()
    done = glimpse_here("eval", "--folders", alike, "--model", tiny_run)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", ALIKE)
    reworded = glimpse_here("eval", "--folders", alike, "--labels", "RED,red,green,blue", "--model", tiny_run)
    assert reworded.stderr.endswith("are the same to the model; reword one, or leave it out\n")


def test_of_five_classes_or_fewer_nobody_is_told_that_the_right_one_is_among_the_first_five(
    colour_folder: Path, tiny_run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    done = glimpse_here("train", colour_folder, "--folders", "--model", tiny_run, "--out", out, *QUICK)
    assert "before training  top-1 " in done.stderr
    eval_ = ("eval", "--folders", colour_folder, "--model", tiny_run)
    measured = glimpse_here(*eval_).stdout
    assert measured.startswith("12 images: top-1 ")
    assert all("top-5" not in said for said in (done.stderr, (out / "report.html").read_text(), measured))
    assert json.loads(glimpse_here(*eval_, "--json").stdout)["top5"] == 1
    more = glimpse_here(*eval_, "--labels", "red,green,blue,white,black,pink").stdout
    assert ", top-5 " in more, "six to choose from, of which three have pictures"
    for i in range(3):
        (colour_folder / f"more {i}").mkdir()
        plain_picture("white", i).save(colour_folder / f"more {i}" / "0.png")
    assert ", top-5 " in glimpse_here(*eval_).stdout


def test_pictures_alone_have_no_classes_that_could_be_alike(alike: Path, tiny_run: Path, tmp_path: Path) -> None:
    words = ("train", alike, "--folders", "--loss", "nt-xent", "--model", tiny_run, "--out", tmp_path / "run", *QUICK)
    assert glimpse_here(*words).returncode == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["FOLDERS", "--folders", "--images-root", "."], "--images-root is for a table"),
        (["FOLDERS", "--folders", "--image-key", "file"], "--image-key is for a table"),
        (["FOLDERS", "--folders", "--caption-key", "text"], "--caption-key is for captions in a table or shards"),
        (["FOLDERS", "--folders", "--negative-key", "not"], "--negative-key is for a table or shards"),
        (["FOLDERS", "--label-key", "kind"], "--label-key is for a table or shards"),
        (["TABLE", "--exclude", "old"], "--exclude is for a folder"),
        (["TABLE", "--follow-links"], "--follow-links is for a folder"),
        (["TABLE", "--any-name"], "--any-name is for a folder"),
        (["TABLE", "--loss", "nt-xent", "--caption-key", "text"], "--caption-key is for captions in a table or shards"),
        (["a.tar", "--val", "b.tar", "--images-root", "."], "--images-root is for a table"),
        (["a.tar", "--val", "b.tar", "--any-name"], "--any-name is for a folder"),
    ],
)
def test_a_setting_of_another_kind_of_source_is_refused(
    words: list[str], message: str, colour_folder: Path, colour_pairs: Callable[[int], Path], tmp_path: Path
) -> None:
    places: dict[str, Any] = {"FOLDERS": colour_folder, "TABLE": colour_pairs(8)}
    for shard in ("a.tar", "b.tar"):
        (tmp_path / shard).touch()
    done = glimpse_here(
        "train", *(places.get(word, word) for word in words), "--model", "x", "--out", tmp_path / "run", cwd=tmp_path
    )
    said = f"glimpse: {message}, and nothing of the kind is read here: leave it out\n"
    assert (done.returncode, done.stderr) == (2, said)


def test_a_setting_of_another_kind_of_source_is_taken_where_one_of_several_is_of_it(
    colour_folder: Path, colour_pairs: Callable[[int], Path], tiny_run: Path, tmp_path: Path
) -> None:
    table = colour_pairs(24)
    moved = shutil.move(table, tmp_path / "table.csv")
    words = ("train", moved, "--images-root", table.parent, "--probe", colour_folder, "--exclude", "blue")
    done = glimpse_here(*words, "--model", tiny_run, "--out", tmp_path / "run", "--json", *QUICK)
    assert done.returncode == 0
    assert json.loads(done.stdout)["out"] == str(tmp_path / "run")


def test_a_run_of_before_goes_on_with_settings_that_would_do_nothing(
    colour_pairs: Callable[[int], Path], tiny_run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    assert glimpse_here("train", colour_pairs(24), "--model", tiny_run, "--out", out, *QUICK).returncode == 0
    kept = out / "train_config.json"
    idle = {"any_name": True, "mining": "batch-hard", "hardness": 0.0, "templates": ["a {}"], "exclude": ["old"]}
    kept.write_text(json.dumps(json.loads(kept.read_text()) | idle | {"epochs": 2}))
    done = glimpse_here("train", "--resume", "--out", out, "--json")
    assert (done.returncode, json.loads(done.stdout)["epochs"][-1]["epoch"]) == (0, 2), done.stderr
    assert json.loads(kept.read_text())["mining"] == "batch-hard"
    assert glimpse_here("eval", "--split", out, "--model", out).returncode == 0


@pytest.mark.parametrize(
    "more", [["--caption-key", "text"], ["--label-key", "kind"], ["--word-dropout", "0.5"], ["--negative-key", "not"]]
)
def test_class_folders_that_are_a_table_are_said_to_be_one(
    more: list[str], colour_folder: Path, colour_pairs: Callable[[int], Path], tmp_path: Path
) -> None:
    table = colour_pairs(8)
    for source in ([table], [colour_folder, "--val", table]):
        done = glimpse_here("train", *source, "--folders", *more, "--model", "x", "--out", tmp_path / "run")
        said = f"glimpse: {table}: not a folder; --folders takes a folder of class folders. Leave it out to read a "
        assert (done.returncode, done.stderr) == (2, f"{said}table or shards\n")


def test_a_source_that_is_not_there_is_said_before_its_settings(tmp_path: Path) -> None:
    done = glimpse_here("train", tmp_path / "none", "--exclude", "x", "--model", "x", "--out", tmp_path / "run")
    assert done.stderr.startswith(f"glimpse: {tmp_path}/none: ")


def test_a_run_is_not_laid_among_other_files(colour_folder: Path, tiny_run: Path, tmp_path: Path) -> None:
    train = ("train", colour_folder, "--folders", "--model", tiny_run, *QUICK, "--out")
    before = sorted(colour_folder.rglob("*"))
    done = glimpse_here(*train, colour_folder)
    said = f"--out {colour_folder}: holds blue, green, red and no run; name a folder that is new or empty, as "
    assert (done.returncode, done.stderr) == (2, f"glimpse: {said}{colour_folder / 'run'}\n")
    assert sorted(colour_folder.rglob("*")) == before
    out = tmp_path / "run"
    out.mkdir()
    (out / ".DS_Store").touch()
    assert glimpse_here(*train, out).returncode == 0
    again = glimpse_here(*train, out)
    assert "there is a run already; continue it with --resume, or choose another --out" in again.stderr
