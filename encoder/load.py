"""load_encoder: one string to a DualEncoder. The only file that asks open_clip to build a model.

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
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from base.errors import ModelError
from encoder.device import choose_device, choose_precision
from encoder.image import Preprocess
from encoder.model import DualEncoder, logit_bias_of, logit_scale_of
from encoder.text import Tokenizer
from encoder.torchvision_cpu import import_torchvision
from encoder.weights import CONFIG, hub_folder, read_json, tag_weights

import_torchvision()
import open_clip  # noqa: E402  needs the line above


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
    """A DualEncoder of a model that is loaded or built; takes it over, to `device` and "bf16" or "fp32".

    Raises:
        ModelError: a weight is NaN or infinite.
    """
    _check_finite(parts, ref)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    hash_of_all = fingerprint(parts)
    logit_scale, logit_bias = logit_scale_of(parts.clip), logit_bias_of(parts.clip)  # before bf16 rounds them
    encoder = DualEncoder(
        parts.clip.to(device=device, dtype=dtype).eval().requires_grad_(False),
        parts.tokenizer,
        parts.preprocess,
        ref=ref,
        fingerprint=hash_of_all,
        logit_scale=logit_scale,
        precision=precision,
    )
    encoder.logit_bias = logit_bias
    return encoder


def _check_finite(parts: ClipParts, ref: str) -> None:
    """ModelError for a model that would give every picture the same vector of NaN, and no error."""
    for name, weight in parts.clip.named_parameters():
        # the sum, a tenth of the time, is finite unless a weight is not, or the sum itself runs over
        if not torch.isfinite(weight.sum(dtype=torch.float32)) and not torch.isfinite(weight).all():
            raise ModelError(
                f"{ref}: {name} holds NaN or infinite weights, as a training that diverged leaves; "
                "take weights of before, or train again with a lower --lr"
            )


def load_clip(ref: str | Path) -> ClipParts:
    """The open_clip model behind a reference.

    Raises:
        ModelError, ModelUnavailable: as `load_encoder`.
    """
    text = str(ref)
    if text.startswith("hf-hub:"):
        return _load_folder(hub_folder(text.removeprefix("hf-hub:")), text)
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
        model_cfg = read_json(Path(text), f"{text}: neither an open_clip architecture nor a file; {_models_like(text)}")
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


def fingerprint(parts: ClipParts) -> str:
    """SHA-256 over fp32 weights, architecture and preprocessing, 32 hex digits: the same in any precision anywhere."""
    settings = [parts.model_cfg, parts.preprocess.to_open_clip()]
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for name, tensor in sorted(parts.clip.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:32]


def _lasting(ref: str | Path) -> str:
    """The reference as a collection can keep it: a folder's path must work from any other folder."""
    folder = Path(str(ref).removeprefix("local-dir:")).expanduser()
    return str(folder.resolve()) if folder.is_dir() else str(ref)


def _load_folder(folder: Path, ref: str) -> ClipParts:
    """A folder of open_clip's `local-dir:` form."""
    config = read_json(folder / CONFIG, f"{ref}: not a run folder, it has no {CONFIG}")
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
    weights = tag_weights(published, ref)
    # open_clip only warns when weights trained with QuickGELU meet an architecture without it
    model_cfg = open_clip.get_model_config(name)
    quick_gelu = bool(published.get("quick_gelu") or model_cfg.get("quick_gelu"))
    model_cfg["quick_gelu"] = quick_gelu
    with _errors_of_open_clip(ref), _quiet():
        clip = open_clip.create_model(
            name, pretrained=str(weights), force_preprocess_cfg=published, force_quick_gelu=quick_gelu
        )
        tokenizer = _tokenizer(model_cfg, name)
    return ClipParts(clip, tokenizer, _preprocess(clip), model_cfg)


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
    if name in open_clip.list_models():
        return open_clip.get_tokenizer(name)  # type: ignore[no-any-return]
    kwargs = text_cfg.get("tokenizer_kwargs") or {}
    return open_clip.HFTokenizer(  # type: ignore[no-any-return]
        text_cfg["hf_tokenizer_name"], context_length=text_cfg.get("context_length", 77), **kwargs
    )


def _one_number_if_square(size: Any) -> int | tuple[int, int]:
    height, width = (size, size) if isinstance(size, int) else size
    return height if height == width else (height, width)


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
