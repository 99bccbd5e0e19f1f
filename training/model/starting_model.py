"""The model that a run starts from, made ready: what of it learns, and what stays as it is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from encoder.model.load import ClipParts, build_clip, load_clip
from encoder.unread import ReadTokens
from training.config import TrainConfig
from training.model.image_size import set_image_size
from training.model.layers import lock
from training.model.lora import add_lora

SIGLIP_BIAS = -10.0  # Zhai et al. 2023, section 3.2: nearly all pairs are wrong, so begin by saying so ...
SIGLIP_SCALE = 10.0  # ... with a scale at which cosines cannot overrule it, as CLIP's 100 would


@dataclass(frozen=True)
class Start(ClipParts):
    """The model that a run starts from."""

    lacks_bias: bool  # it is trained and was given a logit_bias just now, which has to be fitted to it


def load_start(config: TrainConfig) -> Start:
    """The model of `config.model`, or random weights of `config.init` by its seed, in fp32 on the CPU.

    The sigmoid loss gives a model without logit_bias one: -10. Random weights start with the scale that goes with it; a
    trained model keeps its own, and the run fits the bias to it (`Stepper.fit_bias`). A fixed temperature sets the
    logit_scale.

    Raises:
        ModelError: as `encoder.model.load`.
        InputError: an image size that the model cannot have.
    """
    torch.manual_seed(config.seed)
    parts = load_clip(config.model) if config.model is not None else build_clip(str(config.init))
    if config.image_size is not None:
        parts = set_image_size(parts, config.image_size)
    clip: Any = parts.clip
    new: dict[str, float] = {}  # of the architecture
    if config.loss == "siglip":
        if getattr(clip, "logit_bias", None) is None:
            clip.logit_bias = nn.Parameter(torch.full_like(clip.logit_scale, SIGLIP_BIAS))
            new["init_logit_bias"] = SIGLIP_BIAS
        if config.init is not None and (new or "init_logit_scale" not in parts.model_cfg):
            new["init_logit_scale"] = math.log(SIGLIP_SCALE)
    with torch.no_grad():
        if config.temperature is not None:
            clip.logit_scale.fill_(math.log(1 / config.temperature))
        elif "init_logit_scale" in new:
            clip.logit_scale.fill_(new["init_logit_scale"])
    lacks_bias = config.model is not None and "init_logit_bias" in new
    read = parts.read_tokens if config.model is not None else ReadTokens()  # random weights have read nothing
    return Start(clip, parts.tokenizer, parts.preprocess, parts.model_cfg | new, lacks_bias, read_tokens=read)


def choose_trainable(clip: nn.Module, config: TrainConfig) -> None:
    """Let only that learn, in place, which the run asks for and its loss reaches.

    What the loss does not reach has to be frozen: it would decay, and processes would wait for its gradient.

    Raises:
        InputError: more groups to unlock than the tower has.
        TrainingError: LoRA finds nothing to adapt.
    """
    if config.lora is not None:
        add_lora(clip, config.lora, towers=tuple(t for t in ("image", "text") if t not in config.locked))
    else:
        for tower in config.locked:
            lock(clip, tower, config.unlocked_groups)
    if config.images_only:
        lock(clip, "text", 0)
    for name, parameter in clip.named_parameters():
        unreached = (
            (name == "logit_scale" and (not config.uses_scale or config.temperature is not None))
            or (name == "logit_bias" and config.loss != "siglip")
            or name.startswith("text_decoder.")  # CoCa's captioner
        )
        if unreached:
            parameter.requires_grad_(False)
