"""What this machine computes with, as far as Linux tells it without torch; elsewhere nothing is known."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

_GPUS = ("nvidiactl", "kfd", "dxg")  # devices of NVIDIA's, AMD's and Windows' drivers


@cache
def _cpuinfo() -> str:
    file = Path("/proc/cpuinfo")
    return file.read_text() if file.exists() else ""


def is_amd() -> bool:
    """Whether this is an x86 processor of AMD's."""
    return "AuthenticAMD" in (_cpuinfo() or platform.processor())


def runs_exported_images(device: str, precision: str) -> bool:
    """Whether ONNX Runtime is as fast as torch with images here, given what a user said of both.

    That is so in float32 on processors of AMD's, with AVX2 and with AVX-512, and only there is it known.
    """
    if device not in ("auto", "cpu") or precision not in ("auto", "fp32") or not (is_amd() and _cpuinfo()):
        return False
    if device == "auto" and any(Path("/dev", name).exists() for name in _GPUS):
        return False
    return precision == "fp32" or "avx512_bf16" not in _cpuinfo()
