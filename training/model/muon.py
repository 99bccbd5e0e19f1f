"""Muon: momentum whose every matrix is made orthogonal, for hidden layers that begin with random weights.

A gradient of a matrix is much larger along a few directions than along the others. Orthogonal, the step goes as far
along all of them, so that rare ones are learned too (Jordan et al. 2024, "Muon: an optimizer for hidden layers in
neural networks"). Its learning rate is 20 times AdamW's, so that one number says both: 0.02 beside 0.001.
torch.optim.Muon takes no convolutions.

What is no hidden matrix learns by AdamW beside it (`training.model.optim`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from training.model.lean_optim import Lean

MOMENTUM = 0.95
STEPS = 5
COEFFICIENTS = (3.4445, -4.775, 2.0315)  # steepest at zero, so that five steps bring all but the smallest to about one
SCALE = 20.0  # of its learning rate, to that which AdamW has beside it


class Muon(Lean, torch.optim.Optimizer):
    """Over matrices and convolutions; a convolution (out, in, h, w) counts as a matrix (out, in * h * w)."""

    def __init__(self, groups: Iterable[dict[str, Any]], *, lr: float, weight_decay: float, dtype: torch.dtype) -> None:
        """Take groups as torch's optimisers do.

        Args:
            groups: each with "params" of two dimensions or more.
            lr: of AdamW, where a group names none.
            weight_decay: likewise.
            dtype: of the products; bfloat16 suffices.
        """
        super().__init__(groups, {"lr": lr, "weight_decay": weight_decay})
        self._dtype = dtype

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            alike: dict[torch.Size, list[nn.Parameter]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    alike.setdefault(parameter.shape, []).append(parameter)
            for shape, parameters in alike.items():
                rows, columns = shape[0], shape[1:].numel()
                updates = torch.stack([self._update(parameter) for parameter in parameters]).view(-1, rows, columns)
                size = group["lr"] * SCALE * max(1, rows / columns) ** 0.5
                for parameter, update in zip(parameters, orthogonal(updates, self._dtype), strict=True):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.add_(update.view(shape).to(parameter), alpha=-size)

    def _update(self, parameter: nn.Parameter) -> Tensor:
        """The gradient with Nesterov's momentum."""
        gradient = parameter.grad
        assert gradient is not None
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        state["momentum"].lerp_(gradient, 1 - MOMENTUM)
        return gradient.lerp(state["momentum"], MOMENTUM)


class MuonAdamW:
    """Two optimisers as one: what is done to it is done to both."""

    def __init__(self, muon: Muon, adamw: torch.optim.AdamW) -> None:
        self.parts = (muon, adamw)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Those of both, for `set_lr`."""
        return [group for part in self.parts for group in part.param_groups]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """As torch's."""
        for part in self.parts:
            part.zero_grad(set_to_none=set_to_none)

    def step(self) -> None:
        """As torch's."""
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """That of each, by its place."""
        return {str(place): part.state_dict() for place, part in enumerate(self.parts)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put a `state_dict` back; raises what torch does when it is of other parameters."""
        for place, part in enumerate(self.parts):
            part.load_state_dict(state[str(place)])


def orthogonal(matrices: Tensor, dtype: torch.dtype) -> Tensor:
    """The nearest matrices (k, rows, columns) with singular values of about one, 0.7 to 1.2, in `dtype`.

    By Newton and Schulz's iteration, in products alone; of the columns or the rows, whichever are fewer.
    """
    a, b, c = COEFFICIENTS
    x = matrices / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)
    tall = x.shape[1] > x.shape[2]
    x = (x.mT if tall else x).to(dtype)
    for _ in range(STEPS):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    result: Tensor = x.mT if tall else x
    return result
