"""Near-duplicates, groups and variety among ranked candidates, each held against the plainest way to say it."""

import time

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from index.search.ranking import collapse, group, mmr


@st.composite
def candidates(draw, most=40):
    """Unit rows of few directions, so that many are near or equal, with the scores of a query, descending."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    centres = rng.standard_normal((draw(st.integers(1, 6)), 4))
    n = draw(st.integers(0, most))
    x = centres[rng.integers(0, len(centres), n)] + rng.choice([0, 0.05, 0.5]) * rng.standard_normal((n, 4))
    x = np.concatenate([x, rng.standard_normal((1, 4))])
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    x, query = x[:-1], x[-1]
    scores = x @ query
    order = np.argsort(-scores, kind="stable")
    return scores[order], x[order]


def naive_collapse(x, threshold):
    kept = []
    for i in range(len(x)):
        if all(x[i] @ x[j] < threshold - 1e-5 for j in kept):
            kept.append(i)
    return kept


def near_a_border(x, threshold):
    """The last digit of a cosine depends on how it is summed; such draws decide nothing."""
    return bool((np.abs(x @ x.T - (threshold - 1e-5)) < 1e-6).any())


@given(candidates(), st.floats(0.05, 1))
def test_collapse_keeps_what_no_better_kept_one_resembles(drawn, threshold):
    _, x = drawn
    assume(not near_a_border(x, threshold))
    assert collapse(x, threshold).tolist() == naive_collapse(x, threshold)


def test_collapse_is_right_over_many_blocks():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 8))[rng.integers(0, 60, 700)] + 0.2 * rng.standard_normal((700, 8))
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    assert not near_a_border(x, 0.93)
    kept = collapse(x, 0.93).tolist()
    assert kept == naive_collapse(x, 0.93)
    assert 60 <= len(kept) < 650
    assert kept[-1] > 512
    for n in (1, 255, 256, 257, 600):  # a longer list begins as a shorter one
        assert collapse(x[:n], 0.93).tolist() == [i for i in kept if i < n]


def test_a_threshold_of_one_drops_copies_only():
    a, b = np.eye(2, dtype=np.float32)
    near = (a + 0.01 * b) / np.linalg.norm(a + 0.01 * b)
    assert collapse(np.stack([a, a, near, b, a]), 1).tolist() == [0, 2, 3]
    assert collapse(np.empty((0, 2), np.float32), 1).tolist() == []


@given(st.lists(st.one_of(st.none(), st.sampled_from("abc")), max_size=30), st.integers(1, 4))
def test_group_keeps_the_best_of_each(keys, size):
    expected = [i for i, key in enumerate(keys) if key is None or keys[:i].count(key) < size]
    assert group(keys, size).tolist() == expected


def naive_mmr(scores, x, diversity, k):
    order = []
    while len(order) < min(k, len(x)):
        values = {
            i: (1 - diversity) * float(scores[i])
            - diversity * max((float(x[i].astype(np.float64) @ x[j].astype(np.float64)) for j in order), default=0)
            for i in range(len(x))
            if i not in order
        }
        order.append(max(values, key=lambda i: (values[i], -i)) if order else 0)
    return order


@given(candidates(12), st.floats(0, 1), st.integers(1, 12))
def test_mmr_takes_the_best_trade_at_each_step(drawn, diversity, k):
    scores, x = drawn
    order = mmr(scores, x, diversity, k).tolist()
    assert len(set(order)) == len(order) == min(k, len(x))
    assert order == mmr(scores, x, diversity, 12).tolist()[:k]
    for step in range(1, len(order)):  # equal trades may fall either way in the last digit: compare what is gained
        taken = order[:step]
        gains = (1 - diversity) * scores - diversity * (x @ x[taken].T).max(axis=1)
        best = max(gains[i] for i in range(len(x)) if i not in taken)
        assert gains[order[step]] == pytest.approx(best, abs=1e-5)
    assert not order or order[0] == 0


def test_mmr_at_its_ends_and_between():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((30, 6)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    query = x[7]
    x = x[np.argsort(-(x @ query), kind="stable")]
    scores = x @ query
    assert mmr(scores, x, 0, 30).tolist() == list(range(30))
    for diversity in (0.3, 0.7, 1):
        order = mmr(scores, x, diversity, 30).tolist()
        assert order == naive_mmr(scores, x, diversity, 30) != list(range(30))


def test_a_thousand_candidates_take_milliseconds():
    x = np.random.default_rng(0).standard_normal((1000, 512)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    scores = np.sort(x @ x[0])[::-1]
    for work in (lambda: collapse(x, 0.9), lambda: mmr(scores, x, 0.5, 100)):
        seconds = []
        for _ in range(5):
            started = time.thread_time()  # of a processor: others may want one, too
            work()
            seconds.append(time.thread_time() - started)
        assert min(seconds) < 0.2  # some ten times what it takes alone
