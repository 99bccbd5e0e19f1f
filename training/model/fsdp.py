"""A model spread over the processes of a run, for towers too large for one device: torch's FSDP2, nothing of our own.

Each process keeps its part of every weight, gradient and optimiser state, and gathers a block when it computes it
(Zhao et al. 2023, "PyTorch FSDP"). Without `--fsdp` every process keeps the whole model. What it takes of torch is
imported where it is used: half a second that no other run has to wait for.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def shard(towers: nn.Module, device: torch.device) -> None:
    """Spread a model in place, block by block. Make its optimiser afterwards: the parameters are others then.

    Scalars (logit_scale, logit_bias) cannot be cut and stay whole; `average_whole_gradients` looks after them.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    whole = {parameter for parameter in towers.parameters() if parameter.ndim == 0}
    for blocks in [module for module in towers.modules() if isinstance(module, nn.ModuleList)]:
        for block in blocks:
            fully_shard(block, mesh=mesh)
    fully_shard(towers, mesh=mesh, ignored_params=whole)
    for parameter in whole:
        parameter.data = parameter.data.to(device)


def average_whole_gradients(towers: nn.Module) -> None:
    """The mean over processes of the gradients that FSDP does not know of, as it takes it of the others."""
    from torch.distributed.tensor import DTensor

    for parameter in towers.parameters():
        if not isinstance(parameter, DTensor) and parameter.grad is not None:
            dist.all_reduce(parameter.grad)
            parameter.grad /= dist.get_world_size()


def whole_weights(clip: nn.Module) -> dict[str, Any]:
    """The state dict of a model on the CPU of the first process, empty elsewhere; all must call it."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    return get_model_state_dict(clip, options=StateDictOptions(full_state_dict=True, cpu_offload=True))


def whole_state(clip: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Model and optimiser for `load_whole_state`, as `whole_weights`. An optimiser without a step yet has no state."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_optimizer_state_dict

    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    stepped = get_optimizer_state_dict(clip, optimizer, options=options) if optimizer.state else None
    return {"model": whole_weights(clip), "optimizer": stepped}


def load_whole_state(clip: nn.Module, optimizer: torch.optim.Optimizer, content: dict[str, Any]) -> None:
    """Put `whole_state` back; every process gives the same content."""
    from torch.distributed.checkpoint.state_dict import (
        StateDictOptions,
        set_model_state_dict,
        set_optimizer_state_dict,
    )

    options = StateDictOptions(full_state_dict=True)
    set_model_state_dict(clip, content["model"], options=options)
    if content["optimizer"] is not None:
        set_optimizer_state_dict(clip, optimizer, content["optimizer"], options=options)


def whole(value: Tensor) -> Tensor:
    """A tensor that may be spread, gathered."""
    from torch.distributed.tensor import DTensor

    return value.full_tensor() if isinstance(value, DTensor) else value
