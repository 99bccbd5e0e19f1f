"""Deciding in float32, some scores at a time, says what plain formulas say, in memory that is bounded."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoder.zero_shot.classifier import Classifier
from labelling import labeller as labelling_labeller
from labelling.labeller import SIGMOID, STANDS_OUT, Decisions, Labeller
from labelling.rejection import Rejection
from labelling.rows import Answer, Labelled, label_rows
from labelling.standardise import TEXTS, Standard

CLOSE = 2e-4  # of two scores: what float32 does to logits of 100


def unit(rows: np.ndarray) -> np.ndarray:
    made: np.ndarray = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return made


def plain_z(standard: Standard, images: np.ndarray) -> np.ndarray:
    """As the paper has it, in float64 and one thing after the other."""
    x, labels = images.astype(np.float64), standard.labels.astype(np.float64)
    cosines, at_large = x @ labels.T, x @ standard.centre
    share = len(labels) / (len(labels) + TEXTS)
    middle = share * cosines.mean(axis=1) + (1 - share) * at_large
    variance = share * np.square(cosines - middle[:, None]).mean(axis=1)
    variance += (1 - share) * (np.einsum("ij,ij->i", x @ standard.covariance, x) + np.square(at_large - middle))
    made: np.ndarray = ((cosines - middle[:, None]) / np.sqrt(variance)[:, None] - standard.mean) / standard.spread
    return made


def plain_scores(labeller: Labeller, images: np.ndarray) -> np.ndarray:
    logits = labeller.classifier.logit_scale * images.astype(np.float64) @ labeller.classifier.weights.T
    scores: np.ndarray
    if labeller.standard is not None:
        z = plain_z(labeller.standard, images)
        if labeller.correction is not None:
            z = labeller.correction(images, SIGMOID * (z - STANDS_OUT)) / SIGMOID + STANDS_OUT
        scores = 1 / (1 + np.exp(-SIGMOID * (z - labeller.stands_out) / labeller.temperature))
        return scores
    if labeller.correction is not None:
        logits = labeller.correction(images, logits)
    logits = logits / labeller.temperature
    if labeller.classifier.logit_bias is not None:
        scores = np.exp(-np.logaddexp(0, -logits - labeller.classifier.logit_bias))
        return scores
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    scores = powers / powers.sum(axis=1, keepdims=True)
    return scores


def plain_rows(labels: tuple[str, ...], paths: list[Path], decisions: Decisions) -> list[Labelled]:
    rows = []
    for path, scores, chosen in zip(paths, decisions.scores, decisions.chosen, strict=True):
        given = sorted(np.flatnonzero(chosen).tolist(), key=lambda j: -scores[j])
        answers = tuple(Answer(labels[j], float(scores[j])) for j in given)
        best = int(scores.argmax())
        rows.append(Labelled(path, answers, answers[0] if answers else Answer(labels[best], float(scores[best]))))
    return rows


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1 << 20),
    n=st.integers(1, 40),
    n_labels=st.integers(1, 30),
    several=st.booleans(),
    rejects=st.booleans(),
    corrects=st.booleans(),
    temperature=st.sampled_from([1.0, 0.5, 3.0]),
    bias=st.sampled_from([None, -10.0]),
    cells=st.sampled_from([1, 7, 64, 1 << 19]),
)
def test_what_is_fast_says_what_is_plain(
    seed: int, n: int, n_labels: int, several: bool, rejects: bool, corrects: bool, temperature: float,
    bias: float | None, cells: int,
) -> None:  # fmt: skip
    rng = np.random.default_rng(seed)
    images, labels, texts = (unit(rng.normal(size=(m, 16)) + 0.3) for m in (n, n_labels, 50))
    added = rng.normal(size=n_labels).astype(np.float32)
    labeller = Labeller(
        Classifier(tuple(f"label {i}" for i in range(n_labels)), labels, 30.0, bias),
        correction=(lambda _, logits: logits * 0.5 + added) if corrects else None,
        rejection=Rejection(texts, 30.0) if rejects else None,
        standard=Standard.of(labels, texts, unit(rng.normal(size=(30, 16)))) if several else None,
        temperature=temperature,
        thresholds=rng.random(n_labels).astype(np.float32) if seed % 2 else None,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(labelling_labeller, "CELLS", cells)
        decisions = labeller.decide(images)
        parts = list(labeller.decide_in_parts(images))
    expected = plain_scores(labeller, images)
    np.testing.assert_allclose(decisions.scores, expected, atol=CLOSE)
    assert np.concatenate([np.arange(n)[rows] for rows, _ in parts]).tolist() == list(range(n))
    assert all(part.scores.size <= max(cells, n_labels) for _, part in parts)
    for field in range(3):
        np.testing.assert_array_equal(np.concatenate([part[field] for _, part in parts]), decisions[field])
    paths = [Path(f"{i}.jpg") for i in range(n)]
    assert label_rows(labeller.labels, paths, decisions) == plain_rows(labeller.labels, paths, decisions)
    by_score = np.ones(expected.shape, bool)
    if labeller.thresholds is not None or several:
        least = np.float32(0.5) if labeller.thresholds is None else labeller.thresholds
        by_score = expected >= least
    if not several:
        by_score &= np.arange(n_labels) == expected.argmax(axis=1)[:, None]
        two = np.sort(expected, axis=1)[:, -2:]
        clear = (two[:, -1] - two[:, 0] > CLOSE)[:, None] | (n_labels == 1)
    else:
        clear = np.ones((n, 1), bool)
    if labeller.thresholds is not None or several:
        clear = clear & (np.abs(expected - least) > CLOSE)
    if rejects:
        by_score &= (decisions.known >= 0.5)[:, None]
    np.testing.assert_array_equal(decisions.chosen & clear, by_score & clear)


def test_memory_does_not_grow_with_the_images() -> None:
    rng = np.random.default_rng(0)
    images, labels = unit(rng.normal(size=(30_000, 8))), unit(rng.normal(size=(2_000, 8)))
    labeller = Labeller(
        Classifier(tuple(map(str, range(2_000))), labels, 100.0), standard=Standard.of(labels, images[:50], images[:50])
    )
    tracemalloc.start()
    try:
        for rows, decisions in labeller.decide_in_parts(images):
            assert len(decisions.scores) == len(images[rows])
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 6 * 4 * labelling_labeller.CELLS  # a few times its scores; all of them are 240 MB
