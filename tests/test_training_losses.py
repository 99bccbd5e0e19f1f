"""Every loss against its formula in float64, its gradient by finite differences, and what it must not do."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from training.loss.losses import (
    best_siglip_bias,
    contrastive,
    image_to_text,
    info_nce,
    nt_xent,
    one_way_info_nce,
    siglip,
    text_to_image,
    triplet,
)

SCALE = torch.tensor(7.3, dtype=torch.float64)
BIAS = torch.tensor(-2.0, dtype=torch.float64)


def unit(n: int, dim: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(n, dim, dtype=torch.float64, generator=generator), dim=-1)


def pairs_of(n: int, m: int, seed: int) -> np.ndarray:
    """(n, n + m) positives: its own always, some others, no hard negative."""
    right = np.random.default_rng(seed).random((n, n + m)) < 0.2
    right = right | np.eye(n, n + m, dtype=bool)
    right[:, :n] |= right[:, :n].T
    right[:, n:] = False
    return right


def cross_entropy(logits: list[float], right: list[bool]) -> float:
    """Mean over the right entries of -log of their share beside the wrong ones."""
    wrong = sum(math.exp(v) for v, r in zip(logits, right, strict=True) if not r)
    return sum(math.log(math.exp(v) + wrong) - v for v, r in zip(logits, right, strict=True) if r) / sum(right)


def distance(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.linalg.norm(x - y))


def expected_info_nce(images: np.ndarray, texts: np.ndarray, right: np.ndarray, scale: float) -> tuple[float, float]:
    n, k = right.shape
    forth = [cross_entropy([scale * float(images[i] @ texts[j]) for j in range(k)], list(right[i])) for i in range(n)]
    back = [cross_entropy([scale * float(texts[j] @ images[i]) for i in range(n)], list(right[:, j])) for j in range(n)]
    return sum(forth) / n, sum(back) / n


@given(st.integers(2, 8), st.integers(0, 3), st.integers(0, 10**6))
def test_info_nce_is_the_formula_both_ways(n: int, m: int, seed: int) -> None:
    images, texts, right = unit(n, 5, seed), unit(n + m, 5, seed + 1), pairs_of(n, m, seed)
    forth, back = expected_info_nce(images.numpy(), texts.numpy(), right, 7.3)
    positives = torch.from_numpy(right)
    assert image_to_text(images, texts, SCALE, positives=positives).item() == pytest.approx(forth, rel=1e-12)
    assert text_to_image(images, texts, SCALE, positives=positives).item() == pytest.approx(back, rel=1e-12)
    both = info_nce(images, texts, SCALE, positives=positives).item()
    assert both == pytest.approx((forth + back) / 2, rel=1e-12)


def test_without_positives_only_its_own_is_right() -> None:
    images, texts = unit(6, 4, 0), unit(8, 4, 1)
    alone = torch.eye(6, 8, dtype=torch.bool)
    assert torch.equal(info_nce(images, texts, SCALE), info_nce(images, texts, SCALE, positives=alone))


@given(st.integers(2, 6), st.floats(0.1, 5), st.integers(0, 10**6))
def test_hardness_weighs_negatives_as_written(n: int, beta: float, seed: int) -> None:
    queries, keys, right = unit(n, 4, seed), unit(n, 4, seed + 1), pairs_of(n, 0, seed)
    total = 0.0
    for i in range(n):
        cosines = [float(queries[i] @ keys[j]) for j in range(n)]
        wrong = [j for j in range(n) if not right[i, j]]
        mean = sum(math.exp(beta * cosines[j]) for j in wrong) / max(1, len(wrong))
        weight = [math.exp(beta * cosines[j]) / mean if j in wrong else 1.0 for j in range(n)]
        bottom = sum(weight[j] * math.exp(7.3 * cosines[j]) for j in wrong)
        own = [math.log(math.exp(7.3 * cosines[j]) + bottom) - 7.3 * cosines[j] for j in range(n) if right[i, j]]
        total += sum(own) / len(own)
    ours = one_way_info_nce(queries, keys, SCALE, torch.from_numpy(right), hardness=beta)
    assert ours.item() == pytest.approx(total / n, rel=1e-10)


@given(st.integers(2, 7), st.integers(0, 10**6))
def test_nt_xent_is_the_formula(n: int, seed: int) -> None:
    first, second = unit(n, 5, seed), unit(n, 5, seed + 1)
    views = np.concatenate((first, second))
    total = 0.0
    for i in range(2 * n):
        logits = [7.3 * float(views[i] @ views[j]) for j in range(2 * n) if j != i]
        right = [j == (i + n) % (2 * n) for j in range(2 * n) if j != i]
        total += cross_entropy(logits, right)
    assert nt_xent(first, second, SCALE).item() == pytest.approx(total / (2 * n), rel=1e-12)


@given(st.integers(2, 7), st.integers(0, 2), st.floats(0, 2), st.integers(0, 10**6))
def test_contrastive_is_the_formula(n: int, m: int, margin: float, seed: int) -> None:
    images, texts, right = unit(n, 3, seed), unit(n + m, 3, seed + 1), pairs_of(n, m, seed)
    total = 0.0
    for i in range(n):
        d = [distance(images[i].numpy(), texts[j].numpy()) for j in range(n + m)]
        pull = [d[j] ** 2 / 2 for j in range(n + m) if right[i, j]]
        push = [max(0.0, margin - d[j]) ** 2 / 2 for j in range(n + m) if not right[i, j]]
        total += sum(pull) / len(pull) + sum(push)
    ours = contrastive(images, texts, margin, positives=torch.from_numpy(right))
    assert ours.item() == pytest.approx(total / n, rel=1e-9, abs=1e-12)


def expected_triplet(anchors: np.ndarray, others: np.ndarray, right: np.ndarray, margin: float, mining: str) -> float:
    total = 0.0
    for i in range(len(anchors)):
        d = [distance(anchors[i], other) for other in others]
        wrong = [d[j] for j in range(len(d)) if not right[i, j]]
        if not wrong:
            continue
        if mining == "batch-hard":
            near, far = max(d[j] for j in range(len(d)) if right[i, j]), min(wrong)
        else:
            near = d[i]
            farther = [x for x in wrong if x > near]
            far = min(farther) if farther else max(wrong)
        total += max(0.0, near - far + margin)
    return total / len(anchors)


@pytest.mark.parametrize("mining", ["batch-hard", "semi-hard"])
@given(n=st.integers(1, 7), m=st.integers(0, 2), margin=st.floats(0, 1), seed=st.integers(0, 10**6))
def test_triplet_is_the_formula(mining: str, n: int, m: int, margin: float, seed: int) -> None:
    images, texts, right = unit(n, 3, seed), unit(n + m, 3, seed + 1), pairs_of(n, m, seed)
    forth = expected_triplet(images.numpy(), texts.numpy(), right, margin, mining)
    back = expected_triplet(texts[:n].numpy(), images.numpy(), right[:, :n].T, margin, mining)
    ours = triplet(images, texts, margin, mining=mining, positives=torch.from_numpy(right))
    assert ours.item() == pytest.approx((forth + back) / 2, rel=1e-8, abs=1e-12)


@given(st.integers(1, 7), st.integers(0, 2), st.integers(0, 10**6))
def test_siglip_is_the_formula(n: int, m: int, seed: int) -> None:
    images, texts, right = unit(n, 4, seed), unit(n + m, 4, seed + 1), pairs_of(n, m, seed)
    total = 0.0
    for i in range(n):
        own = [j for j in range(n + m) if right[i, j]]
        for j in range(n + m):
            sign = 1 if right[i, j] else -1
            each = math.log1p(math.exp(-sign * (7.3 * float(images[i] @ texts[j]) - 2.0)))
            total += each / len(own) if j in own else each
    ours = siglip(images, texts, SCALE, BIAS, positives=torch.from_numpy(right))
    assert ours.item() == pytest.approx(total / n, rel=1e-10)


@given(st.integers(2, 7), st.integers(0, 2), st.floats(0.1, 100), st.integers(0, 10**6))
def test_the_best_siglip_bias_leaves_no_better_one(n: int, m: int, scale: float, seed: int) -> None:
    images, texts = unit(n, 4, seed), unit(n + m, 4, seed + 1)
    positives = torch.eye(n, n + m, dtype=torch.bool)
    s = torch.tensor(scale, dtype=torch.float64)
    best = best_siglip_bias(images, texts, s, positives=positives)
    least = siglip(images, texts, s, best, positives=positives)
    for other in (-20.0, -1.0, -0.1, 0.1, 1.0, 20.0):
        assert siglip(images, texts, s, best + other, positives=positives) > least * (1 - 1e-9) - 1e-12
    assert torch.equal(best, best_siglip_bias(images, texts, s))


LOSSES: dict[str, Callable[..., Tensor]] = {
    "info_nce": lambda x, y, s, b, **k: info_nce(x, y, s, **k),
    "image_to_text": lambda x, y, s, b, **k: image_to_text(x, y, s, **k),
    "text_to_image": lambda x, y, s, b, **k: text_to_image(x, y, s, **k),
    "nt_xent": lambda x, y, s, b, **k: nt_xent(x, y, s, **k),
    "contrastive": lambda x, y, s, b, **k: contrastive(x, y, 1.3, **k),
    "batch_hard": lambda x, y, s, b, **k: triplet(x, y, 0.3, mining="batch-hard", **k),
    "semi_hard": lambda x, y, s, b, **k: triplet(x, y, 0.3, mining="semi-hard", **k),
    "siglip": lambda x, y, s, b, **k: siglip(x, y, s, b, **k),
}


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_right(name: str) -> None:
    inputs = [value.clone().requires_grad_() for value in (unit(5, 3, 2), unit(5, 3, 3), SCALE, BIAS)]
    positives = torch.from_numpy(pairs_of(5, 0, 4))
    assert torch.autograd.gradcheck(lambda *x: LOSSES[name](*x, positives=positives), inputs)


@pytest.mark.parametrize("name", LOSSES)
def test_the_mean_over_the_rows_of_processes_is_the_loss_of_the_batch(name: str) -> None:
    images, texts, positives = unit(8, 4, 5), unit(8, 4, 6), torch.from_numpy(pairs_of(8, 0, 7))
    whole = LOSSES[name](images, texts, SCALE, BIAS, positives=positives)
    parts = [
        LOSSES[name](images, texts, SCALE, BIAS, positives=positives, rows=rows) for rows in (slice(0, 4), slice(4, 8))
    ]
    assert (sum(parts) / 2).item() == pytest.approx(whole.item(), rel=1e-12)


def test_the_hinge_stops_at_the_margin() -> None:
    image = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    for angle, moves in ((40, True), (60, False)):  # 0.68 and 1.0 apart
        t = math.radians(angle)
        text = torch.tensor([[1.0, 0.0], [math.cos(t), math.sin(t)]], dtype=torch.float64, requires_grad=True)
        contrastive(image[:1], text, 0.9).backward()
        assert text.grad is not None
        assert bool(text.grad[1].abs().sum() > 0) == moves
    anchor = torch.eye(3, dtype=torch.float64)
    near = anchor.clone().requires_grad_()
    triplet(anchor, near, 1.0, mining="batch-hard").backward()  # wrong ones are 1.41 away, right ones 0
    assert near.grad is not None
    assert near.grad.abs().sum() == 0


def test_rows_that_are_the_same_have_finite_gradients() -> None:
    for loss in LOSSES.values():
        same = F.normalize(torch.ones(4, 3), dim=-1).requires_grad_()
        loss(same, same, torch.tensor(10.0), torch.tensor(-1.0)).backward()
        assert same.grad is not None
        assert torch.isfinite(same.grad).all()


def test_a_repeated_caption_is_not_pushed_from_its_other_image() -> None:
    images, texts = unit(4, 8, 8), unit(4, 8, 9)
    texts[1] = texts[0]
    positives = torch.eye(4, dtype=torch.bool)
    positives[0, 1] = positives[1, 0] = True
    for right, pulled in ((positives, True), (None, False)):
        leaf = images.clone().requires_grad_()
        text_to_image(leaf, texts, SCALE / 100, positives=right, rows=slice(0, 1)).backward()
        assert leaf.grad is not None
        towards = -float(leaf.grad[1] @ texts[0])  # descent moves image 1 this far towards caption 0, which is its own
        assert (towards > 0) == pulled


def test_features_that_say_nothing_cost_log_n_and_perfect_ones_nothing() -> None:
    same = torch.ones(8, 4) / 2
    assert math.isclose(info_nce(same, same, torch.tensor(10.0)).item(), math.log(8), rel_tol=1e-5)
    assert info_nce(torch.eye(8), torch.eye(8), torch.tensor(100.0)).item() < 1e-6
