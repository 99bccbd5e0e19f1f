"""Things on plain grounds are found, laid on other grounds, and the same for a seed."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from encoder.image import Pixels, Preprocess
from encoder.picture.decode import read_bytes
from training.config import TrainConfig
from training.data.augment import Augmentation
from training.data.grounds import laid, thing_on_plain_ground
from training.data.loader import Feeding, PairLoader
from training.data.pairs import Pair
from training.records.events import Finished, Warned
from training.run.held_out_table import read_held_out
from training.train import train

RED, BLUE = (200, 30, 30), (40, 60, 220)


def ring(ground: tuple[int, int, int], colour: tuple[int, int, int] = RED) -> Image.Image:
    """A ring on a plain ground, with the ground's colour in its hole, of 60 x 48 pixels."""
    picture = Image.new("RGB", (60, 48), ground)
    draw = ImageDraw.Draw(picture)
    draw.ellipse((14, 8, 46, 40), fill=colour)
    draw.ellipse((26, 20, 34, 28), fill=ground)
    return picture


@pytest.mark.parametrize("ground", [(255, 255, 255), (0, 0, 0), (120, 160, 90)])
def test_a_thing_is_what_the_ground_at_the_edge_does_not_reach(ground: tuple[int, int, int]) -> None:
    thing = thing_on_plain_ground(np.asarray(ring(ground)))
    assert thing is not None
    assert thing[24, 30], "the hole has the ground's colour, and belongs to the ring"
    assert not thing[:8].any()
    assert not thing[:, 47:].any()
    disc = (np.asarray(ring(ground, (1, 2, 250))) != ground).any(axis=2)
    disc[20:29, 26:35] = True
    assert not (thing & ~disc).any()
    assert (disc & ~thing).sum() <= 130, "no more than its rim is left out"


def test_a_ground_that_goes_round_a_corner_is_followed_to_its_end() -> None:
    picture = Image.new("RGB", (40, 40), "white")
    draw = ImageDraw.Draw(picture)
    for inset in (4, 12):  # a maze whose way in winds twice
        draw.rectangle((inset, inset, 39 - inset, 39 - inset), outline="black", width=3)
    draw.rectangle((18, 4, 21, 7), fill="white")
    draw.rectangle((18, 32 - 8, 21, 28), fill="white")
    thing = thing_on_plain_ground(np.asarray(picture))
    assert thing is not None
    assert not thing[20, 20]


@pytest.mark.parametrize("picture", ["noise", "plain", "bands", "full"])
def test_what_has_no_plain_ground_or_nothing_on_it_is_left_as_it_is(picture: str) -> None:
    pixels = np.full((30, 40, 3), 255, np.uint8)
    if picture == "noise":
        pixels = np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8)
    elif picture == "bands":
        pixels[:, ::8] = pixels[:, 1::8] = pixels[:, 2::8] = pixels[:, 3::8] = 0
    elif picture == "full":
        pixels[1:-1, 1:-1] = (10, 20, 30)
    assert thing_on_plain_ground(pixels) is None


def with_mask(picture: Image.Image) -> Pixels:
    thing = thing_on_plain_ground(np.asarray(picture))
    assert thing is not None
    return np.dstack([np.asarray(picture), thing * np.uint8(255)])


def test_a_thing_is_laid_whole_on_the_inside_of_another_picture() -> None:
    white, other = with_mask(ring((255, 255, 255))), with_mask(ring((0, 255, 0), BLUE))
    on_another = 0
    for seed in range(60):
        view = laid(white, other, (32, 24), random.Random(seed)).astype(int)
        assert (view.shape, view.min() >= 0) == ((32, 24, 3), True)
        red = (view[..., 0] > view[..., 1] + 30) & (view[..., 0] > view[..., 2] + 30)
        assert red.sum() > 25
        on_another += ((view[..., 2] > 130) & (view[..., 0] < 80)).mean() > 0.3
    assert 15 < on_another < 50, "the others are drawn"
    once, again = (laid(white, other, (32, 24), random.Random(3)) for _ in range(2))
    assert np.array_equal(once, again)
    assert laid(white, None, (32, 24), random.Random(3)).shape == (32, 24, 3)


def loader(pairs: list[Pair], grounds: float) -> PairLoader:
    return PairLoader(pairs, Preprocess(size=16), Feeding(10, 0, Augmentation(grounds=grounds)))


def test_a_part_of_the_views_has_other_grounds_and_a_resumed_epoch_the_same(tmp_path: Path) -> None:
    pairs = [Pair(tmp_path / f"{i}.png", (f"ring {i}",)) for i in range(40)]
    for i, pair in enumerate(pairs):
        assert isinstance(pair.image, Path)
        ring((255, 255, 255), (200, 5 * i, 30)).save(pair.image)
    (tmp_path / "7.png").write_bytes(b"broken")  # no ground either

    def shares(grounds: float) -> float:
        views = np.concatenate([batch.pixels for batch in loader(pairs, grounds).epoch(1)])
        return float((views[:, [0, 0, -1, -1], [0, -1, 0, -1]] < 250).any(axis=(1, 2)).mean())

    assert shares(0) == 0
    assert 0.2 < shares(0.5) < 0.65
    assert shares(1) > 0.8
    whole = list(loader(pairs, 0.5).epoch(1))
    (rest,) = loader(pairs, 0.5).epoch(1, skip=3)
    assert np.array_equal(rest.pixels, whole[3].pixels)


def test_a_picture_without_a_plain_ground_is_cropped_as_before() -> None:
    picture, preprocess = np.random.default_rng(0).integers(0, 255, (40, 30, 3), np.uint8), Preprocess(size=16)
    views = [Augmentation(grounds=grounds)(picture, preprocess, random.Random(3)) for grounds in (0.0, 1.0)]
    assert np.array_equal(*views)


def test_a_training_says_where_hardly_a_picture_stands_on_a_plain_ground(
    tmp_path: Path, tiny_config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(name: str, picture: Callable[[int], Image.Image]) -> list[str]:
        table = tmp_path / f"{name}.csv"
        rows = [f"{name}{i}.png,picture {i}" for i in range(14)]
        table.write_text("\n".join(["image,title", *rows]))
        for i in range(14):
            picture(i).save(tmp_path / f"{name}{i}.png")
        config = TrainConfig(
            pairs=str(table),
            out=str(tmp_path / f"run-{name}"),
            init=str(tiny_config),
            epochs=1,
            batch_size=4,
            grounds=0.5,
            device="cpu",
            precision="fp32",
        )
        events = list(train(config))
        assert any(isinstance(event, Finished) for event in events)
        held_out.extend(str(pair.image) for pair in read_held_out(Path(config.out))[1].pairs)
        return [event.message for event in events if isinstance(event, Warned) and event.message.startswith("Grounds")]

    def counted(path: str | Path) -> bytes:
        opened[str(path)] += 1
        return read_bytes(path)

    opened: Counter[str] = Counter()
    held_out: list[str] = []
    monkeypatch.setattr("encoder.image.read_bytes", counted)
    noise = np.random.default_rng(0).integers(0, 255, (14, 30, 30, 3), np.uint8)
    [line] = told("noise", lambda i: Image.fromarray(noise[i]))
    assert "0 of 13 pictures stand on a plain one" in line
    assert told("ring", lambda i: ring((255, 255, 255), (200, 9 * i, 30))) == []
    learned_from = [n for path, n in opened.items() if path not in held_out]
    assert len(learned_from) == 26
    assert set(learned_from) == {1}, "pictures are decoded to be looked at, and once more to be learned from"
