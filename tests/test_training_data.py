"""Pairs: what is read, what is left out and why, and that nothing leaks from one side of the split to the other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder.errors import InputError, TrainingError
from encoder.image import Preprocess
from tests.conftest import plain_picture
from training.data import Pair, PairLoader, read_pairs, split_pairs


def test_rows_without_caption_or_image_are_counted_and_left_out(tmp_path: Path) -> None:
    plain_picture("red").save(tmp_path / "red.png")
    (tmp_path / "pairs.csv").write_text("\ufefffile,text\nred.png, a  red \npicture.png,gone\nred.png,\n,x\n")
    file = read_pairs(tmp_path / "pairs.csv", image_key="file", caption_key="text")
    assert file.pairs == [Pair(tmp_path / "red.png", "a red")]
    assert (file.without_caption, file.without_image) == (1, 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n", 'no column "image"; it has a, b. Choose one with --image-key'),
        ("image,b\n1,2\n", 'no column "title"; it has image, b. Choose one with --caption-key'),
        ("image,title\ngone.png,x\n", "1 rows name an image that is not under"),
        ("", 'no column "image"; it has none'),
        (None, "cannot be read as a CSV file"),
    ],
)
def test_unusable_files_say_what_to_do(content: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError) as caught:
        read_pairs(path)
    assert message in str(caught.value)


pairs_of_few = st.lists(st.tuples(st.integers(0, 15), st.integers(0, 15)), min_size=2, max_size=60, unique=True).map(
    lambda rows: [Pair(Path(f"{image}.png"), f"text {text}") for image, text in rows]
)


@given(pairs=pairs_of_few, fraction=st.floats(0.05, 0.5), seed=st.integers(0, 3))
def test_no_caption_and_no_image_is_on_both_sides(pairs: list[Pair], fraction: float, seed: int) -> None:
    try:
        train, val = split_pairs(pairs, fraction, seed)
    except TrainingError:
        return  # all hang together
    assert sorted(map(str, train + val)) == sorted(map(str, pairs))
    assert {pair.caption for pair in train}.isdisjoint(pair.caption for pair in val)
    assert {pair.image for pair in train}.isdisjoint(pair.image for pair in val)
    assert split_pairs(pairs, fraction, seed) == (train, val)


def test_captions_that_differ_in_case_are_one() -> None:
    pairs = [Pair(Path(f"{i}.png"), "A red shirt" if i % 2 else "a RED shirt") for i in range(20)]
    with pytest.raises(TrainingError, match="too few to hold any out"):
        split_pairs(pairs, 0.1, 0)


def test_a_loader_repeats_itself_for_a_seed_and_an_epoch(colour_pairs: Callable[[int], Path]) -> None:
    pairs = read_pairs(colour_pairs(20)).pairs
    pairs[3].image.write_bytes(b"broken")

    def loader(seed: int) -> PairLoader:
        return PairLoader(pairs, Preprocess(size=16), batch_size=6, seed=seed, min_crop=0.5, overlap=False)

    first, again = list(loader(0).epoch(1)), list(loader(0).epoch(1))
    assert len(loader(0)) == len(first) == 3
    assert [batch.captions for batch in first] == [batch.captions for batch in again]
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(first, again, strict=True))
    later = list(loader(0).epoch(1, skip=2))
    assert len(later) == 1
    assert np.array_equal(later[0].pixels, first[2].pixels)
    assert [batch.captions for batch in loader(0).epoch(2)] != [batch.captions for batch in first]
    assert [batch.captions for batch in loader(1).epoch(1)] != [batch.captions for batch in first]
    assert sum(len(batch.captions) + batch.skipped for batch in first) == 18
    assert {batch.pixels.shape[1:] for batch in first} == {(16, 16, 3)}
