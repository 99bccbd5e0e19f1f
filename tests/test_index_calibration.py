"""Where the list of hits ends: on drawn spaces whose truth is known, and on pictures through a real encoder."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tiny_world import COLOURS, plain_picture

from encoder.model.dual_encoder import DualEncoder
from index.search.calibration import FEWEST, SAMPLE, Calibration, background, fit

Vectors = NDArray[np.float32]
DIM = 64


def unit(x: NDArray[np.floating]) -> Vectors:
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


def noise(n: int, seed: int) -> Vectors:
    return unit(np.random.default_rng(seed).normal(size=(n, DIM)))


def around(centre: Vectors, n: int, cosine: float, seed: int) -> Vectors:
    """`n` unit vectors at exactly `cosine` to a centre, in directions of their own."""
    side = noise(n, seed)
    side = unit(side - (side @ centre)[:, None] * centre)
    return unit(cosine * centre + np.sqrt(1 - cosine**2) * side)


def descending(rows: Vectors, query: Vectors) -> Vectors:
    return np.sort(rows @ query)[::-1]


def calibrated(rows: Vectors, meaningless: Vectors | None = None) -> Calibration:
    sample = rows[np.random.default_rng(0).choice(len(rows), min(SAMPLE, len(rows)), replace=False)]
    calibration = fit(sample, meaningless)
    assert calibration is not None
    return calibration


@pytest.mark.parametrize("n_right", [1, 5, 60, 500])
def test_the_list_ends_where_the_right_ones_end_however_many_there_are(n_right: int) -> None:
    query = noise(1, 1)[0]
    rows = np.concatenate([around(query, n_right, 0.7, 2), noise(4000 - n_right, 3)])
    judged = calibrated(rows).judge(query, descending(rows, query), text=False)
    assert judged.cut == n_right
    assert judged.relevance[n_right - 1] > 0.9
    assert judged.relevance[n_right] < 0.2


def test_one_cosine_could_not_serve_both_queries_that_it_serves() -> None:
    # What is right for the one scores less than what is wrong for the other.
    strong, weak = noise(2, 1)
    wrong = around(strong, 40, 0.6, 2)
    rows = np.concatenate([around(strong, 3, 0.9, 3), wrong, around(weak, 7, 0.55, 4), noise(3000, 5)])
    calibration = calibrated(rows)
    assert (wrong @ strong).min() > 0.55
    assert calibration.judge(strong, descending(rows, strong), text=False).cut == 3
    assert calibration.judge(weak, descending(rows, weak), text=False).cut == 7


def test_a_modality_gap_changes_nothing() -> None:
    # A direction that all images share and another share of it that all texts have: scores become a * cosine + b.
    query = noise(1, 1)[0]
    rows = np.concatenate([around(query, 9, 0.6, 2), noise(1500, 3)])
    gapped = np.hstack([0.6 * rows, np.full((len(rows), 1), 0.8, np.float32)])
    text = np.append(0.5 * query, np.sqrt(0.75)).astype(np.float32)
    plain = calibrated(rows).judge(query, descending(rows, query), text=True)
    seen = calibrated(gapped).judge(text, descending(gapped, text), text=True)
    assert descending(gapped, text).min() > 0.4  # no cosine is near zero any more
    np.testing.assert_allclose(seen.z, plain.z, atol=1e-3)
    assert seen.cut == plain.cut == 9


def test_a_text_that_finds_no_more_than_meaningless_ones_finds_nothing() -> None:
    query, other = noise(2, 1)
    rows = np.concatenate([around(query, 9, 0.8, 2), noise(2000, 3)])
    calibration = calibrated(rows, meaningless=noise(32, 4))
    assert calibration.judge(query, descending(rows, query), text=True).cut == 9
    judged = calibration.judge(other, descending(rows, other), text=True)
    assert judged.cut == 0
    assert judged.relevance.max() < 0.5
    assert calibration.judge(other, descending(rows, other), text=False).cut > 0  # an image asks: nothing is known


def test_what_meaningless_texts_find_in_a_larger_collection_raises_the_bar() -> None:
    query = noise(1, 1)[0]
    rows = np.concatenate([around(query, 4, 0.56, 2), noise(1000, 3)])
    meaningless, scores = noise(32, 4), descending(rows, query)
    low = fit(rows, meaningless)
    high = fit(rows, meaningless, best=lambda texts: np.full(len(texts), 0.6, np.float32))
    assert low is not None
    assert high is not None
    assert low.judge(query, scores, text=True).cut == 4
    assert high.judge(query, scores, text=True).cut == 0


def test_texts_that_are_known_to_belong_are_not_turned_away() -> None:
    # To a model of few words a meaningless text is like any other: it finds as much as one that fits.
    centres = noise(40, 1)
    rows = np.concatenate([around(centre, 20, 0.7, 100 + i) for i, centre in enumerate(centres)] + [noise(1000, 2)])
    meaningless = np.concatenate([around(centre, 1, 0.95, 3) for centre in centres])
    queries = np.concatenate([around(centre, 1, 0.95, 4) for centre in centres])

    def answered(calibration: Calibration | None) -> int:
        assert calibration is not None
        return sum(calibration.judge(query, descending(rows, query), text=True).cut > 0 for query in queries)

    as_good = np.concatenate([around(centre, 1, 0.95, 5) for centre in centres])
    assert answered(fit(rows, meaningless)) < len(queries) // 2
    assert answered(fit(rows, meaningless, as_good)) >= 0.8 * len(queries)
    with_known, without = fit(rows, noise(32, 6), as_good), fit(rows, noise(32, 6))
    assert with_known is not None
    assert without is not None
    assert with_known.threshold == without.threshold  # they only ever lower it


def test_the_spread_is_that_of_what_is_not_relevant() -> None:
    query = noise(1, 1)[0]
    others = noise(4000, 2)
    with_right = np.concatenate([others, around(query, 400, 0.8, 3)])
    (_,), (alone,) = background(others, query[None])
    (_,), (among) = background(with_right, query[None])
    assert among[0] == pytest.approx(alone, rel=0.15)
    assert np.std(with_right @ query) > 1.5 * alone  # which the plain deviation is not


SAMPLES = st.builds(
    lambda n, kinds, seed: noise(kinds, seed)[np.random.default_rng(seed).integers(0, kinds, n)],
    st.integers(FEWEST, 120),
    st.integers(1, 60),
    st.integers(0, 2**16),
)


@given(sample=SAMPLES, k=st.integers(0, 80), shown=st.integers(0, 80), seed=st.integers(0, 2**16), text=st.booleans())
def test_what_is_said_of_a_hit_does_not_depend_on_those_after_it(
    sample: Vectors, k: int, shown: int, seed: int, text: bool
) -> None:
    query = noise(1, seed)[0]
    scores = np.sort(np.random.default_rng(seed).uniform(-1, 1, k)).astype(np.float32)[::-1]
    calibration = fit(sample, noise(8, seed))
    assert calibration is not None
    z, relevance, cut = calibration.judge(query, scores, text=text)
    assert z.dtype == relevance.dtype == np.float32
    assert z.shape == relevance.shape == (k,)
    assert np.isfinite(z).all()
    assert ((relevance >= 0) & (relevance <= 1)).all()
    assert (np.diff(relevance) <= 0).all()
    assert cut == np.count_nonzero(relevance >= 0.5)
    first = calibration.judge(query, scores[:shown], text=text)
    np.testing.assert_array_equal(first.z, z[:shown])
    np.testing.assert_array_equal(first.relevance, relevance[:shown])
    assert first.cut == min(cut, shown)


@given(sample=SAMPLES, lengths=st.lists(st.integers(0, 30), max_size=8), seed=st.integers(0, 2**16))
def test_many_are_judged_as_each_alone(sample: Vectors, lengths: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    queries = noise(len(lengths), seed)
    scores = [np.sort(rng.uniform(-1, 1, k)).astype(np.float32)[::-1] for k in lengths]
    text = rng.integers(0, 2, len(lengths)).astype(bool).tolist()
    best = [float(of[0]) if len(of) else 0.0 for of in scores]
    calibration = fit(sample, noise(8, seed))
    assert calibration is not None
    many = calibration.judge_many(queries, scores, text=text, best=best)
    assert len(many) == len(lengths)
    for query, of, is_text, judged in zip(queries, scores, text, many, strict=True):
        alone = calibration.judge(query, of, text=is_text)
        np.testing.assert_allclose(judged.z, alone.z, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(judged.relevance, alone.relevance, atol=1e-3)


@pytest.mark.parametrize("m", [FEWEST, FEWEST + 1])
def test_the_middle_is_the_median(m: int) -> None:
    sample, queries = noise(m, 1), noise(5, 2)
    np.testing.assert_allclose(background(sample, queries).middle, np.median(queries @ sample.T, axis=1), rtol=1e-6)


def test_too_few_entries_are_not_calibrated() -> None:
    assert fit(noise(FEWEST - 1, 0)) is None
    assert fit(noise(FEWEST, 0)) is not None


def test_pictures_of_one_colour_stay_together(encoder: DualEncoder) -> None:
    # A small collection of a few kinds: a tenth of it fits, and the best hit is hardly beyond the background's spread.
    rows = encoder.encode_images([plain_picture(colour, shade) for colour in COLOURS for shade in range(10)])
    calibration = calibrated(rows)
    cuts = []
    for i in range(len(COLOURS)):
        scores = rows @ rows[10 * i]
        order = np.argsort(-scores)
        cuts.append(calibration.judge(rows[10 * i], scores[order], text=False).cut)
        assert set(order[: cuts[-1]]) >= set(range(10 * i, 10 * i + 10))
    assert cuts.count(10) >= len(COLOURS) // 2
    assert max(cuts) < 40
