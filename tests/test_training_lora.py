"""LoRA over the architectures: starts as the model it adapts, really learns, merges into the same model made plain."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_world import plain_picture
from torch import Tensor, nn

from base.errors import InputError, TrainingError
from encoder.model.dual_encoder import DualEncoder
from encoder.model.load import ClipParts, build_clip, fingerprint
from encoder.model.text import TextTower
from training.model.layers import count_trainable, set_mode
from training.model.lora import add_lora, merged
from training.model.optim import adamw

TEXT = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
VIT = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8}
CONFIGS: dict[str, dict[str, Any]] = {
    "vit": {"vision_cfg": VIT, "text_cfg": TEXT},
    "custom-text": {
        "custom_text": True,
        "vision_cfg": VIT,
        "text_cfg": TEXT | {"no_causal_mask": True, "pool_type": "last", "proj_bias": True},
    },
    "resnet": {"vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8}, "text_cfg": TEXT},
    "timm-vit": {
        "vision_cfg": {"timm_model_name": "test_vit", "timm_proj": "linear", "image_size": 160},
        "text_cfg": TEXT,
    },
    "timm-convnext": {
        "vision_cfg": {"timm_model_name": "test_convnext", "timm_proj": "linear", "image_size": 64},
        "text_cfg": TEXT,
    },
}


def built(name: str, folder: Path) -> ClipParts:
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"embed_dim": 32} | CONFIGS[name]))
    torch.manual_seed(0)
    parts = build_clip(path)
    if name == "resnet":  # open_clip starts the last gain of each block at zero, and with it no gradient gets below
        for key, parameter in parts.clip.named_parameters():
            if key.endswith("bn3.weight"):
                nn.init.ones_(parameter)
    return parts


@pytest.fixture(params=CONFIGS)
def parts(request: pytest.FixtureRequest, tmp_path: Path) -> ClipParts:
    return built(request.param, tmp_path)


@pytest.fixture
def vit(tmp_path: Path) -> ClipParts:
    return built("vit", tmp_path)


def embed(parts: ClipParts, clip: nn.Module | None = None) -> Tensor:
    """Images and texts (8, 32), through the tower as the trainer runs it."""
    model: Any = clip if clip is not None else parts.clip
    height, width = parts.preprocess.height_width
    images = torch.rand(4, 3, height, width, generator=torch.Generator().manual_seed(1))
    text = TextTower(model, parts.tokenizer)
    return torch.cat([model.encode_image(images), text(text.tokenize(["a", "red dress", "two cats", "no"]))])


def perturb(clip: nn.Module) -> None:
    """As if it had been trained: every B away from zero."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, parameter in clip.named_parameters():
            if name.endswith(".B"):
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.05)


def test_it_starts_as_the_model_and_only_the_adapters_learn(parts: ClipParts) -> None:
    parts.clip.eval()
    before = embed(parts)
    adapted = add_lora(parts.clip, 4)
    assert torch.equal(embed(parts), before)
    free = {name for name, parameter in parts.clip.named_parameters() if parameter.requires_grad}
    adapters = {name for name in free if name.endswith((".A", ".B"))}
    assert len(adapters) == 2 * adapted
    assert free - adapters == {"logit_scale"}
    assert {name.split(".")[0] for name in adapters} >= {"visual"}
    assert count_trainable(parts.clip) < sum(p.numel() for p in parts.clip.parameters()) / 2


def test_every_adapter_gets_the_gradient_of_the_formula(parts: ClipParts) -> None:
    """Against the same loss differentiated by the merged weights: dL/dA = s B^T G, dL/dB = s G A^T."""
    add_lora(parts.clip, 4, alpha=2)
    perturb(parts.clip)
    set_mode(parts.clip)
    plain = merged(parts.clip).requires_grad_(True)
    set_mode(plain)
    for module in plain.modules():  # frozen batch norms stand still in the adapted one
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    target = torch.randn(8, 32, generator=torch.Generator().manual_seed(3))
    (embed(parts) * target).sum().backward()
    (embed(parts, plain) * target).sum().backward()
    full = dict(plain.named_parameters())
    seen = 0
    parameters = dict(parts.clip.named_parameters())
    for name, A in parameters.items():
        if not name.endswith(".A"):
            continue
        B = parameters[name[:-1] + "B"]
        path, key = name.removesuffix(".0.A").split(".parametrizations.")
        G = full[f"{path}.{key}"].grad
        assert G is not None
        assert A.grad is not None
        assert B.grad is not None
        G = G.flatten(1)
        for got, expected in ((A.grad, 0.5 * B.detach().T @ G), (B.grad, 0.5 * G @ A.detach().T)):
            assert got.abs().sum() > 0, name
            torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))
        seen += 1
    assert seen


def test_merged_is_the_same_model_made_plain(parts: ClipParts) -> None:
    original = copy.deepcopy(parts.clip)
    types = [type(module) for module in original.modules()]
    add_lora(parts.clip, 4)
    perturb(parts.clip)
    parts.clip.eval()
    adapted, state = embed(parts), {k: v.clone() for k, v in parts.clip.state_dict().items()}
    plain = merged(parts.clip)
    assert {k: (v.shape, v.dtype) for k, v in plain.state_dict().items()} == {
        k: (v.shape, v.dtype) for k, v in original.state_dict().items()
    }
    assert [type(module) for module in plain.modules()] == types
    torch.testing.assert_close(embed(parts, plain), adapted, rtol=1e-5, atol=1e-5)
    assert (embed(parts, original.eval()) - adapted).abs().max() > 1e-3
    assert count_trainable(plain) == 0
    # The adapted one goes on as it was, and apart from the copy.
    assert torch.equal(embed(parts), adapted)
    assert all(torch.equal(v, state[k]) for k, v in parts.clip.state_dict().items())
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.zero_()
    assert torch.equal(embed(parts), adapted)
    original.load_state_dict(merged(parts.clip).state_dict())


def test_training_learns_and_leaves_the_frozen_weights_to_the_bit(parts: ClipParts) -> None:
    add_lora(parts.clip, 4)
    frozen = {name: p.detach().clone() for name, p in parts.clip.named_parameters() if not p.requires_grad}
    buffers = {name: buffer.clone() for name, buffer in parts.clip.named_buffers()}
    optimizer = adamw(parts.clip, lr=1e-2, weight_decay=0.0)
    target = torch.randn(8, 32, generator=torch.Generator().manual_seed(3))
    losses = []
    for _ in range(8):
        set_mode(parts.clip)
        loss = (embed(parts) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    parameters = dict(parts.clip.named_parameters())
    assert all(torch.equal(parameters[name], weight) for name, weight in frozen.items())
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in parts.clip.named_buffers())


def test_its_state_goes_to_disk_and_back(vit: ClipParts, tmp_path: Path) -> None:
    add_lora(vit.clip, 4)
    perturb(vit.clip)
    torch.save(vit.clip.state_dict(), tmp_path / "state.pt")
    again = built("vit", tmp_path)
    torch.manual_seed(99)  # another A, which the state replaces
    add_lora(again.clip, 4)
    assert not torch.equal(embed(again), embed(vit))
    again.clip.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert torch.equal(embed(again), embed(vit))


def test_a_deep_copy_is_adapted_by_itself(vit: ClipParts) -> None:
    add_lora(vit.clip, 4)
    perturb(vit.clip)
    other = copy.deepcopy(vit.clip)
    assert torch.equal(embed(vit), embed(vit, other))
    before = embed(vit)
    with torch.no_grad():
        for name, parameter in other.named_parameters():
            if name.endswith(".B"):
                parameter.zero_()
    assert torch.equal(embed(vit), before)
    assert not torch.equal(embed(vit, other), before)


@pytest.mark.parametrize("tower", ["image", "text"])
def test_one_tower_alone(vit: ClipParts, tower: str) -> None:
    adapted = add_lora(vit.clip, 2, towers=(tower,))
    assert adapted == 8  # in_proj, out_proj, c_fc and c_proj of two blocks
    adapters = [name for name, _ in vit.clip.named_parameters() if name.endswith(".A")]
    assert {name.startswith("visual.") for name in adapters} == {tower == "image"}
    assert not any(name.startswith("visual.proj") and p.requires_grad for name, p in vit.clip.named_parameters())


def test_mixed_precision_gives_fp32_gradients_near_the_exact_ones(vit: ClipParts) -> None:
    add_lora(vit.clip, 4)
    perturb(vit.clip)
    set_mode(vit.clip)
    gradients = []
    for enabled in (False, True):
        vit.clip.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            features = embed(vit)
        features.float().square().sum().backward()
        flat = [
            p.grad.flatten()
            for name, p in vit.clip.named_parameters()
            if name.endswith((".A", ".B")) and p.grad is not None
        ]
        assert {g.dtype for g in flat} == {torch.float32}
        gradients.append(torch.cat(flat))
    assert torch.cosine_similarity(*gradients, dim=0) > 0.99


def test_the_rank_does_not_decide_the_strength_unless_alpha_is_given(vit: ClipParts) -> None:
    def change(rank: int, alpha: float | None) -> Tensor:
        clip: Any = copy.deepcopy(vit.clip)
        add_lora(clip, rank, alpha=alpha)
        linear = clip.transformer.resblocks[0].mlp.c_fc
        low = linear.parametrizations.weight[0]
        with torch.no_grad():
            low.A.fill_(1 / rank)  # whatever the rank, B A is all ones
            low.B.fill_(1)
        return linear.weight.detach() - vit.clip.transformer.resblocks[0].mlp.c_fc.weight.detach()  # type: ignore[no-any-return, union-attr, index]

    for rank in (1, 4):
        torch.testing.assert_close(change(rank, None).mean().item(), 2.0)
        torch.testing.assert_close(change(rank, 2.0).mean().item(), 2.0 / rank)


def test_an_encoder_of_the_merged_model_is_one_of_the_adapted(vit: ClipParts) -> None:
    before = fingerprint(vit)
    add_lora(vit.clip, 4)
    perturb(vit.clip)
    plain = merged(vit.clip)
    vit.clip.eval()
    encoders = [
        DualEncoder(clip, vit.tokenizer, vit.preprocess, ref="", fingerprint="", logit_scale=1.0, precision="fp32")
        for clip in (vit.clip, plain)
    ]
    for adapted, same in (
        [encoder.encode_texts(["a red dress", "blue"]) for encoder in encoders],
        [encoder.encode_images([plain_picture("red"), plain_picture("blue")]) for encoder in encoders],
    ):
        assert abs(adapted - same).max() < 1e-5
    assert fingerprint(ClipParts(plain, vit.tokenizer, vit.preprocess, vit.model_cfg)) != before


def test_what_cannot_be_adapted_is_one_line(vit: ClipParts) -> None:
    with pytest.raises(InputError, match="--lora 0"):
        add_lora(vit.clip, 0)
    with pytest.raises(InputError, match="alpha must be positive"):
        add_lora(vit.clip, 4, alpha=0)
    with pytest.raises(TrainingError, match="no matrix to adapt"):
        add_lora(vit.clip, 4, towers=())
