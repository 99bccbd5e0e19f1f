"""AdamW with decay groups, and the learning-rate schedule: linear warm-up, then half a cosine to zero."""

from __future__ import annotations

import math

import torch
from torch import nn

MAX_LOGIT_SCALE = math.log(100)  # CLIP, section 2.5: "clipped to prevent scaling the logits by more than 100"


def adamw(clip: nn.Module, *, lr: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW with CLIP's betas and eps (table 19); decay only on matrices that multiply features.

    Gains, biases, embeddings of positions and classes, and the logit_scale are not pulled towards zero.
    """
    named = [(name, p) for name, p in clip.named_parameters() if p.requires_grad]
    decayed = [p for name, p in named if _decays(name, p)]
    kept = [p for name, p in named if not _decays(name, p)]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": kept, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98), eps=1e-6, fused=True)


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
    kept = ("positional_embedding", "class_embedding", "pos_embed", "cls_token")  # open_clip's names, then timm's
    return parameter.ndim >= 2 and not name.endswith(kept)
