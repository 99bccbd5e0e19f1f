"""The optimisers with their groups, and the learning-rate schedule: linear warm-up, then half a cosine to zero."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from training.model.layers import layer_of, lr_scale_of, top_of
from training.model.lean_optim import AdamW
from training.model.muon import Muon, MuonAdamW

MAX_LOGIT_SCALE = math.log(100)  # CLIP, section 2.5: "clipped to prevent scaling the logits by more than 100"

LOOKED_UP = ("positional_embedding", "class_embedding", "token_embedding", "pos_embed", "cls_token", "word_embeddings")
BY_DISTANCE = ("relative_position_bias_table", "relative_attention_bias", "rel_pos_h", "rel_pos_w")  # inside of blocks

Optimizer = torch.optim.Optimizer | MuonAdamW


def adamw(clip: nn.Module, *, lr: float, weight_decay: float, layer_decay: float = 1.0) -> torch.optim.AdamW:
    """AdamW with CLIP's betas and eps (table 19); decay only on matrices that multiply features.

    Gains, biases, the logit_scale, and what is looked up are not pulled towards zero: positions, classes, and tokens,
    of which most do not occur in a batch. Frozen
    parameters are left out. Each group carries its "lr_scale", which `set_lr` multiplies by.

    Args:
        clip: an open_clip model.
        lr: of the top layer.
        weight_decay: of the matrices.
        layer_decay: how much slower each layer learns than the one above it; see `training.model.layers.lr_scale_of`.
    """
    return _adamw(_groups(clip, _learning(clip), lr, weight_decay, layer_decay), lr)


def muon_adamw(
    clip: nn.Module, *, lr: float, weight_decay: float, layer_decay: float = 1.0, dtype: torch.dtype = torch.float32
) -> Optimizer:
    """Muon for the matrices of the hidden layers, and `adamw` for all else; alone where no layer is hidden.

    Hidden is what lies between the stem and the top of a tower: what is looked up, the first convolutions and the last
    projection are no maps from features to features, and do better without (Jordan et al. 2024).

    Args:
        clip: as `adamw`.
        lr: likewise, of both.
        weight_decay: likewise.
        layer_decay: likewise.
        dtype: of Muon's products.
    """
    layers = layer_of(clip)
    tops = top_of(layers)
    learning = _learning(clip)
    hidden = {
        name: parameter
        for name, parameter in learning.items()
        if _decays(name, parameter)
        and not name.removesuffix(".weight").endswith(BY_DISTANCE)
        and 0 < layers[name][1] < tops[layers[name][0]]
    }
    if not hidden:
        return adamw(clip, lr=lr, weight_decay=weight_decay, layer_decay=layer_decay)
    others = {name: parameter for name, parameter in learning.items() if name not in hidden}
    muon = Muon(_groups(clip, hidden, lr, weight_decay, layer_decay), lr=lr, weight_decay=weight_decay, dtype=dtype)
    return MuonAdamW(muon, _adamw(_groups(clip, others, lr, weight_decay, layer_decay), lr))


def _adamw(groups: list[dict[str, Any]], lr: float) -> torch.optim.AdamW:
    return AdamW(groups, lr=lr, betas=(0.9, 0.98), eps=1e-6, fused=True)


def _learning(clip: nn.Module) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in clip.named_parameters() if parameter.requires_grad}


def _groups(
    clip: nn.Module, parameters: dict[str, nn.Parameter], lr: float, weight_decay: float, layer_decay: float
) -> list[dict[str, Any]]:
    """The parameters by how fast they learn and whether they decay."""
    scales = lr_scale_of(clip, layer_decay)
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in parameters.items():
        groups.setdefault((scales[name], _decays(name, parameter)), []).append(parameter)
    return [
        {
            "params": groups[scale, decays],
            "weight_decay": weight_decay if decays else 0.0,
            "lr": lr * scale,
            "lr_scale": scale,
        }
        for scale, decays in sorted(groups, reverse=True)  # the fastest first, and of them the decayed
    ]


def set_lr(optimizer: Optimizer, lr: float) -> None:
    """Set the learning rate of the top layer, and with it that of every group."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_scale"]


def lr_at(step: int, *, peak: float, warmup_steps: int, total_steps: int) -> float:
    """The learning rate of optimiser step `step`, counted from 0."""
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return peak * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def clamp_logit_scale(clip: nn.Module) -> None:
    """Keep the logarithm of the scale within [0, ln 100]."""
    with torch.no_grad():
        clip.logit_scale.clamp_(0, MAX_LOGIT_SCALE)  # type: ignore[operator]


def _decays(name: str, parameter: nn.Parameter) -> bool:
    return parameter.ndim >= 2 and not name.removesuffix(".weight").endswith(LOOKED_UP)
