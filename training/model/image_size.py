"""Another image size for a model than it has: its learned positions are stretched over the new grid, as open_clip does.

Larger pictures show more and cost more; a model that was trained at one size learns the new one in a short fine-tuning.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.nn.functional import interpolate

from base.errors import InputError
from encoder.model.load import ClipParts

RESNET_STRIDE = 32  # of CLIP's ResNets, whose last grid has positions


def set_image_size(parts: ClipParts, size: int) -> ClipParts:
    """The model for pictures of `size` x `size` pixels; takes it over.

    Raises:
        InputError: the image tower is of another kind, or its patches do not fill such a picture.
    """
    visual: Any = parts.clip.visual
    if hasattr(visual, "set_input_size"):  # timm's
        _of_timm(visual, size)
    elif hasattr(visual, "attnpool"):
        _check_multiple(size, RESNET_STRIDE)
        before = (side // RESNET_STRIDE for side in _two(visual.image_size))
        pool, grid = visual.attnpool, size // RESNET_STRIDE
        pool.positional_embedding = _stretched(pool.positional_embedding, tuple(before), grid)
        visual.image_size = size
    elif hasattr(visual, "grid_size") and visual.patch_size[0] == visual.patch_size[1]:
        patch = visual.patch_size[0]
        _check_multiple(size, patch)
        grid = size // patch
        visual.positional_embedding = _stretched(visual.positional_embedding, visual.grid_size, grid)
        visual.image_size, visual.grid_size = (size, size), (grid, grid)
    else:
        raise _cannot(size)
    config = parts.model_cfg | {"vision_cfg": parts.model_cfg["vision_cfg"] | {"image_size": size}}
    return replace(parts, model_cfg=config, preprocess=replace(parts.preprocess, size=size))


def _of_timm(visual: Any, size: int) -> None:
    """Convolutions take any size; a transformer's positions are refused, for open_clip's configs do not keep theirs."""
    before = {name: weight.shape for name, weight in visual.state_dict().items()}
    try:
        visual.set_input_size(size)
        if before != {name: weight.shape for name, weight in visual.state_dict().items()}:
            raise ValueError("positions of timm's")
        with torch.no_grad():
            visual.eval()(torch.zeros(1, 3, size, size))
    except Exception as error:  # timm's towers refuse in many ways
        raise _cannot(size) from error


def _stretched(positions: Parameter, before: tuple[int, ...], grid: int) -> Parameter:
    """Positions (1 + rows * columns, width), the class token's first, for a grid of `grid` x `grid`."""
    first, rest = positions.detach()[:1], positions.detach()[1:]
    cells: Tensor = rest.reshape(1, *before, -1).permute(0, 3, 1, 2)
    cells = interpolate(cells, size=(grid, grid), mode="bicubic", antialias=True, align_corners=False)
    stretched = torch.cat([first, cells.permute(0, 2, 3, 1).reshape(grid * grid, -1)])
    return Parameter(stretched, requires_grad=positions.requires_grad)


def _check_multiple(size: int, patch: int) -> None:
    if size % patch:
        below = size - size % patch
        near = f"{below} or {below + patch}" if below else f"{patch}"
        raise InputError(f"--image-size {size} is no multiple of the model's patch of {patch}; give {near}")


def _cannot(size: int) -> InputError:
    return InputError(f"--image-size {size}: the image tower of this model has the one size that it was made for")


def _two(size: Any) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else tuple(size)
