"""torch's optimisers without its compiler, which they import when they are made, only to keep it away from a step.

That takes more than a second and 70 MB, and nobody here compiles one. What torch no longer wraps is taken as it is.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch

_of_torch: Any = torch.optim.Optimizer


class Lean:
    """What all of them do, as it is below the wrapping. To be mixed in before an optimiser of torch's."""

    add_param_group = inspect.unwrap(_of_torch.add_param_group)
    zero_grad = inspect.unwrap(_of_torch.zero_grad)
    state_dict = inspect.unwrap(_of_torch.state_dict)
    load_state_dict = inspect.unwrap(_of_torch.load_state_dict)


class AdamW(Lean, torch.optim.AdamW):
    """torch's."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.AdamW.step))
