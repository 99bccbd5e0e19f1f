"""`glimpse export`: what it writes runs in plain ONNX Runtime and in transformers, as it runs in glimpse."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from glimpse_here import glimpse_here
from PIL import Image
from tiny_world import ROOT, TINY

from base.errors import ModelError
from encoder.export.folder import export_model
from encoder.image import resize_by_pillow, to_pixels
from encoder.model.load import build_clip, load_encoder
from encoder.model.text import TextTower
from encoder.towers.folder import read_card
from encoder.zero_shot.classifier import build_classifier
from training.records.checkpoint import save_model

GLIMPSE = Path(sys.executable).with_name("glimpse")
TEXTS = ["a red  shirt", "", "DON'T won't", "naïve ÉTÉ 日本 🐈", "word " * 90, "a_b-c 12 ½, d.e!"]
CLASSIC: dict[str, Any] = TINY | {
    "vision_cfg": TINY["vision_cfg"] | {"layers": 2, "mlp_ratio": 3.0},
    "init_logit_scale": 4.0,
}


def run_of(folder: Path, config: dict[str, Any], **preprocess: Any) -> Path:
    """A run folder with every weight random, those that begin at zero and one too."""
    folder.mkdir(parents=True)
    (folder / "config").write_text(json.dumps(config))
    torch.manual_seed(0)
    parts = build_clip(folder / "config")
    with torch.no_grad():
        for name, weight in parts.clip.named_parameters():
            if not name.startswith("logit_"):
                weight += 0.1 * torch.randn_like(weight)
    save_model(folder, parts)
    written = json.loads((folder / "open_clip_config.json").read_text())
    written["preprocess_cfg"] |= preprocess
    (folder / "open_clip_config.json").write_text(json.dumps(written))
    return folder


def glimpse(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([GLIMPSE, *map(str, arguments)], capture_output=True, text=True, cwd=ROOT, check=False)


def exported(run: Path, out: Path, *more: str) -> dict[str, Any]:
    done = glimpse_here("export", run, "--out", out, "--json", *more)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    assert answer["files"] == {file.name: file.stat().st_size for file in out.iterdir()}
    assert [*out.parent.glob(f".{out.name}*")] == []
    return answer


def python(code: str, *arguments: object, cwd: Path, without: tuple[str, ...] = ()) -> str:
    """What a program prints that cannot import these."""
    blocked = f"import sys; sys.modules.update(dict.fromkeys({without!r}))\n"
    command = [sys.executable, "-c", blocked + code, *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """One that no model sees whole: coloured noise, wide, in soft blocks."""
    noise = np.random.default_rng(3).integers(0, 256, (5, 9, 3), np.uint8)
    Image.fromarray(noise).resize((91, 47), Image.Resampling.BICUBIC).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


@pytest.mark.parametrize(
    ("config", "preprocess"),
    [
        ({}, {}),
        ({"init_logit_bias": -2.5}, {"resize_mode": "squash", "interpolation": "bilinear", "mean": [0.5, 0.4, 0.3]}),
        ({}, {"resize_mode": "longest", "fill_color": 90}),
        ({"vision_cfg": CLASSIC["vision_cfg"] | {"image_size": [32, 48]}}, {}),
        ({"text_cfg": CLASSIC["text_cfg"] | {"tokenizer_kwargs": {"clean": "canonicalize"}}}, {}),
    ],
    ids=["softmax", "sigmoid", "longest", "oblong", "canonicalize"],
)
def test_the_program_on_the_card_labels_as_glimpse_does_and_needs_no_torch(
    config: dict[str, Any], preprocess: dict[str, Any], tmp_path: Path, picture: Path
) -> None:
    run = run_of(tmp_path / "run", CLASSIC | config, **preprocess)
    answer = exported(run, tmp_path / "out")
    assert min(answer["least_cosine"].values()) > 0.9999
    assert read_card(tmp_path / "out").model.fingerprint == load_encoder(run).fingerprint
    labels = "Two Dogs,cat!,red  shirt"
    [code] = re.findall(r"```python\n(.*?)```", (tmp_path / "out" / "README.md").read_text(), re.DOTALL)
    printed = python(ON_CPU + code, picture, labels, cwd=tmp_path / "out", without=("torch", "open_clip", "encoder"))
    found = {line.split(maxsplit=1)[1]: float(line.split()[0]) for line in printed.splitlines()}
    encoder = load_encoder(run, "cpu", "fp32")
    pixels = to_pixels(Image.open(picture), encoder.preprocess, resize_by_pillow)[None].copy()
    classifier = build_classifier(encoder, labels.split(","), ["a photo of a {}."])
    scores = classifier.scores(encoder.encode_pixels(pixels))[0].tolist()
    assert found == pytest.approx(dict(zip(labels.split(","), scores, strict=True)), abs=1e-3)
    assert max(scores) - min(scores) > 0.1


ON_CPU = """
import onnxruntime
made = onnxruntime.InferenceSession
def session(*arguments, providers):
    assert providers == ["CPUExecutionProvider"]  # on a Mac it would else be CoreML
    return made(*arguments, providers=providers)
onnxruntime.InferenceSession = session
"""
IN_TRANSFORMERS = """
import json, sys
sys.path.insert(0, sys.argv[2])
import encoder.model.lean_open_clip  # the wheel of PyPI does not stand beside a CPU torch
import torch
from PIL import Image
from transformers import AutoTokenizer, CLIPImageProcessor, CLIPModel
model, report = CLIPModel.from_pretrained(".", output_loading_info=True)
assert not any(report.values()), report
tokens = AutoTokenizer.from_pretrained(".")(json.loads(sys.argv[3]), padding=True, truncation=True, return_tensors="pt")
pixels = CLIPImageProcessor.from_pretrained(".")(Image.open(sys.argv[1]), return_tensors="pt")
given = torch.load("pixels.pt")
with torch.no_grad():
    out = model.eval()(**tokens, **pixels)
    exact = model(**tokens, pixel_values=given).image_embeds
print(json.dumps([out.text_embeds.tolist(), out.image_embeds.tolist(), exact.tolist(), model.logit_scale.exp().item()]))
"""


@pytest.mark.skipif(find_spec("transformers") is None, reason="make test-hf installs it")
@pytest.mark.parametrize(
    ("config", "preprocess"),
    [
        ({}, {}),
        ({"quick_gelu": True, "init_logit_bias": -2.5}, {"resize_mode": "squash", "std": [0.5, 0.4, 0.3]}),
        ({"text_cfg": CLASSIC["text_cfg"] | {"pool_type": "eos", "eos_id": 49407, "vocab_size": 49500}}, {}),
    ],
    ids=["gelu", "quick gelu", "pooled by id"],
)
def test_a_classic_clip_is_the_same_in_transformers(
    config: dict[str, Any], preprocess: dict[str, Any], tmp_path: Path, picture: Path
) -> None:
    run = run_of(tmp_path / "run", CLASSIC | config, **preprocess)
    answer = exported(run, tmp_path / "out", "--to", "hf")
    assert bool(answer["notes"]) == ("init_logit_bias" in config)
    encoder = load_encoder(run, "cpu", "fp32")
    pixels = to_pixels(Image.open(picture), encoder.preprocess, resize_by_pillow)[None].copy()
    mean, std = torch.tensor(encoder.preprocess.mean), torch.tensor(encoder.preprocess.std)
    torch.save(((torch.tensor(pixels) / 255 - mean) / std).permute(0, 3, 1, 2), tmp_path / "out" / "pixels.pt")
    printed = python(IN_TRANSFORMERS, picture, ROOT, json.dumps(TEXTS), cwd=tmp_path / "out")
    texts, images, exact, scale = json.loads(printed)
    assert (np.array(texts) * encoder.encode_texts(TEXTS)).sum(axis=1).min() > 0.99999
    assert (np.array(exact) * encoder.encode_pixels(pixels)).sum(axis=1).min() > 0.99999
    assert (np.array(images) * encoder.encode_images([picture])).sum(axis=1).min() > 0.9999
    assert scale == pytest.approx(encoder.logit_scale)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"custom_text": True}, "CustomTextCLIP"),
        ({"vision_cfg": {"layers": [1, 1, 1, 1], "width": 32, "image_size": 32, "head_width": 32}}, "ResNet"),
        ({"vision_cfg": CLASSIC["vision_cfg"] | {"pool_type": "avg"}}, "pools by avg"),
        ({"vision_cfg": CLASSIC["vision_cfg"] | {"ls_init_value": 0.1}}, "ls_1.gamma"),
        ({"vision_cfg": CLASSIC["vision_cfg"] | {"no_ln_pre": True}}, "visual.ln_pre"),
        ({"vision_cfg": CLASSIC["vision_cfg"] | {"image_size": [32, 48]}}, "not square"),
        ({"text_cfg": CLASSIC["text_cfg"] | {"pool_type": "last"}}, "pools by last"),
        ({"text_cfg": CLASSIC["text_cfg"] | {"no_causal_mask": True}}, "causal"),
        ({"text_cfg": CLASSIC["text_cfg"] | {"qk_norm": True}}, "weights that a classic CLIP has not"),
        ({"text_cfg": CLASSIC["text_cfg"] | {"tokenizer_kwargs": {"clean": "canonicalize"}}}, "tokenised"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_classic_clip_is_refused_for_transformers(
    config: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    run = run_of(tmp_path / "run", CLASSIC | config)
    with pytest.raises(ModelError, match=f"cannot be a CLIPModel of transformers: .*{re.escape(reason)}"):
        export_model(str(run), "hf", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_tower_that_cannot_be_exported_leaves_nothing_behind(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TextTower, "traced", lambda tower, tokens: -tower._run(tokens, tokens.argmax(-1)))
    with pytest.raises(ModelError, match=r"tiny: its text tower cannot be exported: its vectors have a cosine of -1"):
        export_model(str(tiny_run), "onnx", tmp_path / "out")
    assert [*tmp_path.iterdir()] == []


def test_nothing_but_an_earlier_export_is_replaced(tiny_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    printed = glimpse("export", tiny_run, "--out", out)
    assert "least cosine to torch: image 1.000000, text 1.000000" in printed.stdout
    before = {file: file.stat().st_ino for file in out.iterdir()}
    refused = glimpse_here("export", tiny_run, "--out", out)
    assert refused.returncode == 2
    assert (
        refused.stderr
        == f"glimpse: {out}: is there already with files in it; choose another name, or replace it with --force\n"
    )
    again = ["export", str(tiny_run), "--out", str(out)]
    code = f"import sys; sys.modules['torch'] = None; sys.argv[1:] = {again}; from glimpse.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr == refused.stderr  # said before torch is loaded
    exported(tiny_run, out, "--to", "hf", "--force")
    assert not {*before} & {file for file in out.iterdir() if file.suffix == ".onnx"}
    for force in ((), ("--force",)):
        refused = glimpse_here("export", tiny_run, "--out", tiny_run, *force)
        assert refused.returncode == 2
        assert "which would be lost with it; choose another name" in refused.stderr
    assert load_encoder(tiny_run, "cpu", "fp32")
    (tmp_path / "file").touch()
    assert glimpse_here("export", tiny_run, "--out", tmp_path / "file", "--force").returncode == 2
    assert glimpse_here("export", tiny_run, "--out", tmp_path / "no" / "out").returncode == 2
    assert glimpse_here("export", tmp_path / "none", "--out", tmp_path / "none-out").returncode == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "out"]
