"""load_encoder: one string to a DualEncoder. The only file that asks open_clip to build or fetch a model.

A reference is one of
    runs/pets                          a run folder: `open_clip_config.json` beside its weights
    hf-hub:timm/ViT-B-16-SigLIP        a repository of the Hugging Face hub; in the cache it is a run folder
    ViT-B-32/laion2b_s34b_b79k         an open_clip architecture and the tag of its weights

What lies on this machine is never asked for over the network.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import json
import logging
import os
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from encoder.errors import ModelError, ModelUnavailable
from encoder.image import Preprocess
from encoder.model import DualEncoder, logit_scale_of
from encoder.text import Tokenizer
from encoder.torchvision_cpu import import_torchvision

import_torchvision()
import open_clip  # noqa: E402  needs the line above
from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache  # noqa: E402

CONFIG = "open_clip_config.json"
WEIGHTS = "open_clip_model.safetensors"
_HUB_WEIGHTS = (WEIGHTS, "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin")
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt", "spiece.model")
_PROBE_SECONDS = 5.0


@dataclass(frozen=True)
class ClipParts:
    """An open_clip model in fp32 on the CPU, with what belongs to it."""

    clip: nn.Module
    tokenizer: Tokenizer
    preprocess: Preprocess
    model_cfg: dict[str, Any]  # the architecture, as in `open_clip_config.json`


def load_encoder(ref: str | Path, device: str = "auto", precision: str = "auto") -> DualEncoder:
    """Load a dual encoder with its preprocessing and tokenizer.

    Args:
        ref: a run folder, `hf-hub:org/name`, or an open_clip `name/tag`.
        device: "auto" (the GPU if there is one), or a torch device such as "cpu" or "cuda:1".
        precision: "auto" (bf16 where the processor has it), "bf16" or "fp32".

    Raises:
        ModelError: no such model, or a run folder that cannot be used.
        ModelUnavailable: the weights are not on this machine and cannot be downloaded.
    """
    chosen_device = choose_device(device)
    return make_encoder(load_clip(ref), _lasting(ref), chosen_device, choose_precision(precision, chosen_device))


def make_encoder(parts: ClipParts, ref: str, device: torch.device, precision: str) -> DualEncoder:
    """A DualEncoder of a model that is loaded or built; takes it over, to `device` and "bf16" or "fp32"."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    hash_of_weights = fingerprint(parts.clip, parts.preprocess)
    logit_scale = logit_scale_of(parts.clip)  # before bf16 rounds it
    return DualEncoder(
        parts.clip.to(device=device, dtype=dtype).eval().requires_grad_(False),
        parts.tokenizer,
        parts.preprocess,
        ref=ref,
        fingerprint=hash_of_weights,
        logit_scale=logit_scale,
        precision=precision,
    )


def load_clip(ref: str | Path) -> ClipParts:
    """The open_clip model behind a reference.

    Raises:
        ModelError, ModelUnavailable: as `load_encoder`.
    """
    text = str(ref)
    if text.startswith("hf-hub:"):
        return _load_folder(_hub_folder(text.removeprefix("hf-hub:")), text)
    folder = Path(text.removeprefix("local-dir:")).expanduser()
    if folder.is_dir():
        return _load_folder(folder, text)
    name, _, tag = text.partition("/")
    if tag and name in open_clip.list_models():
        return _load_tag(name, tag)
    raise ModelError(f"{text}: {_no_such_model(name, tag)}")


def build_clip(config: str | Path) -> ClipParts:
    """A model with random weights, from an open_clip architecture's name or a JSON file of the same form.

    Seed torch before for the same weights.

    Raises:
        ModelError: no such architecture, or a file that is not a model config.
    """
    text = str(config)
    if text in open_clip.list_models():
        model_cfg = open_clip.get_model_config(text)
    else:
        model_cfg = _read_json(
            Path(text), f"{text}: neither an open_clip architecture nor a file; {_models_like(text)}"
        )
        model_cfg = model_cfg.get("model_cfg", model_cfg)
    missing = {"embed_dim", "vision_cfg", "text_cfg"} - model_cfg.keys()
    if missing:
        raise ModelError(f"{text}: not an open_clip model config, it lacks {', '.join(sorted(missing))}")
    if model_cfg["text_cfg"].get("hf_model_name"):
        raise ModelError(f"{text}: its text tower is a Hugging Face model with weights of its own; start from --model")
    with _errors_of_open_clip(text), _quiet():
        clip = _instantiate(model_cfg)
        preprocess = Preprocess(size=_one_number_if_square(clip.visual.image_size))
        return ClipParts(clip, _tokenizer(model_cfg, text), preprocess, model_cfg)


def published_models() -> list[str]:
    """Every `name/tag` that open_clip can download."""
    return [f"{name}/{tag}" for name, tag in open_clip.list_pretrained()]


def choose_device(device: str) -> torch.device:
    """The torch device for "auto" or a name.

    Raises:
        ModelError: no such device here.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f'device "{device}" cannot be used here ({reason}); try --device cpu') from error
    return chosen


def choose_precision(precision: str, device: torch.device) -> str:
    """Resolve "auto" to "bf16" or "fp32"; take those two as they are.

    Raises:
        ModelError: another word.
    """
    if precision in ("bf16", "fp32"):
        return precision
    if precision != "auto":
        raise ModelError(f'precision "{precision}" is not known; choose auto, bf16 or fp32')
    return "bf16" if has_fast_bf16(device) else "fp32"


def has_fast_bf16(device: torch.device) -> bool:
    """Whether the processor multiplies bf16 matrices natively, and so faster than fp32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False


def fingerprint(clip: nn.Module, preprocess: Preprocess) -> str:
    """SHA-256 over the fp32 weights and the preprocessing, 32 hex digits: the same in any precision on any device."""
    digest = hashlib.sha256(json.dumps(preprocess.to_open_clip(), sort_keys=True).encode())
    for name, tensor in sorted(clip.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:32]


def _lasting(ref: str | Path) -> str:
    """The reference as a collection can keep it: a folder's path must work from any other folder."""
    folder = Path(str(ref).removeprefix("local-dir:")).expanduser()
    return str(folder.resolve()) if folder.is_dir() else str(ref)


def _load_folder(folder: Path, ref: str) -> ClipParts:
    """A folder of open_clip's `local-dir:` form."""
    config = _read_json(folder / CONFIG, f"{ref}: not a run folder, it has no {CONFIG}")
    if "model_cfg" not in config:
        raise ModelError(f"{ref}: its {CONFIG} has no model_cfg, so it is not one that open_clip wrote")
    if not any(file.suffix in (".safetensors", ".bin", ".pth") for file in folder.iterdir()):
        raise ModelError(f"{ref}: the folder has a config but no weights; training into it has not finished an epoch")
    if unreadable := [file.name for file in folder.iterdir() if file.is_file() and not os.access(file, os.R_OK)]:
        raise ModelError(f"{ref}: {unreadable[0]} may not be read by this user; give it read permission (chmod a+r)")
    with _errors_of_open_clip(ref), _quiet():
        clip = open_clip.create_model(f"local-dir:{folder}", require_pretrained=True)
        tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    return ClipParts(clip, tokenizer, _preprocess(clip), config["model_cfg"])


def _load_tag(name: str, tag: str) -> ClipParts:
    """An open_clip architecture with published weights."""
    published = open_clip.get_pretrained_cfg(name, tag)
    ref = f"{name}/{tag}"
    if not published:
        raise ModelError(f"{ref}: {_no_such_model(name, tag)}")
    weights = _tag_weights(published, ref)
    # open_clip only warns when weights trained with QuickGELU meet an architecture without it
    quick_gelu = bool(published.get("quick_gelu"))
    model_cfg = open_clip.get_model_config(name) | {"quick_gelu": quick_gelu}
    with _errors_of_open_clip(ref), _quiet():
        clip = open_clip.create_model(
            name, pretrained=str(weights), force_preprocess_cfg=published, force_quick_gelu=quick_gelu
        )
        tokenizer = _tokenizer(model_cfg, name)
    return ClipParts(clip, tokenizer, _preprocess(clip), model_cfg)


def _tag_weights(published: dict[str, Any], ref: str) -> Path:
    """The weights file of an open_clip tag, from the cache or the network."""
    repository, _, file = published.get("hf_hub", "").rpartition("/")
    if repository:
        names = (file.rsplit(".", 1)[0] + ".safetensors", file) if file else _HUB_WEIGHTS
        return _hub_file(repository, tuple(dict.fromkeys(names)), ref)
    url = published["url"]
    cached = Path("~/.cache/clip").expanduser() / url.rsplit("/", 1)[-1]
    if not cached.is_file():
        _require_answer(url, ref, cached.parent)
    try:
        return Path(open_clip.download_pretrained(published))
    except Exception as error:
        raise ModelUnavailable(_unavailable(ref, cached.parent, error)) from error


def _hub_folder(repository: str) -> Path:
    """The cached snapshot of a hub repository with its config, weights and tokenizer: a run folder."""
    ref = f"hf-hub:{repository}"
    config = _hub_file(repository, (CONFIG,), ref)
    _hub_file(repository, _HUB_WEIGHTS, ref)
    text_cfg = _read_json(config, f"{ref}: no {CONFIG}").get("model_cfg", {}).get("text_cfg", {})
    if text_cfg.get("hf_tokenizer_name"):
        for name in _TOKENIZER_FILES:
            with contextlib.suppress(ModelError):  # a repository has some of these, its tokenizer says if one lacks
                _hub_file(repository, (name,), ref)
    return config.parent


def _hub_file(repository: str, names: tuple[str, ...], ref: str) -> Path:
    """The first of `names` that a hub repository has: from the cache if it is there, else downloaded."""
    for name in names:
        cached = try_to_load_from_cache(repository, name)
        if isinstance(cached, str):
            return Path(cached)
    cache = Path(constants.HF_HUB_CACHE)
    if constants.HF_HUB_OFFLINE:
        raise ModelUnavailable(_unavailable(ref, cache, "HF_HUB_OFFLINE is set"))
    _require_answer(constants.ENDPOINT, ref, cache)
    failure: Exception | None = None
    for name in names:
        try:
            return Path(hf_hub_download(repository, name))
        except Exception as error:
            failure = error
    raise ModelUnavailable(_unavailable(ref, cache, failure)) from failure


def _require_answer(url: str, ref: str, cache: Path) -> None:
    """One quick request first: the download libraries retry a dead network for minutes."""
    request = urllib.request.Request(url, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=_PROBE_SECONDS):
            pass
    except urllib.error.HTTPError:
        return  # it answers; what it says to the real request matters
    except (OSError, ValueError) as error:
        raise ModelUnavailable(_unavailable(ref, cache, getattr(error, "reason", error))) from error


def _unavailable(ref: str, cache: Path, reason: object) -> str:
    first_line = str(reason).strip().splitlines()[0] if str(reason).strip() else type(reason).__name__
    return (
        f"{ref}: not on this machine (looked in {cache}) and it cannot be downloaded: {first_line}. "
        "Run once where there is a network and copy that folder here, or give a run folder that glimpse trained"
    )


def _no_such_model(name: str, tag: str) -> str:
    if name not in open_clip.list_models():
        return f"neither a folder here nor a model that open_clip knows; {_models_like(name)}"
    tags = open_clip.list_pretrained_tags_by_model(name)
    near = difflib.get_close_matches(tag, tags, n=3, cutoff=0.3) or tags[:3]
    if not near:
        return f"open_clip has no published weights for {name}; `glimpse models` lists those that have"
    return f"no such weights; for {name} there are {', '.join(f'{name}/{tag}' for tag in near)}"


def _models_like(name: str) -> str:
    near = difflib.get_close_matches(name, open_clip.list_models(), n=3, cutoff=0.4)
    return f"did you mean {' or '.join(near)}?" if near else "`glimpse models` lists what there is"


def _instantiate(model_cfg: dict[str, Any]) -> Any:
    """The bare model of a config, with random weights: what `create_model` does for a built-in name."""
    config = json.loads(json.dumps(model_cfg))  # open_clip's constructors take it apart
    custom_text = config.pop("custom_text", False)
    if "multimodal_cfg" in config:
        raise ModelError("CoCa models caption as well as embed; glimpse trains dual encoders only")
    return (open_clip.CustomTextCLIP if custom_text else open_clip.CLIP)(**config)


def _preprocess(clip: Any) -> Preprocess:
    """How open_clip says the model wants its images."""
    config = open_clip.get_model_preprocess_cfg(clip)
    return Preprocess.from_open_clip(config | {"size": _one_number_if_square(config["size"])})


def _tokenizer(model_cfg: dict[str, Any], name: str) -> Tokenizer:
    text_cfg = model_cfg["text_cfg"]
    if not text_cfg.get("hf_tokenizer_name"):
        kwargs = text_cfg.get("tokenizer_kwargs") or {}
        return open_clip.SimpleTokenizer(context_length=text_cfg.get("context_length", 77), **kwargs)  # type: ignore[no-any-return]
    return open_clip.get_tokenizer(name)  # type: ignore[no-any-return]


def _one_number_if_square(size: Any) -> int | tuple[int, int]:
    height, width = (size, size) if isinstance(size, int) else size
    return height if height == width else (height, width)


def _read_json(path: Path, missing: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise ModelError(missing) from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path}: holds no JSON object")
    return content


@contextlib.contextmanager
def _errors_of_open_clip(ref: str) -> Iterator[None]:
    """open_clip raises anything from KeyError to SafetensorError for a config or weights that do not fit."""
    try:
        yield
    except ModelError:
        raise
    except ImportError as error:
        raise ModelError(f"{ref}: needs `pip install 'glimpse[hf]'` for its tokenizer ({error})") from error
    except Exception as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise ModelError(f"{ref}: the model cannot be built: {reason}") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """open_clip tells its progress through the root logger and warnings; our errors say what matters."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(level)
