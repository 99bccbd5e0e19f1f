"""Muon: orthogonal steps, torch's own on matrices, convolutions as matrices, and which layers it gets."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from base.errors import InputError
from encoder.model.load import build_clip
from training.config import TrainConfig
from training.model.layers import layer_of, lock, top_of
from training.model.muon import SCALE, Muon, MuonAdamW, orthogonal
from training.model.optim import Optimizer, muon_adamw, set_lr


@pytest.fixture
def clip(tiny_config: Path) -> nn.Module:
    torch.manual_seed(0)
    return build_clip(tiny_config).clip


@pytest.mark.parametrize("shape", [(2, 8, 8), (1, 6, 40), (3, 40, 6)])
def test_what_is_made_orthogonal_has_singular_values_of_about_one(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    matrices = torch.randn(shape)
    made = orthogonal(matrices, torch.float32)
    values = torch.linalg.svdvals(made)
    assert values.max() < 1.3
    assert values.median() > 0.6
    along = (made * matrices).sum((1, 2))  # of the same directions: nearest to it of all orthogonal ones
    nuclear = torch.linalg.svdvals(matrices).sum(1)
    assert (along / nuclear).tolist() == pytest.approx([1.0] * shape[0], abs=0.2)
    assert not orthogonal(torch.zeros(shape), torch.float32).any()


@pytest.mark.parametrize("name", ["relative_position_bias_table", "relative_attention_bias.weight", "rel_pos_h"])
def test_what_is_looked_up_inside_of_a_block_is_left_to_adamw(clip: nn.Module, name: str) -> None:
    block = next(module for path, module in clip.named_modules() if path.endswith("resblocks.0"))
    block.add_module("attn_table", nn.Module())
    table = nn.Parameter(torch.randn(31, 4))
    where = block.get_submodule("attn_table")
    for part in name.split(".")[:-1]:
        where.add_module(part, nn.Module())
        where = where.get_submodule(part)
    where.register_parameter(name.split(".")[-1], table)
    optimizer = muon_adamw(clip, lr=1e-3, weight_decay=0.1)
    assert isinstance(optimizer, MuonAdamW)
    muon, adamw = ({id(each) for group in part.param_groups for each in group["params"]} for part in optimizer.parts)
    assert id(table) in adamw - muon


def test_on_matrices_it_is_torchs() -> None:
    torch.manual_seed(0)
    ours, theirs = (nn.Linear(24, 10, bias=False) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    mine = Muon([{"params": list(ours.parameters())}], lr=0.001, weight_decay=0.3, dtype=torch.bfloat16)
    reference = torch.optim.Muon(theirs.parameters(), lr=0.001 * SCALE, weight_decay=0.3 / SCALE, momentum=0.95)
    for _ in range(4):
        gradient = torch.randn(10, 24)
        ours.weight.grad, theirs.weight.grad = gradient, gradient.clone()
        mine.step()
        reference.step()
    torch.testing.assert_close(ours.weight, theirs.weight, rtol=0, atol=2e-3)
    assert (ours.weight - theirs.weight).abs().mean() < 1e-4 * 4


def test_a_convolution_is_a_matrix_of_its_filters() -> None:
    torch.manual_seed(0)
    convolution, matrix = nn.Conv2d(3, 8, 3, bias=False), nn.Linear(27, 8, bias=False)
    with torch.no_grad():
        matrix.weight.copy_(convolution.weight.view(8, 27))
    gradient = torch.randn(8, 27)
    convolution.weight.grad, matrix.weight.grad = gradient.view(8, 3, 3, 3), gradient
    for module in (convolution, matrix):
        Muon([{"params": list(module.parameters())}], lr=0.1, weight_decay=0.0, dtype=torch.float32).step()
    assert torch.equal(convolution.weight.view(8, 27), matrix.weight)


def test_hidden_matrices_learn_by_it_and_all_else_by_adamw(clip: nn.Module) -> None:
    optimizer = muon_adamw(clip, lr=1e-3, weight_decay=0.2, layer_decay=0.5)
    assert isinstance(optimizer, MuonAdamW)
    muon, adamw = optimizer.parts
    layers = layer_of(clip)
    tops = top_of(layers)
    of_muon = {id(parameter) for group in muon.param_groups for parameter in group["params"]}
    of_adamw = {id(parameter) for group in adamw.param_groups for parameter in group["params"]}
    assert not of_muon & of_adamw
    for name, parameter in clip.named_parameters():
        tower, depth = layers[name]
        assert (id(parameter) in of_muon) == (0 < depth < tops[tower] and parameter.ndim >= 2), name
        assert id(parameter) in of_muon | of_adamw
    set_lr(optimizer, 1.0)
    assert {group["lr"] for group in muon.param_groups} <= {0.5**n for n in range(1, 9)}  # the top is not hidden
    assert 1.0 in {group["lr"] for group in adamw.param_groups}


def test_its_state_comes_back(clip: nn.Module) -> None:
    twin = copy.deepcopy(clip)
    first, second = muon_adamw(clip, lr=1e-2, weight_decay=0.2), muon_adamw(twin, lr=1e-2, weight_decay=0.2)
    take_step(clip, first, 1)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    twin.load_state_dict(clip.state_dict())
    for model, optimizer in ((clip, first), (twin, second)):
        take_step(model, optimizer, 2)
    for name, weight in clip.state_dict().items():
        assert torch.equal(weight, twin.state_dict()[name]), name


def test_where_nothing_is_hidden_adamw_is_all(clip: nn.Module) -> None:
    lock(clip, "image", unlocked_groups=1)
    lock(clip, "text")
    assert isinstance(muon_adamw(clip, lr=1e-3, weight_decay=0.2), torch.optim.AdamW)


def test_random_weights_learn_by_it_where_they_lie_whole() -> None:
    assert TrainConfig(pairs="", out="", init="x").used_optimizer == "muon"
    assert TrainConfig(pairs="", out="", init="x", loss="triplet").used_optimizer == "adamw"
    assert TrainConfig(pairs="", out="", init="x", fsdp=True).used_optimizer == "adamw"
    assert TrainConfig(pairs="", out="", init="x", optimizer="adamw").used_optimizer == "adamw"
    assert TrainConfig(pairs="", out="", model="x").used_optimizer == "adamw"
    assert TrainConfig(pairs="", out="", model="x", optimizer="muon").used_optimizer == "muon"
    with pytest.raises(InputError, match="--optimizer muon needs whole matrices, without --fsdp"):
        TrainConfig(pairs="", out="", init="x", fsdp=True, optimizer="muon")
    with pytest.raises(InputError, match="--optimizer sgd: there is no such one; choose muon, adamw"):
        TrainConfig(pairs="", out="", init="x", optimizer="sgd")


def take_step(clip: nn.Module, optimizer: Optimizer, seed: int) -> None:
    torch.manual_seed(seed)
    for parameter in clip.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
