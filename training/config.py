"""What a training run was asked to do: one frozen dataclass, saved as `train_config.json` in the run folder."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from base.errors import InputError, TrainingError
from base.files import write_json
from training.data.augment import Augmentation

TRAIN_CONFIG = "train_config.json"


LOSSES = ("info-nce", "image-to-text", "text-to-image", "siglip", "contrastive", "triplet", "nt-xent")
MINING = ("semi-hard", "batch-hard")


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides the result. None stands for a default that depends on the others; see the properties."""

    pairs: str  # a CSV, TSV or JSONL file, a folder, or WebDataset shards
    out: str
    images_root: str | None = None  # where relative image paths start; None: the folder of the file
    image_key: str = "image"
    caption_key: str = "title"  # several columns with commas between
    label_key: str | None = None  # rows with the same label are not negatives of each other
    negative_key: str | None = None  # hard negatives: texts that are near and wrong
    folders: bool = False  # `pairs` is a folder of class folders
    templates: tuple[str, ...] = ()  # of their captions
    val_fraction: float = 0.1
    probe: str | None = None  # a second set, on which the model must not forget

    model: str | None = None  # fine-tune this reference ...
    init: str | None = None  # ... or start this architecture from random weights
    lock_image: bool = False  # keep the image tower as it is ...
    lock_text: bool = False  # ... or the text tower ...
    unlocked_groups: int = 0  # ... but for its last layers
    lora: int | None = None  # rank of the adapters that are trained instead of the weights

    loss: str = "info-nce"
    temperature: float | None = None  # fixed; None: learned
    margin: float | None = None  # of contrastive and triplet
    mining: str = "semi-hard"  # of triplet
    hardness: float = 0.0  # how much more near negatives count, of InfoNCE
    multi_positive: bool = True  # rows that share a caption, image or label are not pushed apart

    epochs: int = 10
    batch_size: int = 128  # of all processes together
    chunk_size: int | None = None  # rows at a time through the towers, with the gradient of the whole batch
    grad_checkpointing: bool = False
    fsdp: bool = False  # spread the model over the processes
    lr: float | None = None
    weight_decay: float = 0.2
    warmup: float = 0.1  # fraction of all steps
    layer_decay: float = 1.0  # each layer below the top learns so much slower
    grad_clip: float = 1.0  # largest norm of the gradient
    patience: int | None = None  # epochs without a better one after which to stop
    interpolate: bool = True  # at the end try weights between the starting model's and the best epoch's

    min_crop: float | None = None  # augmentation: smallest part of the image's area that a random crop keeps
    flip: bool = False
    color_jitter: float | None = None

    tensorboard: bool = False
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"

    def __post_init__(self) -> None:
        if (self.model is None) == (self.init is None):
            raise InputError("give either --model REF to fine-tune or --init CONFIG to start from random weights")
        for name, options in (("loss", LOSSES), ("mining", MINING)):
            if getattr(self, name) not in options:
                raise InputError(f"--{name} {getattr(self, name)}: there is no such one; choose {', '.join(options)}")
        for name, allowed, holds in (
            ("epochs", "1 or more", self.epochs >= 1),
            ("batch_size", "2 or more", self.batch_size >= 2),
            ("chunk_size", "1 or more", self.chunk_size is None or self.chunk_size >= 1),
            ("lr", "above 0", self.lr is None or 0 < self.lr < math.inf),
            ("weight_decay", "0 or more", 0 <= self.weight_decay < math.inf),
            ("warmup", "0 to below 1", 0 <= self.warmup < 1),
            ("layer_decay", "above 0, to 1", 0 < self.layer_decay <= 1),
            ("grad_clip", "above 0", self.grad_clip > 0),
            ("patience", "1 or more", self.patience is None or self.patience >= 1),
            ("min_crop", "above 0, to 1", self.min_crop is None or 0 < self.min_crop <= 1),
            ("color_jitter", "0 to 1", self.color_jitter is None or 0 <= self.color_jitter <= 1),
            ("val_fraction", "between 0 and 1", 0 < self.val_fraction < 1),
            ("temperature", "0.01 to 1", self.temperature is None or 0.01 <= self.temperature <= 1),
            ("margin", "0 to 2", self.margin is None or 0 <= self.margin <= 2),
            ("hardness", "0 to 100", 0 <= self.hardness <= 100),
            ("unlocked_groups", "0 or more", self.unlocked_groups >= 0),
            ("lora", "1 to 1024", self.lora is None or 1 <= self.lora <= 1024),
            ("seed", "0 to 2**63 - 1", 0 <= self.seed < 2**63),
        ):
            if not holds:
                flag = f"--{name.replace('_', '-')}"
                raise InputError(f"{flag} {getattr(self, name)} is out of range; give {allowed}")
        for flag, given, needs, there in (
            ("--temperature", self.temperature is not None, "a loss with a softmax or sigmoid", self.uses_scale),
            ("--margin", self.margin is not None, "--loss contrastive or triplet", not self.uses_scale),
            ("--hardness", self.hardness > 0, "an InfoNCE loss", self.loss in LOSSES[:3]),
            (
                "--unlocked-groups",
                self.unlocked_groups > 0,
                "--lock-image or --lock-text, without --lora",
                self.locked != () and not self.lora,
            ),
            ("--mining", self.mining != "semi-hard", "--loss triplet", self.loss == "triplet"),
            ("--template", self.templates != (), "--folders", self.folders),
            ("--label-key", self.label_key is not None, "a table or shards, and --multi-positive", self.uses_labels),
            ("--negative-key", self.negative_key is not None, "a loss with captions", not self.images_only),
            ("--fsdp", self.fsdp, "weights of its own, without --lora", self.lora is None),
            ("--lora", self.lora is not None, "--model, random weights have nothing to adapt", self.model is not None),
        ):
            if given and not there:
                raise InputError(f"{flag} needs {needs}")
        if self.lock_image and (self.lock_text or self.images_only) and self.unlocked_groups == 0:
            raise InputError("with both towers locked there is nothing to train; let one of them learn")
        if self.model is not None and Path(self.model).resolve() == Path(self.out).resolve():
            raise InputError(f"--out {self.out} is the model to start from, and would be overwritten; choose another")

    @property
    def images_only(self) -> bool:
        """Whether it learns from two views of each image, without captions."""
        return self.loss == "nt-xent"

    @property
    def uses_scale(self) -> bool:
        """Whether the loss multiplies cosines by the logit_scale."""
        return self.loss not in ("contrastive", "triplet")

    @property
    def uses_labels(self) -> bool:
        """Whether a column of labels says what is not a negative."""
        return self.multi_positive and not self.folders

    @property
    def clamps_scale(self) -> bool:
        """Whether the logit_scale is learned and kept at or below 100; SigLIP's may go above."""
        return self.uses_scale and self.temperature is None and self.loss != "siglip"

    @property
    def locked(self) -> tuple[Literal["image", "text"], ...]:
        """The towers that stay as they are."""
        chosen: dict[Literal["image", "text"], bool] = {"image": self.lock_image, "text": self.lock_text}
        return tuple(tower for tower, locked in chosen.items() if locked)

    @property
    def used_margin(self) -> float:
        """A distance between unit rows. Contrastive: 1, a cosine of 0.5. Triplet: 0.2, as FaceNet."""
        return self.margin if self.margin is not None else (1.0 if self.loss == "contrastive" else 0.2)

    @property
    def augmentation(self) -> Augmentation:
        """CLIP's light crop for pairs; SimCLR's strong views where they are all there is to learn from."""
        if self.images_only:
            jitter = 0.4 if self.color_jitter is None else self.color_jitter
            return Augmentation(min_crop=self.min_crop or 0.2, flip=True, color_jitter=jitter)
        return Augmentation(min_crop=self.min_crop or 0.9, flip=self.flip, color_jitter=self.color_jitter or 0.0)

    @property
    def peak_lr(self) -> float:
        """The learning rate after warm-up."""
        return self.lr if self.lr is not None else (5e-4 if self.init else 1e-5)

    def save(self, folder: Path) -> None:
        """Write `train_config.json`."""
        write_json(folder / TRAIN_CONFIG, asdict(self))

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
            values |= {"templates": tuple(values.get("templates", ())), "out": str(folder)}  # it may have been moved
            return cls(**values)
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise TrainingError(f"{folder}: not a training run that can be resumed ({error})") from error
