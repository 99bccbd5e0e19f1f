"""The last block for the class token alone: the vectors of the whole tower, and no other tower changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from encoder.model.last_block import run_last_block_for_class_token
from encoder.model.load import build_clip
from tests.conftest import TINY


def tower(folder: Path, **vision: Any) -> torch.nn.Module:
    """A small model with these changes to its image tower, every number in it moved."""
    vit = {"layers": 2, "width": 64, "head_width": 32, "patch_size": 16, "image_size": 64}
    (folder / "config.json").write_text(json.dumps(TINY | {"vision_cfg": vit | vision}))
    torch.manual_seed(0)
    clip = build_clip(folder / "config.json").clip.eval().requires_grad_(False)
    for parameter in clip.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.05)
    return clip


def positions(clip: Any, images: torch.Tensor) -> int:
    """How many tokens the last block gives."""
    seen: list[int] = []
    with clip.visual.transformer.resblocks[-1].mlp.register_forward_hook(lambda *given: seen.append(given[2].shape[1])):
        clip.encode_image(images)
    return seen[0]


@pytest.mark.parametrize("vision", [{}, {"layers": 1}, {"ls_init_value": 0.5}, {"final_ln_after_pool": True}])
def test_the_class_token_alone_gives_the_same_vectors(vision: dict[str, Any], tmp_path: Path) -> None:
    clip, images = tower(tmp_path, **vision), torch.randn(5, 3, 64, 64)
    whole = clip.encode_image(images)  # type: ignore[operator]
    assert positions(clip, images) == 17
    run_last_block_for_class_token(clip)
    assert torch.allclose(clip.encode_image(images), whole, atol=1e-5)  # type: ignore[operator]
    assert positions(clip, images) == 1


@pytest.mark.parametrize("vision", [{"pool_type": "avg"}, {"attentional_pool": True, "attn_pooler_heads": 2}])
def test_a_tower_that_needs_all_tokens_keeps_them(vision: dict[str, Any], tmp_path: Path) -> None:
    clip, images = tower(tmp_path, **vision), torch.randn(5, 3, 64, 64)
    whole = clip.encode_image(images)  # type: ignore[operator]
    run_last_block_for_class_token(clip)
    assert torch.equal(clip.encode_image(images), whole)  # type: ignore[operator]
    assert positions(clip, images) == 17
