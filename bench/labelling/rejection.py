"""Images that belong to no label: how well each score tells them from those that do, and what a labelling run gains.

    python -m bench.labelling.rejection --model runs/fashion --table fashion/captions.csv --column articleType
    python -m bench.labelling.rejection --model runs/emoji --table emoji/captions.csv --column keywords --groups group
    python -m bench.labelling.rejection --model runs/clothing --folder clothing --not-in clothing-half

Each draw leaves out a third of the labels, or of the groups, whose images are then unknown. Only images that the model
was not trained on count: those that the run of --model held out, or those of --folder that are not in --not-in.

Scores: the largest softmax at the model's temperature (Hendrycks & Gimpel, ICLR 2017) and at 1 on cosines (MCM, Ming
et al., NeurIPS 2022); the largest cosine; the label's z against the images themselves, as the index judges a query;
the sum of NegLabel (Jiang et al., ICLR 2024) on the same words; and `known` (labelling/rejection.py).
"""

from __future__ import annotations

import argparse
import csv
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from base.sources.walk import walk_images
from bench.common import machine
from encoder.encoder import Vectors
from encoder.model.dual_encoder import DualEncoder
from encoder.model.load import load_encoder
from encoder.zero_shot.classifier import Classifier, build_classifier
from encoder.zero_shot.prompts import as_labels
from encoder.zero_shot.word_bank import word_bank
from index.search.calibration import background
from labelling.rejection import EVEN, Rejection
from training.config import TrainConfig
from training.source import open_source

Flags = npt.NDArray[np.bool_]
FEWEST = 20  # images that a label of a table needs, all told
COVERAGES = (0.5, 0.8, 0.9)


class Image(NamedTuple):
    """An image with all labels that are right for it, and its group."""

    path: Path
    labels: frozenset[str]
    group: str


class Draw(NamedTuple):
    """Labels, and of some images (n,) whether any of the labels is right for each, and the best one."""

    classifier: Classifier
    vectors: Vectors
    known: Flags
    right: Flags


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="run folder")
    parser.add_argument("--table", type=Path, help="with a column `image`")
    parser.add_argument("--column", help="that has labels, `|` between several")
    parser.add_argument("--groups", help="column of which a third of the values is left out, instead of labels")
    parser.add_argument("--folder", type=Path, help="holds a folder a class")
    parser.add_argument("--not-in", type=Path, help="such a folder with the images that the model was trained on")
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the first draw")
    arguments = parser.parse_args()

    encoder = load_encoder(arguments.model)
    images = list(of_folder(arguments) if arguments.folder else of_table(arguments))
    vectors = encoder.encode_images([image.path for image in images])
    rows: dict[str, list[list[float]]] = {}
    gains: dict[str, list[list[float]]] = {}
    sizes = []
    for seed in range(arguments.seed, arguments.seed + arguments.draws):
        draw = leave_out(encoder, images, vectors, seed, by_group=bool(arguments.groups))
        sizes.append([len(draw.known), len(draw.classifier.labels), draw.known.mean(), draw.right[draw.known].mean()])
        rejection, scores = scores_of(encoder, draw)
        for name, score in scores.items():
            rows.setdefault(name, []).append(measures(score, draw))
        known = scores["known"]
        for name, threshold in {
            "label all": 0.0,
            f"threshold {EVEN}": EVEN,
            "fitted": rejection.fitted(known).threshold,
            "fitted, all known": rejection.fitted(known[draw.known]).threshold,
        }.items():
            gains.setdefault(name, []).append(gain(known >= threshold, threshold, draw))
    report(arguments, np.mean(sizes, axis=0), rows, gains)


def of_table(arguments: argparse.Namespace) -> Iterator[Image]:
    """The images of a table that the run of the model held out."""
    held_out = {pair.image for pair in open_source(TrainConfig.load(arguments.model)).val}
    with arguments.table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    split = {row["image"]: frozenset(row[arguments.column].lower().split("|")) for row in rows}
    count = Counter(label for labels in split.values() for label in labels)
    for row in rows:
        labels = frozenset(label for label in split[row["image"]] if count[label] >= FEWEST)
        group = row[arguments.groups] if arguments.groups else ""
        if arguments.table.parent / row["image"] in held_out and (group if arguments.groups else labels):
            yield Image(arguments.table.parent / row["image"], labels, group)


def of_folder(arguments: argparse.Namespace) -> Iterator[Image]:
    """The images of a folder of class folders that are not in another one."""
    seen = {path.relative_to(arguments.not_in) for path in arguments.not_in.rglob("*")} if arguments.not_in else set()
    for path, _ in walk_images(arguments.folder):
        name = path.relative_to(arguments.folder)
        if name not in seen:
            yield Image(path, frozenset([name.parts[0]]), "")


def leave_out(encoder: DualEncoder, images: Sequence[Image], vectors: Vectors, seed: int, *, by_group: bool) -> Draw:
    """Leave out a third of the labels; or of the groups, with the labels that any image of theirs has."""
    chosen = random.Random(seed)
    all_labels = {label for image in images for label in image.labels}
    everything = sorted({image.group for image in images} if by_group else all_labels)
    out = set(chosen.sample(everything, round(len(everything) / 3)))
    unknown = np.array([image.group in out if by_group else bool(image.labels & out) for image in images])
    foreign = {label for image, is_out in zip(images, unknown, strict=True) for label in image.labels if is_out}
    labels = sorted(all_labels - foreign)
    known = np.array([bool(image.labels & set(labels)) for image in images]) & ~unknown
    used = known | unknown
    classifier = build_classifier(encoder, labels)
    best = classifier.logits(vectors[used]).argmax(axis=1)
    truth = [image.labels for image, is_used in zip(images, used, strict=True) if is_used]
    right = np.array([labels[i] in of for i, of in zip(best, truth, strict=True)])
    return Draw(classifier, vectors[used], known[used], right)


def scores_of(encoder: DualEncoder, draw: Draw) -> tuple[Rejection, dict[str, Vectors]]:
    """What each way says of how far an image is known."""
    weights, scale = draw.classifier.weights, draw.classifier.logit_scale
    rejection = Rejection.of(word_bank(encoder), as_labels(draw.classifier.labels), weights, scale)
    cosines, words = draw.vectors @ weights.T, draw.vectors @ rejection.negatives.T
    middle, spread = background(draw.vectors, weights)
    return rejection, {
        "max softmax": softmax_max(scale * cosines),
        "MCM": softmax_max(cosines),
        "max cosine": cosines.max(axis=1),
        "z against the images": ((cosines - middle) / spread).max(axis=1),
        "NegLabel, its sum": log_sum(scale * cosines) - log_sum(scale * words),
        "known": rejection.known(draw.vectors, scale * cosines),
    }


def softmax_max(logits: Vectors) -> Vectors:
    return np.exp(logits.max(axis=1) - log_sum(logits))


def log_sum(logits: Vectors) -> Vectors:
    top = logits.max(axis=1)
    return top + np.log(np.exp(logits - top[:, None]).sum(axis=1))


def measures(score: Vectors, draw: Draw) -> list[float]:
    """AUROC and FPR95 of known against unknown, and the share of right labels among those of highest score."""
    known, unknown = score[draw.known], score[~draw.known]
    _, place, count = np.unique(np.concatenate([known, unknown]), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[place[: len(known)]]
    auroc = (ranks.sum() - len(known) * (len(known) + 1) / 2) / (len(known) * len(unknown))
    order = np.argsort(-score, kind="stable")
    at = [float((draw.right & draw.known)[order[: round(share * len(order))]].mean()) for share in COVERAGES]
    return [float(auroc), float((unknown >= np.quantile(known, 0.05)).mean()), *at]


def gain(kept: Flags, threshold: float, draw: Draw) -> list[float]:
    """The threshold; what is abstained of right, wrong and unknown; the share of right labels among those given."""
    right = draw.right & draw.known
    parts = [float((~kept)[part].mean()) for part in (right, draw.known & ~right, ~draw.known)]
    return [threshold, *parts, float(right[kept].mean()) if kept.any() else 0.0]


def report(
    arguments: argparse.Namespace,
    sizes: npt.NDArray[np.float64],
    rows: dict[str, list[list[float]]],
    gains: dict[str, list[list[float]]],
) -> None:
    images, labels, known, right = sizes
    print(f"{machine()}\n{arguments.model}, {arguments.table or arguments.folder}; means of {arguments.draws} draws")
    print(f"{images:.0f} images, {labels:.1f} labels, {known:.2f} known, of which {right:.2f} get the right label\n")
    columns = ("AUROC", "+- to known", "FPR95", *(f"right at {share:.0%}" for share in COVERAGES))
    print(f"{'':24}" + "".join(f"{column:>14}" for column in columns))
    ours = np.array(rows["known"])[:, 0]
    for name, values in rows.items():
        auroc, *others = np.mean(values, axis=0)
        behind = ours - np.array(values)[:, 0]
        lead = f"{behind.mean():+.3f}~{behind.std(ddof=1) / len(behind) ** 0.5:.3f}"
        print(f"{name:24}{auroc:14.3f}{lead:>14}" + "".join(f"{value:14.3f}" for value in others))
    columns = ("threshold", "right lost", "wrong kept off", "unknown kept off", "right of given")
    print(f"\n{'':24}" + "".join(f"{column:>18}" for column in columns))
    for name, values in gains.items():
        print(f"{name:24}" + "".join(f"{value:18.3f}" for value in np.mean(values, axis=0)))


if __name__ == "__main__":
    main()
