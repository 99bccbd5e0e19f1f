"""Checkpoints of open_clip's trainer are models; what holds other things than weights is told in our words."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from tiny_world import TINY

from base.errors import ModelError, TrainingError
from encoder.model.dual_encoder import DualEncoder
from encoder.model.load import build_clip, fingerprint, load_clip, load_encoder
from encoder.model.weights import CONFIG
from training.records.checkpoint import load_state, save_model
from training.run_folder import STATE


@pytest.fixture
def architecture(monkeypatch: pytest.MonkeyPatch) -> str:
    """An architecture that open_clip knows by name, as small as the tests' model."""
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny-arch", TINY)
    return "tiny-arch"


@pytest.fixture
def checkpoint(tiny_run: Path, tmp_path: Path) -> Path:
    """What a run of open_clip's trainer leaves: logs/x/params.txt and logs/x/checkpoints/epoch_5.pt."""
    file = tmp_path / "logs" / "x" / "checkpoints" / "epoch_5.pt"
    file.parent.mkdir(parents=True)
    clip = load_clip(tiny_run).clip
    weights = {f"module.{name}": tensor for name, tensor in clip.state_dict().items()}
    optimizer = torch.optim.AdamW(clip.parameters()).state_dict()
    torch.save({"epoch": 5, "name": "x", "state_dict": weights, "optimizer": optimizer}, file)
    (file.parents[1] / "params.txt").write_text("batch_size: 64\nmodel: tiny-arch\nlr: 0.001\n")
    return file


def test_a_checkpoint_of_a_training_run_is_taken_with_its_architecture(
    architecture: str, checkpoint: Path, encoder: DualEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(checkpoint.parent)
    loaded = load_encoder(f"{architecture}/epoch_5.pt", device="cpu", precision="fp32")
    assert loaded.ref == f"{architecture}/{checkpoint}"  # from any folder
    assert np.array_equal(loaded.encode_texts(["a dog"]), encoder.encode_texts(["a dog"]))
    for ref in (checkpoint, checkpoint.parent, checkpoint.parents[1]):
        with pytest.raises(ModelError, match=f"of tiny-arch as its params.txt says: give tiny-arch/{checkpoint}$"):
            load_clip(ref)
    (checkpoint.parents[1] / "params.txt").unlink()
    with pytest.raises(ModelError, match=r"do not say of which architecture: give ARCHITECTURE/FILE, as ViT-B-32/"):
        load_clip(checkpoint)
    junk, page = checkpoint.with_name("junk.pt"), checkpoint.with_name("page.safetensors")
    junk.write_bytes(b"no weights at all " * 99)
    page.write_text("<!DOCTYPE html><html>not found</html>")
    with zipfile.ZipFile(checkpoint.with_name("papers.pt"), "w") as archive:
        archive.writestr("word/document.xml", "text")
    for name in ("junk.pt", "page.safetensors", "papers.pt"):
        with pytest.raises(ModelError, match=f"{name}: no file of weights, or a damaged one; copy or download it"):
            load_clip(checkpoint.with_name(name))
        checkpoint.with_name(name).unlink()
    with pytest.raises(ModelError, match=r"there is no file epoch_9\.pt here"):
        load_clip(f"{architecture}/epoch_9.pt")


def test_a_checkpoint_beside_a_config_is_taken(tiny_run: Path, checkpoint: Path, encoder: DualEncoder) -> None:
    folder = checkpoint.parent
    shutil.copy(tiny_run / CONFIG, folder)
    for ref in (folder, checkpoint, f"local-dir:{folder}"):
        assert load_encoder(ref, device="cpu", precision="fp32").fingerprint == encoder.fingerprint
    shutil.copy(checkpoint, folder / "epoch_6.pt")
    with pytest.raises(
        ModelError, match=r"several checkpoints \(epoch_5\.pt, epoch_6\.pt\); name one, as .*epoch_6\.pt"
    ):
        load_clip(folder)
    assert fingerprint(load_clip(folder / "epoch_6.pt")) == encoder.fingerprint
    with pytest.raises(ModelError, match="not a model; give a run folder"):
        load_clip(checkpoint.parents[1] / "params.txt")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"best": np.float64(0.5)}, r"holds more than weights \(numpy.*scalar\).*If you trust it.*and give that file$"),
        ({"model": build_clip}, r"holds more than weights \(encoder\.model\.load\.build_clip\)"),
    ],
)
def test_a_checkpoint_with_more_than_weights_is_refused_in_our_words(
    tiny_run: Path, tmp_path: Path, more: dict[str, Any], message: str
) -> None:
    shutil.copy(tiny_run / CONFIG, tmp_path)
    file = tmp_path / "open_clip_pytorch_model.bin"
    torch.save({"state_dict": load_clip(tiny_run).clip.state_dict()} | more, file)
    with pytest.raises(ModelError, match=message) as caught:
        load_clip(tmp_path)
    assert not {"\n", "\x1b"} & set(str(caught.value))
    command = str(caught.value).split('python -c "')[1].split('"')[0]
    exec(command)
    load_clip(tmp_path / "open_clip_pytorch_model_weights.pt")


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_weights_that_are_cut_or_scripted_or_of_another_model_are_told(tiny_run: Path, tmp_path: Path) -> None:
    shutil.copy(tiny_run / CONFIG, tmp_path)
    file = tmp_path / "open_clip_pytorch_model.bin"
    weights = load_clip(tiny_run).clip.state_dict()
    torch.save(weights, file)
    file.write_bytes(file.read_bytes()[:-2000])
    with pytest.raises(ModelError, match="is cut short or damaged"):
        load_clip(tmp_path)
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 600000000\n")
    with pytest.raises(ModelError, match="is a pointer of Git LFS"):
        load_clip(tmp_path)
    torch.save({name: torch.zeros_like(value) for name, value in weights.items()}, file)
    with pytest.raises(ModelError, match="vectors of zeros"):
        load_encoder(tmp_path, device="cpu").encode_images([Image.new("RGB", (40, 40), "red")])
    file.write_bytes(b"not weights")
    with pytest.raises(ModelError, match="is no file of weights, or a damaged one"):
        load_clip(tmp_path)
    torch.save({"model": weights, "optimizer": {}}, file)
    with pytest.raises(ModelError, match=r"another architecture: it lacks .* and \d+ more, it has model and 1 more"):
        load_clip(tmp_path)
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), file)
    with pytest.raises(ModelError, match="is a TorchScript archive"):
        load_clip(tmp_path)
    whole = (tiny_run / "open_clip_model.safetensors").read_bytes()
    for size in (len(whole) // 2, 100, 0):
        (tmp_path / "open_clip_model.safetensors").write_bytes(whole[:size])
        with pytest.raises(ModelError, match=r"open_clip_model\.safetensors is cut short or damaged"):
            load_clip(tmp_path)


def test_a_training_state_of_another_program_is_refused_in_our_words(tmp_path: Path) -> None:
    torch.save({"progress": {"best": np.float64(1.0)}}, tmp_path / STATE)
    with pytest.raises(TrainingError, match=r"not a state that glimpse saved; start anew with another --out$"):
        load_state(tmp_path, lambda state: None)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "transformer.resblocks.0.ln_1.weight",
            float("nan"),
            "resblocks.0.ln_1.weight holds NaN",
        ),  # of the texts' tower
        ("token_embedding.weight", -float("inf"), "token_embedding.weight holds NaN or infinite"),
        ("ln_final.weight", [3e38] * 32, "ln_final.weight holds NaN or infinite"),
        ("logit_scale", 1000.0, "logit_scale is too large"),
    ],
)
def test_weights_of_the_text_tower_and_scales_are_looked_at_too(
    tiny_config: Path, tmp_path: Path, name: str, value: float | list[float], message: str
) -> None:
    parts = build_clip(tiny_config)
    with torch.no_grad():
        parts.clip.state_dict()[name].view(-1)[:32] = torch.tensor(value)
    save_model(tmp_path, parts)
    with pytest.raises(ModelError, match=message):
        load_clip(tmp_path)  # as a training starts, too
