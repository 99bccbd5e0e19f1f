"""What a training run was asked to do: one frozen dataclass, saved as `train_config.json` in the run folder.

Imports no torch, so that the flags of `glimpse train` can be made from it.
"""

from __future__ import annotations

import json
import math
from dataclasses import InitVar, asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from base.errors import InputError, TrainingError
from base.sources.rules import Rules
from base.sources.shards import is_shards
from training.data.keys import Keys
from training.run_folder import TRAIN_CONFIG, write_json

if TYPE_CHECKING:
    from training.data.augment import Augmentation

LOSSES = ("info-nce", "image-to-text", "text-to-image", "siglip", "contrastive", "triplet", "nt-xent")
INFO_NCE = LOSSES[:3]
TRACKERS = ("tensorboard", "mlflow", "wandb")
MINING = ("semi-hard", "batch-hard")
OPTIMIZERS = ("muon", "adamw")
VAL_FRACTION = 0.1
LONG = 20  # epochs from random weights, after which a table's pairs are known by heart
OTHER_GROUNDS, WORD_DROPOUT = 0.4, 0.5  # of such a training: parts of its pictures and captions
IF_LONG = f"for random weights that learn a table by info-nce for {LONG} epochs or more, else 0"
SEMI_HARD = 0.7  # of the steps from random weights, before batch-hard


T = TypeVar("T")


def _option(default: T, help: str, **more: Any) -> T:  # noqa: A002
    """A setting with what `--help` says of it; `more` as `typer.Option` takes it, and what its text names:

    a file or folder (`is_path`), or a model, which may be one (`is_model`).
    """
    made: T = field(default=default, metadata={"help": help, **more})
    return made


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides the result. None stands for a default that depends on the others; see the properties.

    Each setting is a flag of `glimpse train`, which is made from here.
    """

    pairs: str  # a CSV, TSV or JSONL file, a folder, or WebDataset shards
    out: str
    model: str | None = _option(None, "Fine-tune this model.", is_model=True)
    init: str | None = _option(
        None,
        "Start from random weights: one of --init list, an open_clip architecture or a JSON config.",
        is_model=True,
    )
    image_size: int | None = _option(None, "Pixels a side of the pictures it sees.", show_default="the model's own")
    images_root: str | None = _option(None, "Where relative image paths start.", is_path=True)
    image_key: str = _option("image", "Column of the image's path.")
    caption_key: str = _option("title", "Column of the text; several with commas between.")
    label_key: str | None = _option(None, "Column of a label; rows with the same one are not pushed apart.")
    negative_key: str | None = _option(None, "Column of hard negatives, as glimpse mine writes them.")
    folders: bool = _option(False, "PAIRS is a folder with a folder a class.")
    templates: tuple[str, ...] = _option((), "With --folders: caption with {} for the label.", flag="--template")
    exclude: tuple[str, ...] = _option((), "Leave out files and folders of a folder that match, as for glimpse index.")
    follow_links: bool = _option(False, "Also walk what links to folders lead to, each folder once.")
    any_name: bool = _option(False, "Files without a picture's suffix too, if their first bytes are a picture's.")
    val_fraction: float = _option(VAL_FRACTION, "Part that is held out to measure on.")
    val: str | None = _option(
        None, "Hold these out instead: a table, a folder or shards, read as PAIRS is.", is_path=True
    )
    probe: str | None = _option(
        None, "A second set that must not be forgotten: pairs, class folders, or a folder of images.", is_path=True
    )

    lock_image: bool = _option(False, "Keep the image tower as it is.")
    lock_text: bool = _option(False, "Keep the text tower as it is.")
    unlocked_groups: int = _option(0, "Last layers of a locked tower that learn.")
    lora: int | None = _option(None, "Learn adapters of this rank instead of the weights.")
    interpolate: bool = _option(True, "At the end try weights between start and best (WiSE-FT).")

    loss: str = _option("info-nce", f"{', '.join(LOSSES[:-1])} or {LOSSES[-1]}.")
    temperature: float | None = _option(None, "Of the softmax or sigmoid: fix it, 0.01 to 1.", show_default="learned")
    margin: float | None = _option(
        None, "Distance of contrastive and triplet.", show_default="contrastive 1.4, triplet 0.2"
    )
    mining: str = _option("semi-hard", f"Of triplet: {' or '.join(MINING)} (from random weights: after semi-hard).")
    hardness: float = _option(0.0, "Near negatives count exp(hardness * cosine) times.")
    multi_positive: bool = _option(True, "Rows with the same caption, image or label are not pushed apart.")

    epochs: int = _option(10, "Passes over the pairs.")
    batch_size: int = _option(128, "Pairs a step, of all processes; each is the others' negative.")
    chunk_size: int | None = _option(None, "Pairs at a time through the model; the gradient stays that of the batch.")
    grad_checkpointing: bool = _option(False, "Less memory, more time.")
    fsdp: bool = _option(False, "Under torchrun, spread the model over the processes (FSDP2).")
    lr: float | None = _option(None, "Peak learning rate.", show_default="1e-5 with --model, 5e-4 with --init")
    optimizer: str | None = _option(
        None,
        "muon (hidden layers; the rest by AdamW) or adamw.",
        show_default="muon for random weights that learn by info-nce, else adamw",
    )
    weight_decay: float = _option(0.2, "Decay of weight matrices.")
    warmup: float = _option(0.1, "Part of all steps in which the learning rate rises.")
    layer_decay: float = _option(1.0, "Learning rate of a layer, as part of that of the layer above.")
    grad_clip: float = _option(1.0, "Largest norm of a gradient.")
    patience: int | None = _option(None, "Stop after so many epochs without a better one.")

    min_crop: float | None = _option(
        None, "Smallest part of an image that a random crop keeps.", show_default="0.9, for nt-xent 0.2"
    )
    flip: bool = _option(False, "Mirror every second image (nt-xent: always on).")
    grounds: float | None = _option(
        None,
        "Part of the pictures on a plain ground to lay on other grounds.",
        show_default=f"{OTHER_GROUNDS} {IF_LONG}",
    )
    color_jitter: float | None = _option(None, "Strength of random colours, 0 to 1.", show_default="0, for nt-xent 0.4")
    word_dropout: float | None = _option(
        None,
        "How often a caption is read without a random half of its words.",
        show_default=f"{WORD_DROPOUT} {IF_LONG}",
    )

    seed: int = _option(0, "Same seed, same run.")
    device: str = _option("auto", "auto, cpu, cuda, cuda:1, mps.", envvar="GLIMPSE_DEVICE")
    precision: str = _option("auto", "auto, bf16 or fp32.", envvar="GLIMPSE_PRECISION")
    track: tuple[str, ...] = _option(
        (), f"Also tell {', '.join(TRACKERS[:-1])} or {TRACKERS[-1]}; repeatable. OUT/log.jsonl is always written."
    )
    begun: InitVar[bool] = False  # read from its run folder: a setting that does nothing is let be, as it was then

    def __post_init__(self, begun: bool) -> None:
        if (self.model is None) == (self.init is None):
            raise InputError("give either --model REF to fine-tune or --init CONFIG to start from random weights")
        for name, options in (("loss", LOSSES), ("mining", MINING)):
            if getattr(self, name) not in options:
                raise InputError(f"--{name} {getattr(self, name)}: there is no such one; choose {', '.join(options)}")
        if self.optimizer not in (None, *OPTIMIZERS):
            raise InputError(f"--optimizer {self.optimizer}: there is no such one; choose {', '.join(OPTIMIZERS)}")
        if unknown := [name for name in self.track if name not in TRACKERS]:
            raise InputError(f"--track {unknown[0]}: there is no such one; choose {', '.join(TRACKERS)}")
        self._check_ranges()
        if not begun:
            self._check_use()
        if self.lock_image and (self.lock_text or self.images_only) and self.unlocked_groups == 0:
            raise InputError("with both towers locked there is nothing to train; let one of them learn")
        if self.model is not None and Path(self.model).resolve() == Path(self.out).resolve():
            raise InputError(f"--out {self.out} is the model to start from, and would be overwritten; choose another")

    def _check_use(self) -> None:
        """InputError for a setting that would do nothing."""
        for source in filter(None, (self.pairs, self.val) if self.folders else ()):
            if is_shards(source) or Path(source).is_file():
                raise InputError(
                    f"{source}: not a folder; --folders takes a folder of class folders. "
                    "Leave it out to read a table or shards"
                )
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
            ("--template", self.templates != (), "class folders, by --folders", self.folders),
            ("--label-key", self.label_key is not None, "a table or shards, and --multi-positive", self.uses_labels),
            ("--negative-key", self.negative_key is not None, "a loss with captions", not self.images_only),
            (
                "--word-dropout",
                bool(self.word_dropout),
                "captions that are not made of classes",
                not (self.images_only or self.folders),
            ),
            ("--fsdp", self.fsdp, "weights of its own, without --lora", self.lora is None),
            ("--optimizer muon", self.optimizer == "muon", "whole matrices, without --fsdp", not self.fsdp),
            ("--lora", self.lora is not None, "--model, random weights have nothing to adapt", self.model is not None),
        ):
            if given and not there:
                raise InputError(f"{flag} needs {needs}")
        if self.val is not None and self.val_fraction != VAL_FRACTION:
            raise InputError("--val says what is held out, so --val-fraction has nothing to say; leave out one of them")

    def _check_ranges(self) -> None:
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
            ("grounds", "0 to 1", self.grounds is None or 0 <= self.grounds <= 1),
            ("color_jitter", "0 to 1", self.color_jitter is None or 0 <= self.color_jitter <= 1),
            ("word_dropout", "0 to 1", self.word_dropout is None or 0 <= self.word_dropout <= 1),
            ("val_fraction", "between 0 and 1", 0 < self.val_fraction < 1),
            ("temperature", "0.01 to 1", self.temperature is None or 0.01 <= self.temperature <= 1),
            ("margin", "0 to 2", self.margin is None or 0 <= self.margin <= 2),
            ("hardness", "0 to 100", 0 <= self.hardness <= 100),
            ("unlocked_groups", "0 or more", self.unlocked_groups >= 0),
            ("lora", "1 to 1024", self.lora is None or 1 <= self.lora <= 1024),
            ("image_size", "16 to 2048", self.image_size is None or 16 <= self.image_size <= 2048),
            ("seed", "0 to 2**63 - 1", 0 <= self.seed < 2**63),
        ):
            if not holds:
                flag = f"--{name.replace('_', '-')}"
                raise InputError(f"{flag} {getattr(self, name)} is out of range; give {allowed}")

    @property
    def rules(self) -> Rules:
        """Which names of a folder it walks."""
        return Rules(self.exclude, self.follow_links, self.any_name)

    @property
    def keys(self) -> Keys:
        """The columns that it reads."""
        if self.images_only or self.folders:  # without captions, or with those of the classes
            return Keys.of(self.image_key, None, self.label_key)
        return Keys.of(self.image_key, self.caption_key, self.label_key, self.negative_key)

    @property
    def larger_held_out(self) -> str:
        """What makes the held-out part larger, as an advice ends."""
        return "a larger --val-fraction" if self.val is None else "a larger set for --val"

    @property
    def images_only(self) -> bool:
        """Whether it learns from two views of each image, without captions."""
        return self.loss == "nt-xent"

    @property
    def samples(self) -> str:
        """What it learns from, in a word."""
        return "images" if self.images_only or self.folders else "pairs"

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
        """A distance between unit rows. Contrastive: 1.4, what unrelated rows are apart. Triplet: 0.2, as FaceNet."""
        return self.margin if self.margin is not None else (1.4 if self.loss == "contrastive" else 0.2)

    def mining_at(self, progress: float) -> str:
        """How triplet mines once this share of the steps is done, 0 to 1.

        Random weights begin semi-hard. With the learning rate still high, the nearest wrong one of a batch, which may
        be right but for its caption, would draw all rows into one point; once they are told apart and the rate is low,
        batch-hard goes on from there.
        """
        return "semi-hard" if self.init is not None and progress < SEMI_HARD else self.mining

    @property
    def augmentation(self) -> Augmentation:
        """CLIP's light crop for pairs; SimCLR's strong views where they are all there is to learn from."""
        from training.data.augment import Augmentation  # which needs torch, and a command line has none

        return Augmentation(self.used_min_crop, self.used_flip, self.used_color_jitter, self.used_grounds)

    @property
    def used_min_crop(self) -> float:
        """The smallest part of an image that a random crop keeps."""
        return self.min_crop or (0.2 if self.images_only else 0.9)

    @property
    def used_flip(self) -> bool:
        """Whether every second image is mirrored."""
        return self.flip or self.images_only

    @property
    def used_color_jitter(self) -> float:
        """The strength of random colours."""
        return self.color_jitter if self.color_jitter is not None else (0.4 if self.images_only else 0.0)

    @property
    def learns_by_heart(self) -> bool:
        """Whether it would learn the pairs instead of what they have in common, unless they look otherwise each time.

        Measured for random weights on a table by InfoNCE. Classes have no other words, and shards are large; what is in
        them is decoded anew each time, so that cutting it out would cost as much.
        """
        own = not self.folders and not is_shards(self.pairs)
        return self.init is not None and self.loss in INFO_NCE and own and self.epochs >= LONG

    @property
    def used_grounds(self) -> float:
        """How often a picture on a plain ground is laid on another."""
        return self.grounds if self.grounds is not None else (OTHER_GROUNDS if self.learns_by_heart else 0.0)

    @property
    def used_word_dropout(self) -> float:
        """How often a caption is read without some of its words."""
        return self.word_dropout if self.word_dropout is not None else (WORD_DROPOUT if self.learns_by_heart else 0.0)

    @property
    def used_optimizer(self) -> str:
        """Muon where it was measured to learn more: random weights, by InfoNCE, whole in each process. Else AdamW."""
        measured = self.init is not None and self.loss in INFO_NCE and not self.fsdp
        return self.optimizer or ("muon" if measured else "adamw")

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
            kept = json.loads(path.read_text(encoding="utf-8"))
            return cls._of_kept({**kept, "out": str(folder)})  # it may have been moved
        except (FileNotFoundError, NotADirectoryError) as error:
            raise TrainingError(f"{folder}: not a training run; there is no {path}") from error
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise TrainingError(f"{folder}: not a training run that can be resumed ({error})") from error

    @classmethod
    def _of_kept(cls, values: dict[str, Any]) -> TrainConfig:
        """Of what `save` wrote, by whatever version. ValueError, TypeError, AttributeError: it does not fit."""
        if "shard" in values:  # as it was called at first
            values["fsdp"] = values.pop("shard")
        if values.pop("tensorboard", False):  # likewise
            values["track"] = ("tensorboard",)
        for name, at_first in (("optimizer", "adamw"), ("grounds", 0.0), ("word_dropout", 0.0)):
            values.setdefault(name, at_first)  # what the state to resume is of, if there was no such setting yet
        unknown = values.keys() - {setting.name for setting in fields(cls)}
        if unknown:
            raise ValueError(f"unknown setting {', '.join(sorted(unknown))}")
        values |= {name: tuple(values.get(name, ())) for name in ("templates", "exclude", "track")}  # lists in JSON
        return cls(**values, begun=True)


def in_effect(kept: dict[str, Any]) -> dict[str, Any]:
    """The settings of a `train_config.json` with what None stood for in that run; as they are where they do not fit."""
    try:
        config = TrainConfig._of_kept(dict(kept))
        return kept | {
            "image_size": config.image_size or "the model's own",
            "temperature": config.temperature or ("learned" if config.uses_scale else None),
            "margin": None if config.uses_scale else config.used_margin,
            "optimizer": config.used_optimizer,
            "lr": config.peak_lr,
            "min_crop": config.used_min_crop,
            "flip": config.used_flip,
            "grounds": config.used_grounds,
            "color_jitter": config.used_color_jitter,
            "word_dropout": config.used_word_dropout,
        }
    except (ValueError, TypeError, AttributeError):
        return kept
