"""Measures an encoder on the user's own data: retrieval on pairs, zero-shot accuracy on classes, views of images.

What was encoded for a measurement stays available as `Encoded`, so that nothing is encoded twice to look at it closer.
"""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from base.errors import ImageError, InputError
from base.progress import Progress
from base.read_ahead import read_batches
from base.sources.tables import some_of
from encoder.cut import find_cut
from encoder.encoder import Encoder, Vectors
from encoder.image import Pixels, open_image
from encoder.model.text import Tokenizer, as_read
from encoder.zero_shot.classifier import REWORD, Classifier, build_classifier, check_apart
from encoder.zero_shot.prompts import Label, check_templates, prompts_of
from training.data.augment import Augmentation
from training.data.pairs import Pair, text_key
from training.evaluation.metrics import classification_metrics, retrieval_metrics, view_metrics

Image = Path | bytes
RENAME = "rename one of their folders, or put the images of both into one"


@dataclass(frozen=True)
class Encoded:
    """Images and texts in the space of a model, each of them once, and which belong together.

    Attributes:
        images: (n_images, dim) float32 unit rows.
        texts: (n_texts, dim) float32 unit rows: captions, the classes' prompts, or second views.
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
    sources: list[Image]
    strings: list[str]
    skipped: list[dict[str, str]]

    def retrieval(self) -> dict[str, Any]:
        """As `metrics.retrieval_metrics`."""
        return retrieval_metrics(self.images, self.texts, self.image_of_pair, self.text_of_pair)


def encode_pairs(encoder: Encoder, pairs: Sequence[Pair], *, progress: Progress | None = None) -> Encoded:
    """Encode pairs. A text that repeats is one text, and so is an image.

    Raises:
        InputError: no image can be read.
    """
    images, vectors, skipped = _encode(encoder, list(dict.fromkeys(pair.image for pair in pairs)), progress)
    image_row = {image: row for row, image in enumerate(images)}
    kept = [(image_row[pair.image], text) for pair in pairs if pair.image in image_row for text in pair.captions]
    texts = {text_key(text): text for _, text in kept}
    text_row = {key: row for row, key in enumerate(texts)}
    return Encoded(
        images=vectors,
        texts=encoder.encode_texts(list(texts.values())),
        image_of_pair=[row for row, _ in kept],
        text_of_pair=[text_row[text_key(text)] for _, text in kept],
        sources=images,
        strings=list(texts.values()),
        skipped=skipped,
    )


def encode_classes(
    encoder: Encoder,
    labelled: Sequence[tuple[Image, str]],
    classifier: Classifier,
    progress: Progress | None = None,
) -> Encoded:
    """Encode images with a label each; the texts are the classes of `classifier`, in its order.

    Raises:
        InputError: no image can be read.
    """
    label_of = dict(labelled)
    images, vectors, skipped = _encode(encoder, list(label_of), progress)
    row = {label: i for i, label in enumerate(classifier.labels)}
    return Encoded(
        images=vectors,
        texts=classifier.weights,
        image_of_pair=list(range(len(images))),
        text_of_pair=[row[label_of[image]] for image in images],
        sources=images,
        strings=list(classifier.labels),
        skipped=skipped,
    )


def encode_views(encoder: Encoder, pairs: Sequence[Pair], augmentation: Augmentation, seed: int) -> Encoded:
    """Encode two random views of each image; the second ones stand where texts stand elsewhere.

    Raises:
        InputError: no image can be read.
    """

    def read(pair: Pair) -> tuple[Pair, tuple[Pixels, Pixels] | ImageError]:
        try:
            image = open_image(pair.image, at_least=encoder.preprocess.height_width)
        except ImageError as error:
            return pair, error
        rng = random.Random(f"{seed} {_name(pair.image)}".encode("utf-8", "surrogateescape"))
        return pair, (augmentation(image, encoder.preprocess, rng), augmentation(image, encoder.preprocess, rng))

    sources: list[Image] = []
    sides: tuple[list[Vectors], list[Vectors]] = ([], [])
    skipped: list[dict[str, str]] = []
    for batch in read_batches(read, pairs, encoder.batch_size, overlap=encoder.overlap):
        skipped += [{"path": _name(pair.image), "reason": e.reason} for pair, e in batch if isinstance(e, ImageError)]
        good = [(pair.image, views) for pair, views in batch if not isinstance(views, ImageError)]
        if good:
            sources += [image for image, _ in good]
            for side in (0, 1):
                sides[side].append(encoder.encode_pixels(np.stack([views[side] for _, views in good])))
    _check_some(sources, skipped)
    rows = list(range(len(sources)))
    names = [_name(source) for source in sources]
    return Encoded(np.concatenate(sides[0]), np.concatenate(sides[1]), rows, rows, sources, names, skipped)


def evaluate_pairs(encoder: Encoder, pairs: Sequence[Pair], *, progress: Progress | None = None) -> dict[str, Any]:
    """Retrieval both ways; every image with a text is relevant to it.

    Returns:
        As `metrics.retrieval_metrics`, with "skipped": [{"path", "reason"}] of images that cannot be read.

    Raises:
        InputError: no image can be read.
    """
    encoded = encode_pairs(encoder, pairs, progress=progress)
    return encoded.retrieval() | {"skipped": encoded.skipped}


def evaluate_classes(
    encoder: Encoder,
    labelled: Sequence[tuple[Image, str]],
    *,
    labels: Sequence[str | Label] = (),
    templates: Sequence[str] = (),
    progress: Progress | None = None,
) -> tuple[dict[str, Any], Encoded]:
    """Zero-shot accuracy on images with a label each, as `metrics.classification_metrics`; and the vectors.

    Args:
        encoder: classifies.
        labelled: images with their true labels.
        labels: what to choose from; must include every true one, in any form of its accents. Default: those that occur.
        templates: prompt templates; default as `build_classifier`.
        progress: told of each batch.

    Raises:
        InputError: a true label that is not among `labels`, or no image that can be read.
    """
    true = {label for _, label in labelled}
    classifier = build_classifier(encoder, labels or _of_folders(true), templates, REWORD if labels else RENAME)
    known = {unicodedata.normalize("NFC", label): label for label in classifier.labels}
    as_given = {label: known.get(unicodedata.normalize("NFC", label)) for label in true}
    if unknown := sorted(label for label, given in as_given.items() if given is None):
        known_as = some_of(classifier.labels)
        raise InputError(f"class {unknown[0]!r} is none of the labels ({known_as}); name each by its folder's name")
    labelled = [(image, str(as_given[label])) for image, label in labelled]
    encoded = encode_classes(encoder, labelled, classifier, progress)
    cosines = encoded.images @ classifier.weights.T
    return classification_metrics(cosines, encoded.text_of_pair, classifier.labels), encoded


def check_classes(tokenizer: Tokenizer, classes: Iterable[str], templates: Sequence[str] = ()) -> None:
    """InputError for class folders whose names are the same to the model, as it reads them."""
    labels = _of_folders(classes)
    each = prompts_of(labels, check_templates(templates))
    prompts, sizes = [prompt for of_label in each for prompt in of_label], [len(of_label) for of_label in each]
    names = [label.name for label in labels]
    check_apart(names, sizes, as_read(tokenizer, prompts), find_cut(tokenizer, prompts), RENAME)


def _of_folders(classes: Iterable[str]) -> list[Label]:
    return [Label(name) for name in sorted(set(classes))]


def evaluate_views(
    encoder: Encoder, pairs: Sequence[Pair], augmentation: Augmentation, seed: int
) -> tuple[dict[str, Any], Encoded]:
    """How well a view of an image finds the image's other view, as `metrics.view_metrics`; and the vectors."""
    encoded = encode_views(encoder, pairs, augmentation, seed)
    return view_metrics(encoded.images, encoded.texts), encoded


def encode_images(encoder: Encoder, images: Sequence[Image]) -> tuple[list[Image], Vectors]:
    """The images that can be read, and their vectors (n, dim).

    Raises:
        InputError: none can be read.
    """
    good, vectors, _ = _encode(encoder, images, None)
    return good, vectors


def _encode(
    encoder: Encoder, images: Sequence[Image], progress: Progress | None
) -> tuple[list[Image], Vectors, list[dict[str, str]]]:
    good: list[Image] = []
    vectors: list[Vectors] = []
    skipped: list[dict[str, str]] = []
    for batch in encoder.encode_stream(images):
        for image, vector in batch:
            if isinstance(vector, ImageError):
                skipped.append({"path": _name(image), "reason": vector.reason})
            else:
                good.append(image)
                vectors.append(vector)
        if progress:
            progress(len(good) + len(skipped), len(images))
    _check_some(good, skipped)
    return good, np.stack(vectors), skipped


def _check_some(good: Sequence[Image], skipped: Sequence[dict[str, str]]) -> None:
    if not good:
        reason = f" ({skipped[0]['path']}: {skipped[0]['reason']})" if skipped else ""
        raise InputError(f"none of the {len(skipped)} images can be read{reason}")


def _name(image: Image) -> str:
    return (getattr(image, "name", "") or f"{len(image)} bytes") if isinstance(image, bytes) else str(image)
