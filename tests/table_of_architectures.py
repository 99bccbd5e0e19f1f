"""Every small architecture on the demo's world, half as long as the demo trains: writes the table in docs/training.md.

What it finds belongs into encoder/model/architectures.py as well; tests/test_training_architectures.py holds them
together.
A quarter of an hour of one core, so the suite passes it by; run it by name: pytest tests/table_of_architectures.py
"""

from __future__ import annotations

from pathlib import Path

import pytest
from table_of_losses import draw_world, glimpse, write_table

from encoder.model.architectures import ARCHITECTURES
from encoder.model.load import build_clip

HEAD = ["| `--init` | pixels | parameters | of images | `--lr` | recall@1 | recall@10 |", "|---" * 7 + "|"]
NEAR = 0.04  # two runs on different machines


def row(name: str, parameters: int, image_parameters: int, *recalls: float) -> str:
    """A line of the table; the last are recall@1 and recall@10."""
    each = ARCHITECTURES[name]
    sizes = f"{each.image_size} | {parameters / 1e6:.1f}M | {image_parameters / 1e6:.1f}M | {each.lr:g}"
    return f"| `{name}` | {sizes} | " + " | ".join(f"{recall:.2f}" for recall in recalls) + " |"


def test_every_architecture_learns_the_demos_world(tmp_path: Path) -> None:
    world, rows = draw_world(tmp_path / "world"), []
    for name, each in ARCHITECTURES.items():
        out = tmp_path / name
        demo = ("--epochs=5", "--batch-size=64", "--min-crop=0.7", "--val-fraction=0.05", f"--lr={each.lr}")
        trained = glimpse("train", world / "train.csv", "--caption-key=caption", "--out", out, "--init", name, *demo)
        assert trained["warnings"] == []
        found = glimpse("eval", "--model", out, "--pairs", world / "unseen.csv", "--caption-key=caption")
        at_1, at_10 = (found["text_to_image"][f"recall@{k}"] for k in (1, 10))
        clip = build_clip(name).clip
        sizes = (sum(p.numel() for p in part.parameters()) for part in (clip, clip.visual))
        rows.append(row(name, *sizes, at_1, at_10))
        print(rows[-1])
        assert (at_1, at_10) == pytest.approx((each.recall_at_1, each.recall_at_10), abs=NEAR)
    write_table("table_of_architectures.py", [*HEAD, *rows])
