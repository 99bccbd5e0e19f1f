"""The commands that follow folders, change a model and find duplicates, as a user and as a script read them."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_world import plain_picture

from base.errors import InputError
from encoder.model.load import build_clip
from glimpse.__main__ import _fail
from glimpse.cli import perform
from glimpse.console import shown_as
from glimpse.demo.postcards.scenes import all_scenes, draw_postcard
from index.collection import create_collection
from training.records.checkpoint import save_model

GLIMPSE = Path(sys.executable).with_name("glimpse")


@pytest.fixture
def data(colour_folder: Path, tiny_run: Path, tmp_path: Path) -> Path:
    """A data folder with an indexed collection "colours"."""
    call("index", colour_folder, "-c", "colours", "--data", tmp_path / "data", "--model", tiny_run, "--device", "cpu")
    return tmp_path / "data"


def call(*arguments: str | Path) -> int:
    """Run a command in this process; its exit code."""
    return perform([str(argument) for argument in arguments])


def test_reindex(
    data: Path,
    colour_folder: Path,
    tiny_config: Path,
    tiny_run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    torch.manual_seed(1)
    save_model(tmp_path / "new", build_clip(tiny_config))

    def reindex(*options: str) -> tuple[int, dict[str, Any], str]:
        capsys.readouterr()
        code = call("reindex", "-c", "colours", "--data", data, "--device", "cpu", *options, "--json")
        captured = capsys.readouterr()
        return code, json.loads(captured.out), captured.err

    code, report, _ = reindex("--model", str(tiny_run))
    assert (code, report["same_model"], report["swapped"]) == (0, True, False)
    (colour_folder / "red" / "0.png").unlink()
    new = ("--model", str(tmp_path / "new"))
    code, report, said = reindex(*new)
    assert code == 1
    assert [Path(file["path"]).name for file in report["unreadable"]] == ["0.png"]
    assert "colours keeps its old model, for 1 entries cannot be read" in said
    assert "--drop-unreadable" in said
    call("reindex", "-c", "colours", "--data", data, "--abandon")
    code, report, _ = reindex(*new, "--drop-unreadable")
    assert code == 0
    assert (report["encoded"], report["resumed"], report["dropped"], report["swapped"]) == (11, 0, 1, True)
    with pytest.raises(InputError, match="give the new model"):
        reindex()


def test_duplicates(data: Path, colour_folder: Path, tiny_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    best = colour_folder / "blue" / "0.png"
    copy = colour_folder / "copy.png"
    shutil.copy(best, copy)
    source = ("-c", "colours", "--data", data)
    call("index", colour_folder, *source, "--device", "cpu")
    capsys.readouterr()
    call("duplicates", *source, "--identical")
    captured = capsys.readouterr()
    assert [line.split("  (")[0] for line in captured.out.splitlines()] == [str(best), f"  identical  {copy}"]
    assert "1 groups, 1 images more than needed" in captured.err
    call("duplicates", *source, "--identical", "--json")
    (group,) = json.loads(capsys.readouterr().out)["groups"]
    assert group["best"]["path"] == str(best)
    assert [(file["path"], file["score"], file["identical"]) for file in group["others"]] == [(str(copy), 1.0, True)]
    call("duplicates", *source, "--identical", "--spare", "-0")
    assert capsys.readouterr().out == f"{copy}\0"
    postcards = [draw_postcard(scene, random.Random(0)).image for scene in all_scenes()[:2]]
    postcards[0].save(colour_folder / "card.png")
    postcards[0].reduce(2).save(colour_folder / "card (1).jpg", quality=70)
    postcards[1].save(colour_folder / "other.png")
    call("index", colour_folder, *source, "--device", "cpu")
    capsys.readouterr()
    call("duplicates", *source, "--threshold", "0.2", "--spare")  # to vectors all are alike; flat pictures are none
    assert set(capsys.readouterr().out.splitlines()) == {str(colour_folder / "card (1).jpg"), str(copy)}
    (colour_folder / "card.png").unlink()
    call("duplicates", *source, "--threshold", "0.2", "--json")
    captured = capsys.readouterr()
    assert json.loads(captured.out)["not_compared"] == [str(colour_folder / "card.png")]
    assert "1 images are alike by their vectors alone and left out" in captured.err
    with pytest.raises(InputError, match="--null goes with --spare"):
        call("duplicates", *source, "-0")


def test_watch_prints_a_line_for_each_batch_until_ctrl_c(data: Path, colour_folder: Path) -> None:
    watch = subprocess.Popen(
        [GLIMPSE, "index", colour_folder, "--watch", "--json", "-c", "colours", "--data", data, "--device", "cpu"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert watch.stdout is not None
    first = json.loads(watch.stdout.readline())
    assert (first["added"], first["unchanged"]) == (0, 12)
    plain_picture("yellow").save(colour_folder / "new.png")
    batch = json.loads(watch.stdout.readline())
    assert (batch["added"], batch["removed"]) == (1, 0)
    watch.send_signal(signal.SIGINT)
    out, err = watch.communicate(timeout=20)
    assert (watch.returncode, out, err) == (0, "", "")


def test_a_folder_without_images_says_what_it_holds(tiny_run: Path, tmp_path: Path) -> None:
    folder, new = tmp_path / "folder", ("-c", "new", "--data", tmp_path / "new", "--model", tiny_run)
    folder.mkdir()
    with pytest.raises(InputError, match=r"no image in .*folder, and no other file\. Is a disk not mounted"):
        call("index", folder, *new)
    (folder / "1.jxl").touch()
    (folder / "noext").touch()
    for command in (("index", folder, *new), ("label", folder, "--labels", "a,b", "--model", tiny_run)):
        with pytest.raises(
            InputError, match=r"1 \.jxl files \(JPEG XL is not read.*1 files of other kinds, the first: .*noext"
        ):
            call(*command)
    assert not (tmp_path / "new").exists()
    plain_picture("red").save(folder / "noext", "PNG")
    assert call("index", folder, *new, "--device", "cpu", "--any-name") == 0
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "1.jpg").write_text("words")
    assert call("index", tmp_path / "broken", "-c", "none", *new[2:], "--device", "cpu") == 1


def test_what_is_left_out_is_counted(
    data: Path, colour_folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (colour_folder / "red").rename(colour_folder / "#recycle")
    (colour_folder / "green").rename(tmp_path / "green")
    (colour_folder / "green").symlink_to(tmp_path / "green")
    (colour_folder / "1.svg").touch()
    (colour_folder / "films").mkdir()  # with nothing else in it
    for name in ("films/1.MOV", "films/2.mov", "blue/notes.txt", "blue/README", "blue/archive.001"):
        (colour_folder / name).touch()
    index = ("index", colour_folder, "-c", "colours", "--data", data, "--device", "cpu")
    capsys.readouterr()
    call(*index)
    said = capsys.readouterr().err
    assert f"left out: 1 folders named #recycle, which is not photos, the first: {colour_folder}/#recycle" in said
    assert "left out: 1 linked folders (--follow-links follows them), the first: " in said
    assert "left out: 1 .svg files (drawings are not read" in said
    assert "4 entries of" in said
    assert "5 files are no pictures: 2 .mov, 1 .txt, 2 other\n" in said
    call(*index, "--follow-links", "--exclude", "blue", "--json")
    report = json.loads(capsys.readouterr().out)
    assert (report["unchanged"], report["removed"], report["left_out_entries"], report["kept"]) == (4, 4, 4, [])
    assert {kind["count"] for kind in report["left_out"]} == {1}
    assert report["others"] == {".mov": 2}


def test_an_output_is_not_overwritten_by_a_run_without_results(
    data: Path, colour_folder: Path, tiny_run: Path, tmp_path: Path
) -> None:
    out, label = (
        tmp_path / "labels.csv",
        ("--labels", "a,b", "--model", tiny_run, "--device", "cpu", "--data", data, "--force"),
    )
    assert call("label", colour_folder, *label, "--out", out) == 0
    before = out.read_bytes()
    assert before.count(b"\n") == 13
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match="no image in"):
        call("label", empty, *label, "--out", out)
    (empty / "broken.jpg").write_text("no picture")
    assert call("label", empty, *label, "--out", out) == 1
    assert call("label", empty, *label, "--out", tmp_path / "new.csv") == 1
    assert out.read_bytes() == before
    assert not (tmp_path / "new.csv").exists()
    for kind in ("backup", "export"):
        file = tmp_path / kind
        call("collections", kind, "colours", file, "--data", data)
        size = file.stat().st_size
        shutil.move(data / "collections" / "colours", tmp_path / f"kept-{kind}")
        with create_collection(data, "colours", model="m", fingerprint="f", dim=32):
            pass
        with pytest.raises(InputError, match="left as it is, for collection 'colours' is empty"):
            call("collections", kind, "colours", file, "--data", data, "--force")
        assert file.stat().st_size == size
        shutil.rmtree(data / "collections" / "colours")
        shutil.move(tmp_path / f"kept-{kind}", data / "collections" / "colours")


def test_prune(data: Path, colour_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (colour_folder / "green").rename(tmp_path / "green")
    (colour_folder / "red" / "0.png").unlink()
    source = ("collections", "prune", "colours")
    capsys.readouterr()
    with pytest.raises(InputError, match="deleting 5 entries of colours cannot be undone: say --yes"):
        call(*source, "--data", data)
    said = capsys.readouterr().err
    assert f"4 of {colour_folder}/green: the folder is missing\n" in said
    assert f"1 of {colour_folder}/red: the files are missing\n" in said
    call(*source, colour_folder / "red", "--data", data, "--yes", "--json")
    assert json.loads(capsys.readouterr().out)["removed"] == 1
    call(*source, "--data", data, "--yes")
    assert "colours: 4 entries deleted, 7 images left" in capsys.readouterr().out
    call(*source, "--data", data, "--yes")
    assert "nothing to delete" in capsys.readouterr().out
    (colour_folder / "blue" / "0.png").rename(tmp_path / "0.png")
    call("index", colour_folder, "-c", "colours", "--data", data, "--device", "cpu")
    capsys.readouterr()
    call(*source, colour_folder / "red", "--data", data, "--yes")
    assert "nothing to delete" in capsys.readouterr().out
    with pytest.raises(InputError, match="deleting what is kept of 1 others of colours cannot be undone"):
        call(*source, colour_folder, "--data", data)
    call(*source, "--data", data, "--yes", "--json")
    assert json.loads(capsys.readouterr().out)["forgotten"] == 1
    (tmp_path / "0.png").rename(colour_folder / "blue" / "0.png")
    call("index", colour_folder, "-c", "colours", "--data", data, "--device", "cpu", "--json")
    report = json.loads(capsys.readouterr().out)
    assert (report["added"], report["returned"]) == (1, 0)


def test_what_is_kept_of_a_pruned_file_goes_to_its_copy(
    data: Path, colour_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = ("-c", "colours", "--data", data)
    (colour_folder / "table.csv").write_text("image,stars\nred/0.png,5\nred/1.png,4\n")
    call("index", colour_folder, *source, "--captions", colour_folder / "table.csv", "--device", "cpu")
    shutil.copytree(colour_folder / "red", colour_folder / "elsewhere")
    call("index", colour_folder, *source, "--device", "cpu")
    shutil.rmtree(colour_folder / "red")
    capsys.readouterr()
    call("collections", "prune", "colours", "--data", data, "--yes")
    assert "the folder is missing; 2 with metadata" in capsys.readouterr().err
    call("search", "red", *source, "--filter", '{"must": [{"key": "stars", "range": {"gte": 4}}]}', "--json")
    found = {hit["path"]: hit["metadata"]["stars"] for hit in json.loads(capsys.readouterr().out)["hits"]}
    assert found == {str(colour_folder / "elsewhere" / name): stars for name, stars in (("0.png", "5"), ("1.png", "4"))}


def test_names_cannot_tell_a_terminal_what_to_do(
    data: Path, colour_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "a\x1b]0;x\x07\n\x9b\u202e\u200b.png"
    shutil.copy(colour_folder / "red" / "0.png", colour_folder / name)
    source = ("-c", "colours", "--data", data)
    call("index", colour_folder, *source, "--device", "cpu")
    capsys.readouterr()
    call("duplicates", *source, "--identical")
    assert r"a\x1b]0;x\x07\n\x9b\u202e\u200b.png" in capsys.readouterr().out
    assert shown_as("caf\udce9\u00e9", terminal=True) == "caf\\xe9\u00e9"
    assert shown_as("caf\udce9") == "caf\udce9"
    assert shown_as("half \ud83d, \udfff") == "half \\ud83d, \\udfff"  # which no stream takes
    assert _fail("\x1b[2J: no such\nfolder", 2) == 2
    assert capsys.readouterr().err == "glimpse: \\x1b[2J: no such\\nfolder\n"
