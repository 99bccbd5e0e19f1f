"""InfoNCE against its formula, in float64, and its gradient."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F

from training.losses import info_nce


def by_formula(images: np.ndarray, texts: np.ndarray, scale: float) -> float:
    """Mean over both directions of -log softmax of the true pair, written out."""
    n = len(images)
    total = 0.0
    for i in range(n):
        row = [scale * float(images[i] @ texts[j]) for j in range(n)]
        column = [scale * float(texts[i] @ images[j]) for j in range(n)]
        total -= row[i] - math.log(sum(math.exp(v) for v in row))
        total -= column[i] - math.log(sum(math.exp(v) for v in column))
    return total / (2 * n)


def unit(n: int, dim: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(n, dim, dtype=torch.float64, generator=generator), dim=-1)


def test_it_is_the_formula() -> None:
    images, texts = unit(7, 5, 0), unit(7, 5, 1)
    ours = info_nce(images, texts, torch.tensor(14.3, dtype=torch.float64))
    assert math.isclose(ours.item(), by_formula(images.numpy(), texts.numpy(), 14.3), rel_tol=1e-12)


def test_the_gradient_is_right() -> None:
    images, texts = unit(4, 3, 2).requires_grad_(), unit(4, 3, 3).requires_grad_()
    scale = torch.tensor(5.0, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(info_nce, (images, texts, scale))


def test_features_that_say_nothing_cost_log_n_and_perfect_ones_nothing() -> None:
    same = torch.ones(8, 4) / 2
    assert math.isclose(info_nce(same, same, torch.tensor(10.0)).item(), math.log(8), rel_tol=1e-5)
    assert info_nce(torch.eye(8), torch.eye(8), torch.tensor(100.0)).item() < 1e-6
