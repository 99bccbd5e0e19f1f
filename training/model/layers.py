"""Where each parameter of a dual encoder stands: in which tower, and how deep. Locks layers and slows them by depth.

Works on names alone, so that open_clip's own towers, timm's and Hugging Face's need no class of their own here.
"""

from __future__ import annotations

import re
from typing import Literal

from torch import nn

from base.errors import InputError

Tower = Literal["image", "text", "shared"]

SHARED = ("logit_scale", "logit_bias")
_STEM, _TOP = -1, 10_000  # below and above every number of a block
# The first row that is found in a name decides; what is in none (embeddings, class tokens, first norms) is the stem.
_POSITIONS = (
    (re.compile(r"\b(patch_embed|embeddings?|stem)\b"), _STEM),  # a patch embedding may be a network with stages
    (re.compile(r"\b(?:resblocks|blocks?|stages|layers?)\.?(\d+)\b"), None),  # the number says it
    (re.compile(r"\b(proj|text_projection|head|pooler|attn_?pool|norm|fc_norm|ln_post|ln_final|final_\w+)\b"), _TOP),
)


def layer_of(clip: nn.Module) -> dict[str, tuple[Tower, int]]:
    """The tower and the depth of every parameter, by name.

    Depth 0 is the stem: patch and token embeddings, positions, first norms. Then comes one depth a block of a
    transformer or a stage of a convolutional network. The last is the top: final norm, pooling and projection. The
    parameters of neither tower (logit_scale, logit_bias) are "shared", at depth 0.
    """
    places = {name: (_tower(name), _position(name)) for name, _ in clip.named_parameters()}
    positions = {tower: sorted({p for t, p in places.values() if t == tower}) for tower in ("image", "text", "shared")}
    return {name: (tower, positions[tower].index(position)) for name, (tower, position) in places.items()}


def top_of(layers: dict[str, tuple[Tower, int]]) -> dict[Tower, int]:
    """The depth of each tower's last layer."""
    tops: dict[Tower, int] = {}
    for tower, depth in layers.values():
        tops[tower] = max(depth, tops.get(tower, 0))
    return tops


def lock(clip: nn.Module, tower: Literal["image", "text"], unlocked_groups: int = 0) -> None:
    """Freeze a tower but for its last layers (locked-image tuning, Zhai et al. 2022, "LiT").

    Freezing is `requires_grad` False; train with `set_mode`, so that what is frozen also keeps its statistics.

    Args:
        clip: an open_clip model.
        tower: which one.
        unlocked_groups: how many layers stay trainable, counted from the top; a layer is a depth of `layer_of`.

    Raises:
        InputError: more layers than the tower has.
    """
    layers = layer_of(clip)
    top = top_of(layers)[tower]
    if not 0 <= unlocked_groups <= top + 1:
        raise InputError(
            f"--unlocked-groups {unlocked_groups}: the {tower} tower has {top + 1} layers from stem to projection; "
            f"give 0 to {top + 1}"
        )
    for name, parameter in clip.named_parameters():
        if layers[name][0] == tower and layers[name][1] <= top - unlocked_groups:
            parameter.requires_grad_(False)


def set_mode(clip: nn.Module) -> None:
    """Training mode, but evaluation mode for every module that has parameters and all of them frozen.

    So a locked tower computes what it will compute when it is used: batch norms keep their statistics, nothing drops.
    """
    clip.train()
    for module in clip.modules():
        trainable = [parameter.requires_grad for parameter in module.parameters()]
        if trainable and not any(trainable):
            module.eval()


def lr_scale_of(clip: nn.Module, decay: float) -> dict[str, float]:
    """Layer-wise learning-rate decay: what the learning rate of each parameter is multiplied by, by name.

    decay ** (top - depth) within each tower, so that its top learns at the full rate and each layer below it slower
    (Clark et al. 2020, "ELECTRA"; Bao et al. 2021, "BEiT"); 1 for what is in neither tower.
    """
    layers = layer_of(clip)
    tops = top_of(layers)
    return {name: decay ** (tops[tower] - depth) for name, (tower, depth) in layers.items()}


def count_trainable(clip: nn.Module) -> int:
    """How many numbers training may change."""
    return sum(parameter.numel() for parameter in clip.parameters() if parameter.requires_grad)


def _tower(name: str) -> Tower:
    if name in SHARED:
        return "shared"
    return "image" if name.startswith("visual.") else "text"  # CLIP keeps its text tower on itself


def _position(name: str) -> int:
    if name in SHARED:
        return 0
    for pattern, position in _POSITIONS:
        if found := pattern.search(name):
            return int(found[1]) if position is None else position
    return _STEM
