"""Runs beside each other: the figures of each, what differs, what stands in the way, and a page that holds any text."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from glimpse_here import glimpse_here
from run_folders import run_folder
from test_training_report import EVIL, Page

from base.errors import InputError
from glimpse.cli import perform
from training.config import TrainConfig
from training.reading.comparison import differing, headline, objections, read_runs, rows, verdict
from training.records.comparison_page import write_page
from training.records.report import write_report
from training.train import train


def test_what_came_of_each_run_and_which_settings_differ(tmp_path: Path) -> None:
    a = run_folder(tmp_path / "a", [0.1, 0.6, 0.5], held_out="/1.png", lr=1e-3, device="cpu")
    b = run_folder(tmp_path / "b", [0.1, 0.4], held_out="/1.png", lr=3e-4, batch_size=64)
    runs, left_out = read_runs([b, tmp_path / "b", a, tmp_path])
    assert left_out.lines() == [f"1 of 4 paths that are no run folder, the first: {tmp_path}"]
    assert [run.name for run in runs] == ["b", "a"]
    assert differing(runs) == {"batch_size": [64, 128], "lr": [3e-4, 1e-3]}
    assert headline(runs)[1] == "Recall@10 from text to image"
    assert rows(runs)[1] == ["a", "0.100", "0.600", "0.600", "1", "2", "1.5", "20", "0"]
    ahead = "a is ahead, with a score of 0.600; b follows with 0.400"
    assert verdict(runs) == f"{ahead}, which may be chance: ±0.320 with 9 images held out."
    metrics = json.loads((b / "metrics.json").read_text())
    metrics["epochs"][1]["metrics"]["n_images"] = 90
    (b / "metrics.json").write_text(json.dumps(metrics))
    assert verdict(read_runs([b, a])[0]) == f"{ahead}."
    assert objections(runs) == []
    assert runs[1].minutes == [0.5, 1.0, 1.5]


def test_a_setting_that_nobody_gave_is_shown_as_it_counted(tmp_path: Path) -> None:
    short, long = ({"epochs": epochs, "batch_size": 64} for epochs in (5, 20))
    folders = [
        run_folder(tmp_path / name, [0.1, 0.6], held_out="/1.png", **settings)
        for name, settings in {"short": short, "long": long, "pull": {**short, "loss": "triplet", "lr": 1e-3}}.items()
    ]
    kept = json.loads((folders[0] / "train_config.json").read_text())
    (folders[0] / "train_config.json").write_text(json.dumps({**kept, "optimizer": None} | {"of": "another version"}))
    odd = differing(read_runs([folders[0], folders[1]])[0])
    assert odd["lr"] == [None, 5e-4]  # what cannot be read as settings is shown as it lies there
    (folders[0] / "train_config.json").write_text(json.dumps(kept))
    assert differing(read_runs(folders)[0]) == {
        "temperature": ["learned", "learned", None],
        "loss": ["info-nce", "info-nce", "triplet"],
        "margin": [None, None, 0.2],
        "epochs": [5, 20, 5],
        "lr": [5e-4, 5e-4, 1e-3],
        "optimizer": ["muon", "muon", "adamw"],
        "grounds": [0.0, 0.4, 0.0],
        "word_dropout": [0.0, 0.5, 0.0],
    }
    said = glimpse_here("compare", *folders).stdout
    assert re.search(r"^lr +0\.0005 +0\.0005 +0\.001 *$", said, re.MULTILINE), said
    assert "<dt>lr</dt><dd>0.0005</dd>" in write_report(folders[0]).read_text()


def test_what_does_not_compare_is_said(tmp_path: Path) -> None:
    a = run_folder(tmp_path / "a", [0.1, 0.6], held_out="/1.png")
    b = run_folder(tmp_path / "b", [0.1, 0.6], held_out="/2.png")
    old = [run_folder(tmp_path / "old" / name, [0.1, 0.6], seed=seed) for name, seed in (("a", 0), ("b", 1))]
    classes, begun = run_folder(tmp_path / "classes", [0.5], measure="top1"), run_folder(tmp_path / "begun", [])
    [said] = objections(read_runs([a, b])[0])
    assert said.startswith("Held out differs: b and a are measured on different images")
    assert "glimpse eval --split" in said
    assert verdict(read_runs([a, b])[0]) == "None is ahead: they are measured on different images."
    [said] = objections(read_runs(old)[0])
    assert said.startswith("Held out differs")
    a = run_folder(tmp_path / "recalls", [0.1, 0.6], held_out="/1.png", more=0.3)
    runs = read_runs([a, classes, begun])[0]
    assert [said.split(":")[0] for said in objections(runs)] == [
        "Held out differs",
        "Not measured yet",
        "Measures differ",
    ]
    assert headline(runs) == (("score",), "The score")
    assert [line[:4] for line in rows(runs)] == [
        ["recalls", "0.100", "0.600", "0.600"], ["classes", "0.500", "0.500", "0.500"], ["begun", "–", "–", "–"]
    ]  # fmt: skip
    same = [tmp_path / "a", old[0]]
    assert [run.name for run in read_runs(same)[0]] == list(map(str, same))


def test_one_run_is_nothing_to_compare(tmp_path: Path) -> None:
    a = run_folder(tmp_path / "a", [0.1])
    with pytest.raises(InputError, match=r"1 run to compare; left out: 1 of 2 paths that are no run folder"):
        read_runs([a, tmp_path / "none"])


def test_the_page_is_whole_with_any_names_and_many_runs(tmp_path: Path) -> None:
    folders = [run_folder(tmp_path / f"{EVIL.replace('/', '')} {i}", [0.1, i / 10], lr=i + 1.0) for i in range(10)]
    write_page(tmp_path / "page.html", read_runs(folders)[0])
    page = Page(tmp_path / "page.html")
    assert "script" not in page.tags
    assert page.links == []
    assert page.tags.count("svg") == 5
    assert "Settings that differ" in page.text


def test_the_same_queries_are_answered_by_each_model(
    colour_pairs: Callable[[int], Path], tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = colour_pairs(24)
    config = TrainConfig(str(pairs), str(tmp_path / "a"), str(tiny_run), epochs=1, batch_size=8, val_fraction=0.4,
                         device="cpu", precision="fp32")  # fmt: skip
    list(train(config))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    page = tmp_path / "compare.html"
    asked = ["compare", *map(str, (tmp_path / "a", tmp_path / "b")), "--device", "cpu"]
    assert not perform([*asked, "--out", str(page), "--query", "red", "--query", "a blue one", "--json"])
    said = json.loads(capsys.readouterr().out)
    assert [run["name"] for run in said["runs"]] == ["a", "b"]
    assert (said["objections"], said["settings"]) == ([], {})
    assert said["runs"][0]["score"] == said["runs"][1]["score"]
    assert Page(page).tags.count("img") == 2 * 2 * 4

    shutil.rmtree(tmp_path / "b" / "last")
    (tmp_path / "b" / "open_clip_model.safetensors").unlink()
    assert not perform([*asked, "--out", str(page)])
    out, err = capsys.readouterr()
    assert "level, with a score of" in out
    assert "no answers of b on the page" in err
    assert Page(page).tags.count("img") == 5 * 4

    with pytest.raises(InputError, match="name it by --out"):
        perform([*asked, "--query", "red"])
