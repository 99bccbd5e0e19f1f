"""Calibration: the temperature is found, thresholds keep their promise, the report says what was measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_training_report import Page
from tiny_world import plain_picture

from base.errors import InputError
from encoder.encoder import Encoder
from encoder.zero_shot.classifier import Classifier
from encoder.zero_shot.prompts import Label
from labelling.calibrate import (
    NEVER,
    TEMPERATURES,
    calibrate_set,
    copies,
    fit_standing_out,
    fit_temperature,
    fit_thresholds,
    halves,
)
from labelling.label_sets import LabelSet
from labelling.labeller import SIGMOID, Labeller, build_labeller
from labelling.learned import Learned
from labelling.measure import BINS, bins_of, confusion, outcome
from labelling.report import report_of
from labelling.truth import Truth, encode_truth, new_labels, read_truth


def softmax(logits: np.ndarray) -> np.ndarray:
    exp = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: np.ndarray = exp / exp.sum(axis=1, keepdims=True)
    return shares


def drawn(rng: np.random.Generator, chances: np.ndarray) -> np.ndarray:
    """(n, n_labels) one label a row, each as often as it is likely."""
    at = (chances.cumsum(axis=1) < rng.random((len(chances), 1))).sum(axis=1)
    has: np.ndarray = np.eye(chances.shape[1], dtype=bool)[at]
    return has


@given(st.floats(0.3, 8.0), st.integers(2, 12), st.integers(0, 1000))
@settings(max_examples=25)
def test_the_temperature_is_found_and_the_error_goes(true: float, n_labels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits = (rng.normal(size=(6000, n_labels)) * 2 * true).astype(np.float32)
    has = drawn(rng, softmax(logits / true))
    found = fit_temperature(logits[:3000], has[:3000])
    assert found == pytest.approx(true, rel=0.15)

    def error(temperature: float) -> float:
        scores = softmax(logits[3000:] / temperature)
        best = scores.argmax(axis=1)
        return bins_of(scores.max(axis=1), has[3000:][np.arange(3000), best]).error

    assert error(found) < 0.05
    if true > 1.5:
        assert error(found) < error(1.0) / 2


def test_a_perfect_labeller_is_not_given_endless_confidence() -> None:
    logits = 10 * np.eye(3, dtype=np.float32)[np.arange(30) % 3]
    assert TEMPERATURES[0] < fit_temperature(logits, logits > 5) < 10
    hopeless = np.random.default_rng(0).normal(size=(3000, 3)).astype(np.float32) * 100
    assert fit_temperature(hopeless, np.eye(3, dtype=bool)[np.arange(3000) % 3]) == pytest.approx(TEMPERATURES[1])


@given(st.floats(0.3, 4.0), st.floats(0.5, 3.0), st.integers(0, 100))
@settings(max_examples=15)
def test_where_labels_stand_out_is_found(temperature: float, stands_out: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    z = (rng.normal(size=(4000, 5)) * 2).astype(np.float32)
    has = rng.random(z.shape) < 1 / (1 + np.exp(-SIGMOID * (z - stands_out) / temperature))
    found = fit_standing_out(z, has)
    assert found == pytest.approx((temperature, stands_out), rel=0.2, abs=0.15)


@pytest.mark.parametrize("precision", [0.7, 0.9, 0.97])
def test_thresholds_reach_their_precision_on_other_images(precision: float) -> None:
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(40_000, 6)) * 3
    has = drawn(rng, softmax(logits))
    scores = softmax(logits).astype(np.float32)
    chosen = np.eye(6, dtype=bool)[scores.argmax(axis=1)]
    found = fit_thresholds(scores[:20_000], chosen[:20_000], has[:20_000], precision)
    assert "out of reach" not in found.found
    given_now = chosen[20_000:] & (scores[20_000:] >= found.least)
    right = (given_now & has[20_000:]).sum(axis=0) / given_now.sum(axis=0)
    assert (right > precision - 0.015).all()
    assert (given_now & has[20_000:]).sum() / given_now.sum() >= precision
    assert given_now.any(axis=1).mean() > 0.1


def test_labels_with_few_images_share_a_threshold_and_bad_ones_are_never_given() -> None:
    rng = np.random.default_rng(4)
    n = 2000
    label = np.where(np.arange(n) < 12, 1, np.where(rng.random(n) < 0.5, 2, 0))  # 12 images of the second
    scores = np.full((n, 3), 0.05, np.float32)
    scores[np.arange(n), label] = 0.9
    has = np.eye(3, dtype=bool)[np.where(label == 2, rng.integers(0, 3, n), label)]  # the third is right by chance
    chosen = np.eye(3, dtype=bool)[label]
    found = fit_thresholds(scores, chosen, has, 0.95)
    assert found.found[0] == "own"
    assert found.found[2] == "out of reach"
    assert found.least[2] == NEVER
    assert found.found[1] == "out of reach"  # for together they are not right that often
    alone = label != 2
    found = fit_thresholds(scores[alone], chosen[alone], has[alone], 0.95)
    assert found.found == ("own", "shared", "shared")
    assert found.least[1] == np.float32(0.9)


@given(st.integers(0, 50), st.integers(20, 200), st.integers(1, 8))
@settings(max_examples=30)
def test_halves_have_as_much_of_each_label_and_part_no_copies(seed: int, n: int, n_labels: int) -> None:
    rng = np.random.default_rng(seed)
    has = np.eye(n_labels, dtype=bool)[rng.integers(0, n_labels, n)]
    fit, held_out = halves(has, np.arange(n), seed)
    assert sorted([*fit, *held_out]) == list(range(n))
    assert (abs(has[fit].sum(axis=0) - has[held_out].sum(axis=0)) <= 1).all()
    groups = rng.integers(0, n, n)
    fit, held_out = halves(has, groups, seed)
    assert not set(groups[fit]) & set(groups[held_out])


def test_bins_hold_what_was_said_against_what_was_true() -> None:
    scores = np.array([0.0, 0.1, 0.9, 0.92, 1.0], np.float32)
    bins = bins_of(scores, np.array([False, True, True, False, True]))
    assert bins.counts.sum() == 5
    assert bins.counts[BINS - 1] == 1  # 1 is in the last
    assert bins.error == pytest.approx((0.0 + 0.9 + 2 * abs(0.91 - 0.5) + 0) / 5, abs=1e-6)


def test_confusions_are_counted_by_what_was_given_instead() -> None:
    axes = np.eye(3, dtype=np.float32)
    labeller = Labeller(Classifier(("a", "b", "c"), axes, 10.0), thresholds=np.array([0, 0, 2], np.float32))
    said = outcome(labeller, axes[[0, 0, 1, 2]], np.eye(3, dtype=bool)[[0, 1, 1, 2]])
    assert confusion(said).tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 1]]
    assert (said.accuracy, said.coverage, said.precision, said.recall) == (0.75, 0.75, pytest.approx(2 / 3), 0.5)


COLOURS = ("red", "green", "blue")


def pictures(folder: Path, n: int, colours: tuple[str, ...] = COLOURS) -> Path:
    """Class folders of `n` pictures each."""
    for colour in colours:
        (folder / colour).mkdir(parents=True)
        for i in range(n):
            plain_picture(colour, 3 * i).save(folder / colour / f"{i}.png")
    return folder


def test_a_set_is_calibrated_and_the_report_tells_it(encoder: Encoder, tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    label_set = LabelSet.of(["red", "green", "blue", Label(evil)], ["{}"])
    truth, vectors = encode_truth(encoder, read_truth(pictures(tmp_path / "in", 16), label_set.labels))
    done = calibrate_set(encoder, label_set, truth, vectors, 0.8)
    learned = done.label_set.learned
    assert learned is not None
    assert learned.temperature is not None
    assert learned.measured is not None
    assert (learned.measured.n_fit, learned.measured.n_held_out, learned.measured.precision) == (24, 24, 0.8)
    assert learned.fingerprint == encoder.fingerprint
    assert len(learned.thresholds) == 4
    assert done.after.bins.error == pytest.approx(learned.measured.ece_after, abs=1e-5)
    assert done.after.brier <= done.before.brier + 0.05
    assert any(evil in line for line in done.warnings)
    file = tmp_path / "report.html"
    file.write_text(report_of("my colours", done), encoding="utf-8")
    page = Page(file)
    assert "my colours" in page.text
    assert "script" not in page.tags
    assert all(link.startswith("data:image/jpeg;base64,") for link in page.links)
    assert f"{done.before.bins.error:.3f}" in page.text
    assert f"{done.after.bins.error:.3f}" in page.text
    assert "http" not in file.read_text(encoding="utf-8").replace("http-equiv", "")
    wrong = (done.scored.chosen & ~done.scored.has).any()
    assert bool(page.links) == wrong

    labeller = build_labeller(encoder, done.label_set)
    assert labeller.temperature == learned.temperature
    again = outcome(labeller, encoder.encode_images(done.truth.images), done.truth.has)
    assert again.bins.error == pytest.approx(done.after.bins.error, abs=1e-4)
    with pytest.raises(InputError, match="leave scores out"):
        build_labeller(encoder, done.label_set, "sigmoid")
    other = replace(done.label_set, name="mine", learned=replace(learned, fingerprint="f" * 32))
    with pytest.raises(InputError, match=r"glimpse labels calibrate mine FOLDER --model .*tiny"):
        build_labeller(encoder, other)
    assert not done.label_set.with_templates(["see {}"]).is_calibrated


def test_several_labels_are_calibrated_and_learn_from_examples(encoder: Encoder, tmp_path: Path) -> None:
    label_set = LabelSet.of(["red", "green", "blue", "colour"], ["{}"], "multi")
    pictures(tmp_path / "in", 16)
    table = tmp_path / "labels.csv"
    rows = [f"in/{colour}/{i}.png,{label}" for colour in COLOURS for i in range(16) for label in (colour, "colour")]
    table.write_text("path,label\n" + "\n".join(rows))
    truth, vectors = encode_truth(encoder, read_truth(table, label_set.labels))
    assert truth.has.sum(axis=0).tolist() == [16, 16, 16, 48]
    done = calibrate_set(encoder, label_set, truth, vectors, 0.7)
    learned = done.label_set.learned
    assert learned is not None
    assert learned.standard.shape == (2, 4)
    assert learned.stands_out is not None
    assert done.after.bins.error < done.before.bins.error
    labeller = build_labeller(encoder, done.label_set)  # without a sample: by its own standard
    again = outcome(labeller, encoder.encode_images(done.truth.images), done.truth.has)
    np.testing.assert_allclose(again.scores, done.after.scores, atol=1e-4)
    assert "several labels an image" in report_of("many", done)
    assert LabelSet.of_json(done.label_set.to_json()) == done.label_set

    targets = truth.has[::4].astype(np.float32)
    few = Learned.of_examples(vectors[::4], targets, fingerprint=encoder.fingerprint, model="m")
    better = outcome(build_labeller(encoder, replace(label_set, learned=few)), vectors, truth.has)
    plain = outcome(build_labeller(encoder, label_set), vectors, truth.has)
    assert better.recall > plain.recall
    assert (better.chosen & truth.has).sum() > 0.8 * truth.has.sum()
    cautious = build_labeller(encoder, replace(label_set, mode="single", abstains=True))
    assert cautious.rejection is not None
    assert 0 <= cautious.decide(vectors).known.min() <= 1
    with pytest.raises(InputError, match="give at most 12"):
        Learned.of_examples(vectors[:13], np.zeros((13, 4_000_000), bool), fingerprint="f", model="m")


def test_too_little_and_nonsense_is_refused(encoder: Encoder, tmp_path: Path) -> None:
    label_set = LabelSet.of(["red", "green"])
    truth = Truth([tmp_path / f"{i}.png" for i in range(6)], np.eye(2, dtype=bool)[np.arange(6) % 2])
    vectors = np.eye(6, encoder.dim, dtype=np.float32)
    with pytest.raises(InputError, match="6 images are too few to calibrate with; give 20 and more"):
        calibrate_set(encoder, label_set, truth, vectors)
    with pytest.raises(InputError, match="make it a set for several labels"):
        calibrate_set(encoder, LabelSet.of(["red"]), truth, vectors)
    for precision in (0.0, 1.0, 95.0):
        with pytest.raises(InputError, match="give one above 0 and below 1"):
            calibrate_set(encoder, label_set, truth, vectors, precision)
    assert len(set(copies(np.ones((5, 3), np.float32)).tolist())) == 1


def test_labelled_images_are_found_in_folders_and_tables(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "in", 2, ("red", "green"))
    (folder / "animal" / "dog").mkdir(parents=True)
    (folder / "red").rename(folder / "Cafe\u0301_BAR")  # NFD, as macOS has it
    plain_picture("blue").save(folder / "animal" / "dog" / "1.png")
    labels = [Label.parse(text) for text in ("caf\u00e9 bar", "animal/dog", "=cmd|GREEN", "unseen")]
    truth = read_truth(folder, labels)
    assert truth.has.sum(axis=0).tolist() == [2, 1, 2, 0]
    assert truth.left_out.count() == 0
    assert read_truth(folder, labels[:1]).left_out.lines()[0].startswith("3 images of no label of the set, the first: ")

    table = tmp_path / "t.csv"
    table.write_text(
        "path,label,score\nin/green/0.png,'=cmd,0.9\nin/green/0.png,dog,0.2\nin/green/1.png,,0.1\n"
        'gone.png,dog,1\nin/green/1.png,"a, b",1\n'
    )
    truth = read_truth(table, labels)
    assert [path.name for path in truth.images] == ["0.png"]
    assert truth.has.tolist() == [[False, True, True, False]]
    assert set(truth.left_out.found) == {
        "images of no label of the set",
        "rows whose image is not there",
    }
    (tmp_path / "u.csv").write_text("file,name\na,b\n")
    with pytest.raises(InputError, match='no columns "path" and "label"; it has file, name'):
        read_truth(tmp_path / "u.csv", labels)
    with pytest.raises(InputError, match="called as none of the labels"):
        read_truth(folder, [Label("zebra")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no image in"):
        read_truth(tmp_path / "empty", labels)


def test_labels_that_only_images_have_are_named(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "in", 2, ("red", "green"))
    for name in ("animal/dog/rex", "animal/bat", "Animal/Bat"):
        (folder / name).mkdir(parents=True)
        plain_picture("blue").save(folder / name / "1.png")
    plain_picture("blue").save(folder / "loose.png")
    labels = [Label("dog"), Label.parse("crimson|red")]
    assert [label.name for label in new_labels(folder, labels)] == ["Animal/Bat", "green"]
    assert [label.name for label in new_labels(folder)] == ["Animal/Bat", "animal/dog/rex", "green", "red"]

    table = tmp_path / "t.jsonl"
    table.write_text(
        '{"path": "in/red/0.png", "label": ["red", "beach, sunny", "part-4711"]}\n'
        '{"path": "in/red/1.png", "label": "\'=cmd"}\n{"path": "in/green/1.png", "label": null}\n'
    )
    new = new_labels(table, labels)
    assert [label.name for label in new] == ["=cmd", "beach, sunny", "part-4711"]
    truth = read_truth(table, [*labels, *new])
    assert truth.has.tolist() == [[False, True, False, True, True], [False, False, True, False, False]]
