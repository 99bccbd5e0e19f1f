"""The optimiser's groups: who decays, who learns how fast, who is left out."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from encoder.model.load import build_clip
from training.model.layers import layer_of, lock, lr_scale_of
from training.model.lora import add_lora
from training.model.optim import adamw, set_lr


@pytest.fixture
def clip(tiny_config: Path) -> nn.Module:
    torch.manual_seed(0)
    return build_clip(tiny_config).clip


def names_in(clip: nn.Module, group: dict[str, object]) -> set[str]:
    parameters = {id(parameter) for parameter in group["params"]}  # type: ignore[attr-defined]
    return {name for name, parameter in clip.named_parameters() if id(parameter) in parameters}


def test_without_layer_decay_there_are_two_groups_the_decayed_first(clip: nn.Module) -> None:
    decayed, kept = adamw(clip, lr=1e-3, weight_decay=0.2).param_groups
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.2, 0.0)
    assert decayed["lr_scale"] == kept["lr_scale"] == 1.0
    assert "transformer.resblocks.0.attn.in_proj_weight" in names_in(clip, decayed)
    assert {"logit_scale", "positional_embedding", "ln_final.weight"} <= names_in(clip, kept)
    assert names_in(clip, decayed) | names_in(clip, kept) == {name for name, _ in clip.named_parameters()}


def test_layer_decay_slows_each_layer_by_its_depth_through_the_whole_schedule(clip: nn.Module) -> None:
    optimizer = adamw(clip, lr=1.0, weight_decay=0.2, layer_decay=0.5)
    scales = lr_scale_of(clip, 0.5)
    for peak in (1.0, 0.3):
        set_lr(optimizer, peak)
        seen: set[str] = set()
        for group in optimizer.param_groups:
            names = names_in(clip, group)
            assert not names & seen
            seen |= names
            assert {scales[name] * peak for name in names} == {group["lr"]}
        assert seen == set(layer_of(clip))
    assert len({group["lr"] for group in optimizer.param_groups}) > 3


def test_what_is_left_out_of_torchs_optimiser_changes_nothing(clip: nn.Module) -> None:
    lean = adamw(clip, lr=1e-2, weight_decay=0.2)
    other = copy.deepcopy(clip)
    groups = adamw(other, lr=1e-2, weight_decay=0.2).param_groups
    torchs = torch.optim.AdamW(groups, lr=1e-2, betas=(0.9, 0.98), eps=1e-6, fused=True)
    for seed in range(3):
        for model, optimizer in ((clip, lean), (other, torchs)):
            torch.manual_seed(seed)
            optimizer.zero_grad()
            assert all(parameter.grad is None for parameter in model.parameters())
            for parameter in model.parameters():
                parameter.grad = torch.randn_like(parameter)
            optimizer.step()
    for mine, its in zip(clip.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, its)
    assert lean.state_dict()["param_groups"] == torchs.state_dict()["param_groups"]
    torchs.load_state_dict(lean.state_dict())
    lean.load_state_dict(torchs.state_dict())


def test_a_step_moves_the_top_further_than_the_stem(clip: nn.Module) -> None:
    optimizer = adamw(clip, lr=1e-2, weight_decay=0.0, layer_decay=0.5)
    before = {name: parameter.detach().clone() for name, parameter in clip.named_parameters()}
    for parameter in clip.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    moved = {name: (parameter - before[name]).abs().max().item() for name, parameter in clip.named_parameters()}
    # Adam's first step is the learning rate itself.
    assert moved["visual.proj"] == pytest.approx(1e-2, rel=1e-3)
    assert moved["visual.transformer.resblocks.0.mlp.c_fc.weight"] == pytest.approx(0.5e-2, rel=1e-3)
    assert moved["visual.conv1.weight"] == pytest.approx(0.25e-2, rel=1e-3)
    assert moved["logit_scale"] == pytest.approx(1e-2, rel=1e-3)


def test_what_is_frozen_is_left_out(clip: nn.Module) -> None:
    lock(clip, "image")
    groups = adamw(clip, lr=1e-3, weight_decay=0.2).param_groups
    assert not any(name.startswith("visual.") for group in groups for name in names_in(clip, group))
    add_lora(clip, 2, towers=("text",))
    decayed, kept = adamw(clip, lr=1e-3, weight_decay=0.2).param_groups
    assert all(name.endswith((".A", ".B")) for name in names_in(clip, decayed))
    assert names_in(clip, kept) == {"logit_scale"}


def test_its_state_comes_back_with_the_scales(clip: nn.Module) -> None:
    saved = adamw(clip, lr=1e-3, weight_decay=0.2, layer_decay=0.7).state_dict()
    loaded = adamw(clip, lr=1e-3, weight_decay=0.2, layer_decay=0.7)
    loaded.load_state_dict(saved)
    set_lr(loaded, 1.0)
    assert {group["lr"] for group in loaded.param_groups} == {0.7**i for i in range(4)}
