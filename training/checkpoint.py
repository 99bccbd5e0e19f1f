"""The run folder: what `load_encoder` reads (open_clip's `local-dir:` form) and what `--resume` goes on from.

    runs/pets/open_clip_config.json, open_clip_model.safetensors    the best epoch
    runs/pets/last/                                                 the same of the last epoch, and training_state.pt
    runs/pets/train_config.json, metrics.json                       what was asked, what came of it

Every file is written beside its name and renamed, so a kill leaves the old one or the new one, never half of one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from encoder.errors import TrainingError
from encoder.load import ClipParts
from encoder.weights import CONFIG, WEIGHTS

METRICS = "metrics.json"
STATE = "training_state.pt"


@dataclass
class TrainState:
    """Where a run stands. `step` counts optimiser steps of the whole run; `history` holds a record an epoch."""

    step: int
    epoch_loss_sum: float  # over the steps of the epoch that is under way
    best_epoch: int
    best_recall: float
    history: list[dict[str, Any]]


def save_model(folder: Path, parts: ClipParts) -> None:
    """Write config, weights and, where the model does not use CLIP's own, the tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"model_cfg": parts.model_cfg, "preprocess_cfg": parts.preprocess.to_open_clip()}
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in parts.clip.state_dict().items()}
    _replace(folder / WEIGHTS, lambda path: save_file(weights, path, metadata={"format": "pt"}))
    save_tokenizer = getattr(parts.tokenizer, "save_pretrained", None)
    if save_tokenizer is not None:
        save_tokenizer(folder)
    _write_json(folder / CONFIG, config)


def save_metrics(folder: Path, metrics: dict[str, Any]) -> None:
    """Write `metrics.json`."""
    _write_json(folder / METRICS, metrics)


def save_state(folder: Path, state: TrainState, clip: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Write all that exact resuming needs, as one file."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "progress": vars(state),
        "model": clip.state_dict(),
        "optimizer": optimizer.state_dict(),
        "rng": torch.get_rng_state(),
    }
    _replace(folder / STATE, lambda path: torch.save(content, path))


def load_state(folder: Path, clip: nn.Module, optimizer: torch.optim.Optimizer) -> TrainState:
    """Put weights, optimiser and random state back as they were saved.

    Raises:
        TrainingError: no saved state, or one of another model.
    """
    path = folder / STATE
    if not path.is_file():
        raise TrainingError(f"{folder.parent}: nothing to resume, it has no last/{STATE}; start without --resume")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        clip.load_state_dict(content["model"])
        optimizer.load_state_dict(content["optimizer"])
        torch.set_rng_state(content["rng"])
        return TrainState(**content["progress"])
    except (RuntimeError, KeyError, ValueError, TypeError, EOFError) as error:
        reason = str(error).splitlines()[0]
        raise TrainingError(f"{path}: not a state of this model ({reason}); start anew with another --out") from error


def _write_json(path: Path, content: dict[str, Any]) -> None:
    _replace(path, lambda temporary: temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8"))


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    temporary = path.with_name(f".{path.name}.new")
    write(temporary)
    temporary.chmod(0o644)  # safetensors makes files that only their owner can read, and a container is another user
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)
