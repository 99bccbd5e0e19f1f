"""What a labeller decides: one label, several, or none; and label sets as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.errors import InputError
from encoder.zero_shot.classifier import Classifier
from encoder.zero_shot.prompts import DEFAULT_TEMPLATES, TEMPLATE_SETS, Label, prompts_of
from labelling.label_sets import LabelSet, LabelSets
from labelling.labeller import Labeller
from labelling.learned import Learned
from labelling.rows import label_rows
from labelling.standardise import Standard


def unit(rows: np.ndarray) -> np.ndarray:
    made: np.ndarray = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return made


WORDS = ("red", "green", "blue")
AXES = np.eye(3, dtype=np.float32)
CLASSIFIER = Classifier(WORDS, AXES, 100.0)


class NotBlue:
    """Takes whatever is mostly blue for unknown."""

    threshold = 0.5

    def known(self, vectors: np.ndarray, logits: np.ndarray) -> np.ndarray:
        rows: np.ndarray = 1 - vectors[:, 2] ** 2
        return rows


def test_single_gives_the_likeliest_or_none() -> None:
    images = unit(np.array([[1, 0.1, 0], [0.2, 1, 0], [0, 0.1, 1]]))
    decisions = Labeller(CLASSIFIER).decide(images)
    assert decisions.chosen.tolist() == np.eye(3, dtype=bool).tolist()
    rejecting = Labeller(CLASSIFIER, rejection=NotBlue())
    rows = label_rows(WORDS, [Path("a"), Path("b"), Path("c")], rejecting.decide(images))
    assert [[label for label, _ in row.answers] for row in rows] == [["red"], ["green"], []]
    assert [row.abstained for row in rows] == [False, False, True]
    assert [row.guess.label for row in rows if row.guess] == ["red", "green", "blue"]
    wanting = Labeller(CLASSIFIER, thresholds=np.array([0.0, 1.1, 0.0], np.float32))
    assert wanting.decide(images).chosen.any(axis=1).tolist() == [True, False, True]


def test_a_temperature_changes_scores_and_not_the_choice() -> None:
    images = unit(np.random.default_rng(0).normal(size=(20, 3)))
    plain, soft = Labeller(CLASSIFIER).decide(images), Labeller(CLASSIFIER, temperature=50.0).decide(images)
    assert (plain.chosen == soft.chosen).all()
    assert soft.scores.max(axis=1).mean() < plain.scores.max(axis=1).mean()
    np.testing.assert_allclose(soft.scores.sum(axis=1), 1, atol=1e-5)


def test_multi_gives_every_label_that_stands_out_whatever_level_it_has() -> None:
    rng = np.random.default_rng(1)
    dim, n = 64, 400
    labels = unit(rng.normal(size=(4, dim)) + 0.05)
    everywhere = unit(rng.normal(size=(1, dim)))[0]
    has = rng.random((n, 4)) < 0.1
    images = unit(rng.normal(size=(n, dim)) * 0.3 + has @ labels * 2 + 3 * everywhere)
    labels = unit(labels + np.array([[0.0], [0.3], [0.6], [1.0]]) * everywhere)  # some are near to any image
    texts = unit(rng.normal(size=(500, dim)))
    labeller = Labeller(Classifier(tuple("abcd"), labels, 100.0), standard=Standard.of(labels, texts, images))
    decisions = labeller.decide(images)
    cosines = images @ labels.T
    by_any_cosine = max((((cosines >= least) == has).mean()) for least in np.linspace(-1, 1, 200))
    assert (decisions.chosen == has).mean() > by_any_cosine
    assert ((decisions.scores > 0) & (decisions.scores < 1)).all()
    one = Labeller(labeller.classifier, standard=Standard.of(labels, texts, images[:0])).decide(images[:1])
    assert np.isfinite(one.scores).all()


def test_a_label_is_asked_for_by_its_last_level_and_its_synonyms() -> None:
    sofa, dog = Label.parse(" sofa | couch|sofa "), Label.parse("animal/dog")
    assert (sofa, dog.levels) == (Label("sofa", ("couch",)), ("animal", "dog"))
    own = Label("part-4711", prompts=("a brass valve",))
    assert prompts_of([sofa, dog, own], ["a {}"]) == [["a sofa", "a couch"], ["a dog"], ["a brass valve"]]
    bats = [Label("animal/bat"), Label("sport/bat"), Label("ball")]
    assert prompts_of(bats, ["{}"]) == [["bat (animal)"], ["bat (sport)"], ["ball"]]
    assert prompts_of([Label("/")], ["{}"]) == [["/"]]


@given(st.lists(st.text(max_size=8), min_size=1, max_size=5))
def test_a_set_of_any_labels_is_kept_as_it_is(names: list[str]) -> None:
    if not any(name.split("|")[0].strip() for name in names):
        with pytest.raises(InputError, match="no labels given"):
            LabelSet.of(names)
        return
    label_set = LabelSet.of(names, mode="multi")
    assert LabelSet.of_json(label_set.to_json()) == label_set


def test_what_was_learned_is_kept_with_the_set(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    learned = Learned("f" * 8, 2.5, (0.5, 0.75), unit(rng.normal(size=(3, 4))), np.eye(2)[[0, 1, 1]])
    label_set = LabelSet.of(["a|b", Label("c", prompts=("see {}",))], ["plain"], learned=learned)
    assert label_set.templates == ("{}",) == TEMPLATE_SETS["plain"]
    sets = LabelSets(tmp_path)
    sets.put("mine", label_set)
    kept = sets.get("mine")
    assert {kept} == {label_set}
    assert kept.learned is not None
    np.testing.assert_array_equal(kept.learned.examples, learned.examples)
    np.testing.assert_array_equal(kept.learned.targets, learned.targets)
    other = Learned("f" * 8, 2.5, (0.5, 0.75), learned.examples * 0.5, learned.targets)
    assert other != learned
    assert sets.resolve(None, "mine", ["an {}"]).templates == ("an {}",)
    assert LabelSet.of(["a"]).templates == DEFAULT_TEMPLATES
    with pytest.raises(InputError, match="not of these labels"):
        LabelSet.of(["a", "b", "c"], learned=learned)
    with pytest.raises(InputError, match="mode 'all' is none of single, multi"):
        LabelSet.of(["a"], mode="all")  # type: ignore[arg-type]


def test_a_label_with_examples_is_not_kept_off_by_words() -> None:
    image = unit(np.array([[0, 0.1, 1]]))
    named = np.array([True, True, False])  # of blue there are examples
    assert not Labeller(CLASSIFIER, rejection=NotBlue()).decide(image).chosen.any()
    assert Labeller(CLASSIFIER, rejection=NotBlue(), named=named).decide(image).chosen.tolist() == [
        [False, False, True]
    ]


def test_a_set_that_abstains_and_one_label_alone_are_held_against_words() -> None:
    assert not LabelSet.of(["cat", "dog"]).rejects
    abstaining = LabelSet.of(["cat", "dog"], abstains=True)
    assert abstaining.rejects
    assert LabelSet.of_json(abstaining.to_json()) == abstaining
    assert LabelSet.of(["cat"]).rejects
    assert not LabelSet.of(["cat"], mode="multi").rejects
    assert not LabelSet.of(["cat"], learned=Learned("f", 1.0, (0.9,))).rejects
