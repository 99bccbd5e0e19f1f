"""Where and in what precision a model runs."""

from __future__ import annotations

import torch

from base.errors import InputError, ModelError


def choose_device(device: str) -> torch.device:
    """The torch device for "auto" or a name.

    Raises:
        ModelError: no such device here.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f'device "{device}" cannot be used here ({reason}); try --device cpu') from error
    return chosen


def device_memory(device: torch.device) -> int | None:
    """Bytes of the memory of its own that a device has; None for one that takes the machine's."""
    return int(torch.cuda.get_device_properties(device).total_memory) if device.type == "cuda" else None


def choose_precision(precision: str, device: torch.device) -> str:
    """Resolve "auto" to "bf16" or "fp32"; take those two as they are.

    Raises:
        InputError: another word.
    """
    if precision in ("bf16", "fp32"):
        return precision
    if precision != "auto":
        raise InputError(f'precision "{precision}" is not known; choose auto, bf16 or fp32')
    return "bf16" if has_fast_bf16(device) else "fp32"


def has_fast_bf16(device: torch.device) -> bool:
    """Whether the processor multiplies bf16 matrices natively, and so faster than fp32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False
