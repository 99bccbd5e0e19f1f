"""Products by oneDNN: the same vectors as by torch's own, and a model that can still be trained."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from encoder.model import linear
from encoder.model.load import build_clip

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch was built without oneDNN")


@pytest.fixture
def clip(tiny_config: Path, monkeypatch: pytest.MonkeyPatch) -> torch.nn.Module:
    """A model with fast products, as on a processor where they pay."""
    monkeypatch.setattr(linear, "is_mkl_slow", lambda: True)
    torch.manual_seed(0)
    model = build_clip(tiny_config).clip.eval()
    linear.use_fast_products(model)
    return model


@pytest.mark.parametrize("n", [1, 40])  # below the rows from which on oneDNN multiplies, and above
def test_vectors_are_those_of_torchs_own_products(
    clip: torch.nn.Module, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, tokens = torch.randn(n, 3, 32, 32), torch.randint(1, 49_000, (n, 77))
    with torch.inference_mode():
        fast = clip.encode_image(images), clip.encode_text(tokens)
        monkeypatch.setattr(linear._Attention, "forward", torch.nn.MultiheadAttention.forward)
        monkeypatch.setattr(linear._Linear, "forward", torch.nn.Linear.forward)
        monkeypatch.setattr(linear._LinearGelu, "forward", torch.nn.Linear.forward)
        monkeypatch.setattr(linear._Done, "forward", torch.nn.GELU.forward)
        plain = clip.encode_image(images), clip.encode_text(tokens)
    for ours, theirs in zip(fast, plain, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)


def test_large_products_go_by_onednn_and_small_ones_do_not(clip: torch.nn.Module) -> None:
    def products(n: int) -> set[str]:
        with torch.inference_mode(), torch.profiler.profile() as profile:
            clip.encode_image(torch.randn(n, 3, 32, 32))
        return {event.name for event in profile.events() if "linear" in event.name}

    assert any("mkldnn" in name for name in products(40))
    assert not any("mkldnn" in name for name in products(1))


@pytest.mark.parametrize("approximate", ["none", "tanh"])
@pytest.mark.parametrize("rows", [1, 200])
def test_a_gelu_is_applied_once_and_as_it_was(approximate: str, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "is_mkl_slow", lambda: True)
    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Linear(32, 64), torch.nn.GELU(approximate), torch.nn.Linear(64, 32))
    x = torch.randn(rows, 32)
    with torch.inference_mode():
        plain = layers(x)
        linear.use_fast_products(layers)
        assert torch.allclose(layers(x), plain, atol=1e-6)
    assert torch.allclose(layers(x), plain, atol=1e-6)  # and where gradients are wanted


def test_gradients_still_flow(clip: torch.nn.Module) -> None:
    clip.encode_image(torch.randn(16, 3, 32, 32)).sum().backward()
    assert all(p.grad is not None for p in clip.visual.parameters())
