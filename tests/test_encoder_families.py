"""Every family of models gives open_clip's own vectors: here the smallest of each kind, in the table all of them.

The table is that of docs/models.md; tests/table_of_families.py writes it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from families import Family, compare, make_model
from tiny_world import ROOT, TINY

from base.errors import ModelError
from encoder.model.load import build_clip, load_encoder
from encoder.query import keep_towers, query_encoder
from encoder.towers.encoder import TowersEncoder
from encoder.towers.export import LEAST_COSINE
from encoder.towers.folder import VISUAL, place_of, towers_of
from glimpse.cli import perform
from training.records.checkpoint import save_model

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
        "import encoder.model.load, sys; encoder.model.load.build_clip('ViT-S-32-alt'); print('timm' in sys.modules);"
        "print(type(encoder.model.load.build_clip('vit_medium_patch16_gap_256').clip.visual.trunk).__module__)"
    )
    said = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True)
    assert said.split() == ["False", "timm.models.vision_transformer"]


@pytest.fixture
def one_sided(tmp_path: Path) -> Path:
    """A run folder of a model whose text tower cannot be exported: its tokenizer drops words by chance."""
    config = TINY | {"text_cfg": {**TINY["text_cfg"], "tokenizer_kwargs": {"reduction_mask": "random"}}}  # type: ignore[dict-item]
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_model(tmp_path / "run", build_clip(tmp_path / "config.json"))
    return tmp_path / "run"


def test_a_tower_that_cannot_be_exported_is_a_reason_and_a_search_does_without(
    one_sided: Path, colour_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data", str(tmp_path / "data")]
    perform(["index", str(colour_folder), "--model", str(one_sided), *data])
    card = towers_of(load_encoder(one_sided).fingerprint)
    assert card is not None
    assert card.why_not == ("its text tower cannot be exported: its tokenizer drops words of long texts",)
    red = colour_folder / "red" / "0.png"
    for asked in (["--image", str(red)], ["a red square"]):
        capsys.readouterr()
        perform(["search", *asked, *data, "--json"])
        hits = json.loads(capsys.readouterr().out)["hits"]
        assert len(hits) == 10
        assert "--image" not in asked or Path(hits[0]["path"]).parent == red.parent
    assert isinstance(query_encoder(one_sided, texts=False), TowersEncoder)  # kept by the search by an image


def test_towers_that_were_damaged_are_made_anew(one_sided: Path) -> None:
    known = load_encoder(one_sided).fingerprint
    keep_towers(str(one_sided), known)
    weights = place_of(known) / f"{VISUAL}.data"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    assert towers_of(known) is None
    assert not isinstance(query_encoder(one_sided, texts=False), TowersEncoder)
    keep_towers(str(one_sided), known)
    assert weights.read_bytes() == whole
    assert {file.name for file in place_of(known).parent.glob(f".{known}*")} == set()


def test_towers_are_kept_of_the_model_that_was_used_and_not_of_the_next(one_sided: Path) -> None:
    used = load_encoder(one_sided).fingerprint
    torch.manual_seed(1)
    save_model(one_sided, build_clip(one_sided.parent / "config.json"))  # as training does for a better epoch
    with pytest.raises(ModelError, match="its files changed while it was in use"):
        keep_towers(str(one_sided), used)
    assert towers_of(used) is None
