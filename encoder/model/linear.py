"""Matrix products in float32 by oneDNN, where the library that torch takes for them is slow.

torch multiplies float32 by MKL, which on processors that are not Intel's leaves half of what they can do unused. oneDNN
is part of torch as well, and does not. Small products stay as they are: they wait for the weights from memory.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoder.model.attention import attend
from encoder.processor import is_amd

_ROWS = 128  # from which on it is faster


def use_fast_products(model: nn.Module) -> None:
    """Let the linear layers and attentions of a model that runs in float32 on this processor multiply by oneDNN."""
    if not is_mkl_slow():
        return
    for module in model.modules():
        if type(module) is nn.Linear:
            module.__class__ = _Linear
        elif type(module) is nn.MultiheadAttention:
            module.__class__ = _Attention
        elif isinstance(module, nn.Sequential):
            for product, activation in pairwise(module):
                if type(product) is nn.Linear and type(activation) is nn.GELU:
                    product.__class__, activation.__class__ = _LinearGelu, _Done
                    vars(product)["approximate"] = activation.approximate


@cache
def is_mkl_slow() -> bool:
    """Whether torch has both libraries, and this is an x86 processor that is not Intel's."""
    if not (torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()):  # type: ignore[no-untyped-call]
        return False
    return is_amd()


def _is_large(x: Tensor) -> bool:
    return not torch.is_grad_enabled() and x.dtype == torch.float32 and x.numel() >= _ROWS * x.shape[-1]


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if not _is_large(x):
        return F.linear(x, weight, bias)
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")  # type: ignore[no-any-return]


class _Linear(nn.Linear):
    """A linear layer, but for what multiplies."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        return _product(input, self.weight, self.bias)


class _LinearGelu(nn.Linear):
    """A linear layer with the GELU that follows it, which oneDNN applies while the numbers are in a register."""

    approximate: str

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        if not _is_large(input):
            return F.gelu(F.linear(input, self.weight, self.bias), approximate=self.approximate)
        return torch.ops.mkldnn._linear_pointwise(  # type: ignore[no-any-return]
            input, self.weight, self.bias, "gelu", [], self.approximate
        )


class _Done(nn.GELU):
    """A GELU that was applied already."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        return input


class _Attention(nn.MultiheadAttention):
    """Attention, but for what multiplies."""

    def forward(self, query: Tensor, key: Tensor, value: Tensor, *more: Any, **options: Any) -> Any:
        return attend(self, query, key, value, *more, product=_product, **options)
