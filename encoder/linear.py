"""Matrix products in float32 by oneDNN, where the library that torch takes for them is slow.

torch multiplies float32 by MKL, which on processors that are not Intel's leaves half of what they can do unused. oneDNN
is part of torch as well, and does not. Small products stay as they are: they wait for the weights from memory.
"""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_ROWS = 128  # from which on it is faster


def use_fast_products(model: nn.Module) -> None:
    """Let the linear layers and attentions of a model that runs in float32 on this processor multiply by oneDNN."""
    if not is_mkl_slow():
        return
    for module in model.modules():
        if type(module) is nn.Linear:
            module.__class__ = _Linear
        elif type(module) is nn.MultiheadAttention and module._qkv_same_embed_dim and module.bias_k is None:
            module.__class__ = _Attention


@cache
def is_mkl_slow() -> bool:
    """Whether torch has both libraries, and this is an x86 processor that is not Intel's."""
    if not (torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()):  # type: ignore[no-untyped-call]
        return False
    cpuinfo = Path("/proc/cpuinfo")
    return "AuthenticAMD" in (cpuinfo.read_text() if cpuinfo.exists() else platform.processor())


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if torch.is_grad_enabled() or x.dtype != torch.float32 or x.numel() < _ROWS * x.shape[-1]:
        return F.linear(x, weight, bias)
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")  # type: ignore[no-any-return]


class _Linear(nn.Linear):
    """A linear layer, but for what multiplies."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        return _product(input, self.weight, self.bias)


class _Attention(nn.MultiheadAttention):
    """Attention of a sequence to itself, but for what multiplies."""

    def forward(self, query: Tensor, key: Tensor, value: Tensor, *more: Any, **options: Any) -> Any:
        mask = options.get("attn_mask")
        plain = options.keys() <= {"attn_mask", "need_weights"} and not (more or options.get("need_weights", True))
        alike = query is key is value and query.dim() == 3 and not self.training and not self.add_zero_attn
        if not (plain and alike) or (mask is not None and (mask.dim() != 2 or mask.dtype == torch.bool)):
            return super().forward(query, key, value, *more, **options)
        x = query if self.batch_first else query.transpose(0, 1)  # (n, L, width)
        n, length, width = x.shape
        mixed = _product(x, self.in_proj_weight, self.in_proj_bias).view(n, length, 3, self.num_heads, self.head_dim)
        q, k, v = mixed.permute(2, 0, 3, 1, 4)  # (n, heads, L, width of a head) each
        heads = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        out = _product(heads.transpose(1, 2).reshape(n, length, width), self.out_proj.weight, self.out_proj.bias)
        return out if self.batch_first else out.transpose(0, 1), None
