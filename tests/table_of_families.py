"""Every family of models against open_clip's own vectors: writes the table in docs/models.md, and none may differ.

About five minutes of one core, so the suite passes it by; run it by name: pytest tests/table_of_families.py
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from families import WORDS, Family, Likeness, compare, make_model

from encoder.towers.export import LEAST_COSINE

PAGE = Path(__file__).parents[1] / "docs" / "models.md"
BEGIN, END = "<!-- written by tests/table_of_families.py -->", "<!-- to here -->"
HEAD = ("| family | architecture | image: fp32 | bf16 | ONNX | text: fp32 | bf16 | ONNX | cut |", f"|{'---|' * 9}")
FOUR = {"layers": 4}
FAMILIES = (
    Family("CLIP", "ViT-S-32-alt"),
    Family("CLIP, QuickGELU", "ViT-B-32-quickgelu", "openai", FOUR, FOUR),
    Family("CLIP, ResNet", "RN50", "openai", {}, FOUR),
    Family("SigLIP", "ViT-B-16-SigLIP", "webli", {}, FOUR, "t5"),
    Family("SigLIP2", "ViT-B-16-SigLIP2", "webli", {}, FOUR, "gemma"),
    Family("CoCa", "coca_ViT-B-32", "laion2b_s13b_b90k", FOUR, FOUR),
    Family("CLIPA", "ViT-L-14-CLIPA", "datacomp1b", FOUR, FOUR, "bert"),
    Family("EVA", "EVA02-B-16", "merged2b_s8b_b131k", {}, FOUR),
    Family("MobileCLIP", "MobileCLIP-S1", "datacompdr", {}, FOUR),
    Family("MobileCLIP-B", "MobileCLIP-B", "datacompdr", {}, FOUR),
    Family("MobileCLIP2", "MobileCLIP2-S0", "dfndr2b", {}, FOUR),
    Family("MobileCLIP2, S3 and S4", "MobileCLIP2-S3", "dfndr2b", {}, FOUR),
    Family("ConvNeXt", "convnext_tiny", "", {}, FOUR),
    Family("ConvNeXt, L", "convnext_large_d", "laion2b_s26b_b102k_augreg", {"timm_model_name": "convnext_tiny"}, FOUR),
    Family("Swin", "swin_base_patch4_window7_224", "", {"timm_model_name": "swin_tiny_patch4_window7_224"}, FOUR),
    Family("ViT of timm, mean pool", "vit_medium_patch16_gap_256", "", {}, FOUR),
    Family("ViT of timm, relative", "vit_relpos_medium_patch16_cls_224", "", {}, FOUR),
    Family("PE", "PE-Core-T-16-384", "meta", {}, FOUR),
    Family("ViTamin", "ViTamin-S", "datacomp1b", {}, FOUR),
    Family("MetaCLIP 2", "ViT-H-14-worldwide", "metaclip2_worldwide", FOUR, FOUR | {"vocab_size": WORDS}, "xlm"),
    Family("RoBERTa", "roberta-ViT-B-32", "laion2b_s12b_b32k", FOUR, {}, "roberta", "roberta"),
    Family("XLM-RoBERTa", "xlm-roberta-base-ViT-B-32", "laion5b_s13b_b90k", FOUR, {}, "xlm", "xlm-roberta"),
    Family("mT5", "mt5-base-ViT-B-32", "", FOUR, {}, "t5", "mt5"),
    Family("NLLB", "nllb-clip-base", "v1", FOUR, {}, "nllb", "m2m_100"),
    Family("CoCa, RoBERTa", "coca_roberta-ViT-B-32", "", FOUR, {}, "roberta", "roberta"),
)  # fmt: skip


@pytest.fixture(scope="module")
def rows() -> Iterator[list[str]]:
    """Those of the table; written to the page if there is one for each family."""
    rows: list[str] = []
    yield rows
    if len(rows) == len(FAMILIES):
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        _, _, after = rest.partition(END)
        PAGE.write_text(before + "\n".join([BEGIN, *HEAD, *rows, END]) + after, encoding="utf-8")


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_family_gives_open_clips_vectors(family: Family, rows: list[str], tmp_path: Path) -> None:
    parity = compare(make_model(family, tmp_path / "model"), tmp_path / "towers")
    cosines = [_in_words(way[tower]) for tower in (0, 1) for way in (parity.fp32, parity.bf16, parity.towers)]
    rows.append(f"| {family.name} | {' | '.join([family.architecture, *cosines])} | {'yes' if parity.cuts else 'no'} |")
    print(rows[-1])
    assert parity.card.why_not == ()
    for likeness in (*parity.fp32, *parity.towers):
        assert likeness is not None
        assert likeness.cosine >= LEAST_COSINE
        assert likeness.share <= 0.02
    assert all(likeness.cosine >= 0.999 for likeness in parity.bf16)


def _in_words(likeness: Likeness | None) -> str:
    return f"{likeness.cosine:.5f}" if likeness else "-"
