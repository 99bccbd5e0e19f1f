"""Where images are left to ONNX Runtime: in float32 on AMD's processors, and where a GPU would not do it."""

from __future__ import annotations

import pytest

from encoder import processor

ZEN_3 = "vendor_id : AuthenticAMD\nflags : fma avx2\n"
ZEN_4 = "vendor_id : AuthenticAMD\nflags : fma avx2 avx512f avx512_bf16\n"
INTEL = "vendor_id : GenuineIntel\nflags : fma avx2\n"


@pytest.mark.parametrize(
    ("cpuinfo", "device", "precision", "expected"),
    [
        (ZEN_3, "auto", "auto", True),
        (ZEN_3, "cpu", "fp32", True),
        (ZEN_3, "cpu", "bf16", False),
        (ZEN_3, "cuda", "fp32", False),
        (ZEN_4, "auto", "auto", False),  # bf16
        (ZEN_4, "auto", "fp32", True),
        (INTEL, "auto", "auto", False),
        (INTEL, "cpu", "fp32", False),
        ("", "cpu", "fp32", False),
    ],
)
def test_who_runs_images(
    cpuinfo: str, device: str, precision: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processor, "_cpuinfo", lambda: cpuinfo)
    monkeypatch.setattr(processor, "_GPUS", ())
    assert processor.runs_exported_images(device, precision) is expected


def test_a_gpu_comes_first_where_the_device_is_left_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "_cpuinfo", lambda: ZEN_3)
    monkeypatch.setattr(processor, "_GPUS", ("null",))
    assert not processor.runs_exported_images("auto", "fp32")
    assert processor.runs_exported_images("cpu", "fp32")
