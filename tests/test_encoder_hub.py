"""Models of the Hugging Face hub: got as huggingface_hub gets them, and every refusal is one line with its remedy."""

from __future__ import annotations

import io
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import open_clip
import pytest
import safetensors.torch
import torch
from huggingface_hub import constants
from huggingface_hub.utils import close_session
from local_hub import LocalHub, running
from tiny_world import TINY

from base.errors import ModelError, ModelUnavailable
from encoder.model.dual_encoder import DualEncoder
from encoder.model.hub import repository as hub_module
from encoder.model.hub.repository import Repository, hub_folder, models_here
from encoder.model.load import build_clip, load_clip, load_encoder, make_encoder
from encoder.model.weights import CONFIG, WEIGHTS
from training.records.checkpoint import save_model

TRANSFORMERS = {"config.json": b'{"model_type": "clip"}', "model.safetensors": b"weights"}


@pytest.fixture
def hub(tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    """A hub with a model on this machine, and an empty cache."""
    files = {file.name: file.read_bytes() for file in tiny_run.iterdir()}
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    with running(LocalHub({"tiny/demo": files})) as local:
        _turn_to(local.url, monkeypatch)
        yield local
        close_session()


def _turn_to(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What HF_ENDPOINT does at the start of a program."""
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    close_session()


def test_a_repository_is_downloaded_once_at_the_revision_that_is_named(hub: LocalHub, encoder: DualEncoder) -> None:
    hub.revisions = ("main", "refs/pr/1", "v1.0")
    for ref in ("hf-hub:tiny/demo/", "hf-hub:tiny/demo@v1.0", "hf-hub:tiny/demo@refs/pr/1"):
        assert load_encoder(ref, device="cpu", precision="fp32").fingerprint == encoder.fingerprint
    assert "HEAD tiny/demo/resolve/v1.0/open_clip_config.json" in hub.asked
    hub.asked.clear()
    load_clip("hf-hub:tiny/demo@v1.0")
    assert hub.asked == []
    with pytest.raises(ModelError, match=r"tiny/demo@nope: the repository has no such revision"):
        load_clip("hf-hub:tiny/demo@nope")


@pytest.mark.parametrize("ref", ["hf-hub:tiny/demo@", "hf-hub:a/b/c", "hf-hub:", "hf-hub:.a/b", "hf-hub:a/b@../../c"])
def test_what_names_no_repository_is_one_line(ref: str) -> None:
    with pytest.raises(ModelError, match=r"a repository is hf-hub:ORG/NAME, or hf-hub:ORG/NAME@REVISION$"):
        load_clip(ref)


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (
            401,
            "GatedRepo",
            "is gated, and it takes a token to read it: accept its terms at http.*tiny/demo, then set HF_",
        ),
        (403, "GatedRepo", "is gated.*set HF_TOKEN"),
        (401, "RepoNotFound", "no such repository, or it is private or gated.*check its name; else accept.*HF_TOKEN"),
        (401, "", "no such repository, or it is private or gated.*check its name; else accept.*HF_TOKEN"),
        (403, "", r"forbids it \(403.*HF_TOKEN"),
        (404, "RepoNotFound", "no such repository, check its name; if it is private, set HF_TOKEN"),
    ],
)
def test_a_refusal_is_told_with_its_remedy(hub: LocalHub, status: int, code: str, message: str) -> None:
    hub.refusals["tiny/demo"] = (status, {"X-Error-Code": code} if code else {})
    with pytest.raises(ModelError, match=message) as caught:
        load_clip("hf-hub:tiny/demo")
    assert "\n" not in str(caught.value)
    assert "network" not in str(caught.value)


def test_a_token_that_is_not_taken_and_a_name_with_a_slip_are_told(
    hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelError, match=r"did you mean hf-hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K\?"):
        load_clip("hf-hub:laion/CLIP-ViT-B-32-laion2b-s34B-b79K")
    hub.refusals["tiny/demo"] = (401, {"X-Error-Message": "Invalid credentials in Authorization header"})
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(ModelUnavailable, match=r"does not take your token \(401\)"):
        load_clip("hf-hub:tiny/demo")


@pytest.mark.parametrize("plain", [False, True])
def test_a_repository_of_another_library_says_what_it_is_and_what_to_take(hub: LocalHub, plain: bool) -> None:
    hub.plain = plain
    hub.repositories |= {
        "openai/clip-vit-base-patch32": TRANSFORMERS,
        "google/siglip2-base-patch16-224": {"config.json": b'{"model_type": "siglip"}'},
        "some/bert": {"config.json": b'{"model_type": "bert"}'},
        "some/data": {"README.md": b""},
    }
    for name, message in {
        "openai/clip-vit-base-patch32": r"transformers \(clip\), not one of open_clip.*take "
        r"hf-hub:timm/vit_base_patch32_clip_224.openai, which is ViT-B-32/openai$",
        "google/siglip2-base-patch16-224": "take hf-hub:timm/ViT-B-16-SigLIP2, which is ViT-B-16-SigLIP2/webli$",
        "some/bert": r"transformers \(bert\).*`glimpse models --all` lists",
        "some/data": f"it has no {CONFIG}: no repository of open_clip, or none of that name",
    }.items():
        with pytest.raises(ModelError, match=message):
            load_clip(f"hf-hub:{name}")


def test_a_download_that_breaks_is_told_of_the_file_that_is_there(hub: LocalHub) -> None:
    hub.broken[WEIGHTS] = 503
    with pytest.raises(ModelUnavailable, match=f"answers 503 for tiny/demo/{WEIGHTS}"):
        load_clip("hf-hub:tiny/demo")
    assert not [asked for asked in hub.asked if "open_clip_pytorch_model" in asked]
    hub.broken.clear()
    content = io.BytesIO()
    torch.save(safetensors.torch.load(hub.repositories["tiny/demo"].pop(WEIGHTS)), content)
    hub.repositories["tiny/demo"]["open_clip_pytorch_model.bin"] = content.getvalue()
    load_clip("hf-hub:tiny/demo")  # what is not there is passed by


@pytest.mark.parametrize("config", [{"model_cfg": []}, {"model_cfg": {"text_cfg": [1]}}, {}])
def test_a_config_of_another_form_is_told_before_weights_are_downloaded(
    hub: LocalHub, tmp_path: Path, config: dict[str, object]
) -> None:
    hub.repositories["tiny/demo"][CONFIG] = json.dumps(config).encode()
    with pytest.raises(ModelError, match=r"^hf-hub:tiny/demo: its open_clip_config\.json has no model_cfg"):
        load_clip("hf-hub:tiny/demo")
    assert not any(WEIGHTS in asked for asked in hub.asked)
    (tmp_path / "own.json").write_text(json.dumps(TINY | config))
    if config:
        with pytest.raises(ModelError, match="not an open_clip model config, it lacks"):
            build_clip(tmp_path / "own.json")


@pytest.mark.parametrize("file", [WEIGHTS, CONFIG])
def test_a_byte_that_is_flipped_on_the_way_is_found_and_not_kept(hub: LocalHub, file: str) -> None:
    hub.damaged.add(file)
    with pytest.raises(ModelUnavailable, match=f"{file} was damaged on the way"):
        load_clip("hf-hub:tiny/demo")
    hub.damaged.clear()
    load_clip("hf-hub:tiny/demo")


def test_a_mirror_may_be_slow_where_nothing_is_asked(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.root_seconds = 60
    load_clip("hf-hub:tiny/demo")
    hub.seconds = 0.5
    monkeypatch.setattr(hub_module, "_ANSWER_SECONDS", 0.1)
    with pytest.raises(ModelUnavailable, match=r"(?i)timed out.*HF_HUB_DOWNLOAD_TIMEOUT"):
        load_clip("hf-hub:tiny/other")


def test_a_proxy_for_everything_is_the_way_to_the_hub(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    _turn_to("http://hub.invalid", monkeypatch)
    with pytest.raises(ModelUnavailable, match=r"hub\.invalid"):
        load_clip("hf-hub:tiny/demo")
    close_session()
    monkeypatch.setenv("ALL_PROXY", hub.url)
    load_clip("hf-hub:tiny/demo")
    close_session()
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with pytest.raises(ModelUnavailable, match=r"asked by the proxy of ALL_PROXY"):
        load_clip("hf-hub:tiny/other")


def test_published_weights_come_the_same_way(hub: LocalHub) -> None:
    with pytest.raises(ModelError, match=r"^ViT-B-32/laion2b_s34b_b79k: no such repository"):
        load_clip("ViT-B-32/laion2b_s34b_b79k")
    assert hub.asked[0].startswith("HEAD laion/CLIP-ViT-B-32-laion2B-s34B-b79K/resolve/main/")


def test_what_is_on_this_machine_is_listed(hub: LocalHub) -> None:
    name = "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"
    hub.repositories[name] = hub.repositories["tiny/demo"]
    assert models_here() == []
    hub_folder(Repository.of(f"hf-hub:{name}"))
    assert models_here() == ["ViT-B-32/laion2b_s34b_b79k", f"hf-hub:{name}"]


def test_config_and_weights_are_of_one_commit(hub: LocalHub, encoder: DualEncoder) -> None:
    hub.broken[WEIGHTS] = 503
    with pytest.raises(ModelUnavailable):
        load_clip("hf-hub:tiny/demo")  # the config is cached now
    hub.broken.clear()
    hub.repositories["tiny/demo"]["README.md"] = json.dumps("a new commit").encode()
    assert load_encoder("hf-hub:tiny/demo", device="cpu", precision="fp32").fingerprint == encoder.fingerprint


def test_an_image_tower_that_is_named_by_its_repository_comes_by_the_same_door(hub: LocalHub, tmp_path: Path) -> None:
    trunk = {"architecture": "test_vit", "pretrained_cfg": {"num_classes": 0}, "model_args": {"img_size": 160}}
    hub.repositories["some/trunk"] = {"config.json": json.dumps(trunk).encode()}
    vision = {"timm_model_name": "test_vit", "timm_proj": "linear", "image_size": 160}
    config = tmp_path / "config.json"
    config.write_text(json.dumps(TINY | {"vision_cfg": vision}))
    parts = build_clip(config)
    run, again = tmp_path / "run", tmp_path / "again"
    save_model(run, parts)
    named = json.loads((run / CONFIG).read_text())
    named["model_cfg"]["vision_cfg"]["timm_model_name"] = "hf-hub:some/trunk"
    (run / CONFIG).write_text(json.dumps(named))
    config.write_text(json.dumps(named["model_cfg"]))
    build_clip(config)
    loaded = load_clip(run)
    assert [path for path in hub.asked if "trunk" in path and "config.json" not in path] == []
    save_model(again, loaded)
    shutil.rmtree(tmp_path / "cache")
    hub.asked.clear()
    pixels = torch.rand(1, 3, 160, 160)
    with torch.inference_mode():
        outputs = [each.clip.eval().encode_image(pixels) for each in (parts, load_clip(again))]
    assert torch.equal(*outputs)
    assert hub.asked == []
    del hub.repositories["some/trunk"]
    with pytest.raises(ModelError, match="some/trunk"):
        load_clip(run)


def _text_tower(kind: str) -> dict[str, bytes]:
    """The files of a repository of transformers with a small text model of a kind, and a tokenizer."""
    transformers = pytest.importorskip("transformers", reason="make test-hf installs it")
    from tokenizers import Tokenizer, models, pre_tokenizers

    size = {"vocab_size": 8, "d_model": 32, "num_layers": 1, "num_heads": 2, "d_kv": 16, "d_ff": 32}
    size |= {f"{part}_{of}": 2 for part in ("encoder", "decoder") for of in ("layers", "attention_heads")}
    size |= {f"{part}_ffn_dim": 32 for part in ("encoder", "decoder")}
    if kind in ("roberta", "xlm-roberta", "bert"):
        size = {"vocab_size": 8, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.AutoConfig.for_model(kind, **size, pad_token_id=1, bos_token_id=0, eos_token_id=2)
    words = {word: i for i, word in enumerate(["<s>", "<pad>", "</s>", "<unk>", "a", "red", "blue", "dog"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>")
    with tempfile.TemporaryDirectory() as folder:
        config.save_pretrained(folder)
        fast.save_pretrained(folder)
        return {file.name: file.read_bytes() for file in Path(folder).iterdir()}


@pytest.mark.parametrize("kind", ["roberta", "xlm-roberta", "bert", "mt5", "m2m_100"])
def test_a_run_folder_with_a_hugging_face_text_tower_needs_no_network(
    hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    hub.repositories[kind] = _text_tower(kind)
    pooler = "cls_pooler" if kind == "bert" else "mean_pooler"
    text_cfg = {"hf_model_name": kind, "hf_tokenizer_name": kind, "hf_proj_type": "mlp", "hf_pooler_type": pooler}
    model_cfg = TINY | {"text_cfg": text_cfg | {"context_length": 8}}
    (tmp_path / "tower").mkdir()
    (tmp_path / "tower" / "config.json").write_bytes(hub.repositories[kind]["config.json"])
    built_from = model_cfg["text_cfg"] | {"hf_model_name": str(tmp_path / "tower"), "hf_model_pretrained": False}
    clip = open_clip.CustomTextCLIP(**model_cfg | {"text_cfg": built_from})
    hub.repositories["some/clip"] = {
        CONFIG: json.dumps({"model_cfg": model_cfg, "preprocess_cfg": {}}).encode(),
        WEIGHTS: safetensors.torch.save(clip.state_dict()),
    }
    start = load_clip("hf-hub:some/clip")
    hub.asked.clear()
    load_clip("hf-hub:some/clip")
    assert hub.asked == []
    save_model(tmp_path / "run", start)
    here = make_encoder(start, "here", torch.device("cpu"), "fp32")

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "empty"))
    again = load_encoder(tmp_path / "run", device="cpu", precision="fp32")
    assert hub.asked == []
    assert again.fingerprint == here.fingerprint
    assert np.array_equal(again.encode_texts(["a red dog"]), here.encode_texts(["a red dog"]))
    shutil.rmtree(tmp_path / "run" / "text_tower")  # as glimpse wrote run folders before
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        ModelUnavailable, match=f"no config.json of {kind}.* or put config.json of {kind} into .*run/text_"
    ):
        load_clip(tmp_path / "run")


@pytest.mark.parametrize("place", ["tower", "tokenizer"])
def test_code_that_a_model_brings_is_neither_run_nor_asked_about(
    hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    run = tmp_path / "run"
    (run / "text_tower").mkdir(parents=True)
    tower = _text_tower("roberta")
    settings = json.loads(tower["tokenizer_config.json"]) | {"tokenizer_class": "Own"}
    for name, content in tower.items():
        ((run / "text_tower" if name == "config.json" else run) / name).write_bytes(content)
    text_cfg = {"hf_model_name": "some/tower", "hf_tokenizer_name": "some/tower", "hf_pooler_type": "mean_pooler"}
    model_cfg = TINY | {"text_cfg": text_cfg | {"context_length": 8}}
    built_from = model_cfg["text_cfg"] | {"hf_model_name": str(run / "text_tower"), "hf_model_pretrained": False}
    weights = open_clip.CustomTextCLIP(**model_cfg | {"text_cfg": built_from}).state_dict()
    safetensors.torch.save_file(weights, run / WEIGHTS)
    (run / CONFIG).write_text(json.dumps({"model_cfg": model_cfg, "preprocess_cfg": {}}))
    load_clip(run)
    (run / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Own: pass\n")
    shutil.copy(run / "own.py", run / "text_tower")
    if place == "tower":
        own = {"model_type": "own", "auto_map": {"AutoConfig": "own.Own", "AutoModel": "own.Own"}}
        (run / "text_tower" / "config.json").write_text(json.dumps(own))
    else:
        own = {"auto_map": {"AutoTokenizer": ["own.Own", None]}}
        (run / "tokenizer_config.json").write_text(json.dumps(settings | own))
    asked: list[str] = []
    monkeypatch.setattr("builtins.input", lambda question: asked.append(question) or "y")
    with pytest.raises(ModelError, match=r"code of its own|trust_remote_code|custom code"):
        load_clip(run)
    assert not asked
    assert not (tmp_path / "ran").exists()
