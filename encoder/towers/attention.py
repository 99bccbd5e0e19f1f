"""torch's attention written so that a trace of it holds for any batch and any length."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_forward = nn.MultiheadAttention.forward


def plain_attention(
    self: nn.MultiheadAttention, query: Tensor, key: Tensor, value: Tensor, *more: Any, **options: Any
) -> Any:
    """In place of `nn.MultiheadAttention.forward` while a tower is traced: (n, L, width), or (L, n, width)."""
    mask = options.pop("attn_mask", None)
    options.pop("need_weights", None)
    plain = not (more or options) and self.bias_k is None and not self.add_zero_attn and query.dim() == 3
    if not plain or (mask is not None and mask.dim() != 2):
        return _forward(self, query, key, value, *more, **(options | {"attn_mask": mask, "need_weights": False}))
    q, k, v = (_heads(self, each) for each in _projected(self, query, key, value))
    scores = q @ k.transpose(-1, -2) / self.head_dim**0.5  # (n, heads, L, S)
    if mask is not None:
        scores = scores.masked_fill(mask, float("-inf")) if mask.dtype == torch.bool else scores + mask
    mixed = scores.softmax(dim=-1) @ v  # (n, heads, L, width of a head)
    mixed = mixed.permute(0, 2, 1, 3) if self.batch_first else mixed.permute(2, 0, 1, 3)
    return self.out_proj(mixed.reshape(mixed.shape[0], mixed.shape[1], self.embed_dim)), None


def _projected(attention: nn.MultiheadAttention, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, ...]:
    weight, bias = attention.in_proj_weight, attention.in_proj_bias
    if query is key and key is value:
        return F.linear(query, weight, bias).chunk(3, dim=-1)
    weights = (
        (attention.q_proj_weight, attention.k_proj_weight, attention.v_proj_weight)
        if weight is None
        else weight.chunk(3)
    )
    biases = (None, None, None) if bias is None else bias.chunk(3)
    return tuple(F.linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases, strict=True))


def _heads(attention: nn.MultiheadAttention, x: Tensor) -> Tensor:
    """Rows of all heads, batch first or not, to (n, heads, L, width of a head)."""
    x = x.reshape(x.shape[0], x.shape[1], attention.num_heads, attention.head_dim)
    return x.permute(0, 2, 1, 3) if attention.batch_first else x.permute(1, 2, 0, 3)
