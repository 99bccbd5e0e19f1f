"""The last block for the class token alone: the vectors of the whole tower, and no other tower changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_world import TINY
from torch.utils._python_dispatch import TorchDispatchMode

from encoder.model.attention import CrossAttention, use_cross_attention
from encoder.model.last_block import run_last_block_for_class_token
from encoder.model.load import build_clip


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


class Strided(TorchDispatchMode):
    """Counts linear layers of rows that do not lie side by side, for which torch copies the weights again and again."""

    n = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.n += func is torch.ops.aten.linear.default and not args[0].is_contiguous()
        return func(*args, **kwargs or {})


def strided(clip: Any, images: torch.Tensor) -> int:
    with torch.inference_mode(), Strided() as products:
        clip.encode_image(images)
    return products.n


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("vision", [{}, {"attentional_pool": True, "attn_pooler_heads": 2, "attn_pooler_queries": 9}])
def test_tokens_that_look_at_others_copy_no_weights(vision: dict[str, Any], dtype: torch.dtype, tmp_path: Path) -> None:
    """Torch's own attention copied those of keys and values once for each token, for most of a block's time in bf16."""
    clip, images = tower(tmp_path, **vision).to(dtype), torch.randn(2, 3, 64, 64).to(dtype)
    run_last_block_for_class_token(clip)
    assert strided(clip, images) > 0  # as long as it does, a class of our own is needed
    whole = clip.encode_image(images)  # type: ignore[operator]
    use_cross_attention(clip)
    assert strided(clip, images) == 0
    fast = clip.encode_image(images)  # type: ignore[operator]
    assert torch.cosine_similarity(fast.float(), whole.float()).min() > 0.9999


@pytest.mark.parametrize("batch_first", [True, False])
def test_it_is_torchs_attention(batch_first: bool) -> None:
    torch.manual_seed(0)
    own = torch.nn.MultiheadAttention(64, 2, batch_first=batch_first).eval().requires_grad_(False)
    few, many = torch.randn(3, 1, 64), torch.randn(3, 7, 64)
    if not batch_first:
        few, many = few.transpose(0, 1), many.transpose(0, 1)
    expected = [own(few, many, many, need_weights=False)[0], own(many, many, many, need_weights=False)[0]]
    use_cross_attention(own)
    assert type(own) is CrossAttention
    found = [own(few, many, many, need_weights=False)[0], own(many, many, many, need_weights=False)[0]]
    assert all(torch.allclose(each, right, atol=1e-6) for each, right in zip(found, expected, strict=True))
