"""Batches: the same for a seed, the same shared out over ranks, and ids that know what belongs together."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tiny_world import plain_picture

from base.errors import ImageError, InputError
from encoder.image import Pixels, Preprocess
from training.data.augment import Augmentation, random_crop
from training.data.decoded import DecodedPictures
from training.data.loader import Batch, Feeding, PairLoader, text_id
from training.data.pairs import Pair

SMALL = Preprocess(size=16)


@pytest.fixture
def pairs(tmp_path: Path) -> list[Pair]:
    """Twenty pairs, of which the fourth has a broken image; of noise, so that any other crop has other pixels."""
    made = [Pair(tmp_path / f"{i}.png", (f"picture number {i}",)) for i in range(20)]
    for i, pair in enumerate(made):
        assert isinstance(pair.image, Path)
        Image.fromarray(np.random.default_rng(i).integers(0, 255, (40, 48, 3), np.uint8)).save(pair.image)
    (tmp_path / "3.png").write_bytes(b"broken")
    return made


def loader(
    pairs: list[Pair], *, seed: int = 0, batch_size: int = 6, two_views: bool = False, **ranks: int
) -> PairLoader:
    return PairLoader(
        pairs,
        SMALL,
        Feeding(batch_size, seed, Augmentation(min_crop=0.5), two_views=two_views, **ranks),
    )


def assert_same(a: Batch, b: Batch) -> None:
    assert np.array_equal(a.pixels, b.pixels)
    assert np.array_equal(a.ids, b.ids)
    assert (a.captions, a.negatives, a.skipped) == (b.captions, b.negatives, b.skipped)


def test_a_loader_repeats_itself_for_a_seed_and_an_epoch(pairs: list[Pair]) -> None:
    first, again = list(loader(pairs).epoch(1)), list(loader(pairs).epoch(1))
    assert len(loader(pairs)) == len(first) == 3
    for a, b in zip(first, again, strict=True):
        assert_same(a, b)
    assert [batch.captions for batch in loader(pairs).epoch(2)] != [batch.captions for batch in first]
    assert [batch.captions for batch in loader(pairs, seed=1).epoch(1)] != [batch.captions for batch in first]
    assert sum(len(batch.captions) + batch.skipped for batch in first) == 18
    assert {batch.pixels.shape[1:] for batch in first} == {(16, 16, 3)}
    assert {batch.views for batch in first} == {None}


def test_a_resumed_epoch_is_the_rest_of_it_and_reads_no_more(pairs: list[Pair]) -> None:
    first = list(loader(pairs).epoch(1))
    for pair in pairs:  # what the rest does not need is gone by then
        if all(pair.captions[0] not in batch.captions for batch in first[2:]):
            assert isinstance(pair.image, Path)
            pair.image.unlink()
    (rest,) = loader(pairs).epoch(1, skip=2)
    assert_same(rest, first[2])


def test_broken_images_are_left_out_and_counted(pairs: list[Pair]) -> None:
    batches = list(loader(pairs, batch_size=5).epoch(1))
    assert [batch.skipped for batch in batches].count(1) == 1
    for batch in batches:
        assert len(batch.pixels) == len(batch.captions) == len(batch.ids) == 5 - batch.skipped
    (empty,) = loader([pairs[3]] * 2, batch_size=2, two_views=True).epoch(0)
    assert (empty.pixels.shape, empty.ids.shape, empty.skipped) == ((0, 16, 16, 3), (0, 3), 2)
    assert empty.views is not None
    assert empty.views.shape == (0, 16, 16, 3)


@pytest.mark.parametrize("world", [2, 3])
def test_the_ranks_together_read_what_one_process_would(world: int, pairs: list[Pair]) -> None:
    pairs = [replace(pair, captions=(*pair.captions, "other"), negatives=("x", "y")) for pair in pairs]
    whole = list(loader(pairs).epoch(1, skip=1))
    ranks = [list(loader(pairs, rank=rank, world=world).epoch(1, skip=1)) for rank in range(world)]
    assert len(whole) == 2
    assert {len(batches) for batches in ranks} == {2}
    for batch, parts in zip(whole, zip(*ranks, strict=True), strict=True):
        assert {len(part.captions) + part.skipped for part in parts} == {6 // world}
        joined = Batch(
            pixels=np.concatenate([part.pixels for part in parts]),
            captions=[caption for part in parts for caption in part.captions],
            ids=np.concatenate([part.ids for part in parts]),
            negatives=[text for part in parts for text in part.negatives],
            views=None,
            unreadable=[image for part in parts for image in part.unreadable],
        )
        assert_same(joined, batch)


def test_a_batch_that_cannot_be_shared_names_the_nearest_that_can(pairs: list[Pair]) -> None:
    with pytest.raises(InputError, match="--batch-size 100 cannot be shared equally by 3 processes; 99 or 102 can"):
        loader(pairs, batch_size=100, world=3)
    with pytest.raises(InputError, match="by 4 processes; 4 can"):
        loader(pairs, batch_size=2, world=4)


def test_each_epoch_draws_one_of_the_captions(pairs: list[Pair]) -> None:
    captions = tuple(f"caption {i}" for i in range(3))
    several = [replace(pair, captions=captions) for pair in pairs[4:]]

    def drawn(epoch: int) -> dict[int, str]:
        batches = loader(several, batch_size=4).epoch(epoch)
        return {int(row[1]): text for batch in batches for row, text in zip(batch.ids, batch.captions, strict=True)}

    epochs = [drawn(epoch) for epoch in range(20)]
    assert drawn(1) == epochs[1] != epochs[2]
    assert all({texts[image] for texts in epochs} == set(captions) for image in epochs[0])


def test_more_captions_do_not_move_the_crops(pairs: list[Pair]) -> None:
    several = [replace(pair, captions=(*pair.captions, "other"), negatives=("x",)) for pair in pairs]
    for a, b in zip(loader(pairs).epoch(1), loader(several).epoch(1), strict=True):
        assert np.array_equal(a.pixels, b.pixels)


def test_rows_that_belong_together_have_the_same_ids(pairs: list[Pair]) -> None:
    image, other = pairs[0].image, pairs[1].image
    assert isinstance(image, Path)
    (image.parent / "x").mkdir()
    rows = [
        Pair(image, ("A  red Shirt",), "shirt"),
        Pair(other, ("a red shirt",), "shirt"),
        Pair(image.parent / "x" / ".." / image.name, ("blue",), "hat"),
        Pair(image.read_bytes(), ("green",)),
        Pair(image.read_bytes()),
    ]
    (batch,) = loader(rows, batch_size=5).epoch(0)
    order = [batch.captions.index(text) for text in ("A  red Shirt", "a red shirt", "blue", "green", "")]
    captions, images, labels = batch.ids[order].T.tolist()
    assert captions[0] == captions[1] == text_id("a red shirt")
    assert len(set(captions)) == 4
    assert captions[4] == 0
    assert images[0] == images[2] != images[1]
    assert images[3] == images[4]
    assert len(set(images)) == 3
    assert labels[0] == labels[1] != labels[2]
    assert labels[3] == labels[4] == 0
    assert batch.ids.dtype == np.int64
    assert (batch.ids >= 0).all()


def test_ids_are_the_same_in_every_process() -> None:
    assert text_id("A red  shirt") == 8946917013642336975


def test_hard_negatives_are_drawn_for_the_rows_that_have_some(pairs: list[Pair]) -> None:
    rows = [replace(pair, negatives=(f"not {i}", f"nor {i}") if i % 2 else ()) for i, pair in enumerate(pairs)]
    seen = set()
    for epoch in range(10):
        for batch in loader(rows).epoch(epoch):
            odd = [text.rpartition(" ")[2] for text in batch.captions if int(text.rpartition(" ")[2]) % 2]
            assert [text.rpartition(" ")[2] for text in batch.negatives] == odd
            seen |= set(batch.negatives)
    assert {f"not {i}" for i in range(1, 20, 2) if i != 3} < seen  # the image of 3 is broken
    assert not {"not 3", "nor 3"} & seen


def test_two_views_of_an_image_differ_and_the_first_is_the_only_one_of_one(pairs: list[Pair]) -> None:
    bare = [Pair(pair.image) for pair in pairs[4:12]]
    (two,) = loader(bare, batch_size=8, two_views=True).epoch(3)
    (one,) = loader(bare, batch_size=8).epoch(3)
    assert np.array_equal(two.pixels, one.pixels)
    assert two.views is not None
    assert two.views.shape == two.pixels.shape
    assert all(not np.array_equal(a, b) for a, b in zip(two.pixels, two.views, strict=True))
    assert two.captions == [""] * 8
    assert two.ids[:, 0].tolist() == [0] * 8


@pytest.fixture
def gradient() -> Image.Image:
    """A picture, 48 x 32, that is darker on the left and on top, and has colours."""
    y, x = np.mgrid[0:32, 0:48]
    return Image.fromarray(np.stack([x * 5, y * 7, 255 - x * 5], axis=-1).astype(np.uint8))


@given(st.integers(1, 3000), st.integers(1, 3000), st.floats(0.05, 1), st.integers(0, 10**6))
def test_a_crop_keeps_its_part_of_the_image_in_a_moderate_shape(
    height: int, width: int, min_crop: float, seed: int
) -> None:
    top, left, h, w = random_crop(height, width, min_crop, random.Random(seed))
    assert 0 <= top <= top + h <= height
    assert 0 <= left <= left + w <= width
    assert h > 0
    assert w > 0
    assert w <= 4 / 3 * h + 2
    assert h <= 4 / 3 * w + 2
    if 4 / 5 < width / height < 5 / 4 and min_crop <= 0.7:  # where something fits within ten draws
        assert h * w >= min_crop * height * width - (h + w)


def test_crops_of_a_square_use_all_sizes_that_they_may() -> None:
    crops = [random_crop(300, 300, 0.5, random.Random(seed)) for seed in range(400)]
    parts = [h * w / 300**2 for _, _, h, w in crops]
    assert 0.5 <= min(parts) < 0.52
    assert max(parts) > 0.95
    assert len({top for top, *_ in crops}) > 50


def test_a_plain_view_is_the_crop_resized_and_nothing_else(gradient: Image.Image) -> None:
    view = Augmentation(0.5)(gradient, SMALL, random.Random(3))
    top, left, height, width = random_crop(32, 48, 0.5, random.Random(3))
    crop = gradient.crop((left, top, left + width, top + height)).resize((16, 16), Image.Resampling.BICUBIC)
    assert np.abs(view.astype(int) - np.asarray(crop)).max() <= 2


def test_half_of_the_views_are_mirrored(gradient: Image.Image) -> None:
    def view(flip: bool, seed: int) -> Pixels:
        return Augmentation(flip=flip)(gradient, SMALL, random.Random(seed))

    mirrored = [np.array_equal(view(True, seed), view(False, seed)[:, ::-1]) for seed in range(200)]
    assert 70 < sum(mirrored) < 130
    assert all(turned or np.array_equal(view(True, seed), view(False, seed)) for seed, turned in enumerate(mirrored))


def test_jitter_changes_colours_within_bounds_and_turns_a_fifth_gray() -> None:
    image = plain_picture("orange").crop((1, 1, 40, 40))
    plain = Augmentation()(image, SMALL, random.Random(0))
    views = [Augmentation(color_jitter=0.2)(image, SMALL, random.Random(seed)) for seed in range(300)]
    gray = [bool((view == view[..., :1]).all()) for view in views]
    assert 35 < sum(gray) < 85
    means = np.array([view.mean() for view, is_gray in zip(views, gray, strict=True) if not is_gray])
    assert means.min() >= plain.mean() * 0.75
    assert means.max() <= plain.mean() * 1.25
    assert means.std() > 5
    assert {(view.shape, view.dtype) for view in views} == {((16, 16, 3), np.dtype(np.uint8))}
    crops = [Augmentation(min_crop=0.5)(image, SMALL, random.Random(seed)).shape for seed in range(3)]
    assert crops == [(16, 16, 3)] * 3


def test_a_picture_is_decoded_once_and_every_epoch_is_as_if_it_were_not_kept(pairs: list[Pair]) -> None:
    alone = list(loader(pairs, batch_size=5, two_views=True).epoch(2))
    kept = loader(pairs, batch_size=5, two_views=True)
    assert sum(len(batch.pixels) for batch in kept.epoch(1)) == 19
    for pair in pairs:
        if pair.image != pairs[3].image:  # which is broken and stays so
            assert isinstance(pair.image, Path)
            pair.image.unlink()
    for a, b in zip(alone, kept.epoch(2), strict=True):
        assert_same(a, b)
        assert a.views is not None
        assert b.views is not None
        assert np.array_equal(a.views, b.views)


def test_pictures_are_kept_until_there_is_no_room(tmp_path: Path) -> None:
    files = [tmp_path / f"{i}.png" for i in range(3)]
    for file in files:
        Image.new("RGB", (20, 10), "red").save(file)
    pictures = DecodedPictures(room=2 * 20 * 10 * 3)
    for file in files:
        assert pictures.read(file, (16, 16)).shape == (10, 20, 3)
        file.unlink()
    assert pictures.read(files[1], (16, 16)) is pictures.read(files[1], (16, 16))
    with pytest.raises(ImageError, match="No such file"):
        pictures.read(files[2], (16, 16))
