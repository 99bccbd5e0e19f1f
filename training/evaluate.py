"""Measures an encoder on the user's own data: retrieval on pairs, zero-shot accuracy on a folder of class folders.

What was encoded for a measurement stays available as `Encoded`, so that nothing is encoded twice to look at it closer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from encoder.errors import ImageError, InputError
from encoder.folder import walk_images
from encoder.model import DualEncoder, Vectors
from encoder.zero_shot import build_classifier
from training.data import Pair, text_key
from training.metrics import classification_metrics, retrieval_metrics

Progress = Callable[[int, int], None]  # told how many images of how many are done


@dataclass(frozen=True)
class Encoded:
    """Images and texts of pairs in the space of a model, each of them once.

    Attributes:
        images: (n_images, dim) float32 unit rows.
        texts: (n_texts, dim) float32 unit rows.
        image_of_pair: (n_pairs,) row of each pair's image.
        text_of_pair: (n_pairs,) row of each pair's text.
        sources: where the image of each row comes from.
        strings: the text of each row.
        skipped: [{"path", "reason"}] of images that cannot be read.
    """

    images: Vectors
    texts: Vectors
    image_of_pair: list[int]
    text_of_pair: list[int]
    sources: list[Path]
    strings: list[str]
    skipped: list[dict[str, str]]


def encode_pairs(encoder: DualEncoder, pairs: Sequence[Pair], *, progress: Progress | None = None) -> Encoded:
    """Encode pairs. A text that repeats is one text, and so is an image.

    Raises:
        InputError: no image can be read.
    """
    images, vectors, skipped = _encode(encoder, list(dict.fromkeys(pair.image for pair in pairs)), progress)
    image_row = {image: row for row, image in enumerate(images)}
    kept = [pair for pair in pairs if pair.image in image_row]
    texts = {text_key(pair.caption): pair.caption for pair in kept}
    text_row = {key: row for row, key in enumerate(texts)}
    return Encoded(
        images=vectors,
        texts=encoder.encode_texts(list(texts.values())),
        image_of_pair=[image_row[pair.image] for pair in kept],
        text_of_pair=[text_row[text_key(pair.caption)] for pair in kept],
        sources=images,
        strings=list(texts.values()),
        skipped=skipped,
    )


def evaluate_pairs(encoder: DualEncoder, pairs: Sequence[Pair], *, progress: Progress | None = None) -> dict[str, Any]:
    """Retrieval both ways; every image with a text is relevant to it.

    Returns:
        As `training.metrics.retrieval_metrics`, with "skipped": [{"path", "reason"}] of images that cannot be read.

    Raises:
        InputError: no image can be read.
    """
    encoded = encode_pairs(encoder, pairs, progress=progress)
    metrics = retrieval_metrics(encoded.images, encoded.texts, encoded.image_of_pair, encoded.text_of_pair)
    return metrics | {"skipped": encoded.skipped}


def evaluate_folders(
    encoder: DualEncoder,
    folder: Path,
    *,
    labels: Sequence[str] = (),
    templates: Sequence[str] = (),
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Zero-shot accuracy on class folders: an image's true label is the name of its folder right below `folder`.

    Args:
        encoder: classifies.
        folder: holds one folder a class.
        labels: what to choose from; must include every folder's name. Default: the names of the folders.
        templates: prompt templates; default as `build_classifier`.
        progress: told of each batch.

    Returns:
        As `training.metrics.classification_metrics`, with "skipped": [{"path", "reason"}].

    Raises:
        InputError: no class folders, a class that is not among `labels`, or no image that can be read.
    """
    images = [(path, path.relative_to(folder).parts) for path, _ in walk_images(folder)]
    truth = {path: parts[0] for path, parts in images if len(parts) > 1}
    if not truth:
        raise InputError(f"{folder}: no images in class folders, as in {folder}/cat/1.jpg")
    classifier = build_classifier(encoder, labels or sorted(set(truth.values())), templates)
    unknown = set(truth.values()) - set(classifier.labels)
    if unknown:
        raise InputError(f"{folder}: the folder {sorted(unknown)[0]!r} is not among the labels")
    paths, vectors, skipped = _encode(encoder, list(truth), progress)
    row = {label: i for i, label in enumerate(classifier.labels)}
    metrics = classification_metrics(
        classifier.scores(vectors), [row[truth[path]] for path in paths], classifier.labels
    )
    return metrics | {"skipped": skipped}


def _encode(
    encoder: DualEncoder, paths: Sequence[Path], progress: Progress | None
) -> tuple[list[Path], Vectors, list[dict[str, str]]]:
    good: list[Path] = []
    vectors: list[Vectors] = []
    skipped: list[dict[str, str]] = []
    for batch in encoder.encode_stream(paths):
        for path, vector in batch:
            if isinstance(vector, ImageError):
                skipped.append({"path": str(path), "reason": vector.reason})
            else:
                good.append(path)
                vectors.append(vector)
        if progress:
            progress(len(good) + len(skipped), len(paths))
    if not good:
        reason = f" ({skipped[0]['path']}: {skipped[0]['reason']})" if skipped else ""
        raise InputError(f"none of the {len(paths)} images can be read{reason}")
    return good, np.stack(vectors), skipped
