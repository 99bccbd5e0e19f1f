"""load_encoder: what lies here is loaded without a network, and what cannot be had is said in one line, soon."""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from tiny_world import TINY
from torch.overrides import TorchFunctionMode

from base.errors import InputError, ModelError, ModelUnavailable
from encoder.image import Preprocess
from encoder.model import load
from encoder.model.device import choose_precision
from encoder.model.dual_encoder import DualEncoder
from encoder.model.hub.published import published_models
from encoder.model.lean_open_clip import open_clip
from encoder.model.load import build_clip, fingerprint, load_clip, load_encoder
from encoder.model.weights import CONFIG, WEIGHTS
from training.records.checkpoint import save_model


def test_a_run_folder_gives_back_the_model_that_was_saved(tiny_config: Path, tmp_path: Path) -> None:
    torch.manual_seed(3)
    parts = build_clip(tiny_config)
    save_model(tmp_path / "run", parts)
    again = load_clip(tmp_path / "run")
    assert fingerprint(parts) == fingerprint(again)
    assert again.preprocess == parts.preprocess
    assert load_encoder(f"local-dir:{tmp_path / 'run'}").dim == TINY["embed_dim"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_of_a_training_that_diverged_are_refused(tiny_config: Path, tmp_path: Path, value: float) -> None:
    parts = build_clip(tiny_config)
    with torch.no_grad():
        parts.clip.visual.conv1.weight.view(-1)[7] = value
    save_model(tmp_path / "run", parts)
    with pytest.raises(ModelError, match=r"visual\.conv1\.weight holds NaN or infinite weights"):
        load_encoder(str(tmp_path / "run"))


def test_the_fingerprint_tells_weights_and_preprocessing_apart(tiny_config: Path) -> None:
    torch.manual_seed(0)
    one = build_clip(tiny_config)
    torch.manual_seed(0)
    same = build_clip(tiny_config)
    other = build_clip(tiny_config)
    assert fingerprint(one) == fingerprint(same)
    assert fingerprint(one) != fingerprint(other)
    squashed = dataclasses.replace(one, preprocess=Preprocess(size=32, resize_mode="squash"))
    assert fingerprint(one) != fingerprint(squashed)
    another_activation = dataclasses.replace(one, model_cfg=one.model_cfg | {"quick_gelu": True})
    assert fingerprint(one) != fingerprint(another_activation)


def test_a_cached_hub_repository_needs_no_network(
    tiny_run: Path, encoder: DualEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "models--someone--tiny"
    snapshot = repository / "snapshots" / "abc"
    shutil.copytree(tiny_run, snapshot)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    cached = load_encoder("hf-hub:someone/tiny", device="cpu", precision="fp32")
    assert cached.fingerprint == encoder.fingerprint
    assert cached.ref == "hf-hub:someone/tiny"


@pytest.mark.parametrize("ref", ["hf-hub:someone/unknown", "ViT-B-32/laion2b_s34b_b79k"])
def test_weights_that_cannot_be_had_are_one_line_within_seconds(
    ref: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    started = time.monotonic()
    with pytest.raises(ModelUnavailable) as caught:
        load_encoder(ref)
    assert time.monotonic() - started < 10
    message = str(caught.value)
    assert "\n" not in message
    assert ref in message
    assert "cannot be downloaded" in message
    assert "run folder" in message


@pytest.mark.parametrize(
    ("ref", "message"),
    [
        ("VIT-B32/openai", "did you mean ViT-B-32"),
        ("ViT-B-32/opena", "there are ViT-B-32/openai"),
        ("ViT-B-32", "there are ViT-B-32/"),
        ("no/such/folder", "neither a folder here nor a model"),
        ("gone/epoch_5.pt", "no such file$"),
        ("tiny/demo", r"did you mean hf-hub:tiny/demo\?$"),
        ("laion/CLIP-ViT-B-32-laion2B-s34B-b79K/", r"did you mean hf-hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K\?$"),
        ("openai/clip-vit-base-patch32@main", r"did you mean hf-hub:openai/clip-vit-base-patch32@main\?$"),
        ("https://huggingface.co/ORG/NAME", r"did you mean hf-hub:ORG/NAME\?$"),
        ("https://huggingface.co/ORG/NAME/tree/v1.0/", r"did you mean hf-hub:ORG/NAME@v1\.0\?$"),
        ("http://127.0.0.1:80/ORG/NAME/blob/main/open_clip_config.json", r"did you mean hf-hub:ORG/NAME\?$"),
        ("hf-hub:https://huggingface.co/ORG/NAME", r"did you mean hf-hub:ORG/NAME\?$"),
        ("huggingface.co/ORG/NAME", r"did you mean hf-hub:ORG/NAME\?$"),
        ("hf://ORG/NAME", r"did you mean hf-hub:ORG/NAME\?$"),
    ],
)
def test_a_wrong_reference_is_met_with_a_suggestion(ref: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load_encoder(ref)


def test_folders_that_are_no_run_folders_say_what_they_lack(tiny_run: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has no open_clip_config\.json"):
        load_encoder(tmp_path)
    (tmp_path / "visual.onnx").touch()
    with pytest.raises(ModelError, match="an export for other programs: give the model that it was made of"):
        load_encoder(tmp_path)
    (tmp_path / "visual.onnx").unlink()
    shutil.copy(tiny_run / CONFIG, tmp_path)
    with pytest.raises(ModelError, match="no weights"):
        load_encoder(tmp_path)
    (tmp_path / WEIGHTS).write_bytes(b"not weights")
    with pytest.raises(ModelError, match="is cut short or damaged; copy or download it again"):
        load_encoder(tmp_path)
    (tmp_path / CONFIG).write_text("{")
    with pytest.raises(ModelError, match="cannot be read as JSON"):
        load_encoder(tmp_path)


def test_weights_of_another_architecture_are_refused(tiny_run: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_run, tmp_path / "run")
    config = json.loads((tmp_path / "run" / CONFIG).read_text())
    config["model_cfg"]["embed_dim"] = 48
    (tmp_path / "run" / CONFIG).write_text(json.dumps(config))
    with pytest.raises(ModelError, match="cannot be built"):
        load_encoder(tmp_path / "run")


@pytest.mark.parametrize(
    "kwargs",
    [{"trust_remote_code": True}, {"code_revision": "main"}, {"bpe_path": "/x"}, {"clean": {"a": 1}}, ["lower"]],
)
def test_a_config_may_not_say_what_a_tokenizer_runs(tiny_run: Path, tmp_path: Path, kwargs: object) -> None:
    shutil.copytree(tiny_run, tmp_path / "run")
    config = json.loads((tmp_path / "run" / CONFIG).read_text())
    config["model_cfg"]["text_cfg"]["tokenizer_kwargs"] = {"clean": "canonicalize"}
    (tmp_path / "run" / CONFIG).write_text(json.dumps(config))
    assert load_clip(tmp_path / "run").tokenizer(["A, b"]).equal(load_clip(tmp_path / "run").tokenizer(["a b"]))
    config["model_cfg"]["text_cfg"]["tokenizer_kwargs"] = kwargs
    (tmp_path / "run" / CONFIG).write_text(json.dumps(config))
    with pytest.raises(ModelError, match="its tokenizer_kwargs"):
        load_clip(tmp_path / "run")


def test_loading_leaves_the_log_of_a_program_as_it_was(tiny_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """open_clip logs to the root, and logging then makes a handler of its own for all that is said later."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    load_encoder(tiny_run, "cpu", "fp32")
    assert root.handlers == []


def test_devices_and_precisions_are_checked(tiny_run: Path) -> None:
    with pytest.raises(ModelError, match="--device cpu"):
        load_encoder(tiny_run, device="toaster")
    with pytest.raises(InputError, match="auto, bf16 or fp32"):
        load_encoder(tiny_run, precision="fp64")
    assert choose_precision("auto", torch.device("cpu")) in ("bf16", "fp32")


def test_the_same_seed_builds_the_same_encoder(tiny_run: Path, encoder: DualEncoder) -> None:
    again = load_encoder(tiny_run, device="cpu", precision="fp32")
    assert np.array_equal(again.encode_texts(["a dog"]), encoder.encode_texts(["a dog"]))


def test_weights_that_are_read_are_not_filled_with_random_numbers_first(tiny_run: Path, tiny_config: Path) -> None:
    class Fills(TorchFunctionMode):
        seen = 0

        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.seen += function.__name__ in ("normal_", "uniform_", "trunc_normal_")
            return function(*args, **(kwargs or {}))

    with Fills() as reading:
        load_clip(tiny_run)
    with Fills() as building:
        build_clip(tiny_config)
    assert reading.seen == 0
    assert building.seen > 10


def test_models_share_the_tables_of_clips_tokenizer_and_each_cuts_at_its_own_length(tmp_path: Path) -> None:
    own = open_clip.SimpleTokenizer(context_length=5)
    short, other = (tmp_path / "short.json", tmp_path / "other.json")
    short.write_text(json.dumps(TINY | {"text_cfg": TINY["text_cfg"] | {"context_length": 5}}))
    other.write_text(json.dumps(TINY | {"text_cfg": TINY["text_cfg"] | {"tokenizer_kwargs": {"clean": "whitespace"}}}))
    cut, whole = build_clip(short).tokenizer, build_clip(other).tokenizer
    texts = ["A red boat by the sea", "", "née\u0301 &amp;amp; \U0001f45f", "Boat"]
    assert torch.equal(cut(texts), own(texts))
    assert cut(texts).shape == (4, 5)
    assert whole(texts).shape == (4, 77)
    assert cut(["Boat"])[0, 1] == cut(["boat"])[0, 1]
    assert whole(["Boat"])[0, 1] != whole(["boat"])[0, 1]  # which it does not lower
    assert build_clip(short).tokenizer.bpe_ranks is cut.bpe_ranks


def test_published_models_are_references() -> None:
    assert "ViT-B-32/openai" in published_models()


def test_loads_at_one_time_leave_the_log_and_warnings_as_they_were(
    tiny_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one in is the first one out, while the second is still at it."""
    before = logging.getLogger().level, list(warnings.filters)
    first_is_in, second_is_in, first_is_out = threading.Event(), threading.Event(), threading.Event()
    check = load._check_finite

    def checking(clip: torch.nn.Module, ref: str) -> None:  # in the midst of a load
        if threading.current_thread().name == "first":
            first_is_in.set()
            assert second_is_in.wait(30)
        else:
            second_is_in.set()
            assert first_is_out.wait(30)
        assert logging.getLogger().level == logging.ERROR
        check(clip, ref)

    def one() -> None:
        load_clip(tiny_run)
        first_is_out.set()

    monkeypatch.setattr(load, "_check_finite", checking)
    first = threading.Thread(target=one, name="first")
    first.start()
    assert first_is_in.wait(30)
    load_clip(tiny_run)
    first.join()
    assert (logging.getLogger().level, list(warnings.filters)) == before
