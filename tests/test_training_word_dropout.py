"""Word dropout: what it leaves of a caption, and nothing else changes by it. Where it and other grounds are on."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from glimpse_here import glimpse_here
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from base.errors import InputError
from encoder.image import Preprocess
from training.config import LONG, TrainConfig
from training.data.augment import Augmentation
from training.data.loader import Feeding, PairLoader
from training.data.pairs import Pair
from training.data.word_dropout import without_words

RANDOM = TrainConfig(pairs="", out="", init="x", epochs=LONG)
FINE_TUNED = TrainConfig(pairs="", out="", model="x", epochs=LONG)


def is_left_of(some: str, whole: str) -> bool:
    """Whether some words are of the whole, in their order."""
    rest = iter(whole.split())
    return all(word in rest for word in some.split())


@given(st.text(), st.integers())
def test_what_is_left_are_words_of_it_in_their_order_and_never_none(caption: str, seed: int) -> None:
    left = without_words(caption, random.Random(seed))
    assert is_left_of(left, caption)
    assert bool(left.split()) == bool(caption.split())


def test_every_word_stays_every_second_time() -> None:
    rng = random.Random(0)
    left = [without_words("a red shirt of cotton for men", rng).split() for _ in range(4000)]
    for word in "a red shirt of cotton for men".split():
        assert sum(word in words for words in left) == pytest.approx(2000, abs=150)


def test_a_caption_without_spaces_stays_whole() -> None:
    assert {without_words("红色棉质衬衫", random.Random(seed)) for seed in range(20)} == {"红色棉质衬衫"}


@pytest.fixture
def pairs(tmp_path: Path) -> list[Pair]:
    made = [
        Pair(tmp_path / f"{i}.png", (f"picture number {i} of forty pictures",), negatives=("no",)) for i in range(40)
    ]
    for i, pair in enumerate(made):
        assert isinstance(pair.image, Path)
        Image.fromarray(np.random.default_rng(i).integers(0, 255, (20, 24, 3), np.uint8)).save(pair.image)
    return made


def test_a_batch_changes_in_its_captions_alone(pairs: list[Pair]) -> None:
    def batch_of(word_dropout: float, epoch: int = 1) -> tuple[list[str], bytes, bytes]:
        feeding = Feeding(40, 0, Augmentation(0.5), word_dropout)
        (batch,) = PairLoader(pairs, Preprocess(size=16), feeding).epoch(epoch)
        return batch.captions, batch.pixels.tobytes(), batch.ids.tobytes()

    whole, half, all_of_them = batch_of(0), batch_of(0.5), batch_of(1)
    assert whole[1:] == half[1:] == all_of_them[1:]  # a title stays the same title whatever is left of it
    assert all(map(is_left_of, half[0], whole[0]))
    assert 10 <= sum(a != b for a, b in zip(half[0], whole[0], strict=True)) <= 30
    assert sum(a != b for a, b in zip(all_of_them[0], whole[0], strict=True)) >= 36  # all six words stay 1 time in 64
    assert batch_of(1) == all_of_them != batch_of(1, epoch=2)


def test_pairs_look_otherwise_each_time_where_random_weights_see_each_often() -> None:
    def used(config: TrainConfig) -> tuple[float, float]:
        assert config.augmentation.grounds == config.used_grounds
        return config.used_word_dropout, config.used_grounds

    assert used(RANDOM) == (0.5, 0.4)
    assert used(replace(RANDOM, word_dropout=0.0)) == (0, 0.4)
    assert used(replace(RANDOM, grounds=0.0)) == (0.5, 0)
    for less in (
        replace(RANDOM, epochs=LONG - 1),
        replace(RANDOM, pairs="shards/{0..9}.tar"),
        replace(RANDOM, loss="triplet"),
        replace(RANDOM, loss="nt-xent"),
        replace(RANDOM, folders=True),
        FINE_TUNED,
    ):
        assert used(less) == (0, 0)
    assert used(replace(FINE_TUNED, word_dropout=0.3, grounds=0.2)) == (0.3, 0.2)


@pytest.mark.parametrize("of", [{"loss": "nt-xent"}, {"folders": True}])
def test_where_a_word_is_all_there_is_it_is_refused(of: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="--word-dropout needs captions that are not made of classes"):
        replace(RANDOM, word_dropout=0.5, **of)
    assert replace(RANDOM, word_dropout=0.0, **of).used_word_dropout == 0
    with pytest.raises(InputError, match=r"--word-dropout 1.5 is out of range; give 0 to 1"):
        replace(RANDOM, word_dropout=1.5)


def test_a_run_that_began_without_it_is_gone_on_with_without_it(tmp_path: Path) -> None:
    RANDOM.save(tmp_path)
    assert TrainConfig.load(tmp_path).used_word_dropout == 0.5
    assert TrainConfig.load(tmp_path).used_grounds == 0.4
    config = tmp_path / "train_config.json"
    before = json.loads(config.read_text())
    del before["word_dropout"], before["grounds"]  # as written before there were such settings
    config.write_text(json.dumps(before))
    assert TrainConfig.load(tmp_path).used_word_dropout == TrainConfig.load(tmp_path).used_grounds == 0


def test_a_long_training_says_what_it_shows_otherwise(
    colour_pairs: Callable[[int], Path], tiny_config: Path, tmp_path: Path
) -> None:
    pairs = colour_pairs(10)

    def told(name: str, *flags: object) -> str:
        run = ("train", pairs, "--init", tiny_config, "--out", tmp_path / name, "--epochs", LONG, "--batch-size", 8)
        done = glimpse_here(*run, *flags, GLIMPSE_DEVICE="cpu")
        assert done.returncode == 0, done.stderr
        return " ".join(done.stderr.split())

    line = "a long training: 50% of captions are read without half of their words, 40% of pictures on a plain ground"
    assert line in told("long")
    assert line.replace("40%", "0%") in told("on its ground", "--grounds", 0, "--patience", 1)  # one is as by default
    assert "a long training" not in told("as they are", "--word-dropout", 0, "--grounds", 0, "--patience", 1)
