"""`glimpse train --init list` and what it lists: built, measured here, trained by name."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from glimpse_here import glimpse_here
from table_of_architectures import HEAD, row
from table_of_losses import END, PAGE

from base.errors import ModelError
from encoder.model.architectures import ARCHITECTURES
from encoder.model.load import build_clip, load_encoder

GLIMPSE = Path(sys.executable).with_name("glimpse")


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([GLIMPSE, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=120)


def test_the_list_is_measured_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.rate.SECONDS", 0.0)  # a step each
    said = glimpse_here("train", "--init", "list", "--device", "cpu", "--precision", "fp32", "--json")
    assert said.returncode == 0, said.stderr
    found = json.loads(said.stdout)
    assert (found["device"], found["precision"]) == ("cpu", "fp32")
    assert [each["name"] for each in found["architectures"]] == list(ARCHITECTURES)
    for each in found["architectures"]:
        parts = build_clip(each["name"])
        clip = parts.clip
        assert each["parameters"] == sum(parameter.numel() for parameter in clip.parameters())
        assert each["image_parameters"] == sum(parameter.numel() for parameter in clip.visual.parameters())
        assert each["samples_per_second"] > 0
        assert parts.preprocess.height_width == (each["image_size"], each["image_size"])


def test_one_is_trained_by_its_name(colour_pairs: Callable[[int], Path], tmp_path: Path) -> None:
    out = tmp_path / "run"
    size = ("--epochs=1", "--batch-size=8", "--device=cpu", "--json")
    said = run("train", colour_pairs(24), "--init", "resnet-64", "--out", out, *size)
    assert said.returncode == 0, said.stderr
    assert json.loads((out / "open_clip_config.json").read_text())["model_cfg"] == ARCHITECTURES["resnet-64"].config()
    assert load_encoder(out).preprocess.height_width == (64, 64)


def test_a_name_that_is_none_is_told_the_near_one() -> None:
    with pytest.raises(ModelError, match="resnet64: neither an architecture nor a file; did you mean resnet-64"):
        build_clip("resnet64")


def test_the_page_has_the_figures_of_the_list() -> None:
    _, _, rest = PAGE.read_text(encoding="utf-8").partition("<!-- written by tests/table_of_architectures.py -->")
    table, _, _ = rest.partition(END)
    rows = []
    for name, each in ARCHITECTURES.items():
        clip = build_clip(name).clip
        sizes = (sum(p.numel() for p in part.parameters()) for part in (clip, clip.visual))
        rows.append(row(name, *sizes, each.recall_at_1, each.recall_at_10))
    assert table.strip().splitlines() == [*HEAD, *rows]
