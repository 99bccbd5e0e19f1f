"""The attention of `nn.MultiheadAttention` in plain operations: for whoever multiplies otherwise, and for a trace.

torch's own picks among several ways as it runs, none of which lets products be replaced or holds in a trace for any
batch and any length. The way that it takes for tokens that look at others is slow besides: it turns them around first,
and a product of rows that do not lie side by side copies the weights once for each of a sequence's tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Product = Callable[[Tensor, Tensor, Tensor | None], Tensor]  # as `F.linear`: x, weight, bias
_forward = nn.MultiheadAttention.forward


class CrossAttention(nn.MultiheadAttention):
    """Attention that tokens pay to themselves in torch's own way, and to others in plain operations."""

    def forward(self, query: Tensor, key: Tensor, value: Tensor, *more: Any, **options: Any) -> Any:
        """As `nn.MultiheadAttention.forward`."""
        if query is key:
            return _forward(self, query, key, value, *more, **options)
        return attend(self, query.contiguous(), key, value, *more, **options)


def use_cross_attention(model: nn.Module) -> None:
    """Let the attentions of a model that are torch's own be fast where a few tokens look at many."""
    for module in model.modules():
        if type(module) is nn.MultiheadAttention:
            module.__class__ = CrossAttention


def attend(
    self: nn.MultiheadAttention,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *more: Any,
    product: Product = F.linear,
    **options: Any,
) -> Any:
    """In place of `nn.MultiheadAttention.forward`, for (n, L, width) or (L, n, width); torch's own for what is rare."""
    mask = options.get("attn_mask")
    asked = not more and options.keys() <= {"attn_mask", "need_weights"} and options.get("need_weights") is False
    built = self.bias_k is None and not self.add_zero_attn and not (self.training and self.dropout)
    if not (asked and built and query.dim() == 3) or (mask is not None and mask.dim() != 2):
        return _forward(self, query, key, value, *more, **options)
    q, k, v = (_heads(self, each) for each in _projected(self, query, key, value, product))
    if mask is not None and mask.dtype == torch.bool:
        mask = ~mask  # torch's two disagree on what True is
    mixed = F.scaled_dot_product_attention(q, k, v, mask, scale=self.head_dim**-0.5)  # (n, heads, L, width of a head)
    mixed = mixed.permute(0, 2, 1, 3) if self.batch_first else mixed.permute(2, 0, 1, 3)
    return product(mixed.flatten(2), self.out_proj.weight, self.out_proj.bias), None


def _projected(
    attention: nn.MultiheadAttention, query: Tensor, key: Tensor, value: Tensor, product: Product
) -> tuple[Tensor, ...]:
    """Queries, keys and values of all heads, in as few products as there are different inputs."""
    weight, bias = attention.in_proj_weight, attention.in_proj_bias
    if weight is not None and query is key is value:
        return product(query, weight, bias).chunk(3, dim=-1)
    if weight is not None and key is value:
        width = attention.embed_dim
        of_query, of_others = (None, None) if bias is None else (bias[:width], bias[width:])
        return product(query, weight[:width], of_query), *product(key, weight[width:], of_others).chunk(2, dim=-1)
    weights = (
        (attention.q_proj_weight, attention.k_proj_weight, attention.v_proj_weight)
        if weight is None
        else weight.chunk(3)
    )
    biases = (None, None, None) if bias is None else bias.chunk(3)
    return tuple(product(x, w, b) for x, w, b in zip((query, key, value), weights, biases, strict=True))


def _heads(attention: nn.MultiheadAttention, x: Tensor) -> Tensor:
    """Rows of all heads, batch first or not, to (n, heads, L, width of a head)."""
    x = x.view(*x.shape[:2], attention.num_heads, attention.head_dim)
    return x.permute(0, 2, 1, 3) if attention.batch_first else x.permute(1, 2, 0, 3)
