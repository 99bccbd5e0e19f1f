"""Towers and depths, over the architectures that open_clip builds: every parameter has its place."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from base.errors import InputError
from encoder.model.lean_open_clip import open_clip, with_timm_for
from encoder.model.load import build_clip
from training.model.layers import count_trainable, layer_of, lock, lr_scale_of, set_mode, top_of

TEXT = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
RESNET = {"embed_dim": 32, "vision_cfg": {"image_size": 64, "layers": [1, 2, 1, 1], "width": 8}, "text_cfg": TEXT}


def built(config: dict[str, Any], folder: Path) -> nn.Module:
    path = folder / "config.json"
    path.write_text(json.dumps(config))
    torch.manual_seed(0)
    return build_clip(path).clip


def on_meta(name: str) -> nn.Module:
    """A published architecture without its weights' memory."""
    config = open_clip.get_model_config(name)
    with_timm_for(config)
    custom = config.pop("custom_text", False)
    with torch.device("meta"):
        clip: nn.Module = (open_clip.CustomTextCLIP if custom else open_clip.CLIP)(**config)
    return clip


@pytest.mark.parametrize(
    ("name", "image_top", "text_top"),
    [
        ("ViT-B-32", 13, 13),  # 12 blocks each
        ("RN50", 5, 13),  # 4 stages
        ("convnext_tiny", 5, 13),
        ("swin_base_patch4_window7_224", 5, 13),
        ("EVA02-B-16", 13, 13),
        ("MobileCLIP-S1", 5, 13),
        ("ViTamin-S", 15, 13),  # 14 blocks above a convolutional stem with stages of its own
        ("ViT-B-16-SigLIP", 13, 13),
    ],
)
def test_every_parameter_of_a_published_architecture_has_its_place(name: str, image_top: int, text_top: int) -> None:
    clip = on_meta(name)
    layers = layer_of(clip)
    assert layers.keys() == dict(clip.named_parameters()).keys()
    tops = top_of(layers)
    assert (tops["image"], tops["text"]) == (image_top, text_top)
    for tower in ("image", "text"):
        assert {depth for t, depth in layers.values() if t == tower} == set(range(tops[tower] + 1))
    assert {n for n, (tower, _) in layers.items() if tower == "shared"} <= {"logit_scale", "logit_bias"}
    at_the_bottom = (
        "visual.conv1.",
        "patch_embed",
        "stem",
        "token_embedding",
        "class_embedding",
        "cls_token",
        "ln_pre",
    )
    assert {depth for n, (_, depth) in layers.items() if any(word in n for word in at_the_bottom)} == {0}
    at_the_top = ("visual.proj", "visual.head", "text_projection", "ln_final", "attnpool", "attn_pool", "trunk.norm.")
    assert all(depth == tops[layers[n][0]] for n, (_, depth) in layers.items() if any(w in n for w in at_the_top))


PLACES = {
    "logit_bias": ("shared", 0),
    "visual.class_embedding": ("image", 0),
    "visual.transformer.resblocks.0.ln_1.weight": ("image", 1),
    "visual.transformer.resblocks.11.mlp.c_fc.weight": ("image", 2),
    "visual.transformer.resblocks.11.mlp.c_fc.parametrizations.weight.0.A": ("image", 2),
    "visual.ln_post.weight": ("image", 3),
    # Hugging Face: BERT and its kin, ModernBERT, mT5
    "text.transformer.embeddings.LayerNorm.weight": ("text", 0),
    "text.transformer.embeddings.norm.weight": ("text", 0),
    "text.transformer.shared.weight": ("text", 0),
    "text.transformer.encoder.layer.0.attention.self.query.weight": ("text", 1),
    "text.transformer.layers.1.attn.Wqkv.weight": ("text", 2),
    "text.transformer.block.2.layer.0.SelfAttention.relative_attention_bias.weight": ("text", 3),
    "text.transformer.pooler.dense.weight": ("text", 4),
    "text.transformer.final_norm.weight": ("text", 4),
    "text.transformer.final_layer_norm.weight": ("text", 4),
    "text.proj.0.weight": ("text", 4),
}


def test_names_alone_say_where_a_parameter_stands() -> None:
    class Names(nn.Module):
        def named_parameters(self, *args: Any, **kwargs: Any) -> Any:
            return ((name, nn.Parameter(torch.zeros(1))) for name in PLACES)

    assert layer_of(Names()) == PLACES


def trainable(clip: nn.Module) -> set[str]:
    return {name for name, parameter in clip.named_parameters() if parameter.requires_grad}


def test_a_locked_tower_keeps_its_last_layers_free(tiny_config: Path) -> None:
    clip = build_clip(tiny_config).clip  # text: stem, 2 blocks, top
    layers = layer_of(clip)
    for groups in range(5):
        locked = copy.deepcopy(clip)
        lock(locked, "text", groups)
        free = {name for name, (tower, depth) in layers.items() if tower == "text" and depth >= 4 - groups}
        assert trainable(locked) == free | {name for name, (tower, _) in layers.items() if tower != "text"}
        assert count_trainable(locked) == sum(p.numel() for p in locked.parameters() if p.requires_grad)
    for wrong in (5, -1):
        with pytest.raises(InputError, match=f"--unlocked-groups {wrong}: the text tower has 4 layers .*give 0 to 4"):
            lock(clip, "text", wrong)


def test_a_locked_tower_gets_no_gradient_and_computes_as_in_use(tmp_path: Path) -> None:
    clip: Any = built(RESNET, tmp_path)
    lock(clip, "image")
    set_mode(clip)
    images = torch.rand(4, 3, 64, 64)
    statistics = {name: buffer.clone() for name, buffer in clip.visual.named_buffers()}
    trained = clip.encode_image(images)
    assert not trained.requires_grad
    assert all(torch.equal(buffer, statistics[name]) for name, buffer in clip.visual.named_buffers())
    clip.eval()
    assert torch.equal(trained, clip.encode_image(images))
    set_mode(clip)
    tokens = torch.randint(1, 1000, (4, 16))
    clip.encode_text(tokens).sum().backward()
    assert {name for name, p in clip.named_parameters() if p.grad is not None} <= trainable(clip)
    assert clip.transformer.resblocks[0].attn.in_proj_weight.grad.abs().sum() > 0


def test_what_is_unlocked_of_a_tower_goes_on_training(tmp_path: Path) -> None:
    clip: Any = built(RESNET, tmp_path)
    lock(clip, "image", 2)  # pooling and the last stage
    set_mode(clip)
    assert clip.visual.layer4[0].bn1.training
    assert not clip.visual.layer3[0].bn1.training
    assert not clip.visual.bn1.training
    assert clip.training
    assert clip.visual.training  # a part of it is trained
    before = clip.visual.layer4[0].bn1.running_mean.clone()
    clip.encode_image(torch.rand(4, 3, 64, 64)).sum().backward()
    assert not torch.equal(before, clip.visual.layer4[0].bn1.running_mean)
    assert clip.visual.layer4[0].conv1.weight.grad is not None
    assert clip.visual.layer3[0].conv1.weight.grad is None


def test_dropout_of_a_locked_tower_rests(tmp_path: Path) -> None:
    config = {
        "embed_dim": 32,
        "custom_text": True,
        "vision_cfg": {"timm_model_name": "test_vit", "timm_proj": "linear", "timm_drop": 0.9, "image_size": 160},
        "text_cfg": TEXT,
    }
    clip: Any = built(config, tmp_path)
    images = torch.rand(2, 3, 160, 160)
    set_mode(clip)
    assert not torch.equal(clip.encode_image(images), clip.encode_image(images))
    lock(clip, "image")
    set_mode(clip)
    assert torch.equal(clip.encode_image(images), clip.encode_image(images))
    assert clip.text.training


def test_the_learning_rate_falls_by_depth_in_each_tower(tiny_config: Path) -> None:
    scales = lr_scale_of(build_clip(tiny_config).clip, 0.5)
    assert scales["logit_scale"] == scales["visual.proj"] == scales["text_projection"] == scales["ln_final.bias"] == 1
    assert scales["visual.transformer.resblocks.0.ln_1.weight"] == 0.5  # of one block
    assert scales["visual.conv1.weight"] == 0.25
    assert scales["transformer.resblocks.1.ln_1.weight"] == 0.5
    assert scales["transformer.resblocks.0.ln_1.weight"] == 0.25
    assert scales["token_embedding.weight"] == scales["positional_embedding"] == 0.125
    assert set(lr_scale_of(build_clip(tiny_config).clip, 1.0).values()) == {1.0}
