"""A loss on a few points: its force against the slope that is felt by moving a point, and what a run of steps shows."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from base.errors import InputError
from training.loss.forces import OneWayLoss, Points, forces

HARD = OneWayLoss("info-nce", temperature=0.3, hardness=2.0)  # its weights are held while a step is taken
SMOOTH = (
    OneWayLoss("info-nce", temperature=0.3),
    OneWayLoss("siglip", temperature=0.5, bias=-2.0),
    OneWayLoss("contrastive", margin=1.4),
    OneWayLoss("triplet", margin=0.3),
    OneWayLoss("triplet", margin=0.3, mining="batch-hard"),
)
ALL = (*SMOOTH, HARD)
SEVERAL = [[0, 3], [1], [2, 4, 5]]


def points(n: int, dim: int, seed: int) -> Points:
    return np.random.default_rng(seed).normal(size=(n, dim))


def unit(x: Points) -> Points:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.mark.parametrize("loss", SMOOTH, ids=lambda loss: f"{loss.name}-{loss.mining}")
@given(seed=st.integers(0, 10_000), dim=st.integers(2, 5))
@settings(max_examples=10, deadline=None)
def test_the_force_is_the_slope_that_is_felt_by_moving_a_point(loss: OneWayLoss, seed: int, dim: int) -> None:
    anchors, others = points(3, dim, seed), points(7, dim, seed + 1)
    here = forces(anchors, others, SEVERAL, loss)
    step = points(10, dim, seed + 2) * 1e-6
    there = forces(anchors + step[:3], others + step[3:], SEVERAL, loss)
    back = forces(anchors - step[:3], others - step[3:], SEVERAL, loss)
    expected = float((here.anchors * step[:3]).sum() + (here.others * step[3:]).sum())
    assert (there.loss - back.loss) / 2 == pytest.approx(expected, abs=1e-10)


@given(seed=st.integers(0, 10_000), temperature=st.floats(0.05, 2))
@settings(max_examples=20, deadline=None)
def test_info_nce_pulls_by_what_the_right_one_lacks_and_pushes_by_what_the_wrong_ones_have(
    seed: int, temperature: float
) -> None:
    anchor, others = points(1, 3, seed), points(5, 3, seed + 1)
    found = forces(anchor, others, None, OneWayLoss("info-nce", temperature=temperature))
    cosines = (unit(anchor) @ unit(others).T)[0]
    shares = np.exp((cosines - cosines.max()) / temperature)
    shares /= shares.sum()
    np.testing.assert_allclose(found.cosines, cosines, atol=1e-9)
    np.testing.assert_allclose(found.pulls, (np.eye(5)[0] - shares) / temperature, atol=1e-6)
    assert found.loss == pytest.approx(-math.log(shares[0]), abs=1e-9)
    assert found.guess == pytest.approx(math.log(5))
    assert found.bound == pytest.approx(max(0.0, math.log(5) - found.loss), abs=1e-9)
    # A force on the circle turns a point and lengthens none.
    np.testing.assert_allclose((found.others * others).sum(1), 0, atol=1e-9)


def test_hardness_turns_the_push_to_the_near_ones() -> None:
    anchor, others = np.array([[1.0, 0]]), np.array([[1.0, 0.2], [0.9, -0.5], [0.1, 1.0]])
    even, hard = (forces(anchor, others, None, loss).pulls for loss in (replace(HARD, hardness=0.0), HARD))
    assert hard[1] / hard[2] > even[1] / even[2] > 1


def test_a_margin_is_where_the_push_ends() -> None:
    anchor, others = np.array([[1.0, 0]]), np.array([[1.0, 0.1], [0.9, -0.3], [-1.0, 0.2]])
    near, far = forces(anchor, others, None, OneWayLoss("contrastive", margin=1.0)).pulls[1:]
    assert near < 0
    assert far == 0
    loss = OneWayLoss("triplet", margin=0.3, mining="batch-hard")
    right, nearest, farther = forces(anchor, others, None, loss).pulls
    assert right > 0 > nearest
    assert farther == 0
    assert forces(anchor, others[[0, 2]], None, replace(loss, margin=0.1)).loss == 0


def descend(loss: OneWayLoss, steps: int = 200) -> list[str]:
    """The warnings after points went against their gradient: 12 anchors, each with three others of which all are
    somebody else's too.
    """
    n = 12
    right = [[i, (i + 1) % n, (i + 5) % n] for i in range(n)]
    x, y = unit(points(n, 2, 3)), unit(points(n, 2, 4))
    records = [forces(x, y, right, loss).record]
    for epoch in range(1, steps + 1):
        felt = forces(x, y, right, loss, earlier=[records[0], records[-1]], epoch=epoch)
        records.append(felt.record)
        x, y = unit(x - n * 0.1 * felt.anchors), unit(y - n * 0.1 * felt.others)
    return felt.warnings


def test_without_negatives_all_run_into_a_point_and_the_warning_of_a_training_says_so() -> None:
    [warning] = descend(OneWayLoss("contrastive", margin=0.0))
    assert warning.startswith("Collapse: after epoch 200 the images all have nearly the same embedding")
    assert descend(OneWayLoss("contrastive", margin=1.4)) == []
    assert descend(OneWayLoss("info-nce", temperature=0.2)) == []


@pytest.mark.parametrize(
    ("anchors", "others", "right", "said"),
    [
        ([[0, 0]], [[1, 0]], None, "anchors: point 0 lies at the centre"),
        ([[1, 0]], [[1, 0], [0, 1e-9]], None, "others: point 1 lies at the centre"),
        ([[1, 0], [0, 1]], [[1, 0]], None, "2 anchors have 1 others"),
        ([[1, 0]], [[1, 0]], [[]], "nothing is right for anchor 0"),
        ([[1, 0]], [[1, 0]], [[1]], "others are 0 to 0, and of anchor 0 there is 1"),
        ([[1, 0]], [[1, 0]], [[-1]], "there is -1"),
        ([[1, 0]], [[1, 0]], [[0], [0]], "1 anchors, and 2 lists"),
    ],
)
def test_points_that_have_no_force(
    anchors: list[list[float]], others: list[list[float]], right: list[list[int]] | None, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        forces(np.array(anchors, float), np.array(others, float), right, OneWayLoss("info-nce"))


@pytest.mark.parametrize("loss", ALL, ids=lambda loss: f"{loss.name}-{loss.mining}-{loss.hardness:g}")
def test_where_all_is_right_or_in_one_place_there_are_numbers_still(loss: OneWayLoss) -> None:
    for others, right in (([[1, 0], [0, 1]], [[0, 1]]), ([[1, 0], [1, 0]], [[0]])):
        found = forces(np.array([[1.0, 0]]), np.array(others, float), right, loss)
        assert np.isfinite([found.loss, *found.pulls, *found.anchors.ravel(), *found.others.ravel()]).all()
