"""The measures of bench/training/losses.py, against their definitions."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest

from bench.training.losses import FIRST, related, reranked, verification
from training.evaluation.evaluate import Encoded


def encoded(n: int, noise: float, seed: int = 0) -> Encoded:
    """Images with a text each, alike but for noise; every third text is that of the next image as well."""
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(n, 16)).astype(np.float32)
    texts = images + noise * rng.normal(size=(n, 16)).astype(np.float32)
    images, texts = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (images, texts))
    more = list(range(0, n - 1, 3))
    of_image, of_text = [*range(n), *(i + 1 for i in more)], [*range(n), *more]
    return Encoded(images, texts, of_image, of_text, [Path(f"{i}.jpg") for i in range(n)], [""] * n, [])


def test_verification_is_what_its_words_say() -> None:
    found = encoded(40, 1.0)
    together, cosines = related(found), found.texts @ found.images.T
    right, wrong = cosines[together], cosines[~together]
    said = verification(found)
    wins = [1.0 if r > w else 0.5 if r == w else 0.0 for r, w in product(right, wrong)]
    assert said["auc"] == pytest.approx(np.mean(wins))
    rates = [((right < t).mean(), (wrong >= t).mean()) for t in cosines.ravel()]
    missed, alarms = min(rates, key=lambda rate: abs(rate[0] - rate[1]))
    assert said["eer"] == pytest.approx((missed + alarms) / 2, abs=1e-6)


def test_only_what_was_found_first_is_put_in_order() -> None:
    good, bad = encoded(200, 0.1), encoded(200, 50.0)
    assert reranked(good, good)["recall@1"] == good.retrieval()["text_to_image"]["recall@1"] > 0.9
    cosines = bad.texts @ bad.images.T
    first = np.argsort(-cosines, axis=1)[:, :FIRST]
    there = np.take_along_axis(related(bad), first, axis=1).any(axis=1).mean()
    assert reranked(good, bad)["recall@1"] == pytest.approx(there, abs=0.05)
    assert 0.2 < there < 0.5
