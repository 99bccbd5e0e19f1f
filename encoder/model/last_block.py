"""The last block of an image tower, run for the one token that becomes the vector.

A vision transformer that pools its class token throws away what its last block makes of all the others. They are still
asked for their keys and values; queries, the rest of the block and the last norm are for one token of fifty or more.
The same vectors, for a twelfth of the work less where there are twelve blocks.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor, nn

from encoder.model.lean_open_clip import open_clip


def run_last_block_for_class_token(clip: nn.Module) -> None:
    """Have an image tower do so, where it is open_clip's own and pools its class token; others stay as they are."""
    visual: Any = clip.visual
    if type(visual) is not open_clip.transformer.VisionTransformer or visual.attn_pool is not None:
        return
    block = visual.transformer.resblocks[-1]
    if (
        visual.pool_type == "tok"
        and not visual.output_tokens
        and visual.transformer.batch_first
        and type(block) is open_clip.transformer.ResidualAttentionBlock
    ):
        block.forward = partial(_for_first_token, block)


def _for_first_token(block: Any, tokens: Tensor, attn_mask: None = None) -> Tensor:  # noqa: ARG001  images have none
    """`ResidualAttentionBlock.forward`: tokens (n, L, width) to (n, 1, width)."""
    seen = block.ln_1(tokens)
    mixed, _ = block.attn(seen[:, :1], seen, seen, need_weights=False)
    first = tokens[:, :1] + block.ls_1(mixed)
    return first + block.ls_2(block.mlp(block.ln_2(first)))  # type: ignore[no-any-return]
