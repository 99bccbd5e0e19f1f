"""What a run is measured on: its held-out part, and with `--probe` a second set on which it must not forget."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from encoder.errors import InputError
from encoder.folder import walk_images
from encoder.model import DualEncoder
from training.config import TrainConfig
from training.evaluate import (
    Encoded,
    encode_images,
    encode_pairs,
    evaluate_classes,
    evaluate_folders,
    evaluate_pairs,
    evaluate_views,
)
from training.files import replace_file
from training.health import neighbours_kept
from training.metrics import mean_recall
from training.pairs import Pair, read_pairs


class HeldOut:
    """The held-out pairs of a run, measured as fits what they are: captions, classes, or bare images."""

    def __init__(self, pairs: Sequence[Pair], config: TrainConfig) -> None:
        self._pairs = pairs
        self._config = config

    def measure(self, encoder: DualEncoder) -> tuple[dict[str, Any], float, Encoded]:
        """The metrics, the one number to choose an epoch by (mean recall, or top-1), and the vectors.

        Raises:
            InputError: no held-out image can be read.
        """
        if self._config.images_only:
            metrics, encoded = evaluate_views(encoder, self._pairs, self._config.augmentation, self._config.seed)
        elif self._config.folders:
            labelled = [(pair.image, str(pair.label)) for pair in self._pairs]
            metrics, encoded = evaluate_classes(encoder, labelled, templates=self._config.templates)
            return metrics, float(metrics["top1"]), encoded
        else:
            encoded = encode_pairs(encoder, self._pairs)
            metrics = encoded.retrieval()
        return metrics, mean_recall(metrics), encoded


class Probe:
    """A second set: a table of pairs (mean recall), class folders (top-1), or a folder of images.

    Of bare images it measures how much of the starting model's neighbourhood is left: the share of each image's ten
    nearest that still are. `memory` is the file that keeps the starting model's vectors.
    """

    def __init__(self, source: Path, memory: Path, config: TrainConfig) -> None:
        self._source = source
        self._memory = memory
        self._config = config
        if source.is_dir():
            images = [path for path, _ in walk_images(source)]
            if not images:
                raise InputError(f"{source}: no images to probe with")
            self._classes = len({path.relative_to(source).parts[:-1][:1] for path in images}) > 1
            self._images: list[Path | bytes] = list(images)
        elif not source.is_file():
            raise InputError(f"{source}: no such file or folder to probe with")

    def measure(self, encoder: DualEncoder) -> float:
        """A number from 0 to 1, higher is better; the first call is the starting model's.

        Raises:
            InputError: nothing in it can be read.
        """
        config = self._config
        if self._source.is_file():
            found = read_pairs(self._source, image_key=config.image_key, caption_key=config.caption_key)
            return mean_recall(evaluate_pairs(encoder, found.pairs))
        if self._classes:
            return float(evaluate_folders(encoder, self._source, templates=config.templates)["top1"])
        _, vectors = encode_images(encoder, self._images)
        if not self._memory.exists():
            self._memory.parent.mkdir(parents=True, exist_ok=True)
            replace_file(self._memory, lambda path: path.write_bytes(vectors.tobytes()))
            return 1.0
        before = np.fromfile(self._memory, np.float32).reshape(len(vectors), -1)
        return neighbours_kept(before, vectors)
