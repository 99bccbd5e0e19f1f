"""The card of a run: what model hubs read, right about the start and its licence, no path, and yours if you say."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from training.config import TrainConfig
from training.records.model_card import start_of, write_card
from training.run_folder import write_json
from training.train import train

BINDS = "its licence binds this model too: see"


@pytest.fixture
def run(colour_pairs: Callable[[int], Path], tiny_config: Path, tmp_path: Path) -> Path:
    """A run of one epoch from random weights."""
    out = tmp_path / "shop"
    quick = {"epochs": 1, "batch_size": 8, "device": "cpu", "precision": "fp32"}
    list(train(TrainConfig(str(colour_pairs(24)), str(out), init=str(tiny_config), **quick)))  # type: ignore[arg-type]
    return out


def test_a_run_leaves_a_card_that_a_hub_reads(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = ModelCard.load(run / "README.md")
    assert card.data.library_name == "open_clip"
    assert card.data.pipeline_tag == "zero-shot-image-classification"
    assert card.data.get("base_model") is None
    for said in (
        "# shop\n",
        "**Began with**: random weights (tiny.json), so nobody else's licence is on them",
        "22 pairs to learn from, 2 held out; pairs.csv, 10% held out by seed 0",
        "| recall@1, from text to image |",
        "vectors of 32 numbers",
    ):
        assert said in card.text
    assert str(tmp_path) not in card.content

    code = card.text.partition("```python\n")[2].partition("```")[0]
    monkeypatch.chdir(run.parent)
    exec(code, names := {})
    assert names["tokenizer"](["a red one"]).shape[0] == 1
    assert names["model"].visual is not None


def test_a_start_is_told_down_to_whose_weights_it_was(tmp_path: Path) -> None:
    def begun_with(name: str, **start: str) -> Path:
        (tmp_path / name).mkdir()
        write_json(tmp_path / name / "train_config.json", asdict(TrainConfig("p.csv", str(tmp_path / name), **start)))
        return tmp_path / name

    hub = begun_with("a", model="hf-hub:timm/ViT-B-16-SigLIP2@main")
    then = begun_with("b", model=str(hub))
    published = {"model": "ViT-B-32/laion2b_s34b_b79k"}
    assert start_of({"model": str(then)}) == (
        "timm/ViT-B-16-SigLIP2",
        "b, a run that began with a, a run that began with hf-hub:timm/ViT-B-16-SigLIP2@main; "
        f"{BINDS} [timm/ViT-B-16-SigLIP2](https://huggingface.co/timm/ViT-B-16-SigLIP2)",
    )
    assert start_of(published)[0] == "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"
    assert start_of({"model": str(tmp_path)}) == ("", f"{tmp_path.name}; {BINDS} its publisher")
    assert start_of({"model": str(begun_with("c", init="x.json"))})[1].startswith("c, a run that began with random")


def test_a_card_that_somebody_made_theirs_stays(run: Path) -> None:
    first = (run / "README.md").read_text()
    write_card(run)
    assert (run / "README.md").read_text() == first
    (run / "README.md").write_text("# Mine\n")
    list(train(TrainConfig.load(run), resume=True))
    assert (run / "README.md").read_text() == "# Mine\n"


def test_any_names_stay_words(tmp_path: Path) -> None:
    out = tmp_path / os.fsdecode(b"<b>*x*\n\xff|")
    out.mkdir()
    write_json(out / "train_config.json", asdict(TrainConfig("a`b`.csv", str(out), init="[x](y).json")))
    write_card(out)
    text = ModelCard.load(out / "README.md").text
    assert "# \\<b\\>\\*x\\* ?\\|\n" in text
    assert "\\[x\\](y).json" in text
    assert "a\\`b\\`.csv" in text
