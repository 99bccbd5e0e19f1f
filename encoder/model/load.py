"""load_encoder: one string to a DualEncoder. The only file that asks open_clip to build a model.

A reference is one of
    runs/pets                          a run folder: `open_clip_config.json` beside its weights
    hf-hub:timm/ViT-B-16-SigLIP        a repository of the Hugging Face hub; in the cache it is a run folder
    hf-hub:timm/ViT-B-16-SigLIP@REV    the same at a branch, tag or commit
    ViT-B-32/laion2b_s34b_b79k         an open_clip architecture and the tag of its weights
    ViT-B-32/logs/x/epoch_5.pt         an open_clip architecture and a file of its weights

What lies on this machine is never asked for over the network.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from base.errors import ModelError
from encoder.image import Preprocess
from encoder.known import Stamp, lasting, recall, remember, stamps
from encoder.model.architectures import ARCHITECTURES
from encoder.model.attention import use_cross_attention
from encoder.model.building import Unfilled, building
from encoder.model.device import choose_device, choose_precision
from encoder.model.dual_encoder import DualEncoder, logit_bias_of, logit_scale_of
from encoder.model.hub.hf_text import with_tower_here
from encoder.model.hub.published import architectures_like, no_such_model, repository_of, usual_preprocessing
from encoder.model.hub.repository import Repository, hub_file, hub_folder, require_transformers
from encoder.model.hub.timm_trunk import with_trunk_here
from encoder.model.last_block import run_last_block_for_class_token
from encoder.model.lean_open_clip import open_clip, with_timm_for
from encoder.model.linear import use_fast_products
from encoder.model.text import Tokenizer
from encoder.model.tokenizer import tokenizer_of
from encoder.model.weights import (
    CONFIG,
    how_to_take,
    load_weights,
    no_run_folder,
    read_json,
    read_model_cfg,
    weights_in,
)
from encoder.unread import ReadTokens


@dataclass(frozen=True)
class ClipParts:
    """An open_clip model in fp32 on the CPU, with what belongs to it."""

    clip: nn.Module
    tokenizer: Tokenizer
    preprocess: Preprocess
    model_cfg: dict[str, Any]  # the architecture, as in `open_clip_config.json`
    files: tuple[Stamp, ...] = field(default=(), kw_only=True)  # that it was read from, stamped before
    read_tokens: ReadTokens | None = field(default=None, kw_only=True)  # that its text tower was fed; None: who knows


def load_encoder(ref: str | Path, device: str = "auto", precision: str = "auto") -> DualEncoder:
    """Load a dual encoder with its preprocessing and tokenizer.

    Args:
        ref: a run folder, `hf-hub:org/name`, an open_clip `name/tag`, or its name with a file of weights.
        device: "auto" (the GPU if there is one), or a torch device such as "cpu" or "cuda:1".
        precision: "auto" (bf16 where the processor has it), "bf16" or "fp32".

    Raises:
        InputError: another word for the precision.
        ModelError: no such model, a run folder that cannot be used, or no such device here.
        ModelUnavailable: the weights are not on this machine and cannot be downloaded.
    """
    chosen_device = choose_device(device)
    chosen_precision = choose_precision(precision, chosen_device)
    parts = load_clip(ref)
    known = recall(ref, parts.files)
    encoder = make_encoder(parts, lasting(ref), chosen_device, chosen_precision, known.fingerprint if known else None)
    if known is None:
        remember(ref, parts.files, encoder.card)
    return encoder


def make_encoder(
    parts: ClipParts, ref: str, device: torch.device, precision: str, known_as: str | None = None
) -> DualEncoder:
    """A DualEncoder of a model that is loaded or built; takes it over, to `device` and "bf16" or "fp32".

    `known_as` is its fingerprint, where that is known.
    """
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    hash_of_all = known_as or fingerprint(parts)
    logit_scale, logit_bias = logit_scale_of(parts.clip), logit_bias_of(parts.clip)  # before bf16 rounds them
    run_last_block_for_class_token(parts.clip)
    if device.type == "cpu" and precision == "fp32":
        use_fast_products(parts.clip)
    use_cross_attention(parts.clip)
    encoder = DualEncoder(
        parts.clip.to(device=device, dtype=dtype).eval().requires_grad_(False),
        parts.tokenizer,
        parts.preprocess,
        ref=ref,
        fingerprint=hash_of_all,
        logit_scale=logit_scale,
        precision=precision,
    )
    encoder.logit_bias, encoder.read_tokens = logit_bias, parts.read_tokens
    return encoder


def load_clip(ref: str | Path) -> ClipParts:
    """The open_clip model behind a reference.

    Raises:
        ModelError, ModelUnavailable: as `load_encoder`.
    """
    text = str(ref)
    if text.startswith("hf-hub:"):
        return _load_folder(hub_folder(Repository.of(text)), text)
    path = Path(text.removeprefix("local-dir:")).expanduser()
    if path.is_dir():
        return _load_folder(path, text)
    if path.is_file():
        return _load_file_alone(path, text)
    name, _, tag = text.partition("/")
    if name in open_clip.list_models():
        if (file := Path(tag).expanduser()).is_file():
            return _load_named(name, file, text, usual_preprocessing(name))
        if published := tag and open_clip.get_pretrained_cfg(name, tag):
            return _load_named(name, _tag_weights(name, published, text), text, published)
    raise ModelError(f"{text}: {no_such_model(text)}")


def build_clip(config: str | Path) -> ClipParts:
    """A model with random weights: one of ours by name, or of open_clip's, or a JSON file of the same form.

    Seed torch before for the same weights.

    Raises:
        ModelError: no such architecture, or a file that is not a model config.
    """
    text = str(config)
    if text in ARCHITECTURES:
        model_cfg = ARCHITECTURES[text].config()
    elif text in open_clip.list_models():
        model_cfg = open_clip.get_model_config(text)
    else:
        model_cfg = read_json(
            Path(text), f"{text}: neither an architecture nor a file; {architectures_like(text, ARCHITECTURES)}"
        )
        model_cfg = model_cfg.get("model_cfg", model_cfg)
    parts = {"embed_dim": int, "text_cfg": dict, "vision_cfg": dict}
    known = model_cfg if isinstance(model_cfg, dict) else {}
    if missing := [name for name, kind in parts.items() if not isinstance(known.get(name), kind)]:
        raise ModelError(f"{text}: not an open_clip model config, it lacks {', '.join(missing)}")
    if model_cfg["text_cfg"].get("hf_model_name"):
        raise ModelError(f"{text}: its text tower is a Hugging Face model with weights of its own; start from --model")
    with building(text):
        clip = _instantiate(model_cfg | {"vision_cfg": with_trunk_here(model_cfg["vision_cfg"], None, text)})
        preprocess = Preprocess(size=_one_number_if_square(clip.visual.image_size))
        return ClipParts(clip, tokenizer_of(model_cfg, None, text), preprocess, model_cfg)


def fingerprint(parts: ClipParts) -> str:
    """SHA-256 over fp32 weights, architecture and preprocessing, 32 hex digits: the same in any precision anywhere."""
    settings = [parts.model_cfg, parts.preprocess.to_open_clip()]
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for name, tensor in sorted(parts.clip.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:32]


def _load_folder(folder: Path, ref: str, weights: Path | None = None) -> ClipParts:
    """A folder of open_clip's `local-dir:` form; with `weights` those of its files."""
    model_cfg = read_model_cfg(folder / CONFIG, ref, f"{ref}: {no_run_folder(folder)}")
    weights = weights or weights_in(folder, ref)
    if unreadable := [file.name for file in folder.iterdir() if file.is_file() and not os.access(file, os.R_OK)]:
        raise ModelError(f"{ref}: {unreadable[0]} may not be read by this user; give it read permission (chmod a+r)")
    return _build(f"local-dir:{folder}", model_cfg, weights, ref, folder)


def _load_named(name: str, weights: Path, ref: str, preprocessing: dict[str, Any]) -> ClipParts:
    """An open_clip architecture with weights from a file."""
    # open_clip only warns when weights trained with QuickGELU meet an architecture without it
    model_cfg = open_clip.get_model_config(name)
    quick_gelu = bool(preprocessing.get("quick_gelu") or model_cfg.get("quick_gelu"))
    model_cfg["quick_gelu"] = quick_gelu
    more = {"force_preprocess_cfg": preprocessing, "force_quick_gelu": quick_gelu}
    return _build(name, model_cfg, weights, ref, None, more)


def _load_file_alone(file: Path, ref: str) -> ClipParts:
    """A file of weights beside its config; ModelError where there is none, for weights do not tell what they are of."""
    if (file.parent / CONFIG).is_file():
        return _load_folder(file.parent, ref, file)
    raise ModelError(f"{ref}: {how_to_take(file)}")


def _build(
    source: str,
    model_cfg: dict[str, Any],
    weights: Path,
    ref: str,
    folder: Path | None,
    more: dict[str, Any] | None = None,
) -> ClipParts:
    """What open_clip makes of `source`, with those weights, and with texts as the folder or the hub has them."""
    text_cfg, vision_cfg = model_cfg["text_cfg"], model_cfg.get("vision_cfg") or {}
    require_transformers(text_cfg, ref)
    with_timm_for(model_cfg)
    files = stamps([weights] if folder is None else [folder, folder / CONFIG, weights])
    with building(ref):
        with Unfilled():
            clip = open_clip.create_model(
                source,
                load_weights=False,
                pretrained_text=False,
                **({"text_cfg": with_tower_here(text_cfg, folder, ref)} if text_cfg.get("hf_model_name") else {}),
                **({"vision_cfg": with_trunk_here(vision_cfg, folder, ref)} if vision_cfg else {}),
                **(more or {}),
            )
        load_weights(clip, weights, ref)
        _check_finite(clip, ref)
        tokenizer = tokenizer_of(model_cfg, folder, ref)
        read = None if folder is None else ReadTokens.of_folder(folder)
        return ClipParts(clip, tokenizer, _preprocess(clip), model_cfg, files=files, read_tokens=read)


def _check_finite(clip: nn.Module, ref: str) -> None:
    """ModelError for a model that would give every picture the same vector of NaN, and no error."""
    for name, weight in clip.state_dict().items():
        # a sum that runs over, of finite weights, is of a model that diverged as well
        if not torch.isfinite(weight.sum(dtype=torch.float32)):
            raise ModelError(
                f"{ref}: {name} holds NaN or infinite weights, as a training that diverged leaves; "
                "take weights of before, or train again with a lower --lr"
            )
    if not math.isfinite(logit_scale_of(clip)):
        raise ModelError(f"{ref}: its logit_scale is too large to compute with; take weights of before")


def _tag_weights(name: str, published: dict[str, Any], ref: str) -> Path:
    """The file of published weights, from the cache or the hub."""
    require_transformers(open_clip.get_model_config(name)["text_cfg"], ref)
    repository, names = repository_of(published)
    if not repository:
        raise ModelError(f"{ref}: not on the hub; download {published.get('url')} and give --model {name}/FILE")
    weights = hub_file(Repository(repository, None, ref), *names)
    if weights is None:
        raise ModelError(f"{ref}: {repository} has none of {', '.join(names)}")
    return weights


def _instantiate(model_cfg: dict[str, Any]) -> Any:
    """The bare model of a config, with random weights: what `create_model` does for a built-in name."""
    config = json.loads(json.dumps(model_cfg))  # open_clip's constructors take it apart
    with_timm_for(config)
    custom_text = config.pop("custom_text", False)
    if "multimodal_cfg" in config:
        raise ModelError("CoCa models caption as well as embed; glimpse trains dual encoders only")
    return (open_clip.CustomTextCLIP if custom_text else open_clip.CLIP)(**config)


def _preprocess(clip: Any) -> Preprocess:
    """How open_clip says the model wants its images."""
    config = open_clip.get_model_preprocess_cfg(clip)
    return Preprocess.from_open_clip(config | {"size": _one_number_if_square(config["size"])})


def _one_number_if_square(size: Any) -> int | tuple[int, int]:
    height, width = (size, size) if isinstance(size, int) else size
    return height if height == width else (height, width)
