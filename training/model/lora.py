"""LoRA: trains a low-rank change of each matrix instead of the matrix, and merges it into a plain model.

The change is a torch parametrization: the module's `weight` becomes W + scale * B A wherever it is read. Attention
needs that. open_clip's towers use nn.MultiheadAttention, which, like ModifiedResNet's pooling and timm's EVA, reads raw
weights and never calls the layer that holds them, so adapters that wrap a layer's forward pass are passed by without a
word. The library peft wraps layers so; its special case for nn.MultiheadAttention counts the change of `out_proj` twice
with half the gradient (peft 0.21; huggingface/peft pull request 3774), which is why it is not used here.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from base.errors import InputError, TrainingError
from training.model.layers import layer_of, top_of


def add_lora(
    clip: nn.Module, rank: int, *, alpha: float | None = None, towers: Collection[str] = ("image", "text")
) -> int:
    """Adapt a model in place: freeze both towers, and let every attention and MLP matrix of their blocks change by B A.

    W' = W + (alpha / rank) B A with A (rank, in) random and B (out, rank) zero (Hu et al. 2021), so that it starts as
    the model it was. Seed torch before for the same A. Stem, top and norms stay as they are; logit_scale goes on
    training if it did. A convolution's (out, in, h, w) counts as a matrix (out, in * h * w).

    Args:
        clip: an open_clip model.
        rank: of the change; 4 to 64 are usual.
        alpha: how strongly the change counts. Default 2 * rank: with a fixed one, a higher rank would learn slower
            (Biderman et al. 2024, "LoRA Learns Less and Forgets Less").
        towers: which of "image" and "text" to adapt.

    Returns:
        How many matrices it adapted.

    Raises:
        InputError: rank or alpha is not positive.
        TrainingError: there is no such matrix.
    """
    if rank < 1:
        raise InputError(f"--lora {rank}: the rank must be at least 1")
    if alpha is not None and alpha <= 0:
        raise InputError(f"LoRA's alpha must be positive, not {alpha}")
    scale = 2.0 if alpha is None else alpha / rank
    layers = layer_of(clip)
    tops = top_of(layers)
    for name, parameter in clip.named_parameters():
        if layers[name][0] != "shared":
            parameter.requires_grad_(False)
    adapted = 0
    for name, module, key in list(_matrices(clip)):
        tower, depth = layers[name]
        if tower in towers and 0 < depth < tops[tower]:
            parametrize.register_parametrization(module, key, _LowRank(getattr(module, key), rank, scale))
            adapted += 1
    if not adapted:
        raise TrainingError(
            f"LoRA found no matrix to adapt in the blocks of {' or '.join(towers) or 'no tower'}; train without --lora"
        )
    return adapted


def merged(clip: nn.Module) -> nn.Module:
    """A plain copy with the changes added to the weights: same names and shapes as before `add_lora`, nothing to train.

    The model itself goes on as it is. A model without adapters is copied as well.
    """
    plain = copy.deepcopy(clip)
    for module in list(plain.modules()):
        if not parametrize.is_parametrized(module):
            continue
        assert isinstance(module.parametrizations, nn.ModuleDict)
        weights = {key: getattr(module, key).detach() for key in module.parametrizations}
        # Not remove_parametrizations: a deep copy shares its class with the original, which would lose its weight.
        module.__class__ = parametrize.type_before_parametrizations(module)
        del module.parametrizations
        for key, weight in weights.items():
            module.register_parameter(key, nn.Parameter(weight))
    return plain.requires_grad_(False)


class _LowRank(nn.Module):
    """weight -> weight + scale * B A."""

    def __init__(self, weight: Tensor, rank: int, scale: float) -> None:
        super().__init__()
        inputs = weight[0].numel()
        self.A = nn.Parameter(torch.randn(rank, inputs).mul_(inputs**-0.5).to(weight))
        self.B = nn.Parameter(weight.new_zeros(len(weight), rank))
        self.scale = scale

    def forward(self, weight: Tensor) -> Tensor:
        return weight + (self.B @ self.A).view_as(weight) * self.scale


def _matrices(clip: nn.Module) -> Iterator[tuple[str, nn.Module, str]]:
    """(parameter's name, module, name in it) of every matrix that multiplies features."""
    for path, module in clip.named_modules():
        multiplies = isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1)
        for key, _ in module.named_parameters(recurse=False):
            if (multiplies and key == "weight") or key.endswith("_proj_weight"):  # the latter of nn.MultiheadAttention
                yield f"{path}.{key}", module, key
