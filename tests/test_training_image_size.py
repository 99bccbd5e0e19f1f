"""A model at another image size: as open_clip would stretch it, kept in the run folder, refused where it cannot be."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from open_clip.model import resize_pos_embed
from tiny_world import plain_picture

from base.errors import InputError
from encoder.model.load import ClipParts, build_clip, load_clip, load_encoder
from training.config import TrainConfig
from training.model.image_size import set_image_size
from training.records.checkpoint import save_model
from training.records.events import Finished
from training.train import train

TEXT = {"context_length": 8, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
TOWERS: dict[str, dict[str, Any]] = {
    "vit": {"image_size": 32, "patch_size": 8, "width": 32, "layers": 2, "head_width": 16},
    "resnet": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "head_width": 8, "patch_size": None},
    "timm-vit": {"image_size": 224, "timm_model_name": "vit_tiny_patch16_224", "timm_pool": "token", "timm_proj": ""},
    "convnext": {"image_size": 64, "timm_model_name": "convnext_atto", "timm_pool": "avg", "timm_proj": "linear"},
}  # fmt: skip


def build(tower: str, folder: Path, **other: Any) -> ClipParts:
    config = {"embed_dim": 16, "vision_cfg": TOWERS[tower] | other, "text_cfg": TEXT}
    (folder / "config.json").write_text(json.dumps(config))
    torch.manual_seed(0)
    return build_clip(folder / "config.json")


@pytest.mark.parametrize("tower", ["vit", "resnet", "convnext"])
def test_a_model_of_another_size_is_the_same_from_its_folder(tower: str, tmp_path: Path) -> None:
    parts = set_image_size(build(tower, tmp_path), 96)
    assert parts.preprocess.size == 96
    save_model(tmp_path / "run", parts)
    again = load_clip(tmp_path / "run")
    pixels = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, found = (model.clip.eval().encode_image(pixels) for model in (parts, again))  # type: ignore[operator]
    assert torch.equal(expected, found)
    assert again.preprocess.size == 96
    plain_picture("red", size=(200, 120)).save(tmp_path / "red.png")
    assert len(load_encoder(tmp_path / "run", "cpu", "fp32").encode_images([tmp_path / "red.png"])) == 1


def test_positions_are_stretched_as_open_clip_stretches_them(tmp_path: Path) -> None:
    small, large = build("vit", tmp_path), build("vit", tmp_path, image_size=48)
    weights = small.clip.state_dict()
    resize_pos_embed(weights, large.clip)
    stretched = set_image_size(small, 48).clip.state_dict()
    torch.testing.assert_close(stretched["visual.positional_embedding"], weights["visual.positional_embedding"])


@pytest.mark.parametrize(
    ("tower", "size", "why"), [("vit", 33, "patch of 8; give 32 or 40"), ("resnet", 50, "patch of 32; give 32 or 64")]
)
def test_a_size_that_patches_do_not_fill_is_refused(tower: str, size: int, why: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=why):
        set_image_size(build(tower, tmp_path), size)


def test_a_tower_whose_size_no_config_keeps_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the one size that it was made for"):
        set_image_size(build("timm-vit", tmp_path), 96)


def test_a_run_at_another_size_is_mixed_and_resumed_at_it(
    colour_pairs: Callable[[int], Path], tiny_run: Path, tmp_path: Path
) -> None:
    own = load_clip(tiny_run).preprocess.size
    assert isinstance(own, int)
    config = TrainConfig(str(colour_pairs(40)), str(tmp_path / "run"), str(tiny_run), image_size=2 * own, epochs=1,
                         batch_size=8, device="cpu", precision="fp32")  # fmt: skip
    stop = iter([False, True])
    list(train(config, should_stop=lambda: next(stop)))
    events = list(train(TrainConfig.load(tmp_path / "run"), resume=True))
    assert isinstance(events[-1], Finished)
    assert events[-1].alpha is not None
    assert load_clip(tmp_path / "run").preprocess.size == 2 * own
