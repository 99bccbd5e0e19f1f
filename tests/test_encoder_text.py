"""Text towers: cut at the longest end-of-text where that changes nothing, full length where it would."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tiny_world import TINY

from encoder.model.load import build_clip
from encoder.model.text import TextTower

TEXTS = ["a", "two small red boats by the sea", "a photo of a dog.", " ".join(["word"] * 200)]


def tower(**text_cfg: Any) -> tuple[Any, TextTower]:
    """A model with another text tower, as open_clip runs it, and that tower of ours."""
    import copy
    import json
    import tempfile
    from pathlib import Path

    custom = text_cfg.pop("custom_text", False)
    config = TINY | {"text_cfg": TINY["text_cfg"] | text_cfg, "custom_text": custom}  # type: ignore[operator]
    torch.manual_seed(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.json"
        path.write_text(json.dumps(config))
        parts = build_clip(path)
    clip = copy.deepcopy(parts.clip).eval()
    return clip, TextTower(parts.clip.eval(), parts.tokenizer)


def padded(clip: Any, ours: TextTower, texts: list[str]) -> torch.Tensor:
    with torch.inference_mode():
        return F.normalize(clip.encode_text(ours.tokenize(texts)), dim=-1)


def cut(ours: TextTower, texts: list[str]) -> torch.Tensor:
    with torch.inference_mode():
        return F.normalize(ours(ours.tokenize(texts)), dim=-1)


@pytest.mark.parametrize(
    "text_cfg",
    [
        {},
        {"custom_text": True},
        {"custom_text": True, "pool_type": "eos", "eos_id": 49407},
        {"custom_text": True, "proj_bias": True},
        {"custom_text": True, "proj_type": "none"},
    ],
    ids=["CLIP", "CustomTextCLIP", "pooled at eos", "projection with bias", "no projection"],
)
def test_a_causal_tower_gives_the_same_vectors_when_cut(text_cfg: dict[str, Any]) -> None:
    clip, ours = tower(**text_cfg)
    assert ours.can_cut
    for texts in (TEXTS[:1], TEXTS[:3], TEXTS):
        assert torch.allclose(cut(ours, texts), padded(clip, ours, texts), atol=1e-5)


def test_a_short_query_is_run_over_few_positions() -> None:
    _, ours = tower()
    seen = []
    ours._clip.transformer.register_forward_pre_hook(lambda module, args: seen.append(args[0].shape[1]))
    cut(ours, ["red shirt", "a dog"])
    assert seen == [4]  # start, two words, end
    assert ours.lengths(ours.tokenize(["red shirt", "dog"])).tolist() == [4, 3]


@pytest.mark.parametrize(
    "text_cfg",
    [
        {"custom_text": True, "no_causal_mask": True, "pool_type": "last"},
        {"custom_text": True, "no_causal_mask": True, "pool_type": "argmax"},
        {"custom_text": True, "embed_cls": True},
        {"custom_text": True, "pool_type": "last"},
    ],
    ids=["SigLIP", "bidirectional", "CoCa", "causal, pooled at the last position"],
)
def test_a_tower_that_sees_its_padding_gets_the_full_length(text_cfg: dict[str, Any]) -> None:
    clip, ours = tower(**text_cfg)
    assert not ours.can_cut
    assert ours.lengths(ours.tokenize(TEXTS[:2])).tolist() == [77, 77]
    assert torch.equal(cut(ours, TEXTS), padded(clip, ours, TEXTS))


def test_cutting_a_siglip_tower_would_be_wrong() -> None:
    clip, ours = tower(custom_text=True, no_causal_mask=True, pool_type="last")
    tokens = ours.tokenize(["a dog"])
    with torch.inference_mode():
        short = F.normalize(clip.encode_text(tokens[:, :4]), dim=-1)
    assert not torch.allclose(short, padded(clip, ours, ["a dog"]), atol=1e-3)
