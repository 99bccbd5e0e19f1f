"""The model that learns: both towers with their optimiser, on their device, and their state for files.

Whether it learns by adapters (LoRA) or lies spread over processes (FSDP2) is known here and not in the loop.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from base.errors import ModelError
from encoder.model.device import choose_device, choose_precision
from encoder.model.dual_encoder import logit_scale_of
from encoder.model.load import ClipParts, fingerprint, load_clip
from training.config import TrainConfig
from training.model.distributed import Ranks
from training.model.fsdp import load_whole_state, shard, whole_state, whole_weights
from training.model.layers import count_trainable, layer_of, set_mode
from training.model.lora import merged
from training.model.optim import Optimizer, adamw, muon_adamw
from training.model.starting_model import choose_trainable, load_start
from training.run_folder import LAST
from training.step import Towers


class Learner:
    """What a run trains.

    Attributes:
        parts: the open_clip model as it is in memory, with its tokenizer and preprocessing.
        towers: the same as one module.
        optimizer: AdamW over what learns, or Muon and AdamW.
        start: fingerprint of the model that is fine-tuned, where a new run will mix with it at the end; else None.
        lacks_bias: whether a trained model was given a logit_bias for the sigmoid loss, which a new run fits to it.
        device, precision: where and in what it runs ("fp32" or "bf16").
    """

    def __init__(self, config: TrainConfig, ranks: Ranks, *, resume: bool) -> None:
        self._config = config
        self._ranks = ranks
        device = choose_device(config.device)
        self.precision = choose_precision(config.precision, device)
        self.parts: ClipParts
        self.lacks_bias = False
        try:
            self.parts = start = load_start(config)
            self.lacks_bias = start.lacks_bias and not resume
        except ModelError:
            if not resume:
                raise
            self.parts = load_clip(Path(config.out) / LAST)  # the start may be gone: all that is learned is here
        mixes = config.model is not None and config.interpolate
        self.start = fingerprint(self.parts) if mixes and not resume else None  # a resumed run's state knows it
        choose_trainable(self.parts.clip, config)
        self.parts.clip.to("cpu" if config.fsdp else device)  # a spread model moves by the block
        if config.grad_checkpointing:
            self.parts.clip.set_grad_checkpointing(True)  # type: ignore[operator]
        self.device = device
        self.towers = Towers(self.parts, self.device, self.precision)
        if config.fsdp:
            shard(self.towers, self.device)
        rates = {"lr": config.peak_lr, "weight_decay": config.weight_decay, "layer_decay": config.layer_decay}
        self.optimizer: Optimizer
        if config.used_optimizer == "muon":
            products = torch.bfloat16 if self.precision == "bf16" else torch.float32
            self.optimizer = muon_adamw(self.parts.clip, **rates, dtype=products)
        else:
            self.optimizer = adamw(self.parts.clip, **rates)

    @property
    def logit_scale(self) -> float:
        """What it multiplies cosines by now."""
        return logit_scale_of(self.parts.clip)

    @property
    def parameters(self) -> int:
        """How many numbers it has."""
        return sum(parameter.numel() for parameter in self.parts.clip.parameters())

    @property
    def trainable(self) -> int:
        """How many of them learn."""
        return count_trainable(self.parts.clip)

    @property
    def reads(self) -> bool:
        """Whether anything of its text tower learns, and so what words mean."""
        of_clip = self.parts.clip.named_parameters()
        text = {name for name, (tower, _) in layer_of(self.parts.clip).items() if tower == "text"}
        return any(name in text and parameter.requires_grad for name, parameter in of_clip)

    @property
    def has_batch_norm(self) -> bool:
        """Whether a batch norm of it learns, and so sees what is in a batch."""
        norms = (m for m in self.parts.clip.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm))
        return any(p.requires_grad for norm in norms for p in norm.parameters())

    def begin_epoch(self) -> None:
        """Training mode, but for what is locked."""
        set_mode(self.parts.clip)

    def plain(self) -> ClipParts:
        """A model to measure and to save: adapters merged, spread weights gathered. All processes call it.

        Of a spread model only the first process gets a whole one.
        """
        if self._config.lora is not None and self._ranks.first:
            return replace(self.parts, clip=merged(self.parts.clip))
        if not self._config.fsdp:
            return self.parts
        weights = whole_weights(self.parts.clip)
        if not self._ranks.first:
            return self.parts
        parts = load_start(self._config)
        parts.clip.load_state_dict(weights)
        return replace(parts, clip=parts.clip.to(self.device))

    def state(self) -> dict[str, Any]:
        """What `restore` takes: "model" and "optimizer". All processes call it."""
        if isinstance(self.optimizer, torch.optim.Optimizer) and self._config.fsdp:
            return whole_state(self.parts.clip, self.optimizer)
        return {"model": self.parts.clip.state_dict(), "optimizer": self.optimizer.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Put a `state` back; raises whatever torch does when it is of another model."""
        if isinstance(self.optimizer, torch.optim.Optimizer) and self._config.fsdp:
            load_whole_state(self.parts.clip, self.optimizer, state)
        else:
            self.parts.clip.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
