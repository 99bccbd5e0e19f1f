"""WiSE-FT: what lies between two models, and which of it is chosen."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from base.errors import InputError, TrainingError
from training.model.interpolate import interpolate, sweep


def weights(seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "w": torch.randn(3, 4, generator=generator) * 1e-3,
        "zero": torch.tensor([-0.0, 0.0]),
        "half": torch.randn(5, generator=generator).bfloat16(),
        "count": torch.tensor(seed),
    }


def same_bits(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(
        a[name].dtype == b[name].dtype
        and torch.equal(a[name].view(-1).view(torch.uint8), b[name].view(-1).view(torch.uint8))
        for name in a
    )


def test_the_ends_are_the_two_models_bit_for_bit() -> None:
    start, tuned = weights(1), weights(2)
    tuned["zero"] = -tuned["zero"]
    assert same_bits(interpolate(start, tuned, 0.0), start)
    assert same_bits(interpolate(start, tuned, 1.0), tuned)
    assert not same_bits(start, tuned)


@given(st.floats(0.01, 0.99))
def test_between_them_floats_lie_on_the_line_and_counts_are_the_tuned_ones(alpha: float) -> None:
    start, tuned = weights(1), weights(2)
    mixed = interpolate(start, tuned, alpha)
    expected = (1 - alpha) * start["w"].double() + alpha * tuned["w"].double()
    torch.testing.assert_close(mixed["w"].double(), expected, rtol=0, atol=1e-9)
    half = ((1 - alpha) * start["half"].double() + alpha * tuned["half"].double()).float()
    assert mixed["half"].dtype == torch.bfloat16
    torch.testing.assert_close(mixed["half"].float(), half, rtol=2**-8, atol=1e-6)  # rounded once
    wide = interpolate(start | {"half": start["half"].float()}, tuned, alpha)  # a start in another precision
    assert torch.equal(wide["half"], mixed["half"])
    assert mixed["count"] == 2


def test_models_of_two_architectures_cannot_be_mixed() -> None:
    start = weights(1)
    with pytest.raises(TrainingError, match="only one of them has half"):
        interpolate(start, {name: tensor for name, tensor in start.items() if name != "half"}, 0.5)
    with pytest.raises(TrainingError, match=r"w is \(3, 4\) in one and \(4, 3\) in the other"):
        interpolate(start, start | {"w": start["w"].T}, 0.5)
    with pytest.raises(InputError, match="between 0 and 1"):
        interpolate(start, start, 1.2)


@pytest.mark.parametrize(
    ("validation", "probe", "best"),
    [
        ({0.0: 1, 0.5: 3, 1.0: 2}, None, 0.5),
        ({0.0: 1, 0.5: 2, 1.0: 2}, None, 0.5),  # equal scores: closer to the start
        ({0.0: 2, 0.5: 2, 1.0: 2}, None, 0.0),
        ({0.0: 1, 0.5: 3, 1.0: 4}, {0.0: 9, 0.5: 8, 1.0: 1}, 0.5),  # better by validation alone: 1
        ({0.0: math.nan, 0.5: 1, 1.0: math.nan}, None, 0.5),
    ],
)
def test_the_best_alpha_is_chosen_by_validation_and_probe(
    validation: dict[float, float], probe: dict[float, float] | None, best: float
) -> None:
    start, tuned = {"w": torch.zeros(1)}, {"w": torch.ones(1)}

    def evaluate(weights: dict[str, Tensor]) -> tuple[float, float | None]:
        alpha = weights["w"].item()
        return validation[alpha], probe[alpha] if probe else None

    found = sweep(start, tuned, evaluate, alphas=(1.0, 0.0, 0.5))
    assert found.alpha == best
    assert found.weights["w"].item() == best
    assert [row["alpha"] for row in found.table] == [0.0, 0.5, 1.0]
    for row in found.table:
        alpha = row["alpha"]
        assert alpha is not None
        expected = validation[alpha] if probe is None else (validation[alpha] + probe[alpha]) / 2
        assert row == pytest.approx(
            {
                "alpha": alpha,
                "score": expected,
                "validation": validation[alpha],
                "probe": probe[alpha] if probe else None,
            },
            nan_ok=True,
        )
