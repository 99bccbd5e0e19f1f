"""AdamW with decay groups, and the learning-rate schedule: linear warm-up, then half a cosine to zero."""

from __future__ import annotations

import math

import torch
from torch import nn

from training.model.layers import lr_scale_of

MAX_LOGIT_SCALE = math.log(100)  # CLIP, section 2.5: "clipped to prevent scaling the logits by more than 100"

LOOKED_UP = ("positional_embedding", "class_embedding", "token_embedding", "pos_embed", "cls_token", "word_embeddings")


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
    scales = lr_scale_of(clip, layer_decay)
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in clip.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((scales[name], _decays(name, parameter)), []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": groups[scale, decays],
                "weight_decay": weight_decay if decays else 0.0,
                "lr": lr * scale,
                "lr_scale": scale,
            }
            for scale, decays in sorted(groups, reverse=True)  # the fastest first, and of them the decayed
        ],
        lr=lr,
        betas=(0.9, 0.98),
        eps=1e-6,
        fused=True,
    )


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of the top layer, and with it that of every group of `adamw`."""
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
