"""Splits: nothing is lost, nothing leaks from one side to the other, and each label is on both where it can be."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.errors import TrainingError
from training.data.pairs import Pair, text_key
from training.data.split import split_classes, split_images, split_pairs

few = st.integers(0, 15)
pairs_of_few = st.lists(st.tuples(few, st.lists(few, max_size=2)), min_size=2, max_size=60).map(
    lambda rows: [Pair(Path(f"{image}.png"), tuple(f"text {text}" for text in texts)) for image, texts in rows]
)


def test_a_class_whose_name_is_not_utf8_is_split_too() -> None:
    pairs = [Pair(Path(f"{i}.png"), ("a",), "caf\udce9" if i % 2 else "dog") for i in range(8)]
    train, val = split_classes(pairs, 0.25, 0)
    assert Counter(pair.label for pair in val) == {"caf\udce9": 1, "dog": 1}
    assert Counter(train + val) == Counter(pairs)


@given(pairs=pairs_of_few, fraction=st.floats(0.05, 0.5), seed=st.integers(0, 3))
def test_no_caption_and_no_image_is_on_both_sides(pairs: list[Pair], fraction: float, seed: int) -> None:
    try:
        train, val = split_pairs(pairs, fraction, seed)
    except TrainingError:
        return  # all hang together
    assert train
    assert val
    assert Counter(train + val) == Counter(pairs)
    assert {text for pair in train for text in pair.captions}.isdisjoint(text for pair in val for text in pair.captions)
    assert {pair.image for pair in train}.isdisjoint(pair.image for pair in val)
    assert split_pairs(pairs, fraction, seed) == (train, val)


def test_captions_that_differ_in_case_are_one() -> None:
    pairs = [Pair(Path(f"{i}.png"), (f"own {i}", "A red shirt" if i % 2 else "a RED shirt")) for i in range(20)]
    with pytest.raises(TrainingError, match="20 pairs in 1 group of shared captions or images: too few"):
        split_pairs(pairs, 0.1, 0)


@pytest.mark.parametrize(
    ("copies", "fraction", "message"),
    [
        (1, 0.999, "10 pairs in 10 groups.*--val-fraction 0.999 leaves none to train on; lower it"),
        (5, 0.1, "50 pairs in 10 groups.*--val-fraction 0.02 leaves none to hold out; raise it"),
    ],
)
def test_the_side_that_is_empty_is_named(copies: int, fraction: float, message: str) -> None:
    pairs = [Pair(Path(f"{i}.png"), (f"own {i}",)) for i in range(10)] * copies
    with pytest.raises(TrainingError, match=message):
        split_pairs(pairs, fraction / copies, 0)
    train, val = split_pairs(pairs, 0.3, 0)
    assert (len(train), len(val)) == (7 * copies, 3 * copies)


def test_an_image_is_known_by_its_path_or_its_bytes() -> None:
    by_path = [Pair(Path("a/../b/1.png" if i % 2 else "b/1.png"), (f"own {i}",)) for i in range(20)]
    by_bytes = [Pair(b"the same", (f"own {i}",)) for i in range(20)]
    for pairs in (by_path, by_bytes):
        with pytest.raises(TrainingError, match="20 pairs in 1 group of"):
            split_pairs(pairs, 0.1, 0)
    train, val = split_pairs([Pair(bytes([i]), (text_key(f"own {i}"),)) for i in range(20)], 0.1, 0)
    assert (len(train), len(val)) == (18, 2)


@given(
    sizes=st.lists(st.integers(1, 12), min_size=1, max_size=6),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 3),
)
def test_every_label_with_two_images_is_on_both_sides(sizes: list[int], fraction: float, seed: int) -> None:
    pairs = [
        Pair(Path(f"{label}/{i}.png"), (f"a {label}",), str(label)) for label, n in enumerate(sizes) for i in range(n)
    ]
    if max(sizes) == 1:
        with pytest.raises(TrainingError, match="none with an image to hold out"):
            split_classes(pairs, fraction, seed)
        return
    train, val = split_classes(pairs, fraction, seed)
    assert Counter(train + val) == Counter(pairs)
    held_out = Counter(pair.label for pair in val)
    for label, n in enumerate(sizes):
        assert held_out[str(label)] == (0 if n == 1 else min(n - 1, max(1, round(n * fraction))))
    assert split_classes(pairs, fraction, seed) == (train, val)


def test_another_label_does_not_move_what_is_held_out_of_one() -> None:
    cats = [Pair(Path(f"cat/{i}.png"), ("cat",), "cat") for i in range(20)]
    dogs = [Pair(Path(f"dog/{i}.png"), ("dog",), "dog") for i in range(20)]
    _, alone = split_classes(cats, 0.2, 0)
    _, beside = split_classes(dogs + cats, 0.2, 0)
    assert alone == [pair for pair in beside if pair.label == "cat"]
    assert alone != split_classes(cats, 0.2, 1)[1]


@given(n=st.integers(2, 50), fraction=st.floats(0.01, 0.99), seed=st.integers(0, 3))
def test_images_are_held_out_at_random(n: int, fraction: float, seed: int) -> None:
    pairs = [Pair(Path(f"{i}.png")) for i in range(n)]
    train, val = split_images(pairs, fraction, seed)
    assert Counter(train + val) == Counter(pairs)
    assert len(val) == min(n - 1, max(1, round(n * fraction)))
    assert split_images(pairs, fraction, seed) == (train, val)


def test_one_image_cannot_be_held_out() -> None:
    with pytest.raises(TrainingError, match="give more images"):
        split_images([Pair(Path("1.png"))], 0.5, 0)
