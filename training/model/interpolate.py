"""WiSE-FT: weights between the model a run started from and the one it ended with. Knows state dicts only.

On the line between both, what was learned and what was known before are often both better kept than at either end
(Wortsman et al. 2022, "Robust fine-tuning of zero-shot models").
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from base.errors import InputError, TrainingError
from training.evaluation.metrics import selection_score

ALPHAS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


class Sweep(NamedTuple):
    """What a sweep found."""

    alpha: float  # the best
    table: list[dict[str, float | None]]  # {"alpha", "score", "validation", "probe"} of each, alpha rising
    weights: dict[str, Tensor]  # at the best


def interpolate(start: Mapping[str, Tensor], tuned: Mapping[str, Tensor], alpha: float) -> dict[str, Tensor]:
    """(1 - alpha) * start + alpha * tuned, of every tensor, on the device of `tuned`.

    Floats are mixed in fp32 and cast back; integers, which count things, are those of `tuned`. At 0 and 1 it is the
    start and the tuned one bit for bit, sharing their memory.

    Raises:
        InputError: alpha outside 0 to 1.
        TrainingError: the two are not of one architecture.
    """
    if not 0 <= alpha <= 1:
        raise InputError(f"alpha must be between 0 and 1, not {alpha}")
    if odd := sorted(start.keys() ^ tuned.keys()):
        raise TrainingError(f"cannot mix two models: only one of them has {odd[0]}; both must be of one architecture")
    for name, tensor in start.items():
        if tensor.shape != tuned[name].shape:
            raise TrainingError(
                f"cannot mix two models: {name} is {tuple(tensor.shape)} in one and {tuple(tuned[name].shape)} in the "
                "other; both must be of one architecture"
            )
    if alpha in (0, 1):
        return dict(tuned if alpha else start)
    return {name: _mix(start[name].to(tensor.device), tensor, alpha) for name, tensor in tuned.items()}


def sweep(
    start: Mapping[str, Tensor],
    tuned: Mapping[str, Tensor],
    evaluate: Callable[[dict[str, Tensor]], tuple[float, float | None]],
    alphas: Sequence[float] = ALPHAS,
) -> Sweep:
    """Measure the weights at each alpha and choose the best.

    The score is that on the validation set, or its mean with that on the probe where there is one. Of equal scores the
    smaller alpha wins: it is closer to the start. A score that is not a number never does.

    Args:
        start: the weights that the run started from.
        tuned: those of its best epoch.
        evaluate: weights to (score on the validation set, score on the probe or None); higher is better.
        alphas: what to try.

    Raises:
        InputError, TrainingError: as `interpolate`.
    """
    table: list[dict[str, float | None]] = []
    best, best_score = min(alphas), -math.inf
    for alpha in sorted(alphas):
        validation, probe = evaluate(interpolate(start, tuned, alpha))
        score = selection_score(validation, probe)
        table.append({"alpha": alpha, "score": score, "validation": validation, "probe": probe})
        if score > best_score:
            best, best_score = alpha, score
    return Sweep(best, table, interpolate(start, tuned, best))


def _mix(start: Tensor, tuned: Tensor, alpha: float) -> Tensor:
    if not tuned.is_floating_point():
        return tuned
    return torch.lerp(start.float(), tuned.float(), alpha).to(tuned.dtype)
