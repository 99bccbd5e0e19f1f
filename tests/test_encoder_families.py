"""Every family of models gives open_clip's own vectors: here the smallest of each kind, in the table all of them.

The table is that of docs/models.md; tests/table_of_families.py writes it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from encoder.towers.export import LEAST_COSINE
from tests.conftest import ROOT
from tests.families import Family, compare, make_model

TEXT = {"layers": 1, "width": 64, "heads": 2}
VIT = {"layers": 1, "width": 64, "head_width": 32, "patch_size": 16, "image_size": 64}
KINDS = (
    Family("ResNet", "RN50", "openai", {"layers": [1, 1, 1, 1], "width": 16, "image_size": 64}, TEXT),
    Family("CoCa", "coca_ViT-B-32", "laion2b_s13b_b90k", VIT, TEXT),
    Family("words without separators", "ViT-L-14-CLIPA", "datacomp1b", VIT, TEXT, "bert"),
    Family("map pooling", "ViT-B-16-SigLIP", "webli", {"timm_model_name": "vit_tiny_patch16_224"}, TEXT, "t5"),
    Family("rotary", "EVA02-B-16", "", {"timm_model_name": "eva02_tiny_patch14_224"}, TEXT),
    Family("ConvNeXt", "MobileCLIP2-S0", "dfndr2b", {"timm_model_name": "convnext_atto"}, TEXT),
    Family("FastViT", "MobileCLIP-S1", "datacompdr", {"timm_model_name": "fastvit_t8"}, TEXT),
    Family("Hugging Face", "roberta-ViT-B-32", "laion2b_s12b_b32k", VIT, {}, "roberta", "roberta"),
)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_vectors_are_open_clips_own(kind: Family, tmp_path: Path) -> None:
    parity = compare(make_model(kind, tmp_path / "model"), tmp_path / "towers")
    assert parity.card.why_not == ()
    for likeness in (*parity.fp32, *parity.towers):
        assert likeness is not None
        assert likeness.cosine >= LEAST_COSINE
        assert likeness.share <= 0.01
    assert all(likeness.cosine >= 0.999 for likeness in parity.bf16)


def test_timm_is_imported_for_a_model_that_takes_it_and_for_no_other() -> None:
    code = (
        "import encoder.load, sys; encoder.load.build_clip('ViT-S-32-alt'); print('timm' in sys.modules);"
        "print(type(encoder.load.build_clip('vit_medium_patch16_gap_256').clip.visual.trunk).__module__)"
    )
    said = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True)
    assert said.split() == ["False", "timm.models.vision_transformer"]
