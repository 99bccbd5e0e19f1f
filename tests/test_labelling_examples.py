"""Few labelled images: the closed forms against plain refits, and what examples may and may not do to labels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelling.examples import STRENGTHS, Examples, _Ridge, fit

DIM = 24


def unit(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def world(seed: int, counts: list[int], noise: float = 0.5) -> tuple[npt.NDArray[np.float64], Examples]:
    """Directions of labels, and as many examples of each around it."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(len(counts), DIM))
    labels = np.repeat(np.arange(len(counts)), counts)
    vectors = unit(centres[labels] + noise * rng.normal(size=(len(labels), DIM)))
    return centres, Examples(vectors, np.eye(len(counts), dtype=np.float32)[labels])


def images(centres: npt.NDArray[np.float64], seed: int, noise: float = 0.5) -> npt.NDArray[np.float32]:
    """Twenty more around each direction."""
    rng = np.random.default_rng(seed)
    around = np.repeat(centres, 20, axis=0)
    return unit(around + noise * rng.normal(size=around.shape))


@given(st.integers(0, 10**6), st.lists(st.integers(2, 9), min_size=2, max_size=5), st.sampled_from(STRENGTHS))
def test_what_is_said_of_an_example_left_out_is_what_a_refit_says(
    seed: int, counts: list[int], strength: float
) -> None:
    _, examples = world(seed, counts)
    ridge = _Ridge(examples.vectors, examples.targets)
    said = ridge.left_out(strength, np.arange(len(examples.vectors)))
    x, weight = (examples.vectors - ridge.centre) / ridge._length, ridge.weight[:, None]
    for i in range(len(x)):
        others = np.arange(len(x)) != i
        normal = x[others].T @ (weight[others] * x[others]) + strength * np.eye(DIM)
        refit = np.linalg.solve(normal, x[others].T @ (weight[others] * ridge._apart[others]))
        np.testing.assert_allclose(said[i], x[i] @ refit, atol=1e-5)


@given(st.integers(0, 10**6), st.lists(st.integers(1, 9), min_size=2, max_size=5), st.sampled_from(STRENGTHS))
def test_so_is_what_is_said_of_a_whole_label_left_out(seed: int, counts: list[int], strength: float) -> None:
    _, examples = world(seed, counts)
    ridge = _Ridge(examples.vectors, examples.targets)
    unseen = ridge.label_left_out(strength)
    np.testing.assert_array_equal(unseen.lacks, examples.targets > 0)
    x, weight = (examples.vectors - ridge.centre) / ridge._length, ridge.weight[:, None]
    for label in range(len(counts)):
        own = examples.targets[:, label] > 0
        centre, mean = (np.average(rows[~own], axis=0, weights=weight[~own, 0]) for rows in (x, examples.targets))
        others = x[~own] - centre
        normal = others.T @ (weight[~own] * others) + strength * np.eye(DIM)
        refit = np.linalg.solve(normal, others.T @ (weight[~own] * (examples.targets[~own] - mean)))
        np.testing.assert_allclose(unseen.said[own], (x[own] - centre) @ refit, atol=1e-5)


@pytest.mark.parametrize("each", [1, 2, 4, 50])
def test_examples_tell_apart_what_no_name_tells_apart(each: int) -> None:
    centres, examples = world(1, [each] * 6, noise=0.2)
    rng = np.random.default_rng(2)
    queries = images(centres, 3, noise=0.2)
    zero_shot = rng.normal(size=(len(queries), 6)).astype(np.float32)  # names that have nothing to do with it
    shots = fit(examples, rng.normal(size=examples.targets.shape).astype(np.float32))
    assert (shots.logits(queries, zero_shot).argmax(axis=1) == np.repeat(np.arange(6), 20)).mean() > 0.9


def test_a_text_that_says_nothing_is_turned_off_and_one_that_says_all_is_kept() -> None:
    centres, examples = world(1, [8] * 6)
    rng = np.random.default_rng(2)
    noise = fit(examples, (20 * rng.normal(size=examples.targets.shape)).astype(np.float32))
    right = fit(examples, 20 * examples.vectors @ unit(centres).T)
    assert noise.text.max() < 0.02
    assert right.text.min() > 0.1


def test_labels_without_examples_keep_their_order_and_win_as_often_as_before() -> None:
    gains = []
    for seed in range(20):
        centres, examples = world(seed, [6] * 6 + [0] * 6)
        texts = unit(centres + 1.5 * np.random.default_rng(seed + 1000).normal(size=centres.shape))
        queries = images(centres, seed + 2000)
        zero_shot = 15 * queries @ texts.T
        better = fit(examples, 15 * examples.vectors @ texts.T).logits(queries, zero_shot)
        np.testing.assert_array_equal(better[:, 6:].argmax(axis=1), zero_shot[:, 6:].argmax(axis=1))
        truth = np.repeat(np.arange(12), 20)
        gain = (better.argmax(axis=1) == truth).astype(float) - (zero_shot.argmax(axis=1) == truth)
        gains.append((gain[truth < 6].mean(), gain[truth >= 6].mean()))
    with_examples, without = np.mean(gains, axis=0)
    assert with_examples > 0.05
    assert abs(without) < 0.05


def test_no_examples_change_nothing() -> None:
    zero_shot = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    queries = unit(np.random.default_rng(1).normal(size=(5, DIM)))
    for examples in (
        Examples(np.empty((0, DIM), np.float32), np.empty((0, 3), np.float32)),
        Examples(queries, np.zeros((5, 3), np.float32)),  # images that are none of the labels
    ):
        shots = fit(examples, zero_shot[: len(examples.vectors)])
        np.testing.assert_array_equal(shots.logits(queries, zero_shot), zero_shot)


def test_a_picture_given_twice_counts_once() -> None:
    _, examples = world(3, [4, 4, 4])
    zero_shot = np.zeros(examples.targets.shape, np.float32)
    twice = Examples(np.tile(examples.vectors, (3, 1)), np.tile(examples.targets, (3, 1)))
    once, again = fit(examples, zero_shot), fit(twice, np.tile(zero_shot, (3, 1)))
    np.testing.assert_allclose(once.weights, again.weights, atol=1e-5)
    both = Examples(np.tile(examples.vectors[:1], (2, 1)), np.eye(2, dtype=np.float32)).each_once()[0]
    assert both.targets.tolist() == [[1, 1]]


@pytest.mark.parametrize("each_alone", [False, True])
@given(
    st.integers(0, 10**6),
    st.lists(st.integers(0, 5), min_size=1, max_size=6),
    st.sampled_from([0.0, 1e-6, 1.0]),
    st.sampled_from([0.0, 1.0, 100.0]),
    st.booleans(),
)
def test_whatever_the_examples_logits_are_numbers(
    each_alone: bool, seed: int, counts: list[int], noise: float, scale: float, several: bool
) -> None:
    centres, examples = world(seed, counts, noise)
    rng = np.random.default_rng(seed)
    if several:
        targets = (rng.random(examples.targets.shape) < 0.4).astype(np.float32)
        examples = Examples(examples.vectors, targets)
    zero_shot = (scale * rng.normal(size=examples.targets.shape)).astype(np.float32)
    shots = fit(examples, zero_shot, each_alone=each_alone)
    queries = images(centres, seed + 1)
    better = shots.logits(queries, np.zeros((len(queries), len(counts)), np.float32))
    assert better.dtype == np.float32
    assert np.isfinite(better).all()


def test_rows_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="row for a row"):
        Examples(np.empty((2, DIM), np.float32), np.empty((3, 2), np.float32))
