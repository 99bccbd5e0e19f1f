"""The models worth knowing agree with open_clip, and the one that is recommended fits the machine and the languages."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
from tiny_world import ROOT
from torch.utils.flop_counter import FlopCounterMode

from base.errors import InputError
from encoder.choice.languages import LANGUAGES, RECALL, language_code
from encoder.choice.machine import Machine
from encoder.choice.models import MODELS, KnownModel
from encoder.choice.recommend import AS_GOOD, NIGHT, fits, recommend, seconds
from encoder.model.hub.published import published_models
from encoder.model.lean_open_clip import open_clip, with_timm_for

LAPTOP = Machine(16 * 10**9, "cpu", None, "fp32", 8, 400.0, 0.04)
OLD = Machine(8 * 10**9, "cpu", None, "fp32", 2, 25.0, 0.08)
SMALL = Machine(25 * 10**8, "cpu", None, "fp32", 2, 60.0, 0.08)
CARD = Machine(64 * 10**9, "cuda", 24 * 10**9, "bf16", 16, 30_000.0, 0.04)


def config_of(model: KnownModel) -> dict:
    return open_clip.get_model_config(model.ref.partition("/")[0])


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.ref)
def test_a_model_worth_knowing_is_one_of_open_clips(model: KnownModel) -> None:
    config = config_of(model)
    text = config["text_cfg"]
    assert model.ref in published_models()
    assert model.dim == config["embed_dim"]
    assert model.tokens == text.get("context_length", 77)
    assert model.takes_hf == ("hf_tokenizer_name" in text)


def test_each_is_there_once_and_only_they_have_figures_of_languages() -> None:
    refs = [model.ref for model in MODELS]
    assert len(set(refs)) == len(refs)
    assert {ref for found in RECALL.values() for ref in found} <= set(refs)
    assert all(20 <= value < 100 for found in RECALL.values() for value in found.values())
    assert len(LANGUAGES) == 36


@pytest.mark.parametrize(
    "model", [m for m in MODELS if "hf_model_name" not in config_of(m)["text_cfg"]], ids=lambda model: model.ref
)
def test_weights_and_work_are_those_of_open_clips_architecture(model: KnownModel) -> None:
    config = config_of(model)
    with_timm_for(config)
    kind = open_clip.model.CustomTextCLIP if config.pop("custom_text", False) else open_clip.model.CLIP
    with torch.device("meta"):
        clip = kind(**config).eval().requires_grad_(False)
        size = clip.visual.image_size
        picture = torch.zeros(1, 3, *([size, size] if isinstance(size, int) else size))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        clip.visual(picture)
    assert sum(each.numel() for each in clip.parameters()) / 1e6 == pytest.approx(model.weights, abs=0.006)
    assert counter.get_total_flops() / 1e9 == pytest.approx(model.gflops, abs=0.006)


@pytest.mark.parametrize("given", ["de", "German", " german ", "de-AT", "de_CH"])
def test_a_language_is_known_by_code_and_name(given: str) -> None:
    assert language_code(given) == "de"


def test_an_unknown_language_is_named_with_those_that_are_known() -> None:
    with pytest.raises(InputError, match=r"'Germn'; did you mean German\? there are Arabic \(ar\), .*Vietnamese"):
        language_code("Germn")


def taken(machine: Machine, photos: int, *languages: str) -> str:
    return recommend(machine, photos, languages).take.model.ref


def test_the_machine_the_photos_and_the_languages_decide() -> None:
    assert taken(LAPTOP, 10_000, "en") == "ViT-B-16-SigLIP2/webli"
    assert taken(LAPTOP, 10_000, "en", "de") == "ViT-B-16-SigLIP2/webli"
    assert taken(OLD, 20_000, "en") == "ViT-B-32-SigLIP2-256/webli"
    assert taken(SMALL, 10_000, "en") == "ViT-B-32/laion2b_s34b_b79k"
    assert taken(LAPTOP, 10_000, "ja") == "xlm-roberta-large-ViT-H-14/frozen_laion5b_s13b_b90k"
    assert taken(LAPTOP, 100_000, "ja") == "xlm-roberta-base-ViT-B-32/laion5b_s13b_b90k"
    assert taken(CARD, 1_000_000, "it") == "ViT-L-16-SigLIP2-256/webli"
    assert taken(CARD, 100_000, "bn").startswith("nllb-clip")


@pytest.mark.parametrize("machine", [LAPTOP, OLD, SMALL, CARD], ids=["laptop", "old", "small", "card"])
@pytest.mark.parametrize("code", LANGUAGES)
def test_what_is_recommended_fits_and_is_done_in_a_night_if_any_is(machine: Machine, code: str) -> None:
    for photos in (100, 100_000, 10_000_000):
        found = recommend(machine, photos, [code])
        for choice in filter(None, (found.take, found.faster, found.better)):
            assert fits(choice.model, machine)
            assert choice.seconds == seconds(choice.model, machine, photos)
        if found.take.recall is None:
            assert "none was measured" in found.take.why
            continue
        others = {m: RECALL[code][m.ref] for m in MODELS if m.ref in RECALL[code] and fits(m, machine)}
        in_time = [m for m in others if seconds(m, machine, photos) <= NIGHT]
        if in_time:
            assert found.take.model in in_time
            free = [others[m] for m in in_time if m.is_for_commerce]
            assert found.take.recall >= max([*free, 0]) - AS_GOOD
        else:
            assert "none that fits has so many photos done in a night" in found.take.why
        if not found.take.model.is_for_commerce:
            assert "forbids commerce" in found.take.why
        if found.better:
            assert found.better.recall is not None
            assert found.better.recall > found.take.recall


def test_where_nothing_fits_the_smallest_is_named() -> None:
    with pytest.raises(
        InputError, match=r"no model fits into 0\.5 GB: the smallest, PE-Core-T-16-384/meta, takes 0\.8"
    ):
        recommend(replace(SMALL, memory=5 * 10**8), 10, ["en"])


def test_the_documents_recommend_models_of_the_table() -> None:
    text = (ROOT / "docs" / "models.md").read_text()
    table = text[text.index("| for | take |") : text.index("SigLIP, SigLIP2, CLIPA")]
    named = re.findall(r"^\| [^|]+ \| `([^`]+)`", table, re.MULTILINE)
    assert len(named) >= 7
    assert set(named) <= {model.ref for model in MODELS}
    [recommended] = re.findall(r"We recommend\s+`([^`]+)`", (ROOT / "README.md").read_text())
    assert recommended == taken(LAPTOP, 10_000, "en")
