"""What a run is measured on: its held-out part, and with `--probe` a second set on which it must not forget."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from base.errors import InputError
from base.progress import Progress
from base.sources.left_out import LeftOut
from base.sources.walk import class_folder
from encoder.encoder import Encoder, Vectors
from encoder.model.dual_encoder import DualEncoder, logit_scale_of
from encoder.model.load import ClipParts
from encoder.model.text import Tokenizer
from training.config import TrainConfig
from training.data.folders import labelled_images, walk
from training.data.keys import Keys
from training.data.pairs import Pair, read_pairs
from training.evaluation.evaluate import (
    Encoded,
    check_classes,
    encode_images,
    encode_pairs,
    evaluate_classes,
    evaluate_pairs,
    evaluate_views,
)
from training.evaluation.geometry import neighbours_kept
from training.evaluation.metrics import mean_recall, selection_score
from training.run_folder import LAST, PROBE_START, artefact
from training.step import autocast


@dataclass(frozen=True)
class Marks:
    """The measures of a model on the held-out part and the probe.

    Attributes:
        metrics: of the held-out part; see `training.evaluation.metrics`.
        validation: the one number of them: mean recall, or top-1.
        probe: of the second set, 0 to 1; None without one.
        encoded: the vectors of the held-out part.
    """

    metrics: dict[str, Any]
    validation: float
    probe: float | None
    encoded: Encoded

    @property
    def score(self) -> float:
        """What the best epoch is chosen by."""
        return selection_score(self.validation, self.probe)


class HeldOut:
    """The held-out pairs of a run and its probe, measured as fits what they are: captions, classes, or bare images."""

    def __init__(self, pairs: Sequence[Pair], config: TrainConfig, precision: str) -> None:
        self._pairs = pairs
        self._config = config
        self._precision = precision
        self._probe = Probe(config) if config.probe else None

    @property
    def probe_kind(self) -> str | None:
        """What the second set is, in words."""
        return self._probe.kind if self._probe else None

    @property
    def left_out(self) -> LeftOut:
        """What of the second set is not used."""
        return self._probe.left_out if self._probe else LeftOut()

    def measure(self, parts: ClipParts, *, at_start: bool = False) -> Marks:
        """Measure a model where it is; leaves it in eval mode.

        Args:
            parts: the model.
            at_start: it is the one that the run starts from, to which a probe of bare images compares.

        Raises:
            InputError: no held-out image, or nothing of the probe, can be read.
        """
        with autocast(next(parts.clip.parameters()).device, self._precision):
            encoder = DualEncoder(
                parts.clip.eval(),
                parts.tokenizer,
                parts.preprocess,
                ref=self._config.out,
                fingerprint="in training",
                logit_scale=logit_scale_of(parts.clip),
                precision=self._precision,
            )
            metrics, validation, encoded = measure(encoder, self._pairs, self._config)
            probe = self._probe.measure(encoder, at_start=at_start) if self._probe else None
        return Marks(metrics, validation, probe, encoded)

    def check_classes(self, tokenizer: Tokenizer, classes: Iterable[str]) -> None:
        """InputError for class folders, of the run or of its probe, that are the same to the model."""
        for names in (classes, self._probe.classes if self._probe else ()):
            check_classes(tokenizer, names, self._config.templates)


def measure(
    encoder: Encoder, pairs: Sequence[Pair], config: TrainConfig, progress: Progress | None = None
) -> tuple[dict[str, Any], float, Encoded]:
    """(metrics, the one number of them, the vectors) of a model on what a run holds out, as that run measures itself.

    Raises:
        InputError: no image can be read.
    """
    if config.images_only:
        metrics, encoded = evaluate_views(encoder, pairs, config.augmentation, config.seed)
        return metrics, mean_recall(metrics), encoded
    if config.folders:
        labelled = [(pair.image, str(pair.label)) for pair in pairs]
        metrics, encoded = evaluate_classes(encoder, labelled, templates=config.templates, progress=progress)
        return metrics, float(metrics["top1"]), encoded
    encoded = encode_pairs(encoder, pairs, progress=progress)
    metrics = encoded.retrieval()
    return metrics, mean_recall(metrics), encoded


class Probe:
    """A second set: a table of pairs (mean recall), class folders (top-1), or a folder of images.

    Of bare images it measures how much of the starting model's neighbourhood is left: the share of each image's ten
    nearest that still are. A file in the run folder keeps the starting model's vectors.

    Attributes:
        kind: what it is, in words.
        classes: of each image of class folders; else none.
        left_out: what of it is not used.
    """

    def __init__(self, config: TrainConfig) -> None:
        self._config = config
        self._source = source = Path(str(config.probe))
        self._start = Path(config.out) / LAST / PROBE_START
        self._pairs: list[Pair] = []
        self._images: list[Path] = []
        self.classes: list[str] = []
        self.left_out = LeftOut()
        if source.is_dir():
            found = walk(source, config.rules)
            self._images, self.left_out = found.images, found.left_out
            if len(self._images) < 2:
                raise InputError(f"{source}: {len(self._images)} images to probe with; give two or more")
            classes = [label for path in self._images if (label := class_folder(path, source)) is not None]
            classified = len(classes) == len(self._images) and len(set(classes)) > 1
            self.kind = "class folders" if classified else "images"
            if classified:
                self.classes = classes
                labelled_images(source, config.rules, found)
            else:
                for path, reason in found.unread:
                    self.left_out.unread(path, reason)
        elif source.is_file():
            read = read_pairs(source, Keys.of(config.image_key, config.caption_key))
            self._pairs, self.left_out = read.pairs, read.left_out
            self.kind = "pairs"
        else:
            raise InputError(f"{source}: no such file or folder to probe with")

    def measure(self, encoder: DualEncoder, *, at_start: bool) -> float:
        """A number from 0 to 1, higher is better.

        Raises:
            InputError: nothing in it can be read, or bare images are not those of the start.
        """
        if self.kind == "pairs":
            return mean_recall(evaluate_pairs(encoder, self._pairs))
        if self.kind == "class folders":
            labelled = list(zip(self._images, self.classes, strict=True))
            return float(evaluate_classes(encoder, labelled, templates=self._config.templates)[0]["top1"])
        read, vectors = encode_images(encoder, self._images)
        names = np.array([str(path) for path in read])
        if at_start:
            self._start.parent.mkdir(parents=True, exist_ok=True)
            with artefact(self._start) as part:
                _save(part, names, vectors)
            return 1.0
        with np.load(self._start) as start:
            if not np.array_equal(start["names"], names):
                raise InputError(f"{self._source}: not the images that the run was begun with; put them back")
            return neighbours_kept(start["vectors"], vectors)


def _save(path: Path, names: npt.NDArray[np.str_], vectors: Vectors) -> None:
    with path.open("wb") as file:
        np.savez(file, names=names, vectors=vectors)
