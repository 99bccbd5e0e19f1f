"""Scores of labels: by softmax, or by sigmoid where a model was trained so, as open_clip's own forward gives them."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from base.errors import InputError
from encoder.encoder import Encoder
from encoder.model.dual_encoder import DualEncoder
from encoder.model.load import load_clip, load_encoder
from encoder.zero_shot.classifier import Classifier, build_classifier

LABELS = ("red", "green", "blue")


@pytest.fixture(scope="module")
def sigmoid(sigmoid_run: Path) -> DualEncoder:
    return load_encoder(sigmoid_run, device="cpu", precision="fp32")


@pytest.fixture(scope="module")
def images(sigmoid: DualEncoder) -> np.ndarray:
    return sigmoid.encode_pixels(np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8))


def test_a_model_with_a_bias_scores_each_label_on_its_own(
    sigmoid: DualEncoder, sigmoid_run: Path, images: np.ndarray
) -> None:
    clip = copy.deepcopy(load_clip(sigmoid_run).clip).eval()
    with torch.no_grad():
        texts = clip.encode_text(sigmoid.text.tokenize(LABELS), normalize=True)  # type: ignore[operator]
        expected = torch.sigmoid(clip.logit_scale.exp() * torch.from_numpy(images) @ texts.T + clip.logit_bias)  # type: ignore[operator]
    classifier = build_classifier(sigmoid, LABELS, ["{}"])
    np.testing.assert_allclose(classifier.scores(images), expected, atol=1e-6)
    assert classifier.by(None) is classifier.by("sigmoid") is classifier
    alone = build_classifier(sigmoid, ["red"], ["{}"]).scores(images)
    np.testing.assert_allclose(alone, expected[:, :1], atol=1e-6)
    assert alone.max() < 0.9
    competing = classifier.by("softmax").scores(images)
    np.testing.assert_allclose(competing.sum(axis=1), 1, atol=1e-6)
    assert [label for label, _ in classifier.best(images)] == [
        label for label, _ in classifier.by("softmax").best(images)
    ]


def test_a_model_without_one_has_no_sigmoid_scores(encoder: Encoder, images: np.ndarray) -> None:
    classifier = build_classifier(encoder, LABELS)
    assert encoder.logit_bias is None
    np.testing.assert_allclose(classifier.scores(images).sum(axis=1), 1, atol=1e-6)
    with pytest.raises(InputError, match=r"no sigmoid scores: they need a logit_bias.*--loss siglip"):
        classifier.by("sigmoid")


def test_the_bias_is_not_rounded_with_the_weights(sigmoid_run: Path) -> None:
    half = load_encoder(sigmoid_run, device="cpu", precision="bf16")
    assert half.logit_bias == pytest.approx(-2.3, abs=1e-6)


def test_the_nearest_label_wins_where_probabilities_round_to_one() -> None:
    weights = np.array([[0.9, 0.1], [1.0, 0.0]], np.float32)
    sure = Classifier(("far", "near"), weights, logit_scale=500.0, logit_bias=0.0)
    assert sure.best(np.array([[1.0, 0.0]], np.float32)) == [("near", 1.0)]
