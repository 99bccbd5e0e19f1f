"""Metrics on matrices that can be checked by eye."""

from __future__ import annotations

import numpy as np
import pytest

from training.evaluation.metrics import classification_metrics, first_relevant_ranks, mean_recall, retrieval_metrics


def test_the_rank_of_the_first_relevant_item() -> None:
    scores = np.array(
        [
            [0.9, 0.5, 0.1],  # the relevant one is first
            [0.9, 0.5, 0.1],  # second
            [0.9, 0.5, 0.1],  # the better of two relevant ones is second
            [0.5, 0.5, 0.5],  # a tie counts against the model
        ],
        np.float32,
    )
    relevant = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 1], [0, 1, 0]], bool)
    assert first_relevant_ranks(scores, relevant).tolist() == [1, 2, 2, 3]


# Three images and two texts along the axes: images 0 and 1 both belong to text 0.
IMAGES = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
TEXTS = np.array([[0.0, 0.6, 0.8], [0.6, 0.0, 0.8]], np.float32)


@pytest.mark.parametrize("chunk", [1, 2, 1024])
def test_several_images_of_a_text_are_all_relevant(chunk: int) -> None:
    metrics = retrieval_metrics(IMAGES, TEXTS, [0, 1, 2], [0, 0, 1], chunk=chunk)
    # Text 0 likes image 2 best, then its own image 1: rank 2. Text 1 likes its image 2 best: rank 1.
    # Image 0 likes text 1 better than its own: rank 2. Images 1 (text 0) rank 1. Image 2 ties its texts: rank 2.
    assert metrics == {
        "n_images": 3,
        "n_texts": 2,
        "text_to_image": {"recall@1": 0.5, "recall@5": 1.0, "recall@10": 1.0, "median_rank": 1.5},
        "image_to_text": {"recall@1": pytest.approx(1 / 3), "recall@5": 1.0, "recall@10": 1.0, "median_rank": 2.0},
    }
    assert mean_recall(metrics) == pytest.approx((0.5 + 1 / 3 + 4) / 6)


def test_several_texts_of_an_image_are_all_relevant() -> None:
    metrics = retrieval_metrics(TEXTS, IMAGES, [0, 0, 1], [0, 1, 2])
    assert metrics["image_to_text"]["recall@1"] == 0.5
    assert metrics["n_texts"] == 3


def test_equal_scores_everywhere_earn_nothing() -> None:
    same = np.ones((20, 2), np.float32)
    metrics = retrieval_metrics(same, same, range(20), range(20))
    assert metrics["text_to_image"] == {"recall@1": 0.0, "recall@5": 0.0, "recall@10": 0.0, "median_rank": 20.0}


def test_classification_by_class() -> None:
    scores = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1]], np.float32)
    metrics = classification_metrics(scores, [0, 1, 1, 1], ["cat", "dog", "bird"])
    assert metrics["n_images"] == 4
    assert metrics["top1"] == 0.75
    assert metrics["top5"] == 1.0
    assert metrics["per_class"] == {"cat": 1.0, "dog": pytest.approx(2 / 3)}


def test_scores_that_are_not_numbers_earn_nothing() -> None:
    nan = np.full((20, 2), np.nan, np.float32)
    metrics = retrieval_metrics(nan, nan, range(20), range(20))
    assert mean_recall(metrics) == 0
    assert classification_metrics(nan, [0] * 20, ["cat", "dog"])["top1"] == 0
