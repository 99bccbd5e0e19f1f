"""Small dual encoders to train from random weights, by name, and what each reaches: `glimpse train --init list`.

For people with two cores or one small GPU and some thousands of pairs. All have CLIP's tokenizer, so any language of
Latin letters. Larger ones have open_clip's names. Builds nothing, knows no torch.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

TEXT = {"context_length": 77, "vocab_size": 49408, "width": 128, "heads": 4, "layers": 2}


@dataclass(frozen=True)
class Architecture:
    """A dual encoder without weights.

    Attributes:
        vision: open_clip's `vision_cfg`.
        embed_dim: of its space.
        good_for: what to take it for.
        lr: the peak learning rate that it was measured at.
        recall_at_1, recall_at_10: of unseen postcards of the demo by their captions, after 5 epochs over 4,000 others
            with the trainer's defaults, so by Muon; tests/table_of_architectures.py.
    """

    vision: dict[str, Any]
    embed_dim: int
    good_for: str
    lr: float
    recall_at_1: float
    recall_at_10: float

    @property
    def image_size(self) -> int:
        """Pixels a side of the pictures it sees."""
        return int(self.vision["image_size"])

    def config(self) -> dict[str, Any]:
        """As an open_clip model config, the caller's own."""
        return copy.deepcopy({"embed_dim": self.embed_dim, "vision_cfg": self.vision, "text_cfg": TEXT})


def _resnet(width: int) -> dict[str, Any]:
    """Four blocks: convolutions learn from few pictures."""
    return {"image_size": 64, "layers": [1, 1, 1, 1], "width": width, "patch_size": None}


def _vit(image_size: int, patch_size: int, width: int, layers: int) -> dict[str, Any]:
    return {
        "image_size": image_size,
        "patch_size": patch_size,
        "width": width,
        "layers": layers,
        "head_width": 32,
    }


ARCHITECTURES = {
    "resnet-64": Architecture(_resnet(16), 128, "a first try, the demo: learns from few pictures", 1.5e-3, 0.65, 0.99),
    "vit-64": Architecture(
        _vit(64, 8, 128, 4), 128, "--chunk-size that is exact, as it has no batch norm", 1e-3, 0.29, 0.97
    ),
    "vit-128": Architecture(_vit(128, 16, 128, 4), 128, "finer pictures at the same price a step", 1e-3, 0.31, 0.98),
    "vit-224": Architecture(_vit(224, 32, 128, 4), 128, "the size that most pictures are made for", 1e-3, 0.28, 0.97),
}
