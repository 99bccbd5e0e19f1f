import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder.zero_shot.classifier import Classifier
from encoder.zero_shot.prompts import Label
from encoder.zero_shot.word_bank import WordBank
from labelling.labeller import Labeller
from labelling.rejection import ENOUGH, EVEN, Rejection

DIM, SCALE = 64, 30.0


def unit(rows):
    rows = np.atleast_2d(np.asarray(rows, np.float32))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def random_rows(n, dim=DIM, seed=0):
    return unit(np.random.default_rng(seed).standard_normal((n, dim)))


def bank_of(*words, seed=1):
    return WordBank(words, random_rows(len(words), seed=seed))


BANK = bank_of(*(f"word{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(676)))


def rejection_of(weights, names=None, bank=BANK):
    return Rejection.of(bank, [Label(name) for name in names or (f"{i}" for i in range(len(weights)))], weights, SCALE)


def known_of(rejection, vectors, weights):
    return rejection.known(vectors, SCALE * vectors @ weights.T)


@given(n_labels=st.integers(1, 30), n=st.integers(0, 40), n_words=st.integers(0, 50), seed=st.integers(0, 1000))
def test_any_labels_and_images_have_a_score_between_0_and_1(n_labels, n, n_words, seed):
    weights, vectors = random_rows(n_labels, seed=seed), random_rows(n, seed=seed + 1)
    rejection = rejection_of(weights, bank=WordBank(BANK.words[:n_words], BANK.vectors[:n_words]))
    known = known_of(rejection, vectors, weights)
    assert known.shape == (n,)
    assert known.dtype == np.float32
    assert ((known >= 0) & (known <= 1)).all()


def test_words_of_the_labels_are_dropped_in_any_form_and_so_are_those_near_them():
    words = ("bag", "bags", "hand", "handbag", "berry", "berries", "couch", "couches", "dresses", "stone", "river")
    bank = WordBank(words, random_rows(len(words)))
    labels = [Label("Handbags"), Label("fruit/Berry"), Label("sofa", ("Couch",)), Label("t-dress")]
    weights = random_rows(4, seed=7)
    left = Rejection.of(bank, labels, weights, SCALE).negatives
    stone, river = bank.vectors[-2:]
    nearer = (stone @ weights.T).max() > (river @ weights.T).max()
    np.testing.assert_array_equal(left, [river if nearer else stone])


def test_a_label_by_itself_can_be_none():
    weights = random_rows(1)
    rejection = rejection_of(weights)
    like = unit(weights + 0.5 * random_rows(50, seed=3))
    unlike = random_rows(200, seed=4)
    assert known_of(rejection, like, weights).min() > 0.99
    unlike_known = known_of(rejection, unlike, weights)
    assert unlike_known.mean() == pytest.approx(0.5, abs=0.08)
    labeller = Labeller(Classifier(("it",), weights, SCALE), rejection=rejection)
    assert labeller.decide(like).chosen.all()
    assert labeller.decide(unlike).chosen.mean() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("n_labels", [1, 3, 20, 100])
def test_of_images_that_have_nothing_to_do_with_the_labels_a_share_t_stays_below_t(n_labels):
    weights = random_rows(n_labels, seed=8)
    rejection = rejection_of(weights)
    strangers = known_of(rejection, random_rows(4000, seed=9), weights)
    for share in (0.25, 0.5, 0.8):
        assert (strangers < share).mean() == pytest.approx(share, abs=0.1)
    of_them = unit(weights[np.arange(500) % n_labels] + 0.7 * random_rows(500, seed=10))
    assert np.quantile(known_of(rejection, of_them, weights), 0.05) > 0.9


def test_the_threshold_is_low_where_all_are_known_and_high_where_few_are():
    weights = random_rows(5)
    rejection = rejection_of(weights)
    labelled = known_of(rejection, unit(weights[np.arange(1000) % 5] + 3 * random_rows(1000, seed=3)), weights)
    strangers = known_of(rejection, random_rows(1000, seed=4), weights)

    def threshold(known, unknown):
        return rejection.fitted(np.concatenate([labelled[:known], strangers[:unknown]])).threshold

    assert threshold(1000, 0) <= 0.5
    assert threshold(1000, 0) < threshold(660, 330) < threshold(100, 900)
    assert threshold(100, 900) >= 0.9
    assert threshold(0, 1000) >= 0.9
    assert threshold(ENOUGH // 2, 0) == EVEN
    assert rejection.fitted(np.ones(ENOUGH, np.float32)).threshold == 0
    mixed = rejection.fitted(np.concatenate([labelled[:660], strangers[:330]]))
    assert (labelled < mixed.threshold).mean() < 0.15
    assert (strangers < mixed.threshold).mean() > 0.6


def test_memory_does_not_grow_with_images():
    weights = random_rows(3, 16)
    rejection = Rejection(random_rows(2000, 16), SCALE)
    vectors = np.tile(weights, (20_000, 1))
    logits = SCALE * vectors @ weights.T
    tracemalloc.start()
    known = rejection.known(vectors, logits)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(known) == 60_000
    assert peak < 60_000 * 2000 * 4 / 10
    few = rejection.known(vectors[-7:], logits[-7:])
    np.testing.assert_allclose(few, known[-7:], atol=2e-3)
