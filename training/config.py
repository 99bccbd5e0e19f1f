"""What a training run was asked to do: one frozen dataclass, saved as `train_config.json` in the run folder."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from encoder.errors import InputError, TrainingError
from training.files import replace_json

TRAIN_CONFIG = "train_config.json"


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides the result. `lr` None stands for 5e-4 from random weights and 1e-5 from a model."""

    pairs: str
    out: str
    images_root: str | None = None  # where relative image paths start; None: the folder of the CSV
    image_key: str = "image"
    caption_key: str = "title"
    model: str | None = None  # fine-tune this reference ...
    init: str | None = None  # ... or start this architecture from random weights
    epochs: int = 10
    batch_size: int = 128
    lr: float | None = None
    weight_decay: float = 0.2
    warmup: float = 0.1  # fraction of all steps
    grad_clip: float = 1.0  # largest norm of the gradient
    min_crop: float = 0.9  # augmentation: smallest part of the image's area that a random crop keeps
    val_fraction: float = 0.1
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"

    def __post_init__(self) -> None:
        if (self.model is None) == (self.init is None):
            raise InputError("give either --model REF to fine-tune or --init CONFIG to start from random weights")
        checks = {
            "epochs": self.epochs >= 1,
            "batch_size": self.batch_size >= 2,
            "lr": self.lr is None or self.lr > 0,
            "weight_decay": self.weight_decay >= 0,
            "warmup": 0 <= self.warmup < 1,
            "grad_clip": self.grad_clip > 0,
            "min_crop": 0 < self.min_crop <= 1,
            "val_fraction": 0 < self.val_fraction < 1,
            "seed": 0 <= self.seed < 2**63,
        }
        for name, holds in checks.items():
            if not holds:
                raise InputError(f"--{name.replace('_', '-')} {getattr(self, name)} is out of range")

    @property
    def peak_lr(self) -> float:
        """The learning rate after warm-up."""
        return self.lr if self.lr is not None else (5e-4 if self.init else 1e-5)

    def save(self, folder: Path) -> None:
        """Write `train_config.json`."""
        replace_json(folder / TRAIN_CONFIG, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> TrainConfig:
        """Read `train_config.json`.

        Raises:
            TrainingError: the folder has none, or one that does not fit.
        """
        path = folder / TRAIN_CONFIG
        try:
            values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            unknown = values.keys() - {field.name for field in fields(cls)}
            if unknown:
                raise ValueError(f"unknown setting {', '.join(sorted(unknown))}")
            return replace(cls(**values), out=str(folder))  # it may have been moved
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise TrainingError(f"{folder}: not a training run that can be resumed ({error})") from error
