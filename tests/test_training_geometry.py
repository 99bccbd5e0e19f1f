"""Measures of a space against plain loops, what they find in real spaces, and when a warning fires and when not."""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_world import COLOURS, plain_picture
from torch import Tensor

from base.errors import InputError
from encoder.image import to_pixels
from encoder.model.dual_encoder import Normalise
from encoder.model.load import build_clip
from encoder.model.text import TextTower
from training.evaluation.evaluate import Encoded
from training.evaluation.geometry import (
    SAMPLE,
    alignment,
    confusions,
    effective_rank,
    examine,
    hardest_negative_similarity,
    mutual_information_bound,
    neighbours_kept,
    positive_similarity,
    uniformity,
)
from training.evaluation.metrics import mean_recall
from training.evaluation.warnings import warnings_of

seeds = st.integers(0, 10_000)


def unit_rows(n: int, dim: int, seed: int) -> Tensor:
    return F.normalize(torch.randn(n, dim, generator=torch.Generator().manual_seed(seed)), dim=-1)


def encoded_of(images: Tensor, texts: Tensor, pairs: list[tuple[int, int]]) -> Encoded:
    return Encoded(
        images=images.numpy(),
        texts=texts.numpy(),
        image_of_pair=[image for image, _ in pairs],
        text_of_pair=[text for _, text in pairs],
        sources=[Path(f"{row}.jpg") for row in range(len(images))],
        strings=[f"text {row}" for row in range(len(texts))],
        skipped=[],
    )


@settings(deadline=None, max_examples=30)
@given(n=st.integers(2, 12), dim=st.integers(1, 9), seed=seeds)
def test_the_measures_are_their_formulas(n: int, dim: int, seed: int) -> None:
    x, y = unit_rows(n, dim, seed), unit_rows(n, dim, seed + 1)
    a, b = x.double().numpy(), y.double().numpy()
    assert float(alignment(x, y)) == pytest.approx(np.mean([np.sum((u - v) ** 2) for u, v in zip(a, b, strict=True)]))
    distances = [np.sum((a[i] - a[j]) ** 2) for i in range(n) for j in range(i + 1, n)]
    assert float(uniformity(x)) == pytest.approx(math.log(np.mean(np.exp(-2 * np.array(distances)))), abs=1e-5)
    shares = np.linalg.svd(a, compute_uv=False)
    shares = shares / shares.sum()
    shares = shares[shares > 1e-12]
    assert float(effective_rank(x)) == pytest.approx(np.exp(-np.sum(shares * np.log(shares))), rel=1e-3)
    assert float(positive_similarity(x, y)) == pytest.approx(np.mean(np.sum(a * b, axis=1)), abs=1e-6)

    positives = np.random.default_rng(seed).random((n, n)) < 0.4
    rows = [max(a[i] @ b[j] for j in range(n) if not positives[i, j]) for i in range(n) if not positives[i].all()]
    found = float(hardest_negative_similarity(x, y, torch.from_numpy(positives)))
    assert found == pytest.approx(np.mean(rows), abs=1e-6) if rows else math.isnan(found)


def test_the_measures_at_their_ends() -> None:
    same, apart = unit_rows(1, 8, 0).repeat(5, 1), torch.eye(8)[:5]
    assert float(uniformity(same)) == pytest.approx(0, abs=1e-5)
    assert float(effective_rank(same)) == pytest.approx(1, abs=1e-2)
    assert float(uniformity(apart)) == pytest.approx(-4)
    assert float(effective_rank(apart)) == pytest.approx(5)
    assert math.isnan(float(uniformity(apart[:1])))
    assert math.isnan(float(effective_rank(torch.full((3, 3), math.nan))))
    assert mutual_information_bound(math.log(64), math.log(64)) == 0
    assert mutual_information_bound(9.0, math.log(64)) == 0
    assert mutual_information_bound(1.0, math.log(64)) == pytest.approx(math.log(64) - 1)


def test_the_measures_carry_no_gradient() -> None:
    x = unit_rows(6, 4, 0).requires_grad_()
    own = torch.eye(6, dtype=torch.bool)
    for value in (
        alignment(x, x),
        uniformity(x),
        effective_rank(x),
        positive_similarity(x, x),
        hardest_negative_similarity(x, x, own),
    ):
        assert not value.requires_grad


def test_a_space_of_two_classes_examined() -> None:
    """Three images at right angles; the first two belong to the first text, the third to the second."""
    images = torch.eye(3)
    texts = torch.tensor([[0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
    health = examine(encoded_of(images, texts, [(0, 0), (1, 0), (2, 1)]))
    assert health.positive_similarity == pytest.approx((0.6 + 0.8 + 1) / 3)
    assert health.negative_similarity == pytest.approx(0, abs=1e-6)
    assert health.hardest_negative_similarity == pytest.approx(0, abs=1e-6)
    assert health.alignment == pytest.approx(2 - 2 * 0.8)
    assert health.uniformity_images == pytest.approx(-4)
    assert health.effective_rank_images == pytest.approx(3)
    assert health.modality_gap == pytest.approx(float((images.mean(0) - texts.mean(0)).norm()))
    assert sum(health.positive_histogram) == 3
    assert health.positive_histogram[-1] == 1  # cosine 1 has a bin
    assert health.negative_histogram[20] == 3  # cosine 0 starts the upper half


def test_a_large_set_is_sampled_by_pairs_and_the_same_for_a_seed() -> None:
    n = SAMPLE + 500
    texts = unit_rows(n // 2, 4, 1)
    encoded = encoded_of(unit_rows(n, 4, 0), texts, [(i, i // 2) for i in range(n)])
    health = examine(encoded, seed=3)
    assert sum(health.positive_histogram) == SAMPLE  # of each sampled image its text is there
    assert sum(health.positive_histogram) + sum(health.negative_histogram) <= SAMPLE * SAMPLE
    assert health == examine(encoded, seed=3)
    assert health != examine(encoded, seed=4)


def test_what_cannot_be_measured_is_none_and_json_can_hold_it() -> None:
    single = examine(encoded_of(unit_rows(1, 4, 0), unit_rows(1, 4, 1), [(0, 0)]))
    assert single.uniformity_images is None
    assert single.negative_similarity is None
    assert single.hardest_negative_similarity is None
    broken = examine(encoded_of(torch.full((3, 4), math.nan), unit_rows(3, 4, 1), [(i, i) for i in range(3)]))
    assert broken.alignment is None
    assert sum(broken.positive_histogram) == 0
    json.dumps([asdict(single), asdict(broken)], allow_nan=False)


@settings(deadline=None, max_examples=20)
@given(n=st.integers(2, 20), k=st.integers(1, 12), seed=seeds)
def test_neighbours_kept_is_the_shared_part_of_two_lists(n: int, k: int, seed: int) -> None:
    x, y = unit_rows(n, 5, seed).numpy(), unit_rows(n, 7, seed + 1).numpy()
    used = min(k, n - 1)

    def nearest(vectors: Any, row: int) -> set[int]:
        order = sorted((j for j in range(n) if j != row), key=lambda j: -float(vectors[row] @ vectors[j]))
        return set(order[:used])

    expected = np.mean([len(nearest(x, i) & nearest(y, i)) / used for i in range(n)])
    assert neighbours_kept(x, y, k) == pytest.approx(expected)


def test_a_rotation_forgets_nothing_and_a_stranger_all() -> None:
    """Across the edge of a chunk."""
    x = unit_rows(1100, 16, 0)
    rotation = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(1)))[0]
    assert neighbours_kept(x.numpy(), (x @ rotation).numpy()) > 0.99
    assert neighbours_kept(x.numpy(), unit_rows(1100, 16, 2).numpy()) == pytest.approx(10 / 1099, abs=0.005)
    with pytest.raises(InputError, match="two or more"):
        neighbours_kept(x[:1].numpy(), x[:1].numpy())
    with pytest.raises(InputError, match="1100 and 3 images"):
        neighbours_kept(x.numpy(), x[:3].numpy())


def test_confusions_are_wrong_texts_above_right_ones_the_worst_first() -> None:
    texts = torch.eye(3)
    images = F.normalize(
        torch.tensor(
            [
                [0.9, 0.1, 0.0],  # right
                [0.6, 0.5, 0.0],  # its own is text 1: a little wrong
                [1.0, 0.0, 0.1],  # its own is text 2: very wrong
                [0.8, 0.2, 0.9],  # its own are texts 0 and 2: right
            ]
        ),
        dim=-1,
    )
    encoded = encoded_of(images, texts, [(0, 0), (1, 1), (2, 2), (3, 0), (3, 2)])
    worst, mild = confusions(encoded)
    assert (worst.image, worst.text, worst.wrong_text) == ("2.jpg", "text 2", "text 0")
    assert worst.wrong_image in ("0.jpg", "3.jpg")
    assert worst.wrong_score == pytest.approx(float(images[2, 0]))
    assert worst.score == pytest.approx(float(images[2, 2]))
    assert mild.image == "1.jpg"
    assert confusions(encoded, limit=1) == [worst]
    assert isinstance(encoded.sources, list)
    encoded.sources[2] = b"out of a shard"
    assert confusions(encoded) == [mild]


def test_a_text_whose_images_cannot_be_read_confuses_nobody() -> None:
    images = F.normalize(torch.tensor([[0.5, 0.1, 1.0], [1.0, 0.1, 0.0]]), dim=-1)
    [found] = confusions(encoded_of(images, torch.eye(3), [(0, 0), (1, 1)]))  # image 0 is nearest to text 2
    assert (found.image, found.wrong_text, found.wrong_image) == ("1.jpg", "text 0", "0.jpg")


def test_confusions_reach_past_the_first_chunk() -> None:
    texts = torch.eye(2)
    images = texts[:1].repeat(1500, 1)  # all look like text 0
    encoded = encoded_of(images, texts, [(i, int(i >= 1400)) for i in range(1500)])
    found = confusions(encoded, limit=200)
    assert sorted(int(confusion.image.removesuffix(".jpg")) for confusion in found) == list(range(1400, 1500))


def one_epoch(epoch: int, **changes: Any) -> dict[str, Any]:
    """A record of a healthy run."""
    good = {
        "epoch": epoch,
        "loss": 3.0 - 0.2 * epoch if epoch else None,
        "guess": math.log(64),
        "score": 0.3 + 0.05 * epoch,
        "probe": 0.6,
        "logit_scale": 40.0,
        "clamped": False,
        "health": {
            "uniformity_images": -1.8,
            "uniformity_texts": -2.1,
            "effective_rank_images": 40.0,
            "effective_rank_texts": 45.0,
            "positive_similarity": 0.4,
            "negative_similarity": 0.1,
        },
    }
    return good | {key: good["health"] | value if key == "health" else value for key, value in changes.items()}


POINT_OF_IMAGES = {"uniformity_images": -0.01, "positive_similarity": 0.31, "negative_similarity": 0.3}


def test_what_is_told_apart_has_not_collapsed() -> None:
    """In evaluation mode batch norms that still settle can make a good space look narrow; the loss knows better."""
    assert warnings_of([one_epoch(0), one_epoch(1), one_epoch(2, loss=2.0, health=POINT_OF_IMAGES)]) == []


@pytest.mark.parametrize(
    ("last", "words"),
    [
        ({"loss": 4.0, "health": POINT_OF_IMAGES}, "Collapse: after epoch 2 the images"),
        (
            {"loss": 4.0, "health": POINT_OF_IMAGES | {"uniformity_images": -1.0, "effective_rank_images": 1.6}},
            "Collapse: .* images",
        ),
        ({"score": 0.29}, r"Worse than the start: epoch 2 scores 0\.290, .* 0\.300; .* best was epoch 1"),
        ({"probe": 0.56}, r"Forgetting: the probe fell from 0\.600 to 0\.560"),
        ({"clamped": True, "logit_scale": 100.0}, "Temperature on its limit: logit_scale is 100"),
    ],
)
def test_each_warning_fires_alone_and_names_a_remedy(last: dict[str, Any], words: str) -> None:
    records = [one_epoch(0), one_epoch(1), one_epoch(2, **last)]
    before = copy.deepcopy(records)
    assert len(found := warnings_of(records)) == 1
    assert records == before
    assert re.match(f".*{words}", found[0])
    assert ";" in found[0]
    assert found[0].endswith(".")
    assert "\n" not in found[0]


def test_a_loss_that_stays_at_guessing_is_told_but_not_after_a_first_epoch() -> None:
    stuck = [one_epoch(0), one_epoch(1, loss=4.2), one_epoch(2, loss=4.15)]
    assert [text.split(":")[0] for text in warnings_of(stuck)] == ["Nothing learned"]
    assert warnings_of(stuck[:2], ended=False) == []
    assert warnings_of([*stuck[:2], one_epoch(2, loss=3.5)]) == []
    assert warnings_of([one_epoch(0), one_epoch(1, loss=4.2, guess=None)]) == []  # a loss that has no such bound


@pytest.mark.parametrize(
    "records",
    [
        [],
        [one_epoch(0, score=0.0, clamped=True)],
        [one_epoch(0), one_epoch(1)],
        [one_epoch(0), one_epoch(1, probe=0.58)],  # within five per cent
        [one_epoch(0, clamped=True), one_epoch(1, clamped=True)],  # a published CLIP comes with its scale there
        # images that are much alike, at the start and after, and told apart a little better:
        [one_epoch(e, health={"uniformity_images": -0.15, "positive_similarity": 0.33 + e / 100}) for e in range(3)],
        [one_epoch(0, health={"effective_rank_images": 2.0}), one_epoch(1, health={"effective_rank_images": 1.9})],
        [{"epoch": 0, "score": None, "health": None}, {"epoch": 1, "score": None, "loss": None, "health": {}}],
    ],
)
def test_a_run_without_fault_is_left_alone(records: list[dict[str, Any]]) -> None:
    assert warnings_of(records) == []


def test_a_run_is_not_called_worse_before_it_has_ended() -> None:
    records = [one_epoch(0), one_epoch(1, score=0.1)]
    assert warnings_of(records, ended=False) == []
    assert "no epoch was better" in warnings_of(records)[0]


def pull_together(images: Tensor, texts: Tensor) -> Tensor:
    """A loss without negatives."""
    return (images - texts).square().sum(1).mean()


def tell_apart(images: Tensor, texts: Tensor) -> Tensor:
    logits, rows = 10 * images @ texts.T, torch.arange(len(images))
    return F.cross_entropy(logits, rows) + F.cross_entropy(logits.T, rows)


@pytest.mark.parametrize("loss", [pull_together, tell_apart])
def test_training_without_negatives_collapses_and_is_found_out(
    loss: Callable[[Tensor, Tensor], Tensor], tiny_config: Path
) -> None:
    torch.manual_seed(0)
    parts = build_clip(tiny_config)
    clip: Any = parts.clip
    pictures = [plain_picture(colour, 8 * shade) for colour in COLOURS for shade in range(2)]
    pixels = np.stack([to_pixels(picture, parts.preprocess) for picture in pictures])
    images = Normalise(parts.preprocess, torch.device("cpu"), torch.float32)(torch.from_numpy(pixels))
    text = TextTower(clip, parts.tokenizer)
    tokens = text.tokenize([f"{colour} picture, {shade}" for colour in COLOURS for shade in ("dark", "light")])
    pairs = [(row, row) for row in range(len(pictures))]

    def embed() -> tuple[Tensor, Tensor]:
        return F.normalize(clip.encode_image(images), dim=-1), F.normalize(text(tokens), dim=-1)

    def record(epoch: int) -> dict[str, Any]:
        encoded = encoded_of(*(side.detach() for side in embed()), pairs)
        return {
            "epoch": epoch,
            "score": mean_recall(encoded.retrieval()),
            "health": asdict(examine(encoded)),
        }

    optimizer = torch.optim.AdamW(clip.parameters(), lr=2e-3)
    records = [record(0)]
    for epoch in (1, 2):
        for _ in range(15):
            optimizer.zero_grad()
            loss(*embed()).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        records.append(record(epoch))
    collapsed = [text for text in warnings_of(records) if text.startswith("Collapse")]
    assert len(collapsed) == (loss is pull_together)
