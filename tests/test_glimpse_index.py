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

from base.errors import InputError
from encoder.load import build_clip
from glimpse.cli import app
from glimpse.demo.postcards.scenes import all_scenes, draw_postcard
from tests.conftest import plain_picture
from training.records.checkpoint import save_model

GLIMPSE = Path(sys.executable).with_name("glimpse")


@pytest.fixture
def data(colour_folder: Path, tiny_run: Path, tmp_path: Path) -> Path:
    """A data folder with an indexed collection "colours"."""
    call("index", colour_folder, "-c", "colours", "--data", tmp_path / "data", "--model", tiny_run, "--device", "cpu")
    return tmp_path / "data"


def call(*arguments: str | Path) -> int:
    """Run a command in this process; its exit code."""
    return app([str(argument) for argument in arguments], standalone_mode=False) or 0


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
