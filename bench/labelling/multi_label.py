"""Several labels an image: by what score are they told best with one threshold for all?

    python -m bench.labelling.multi_label fashion/captions.csv --model runs/fashion
        --columns gender articleType baseColour usage
    python -m bench.labelling.multi_label emoji/captions.csv --model runs/emoji --columns group keywords

The labels of an image are the cells of those columns, taken apart at `|`; those with a dozen images and more count. Of
them a few are drawn, and all are taken. mAP asks each label by itself, micro-AP all decisions in one list, so it pays
for scores that mean the same everywhere. F1 is that of all decisions, at the threshold that is best for the set, which
nobody knows, and at `labelling.labeller.STANDS_OUT`.
"""

from __future__ import annotations

import argparse
import csv
from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.common import machine, open_clip
from encoder.encoder import Vectors
from encoder.model.load import load_encoder
from encoder.zero_shot.classifier import Classifier, build_classifier
from encoder.zero_shot.prompts import Label
from labelling.labeller import STANDS_OUT
from labelling.standardise import Standard

FEWEST, DRAWS = 12, 6
Truth = npt.NDArray[np.bool_]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--columns", nargs="+", required=True)
    parser.add_argument("--images", type=int, default=2500, help="at most, drawn")
    arguments = parser.parse_args()
    encoder = load_encoder(arguments.model)
    with arguments.table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    rows = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))[: arguments.images]]
    images = encoder.encode_images([arguments.table.parent / row["image"] for row in rows])
    of_image = [{word.strip() for column in arguments.columns for word in row[column].split("|")} for row in rows]
    counts = Counter(word for words in of_image for word in words if word)
    labels = sorted(word for word, n in counts.items() if n >= FEWEST)
    truth = np.array([[label in words for label in labels] for words in of_image])
    classifier = build_classifier(encoder, [Label(label) for label in labels])
    words = [key[:-4] for key in open_clip.SimpleTokenizer().encoder if key.endswith("</w>") and key[:-4].isalpha()]
    texts = encoder.encode_texts([f"a photo of a {word}." for word in words if len(word) > 4][:8000])
    print(f"{machine()}\n{arguments.table}, {len(rows)} images, {arguments.model}")
    for n in (4, 16, len(labels)):
        found: dict[str, list[list[float]]] = {}
        for seed in range(DRAWS if n < len(labels) else 1):
            drawn = np.random.default_rng(seed).permutation(len(labels))[:n]
            part = Classifier(tuple(labels[i] for i in drawn), classifier.weights[drawn], classifier.logit_scale, None)
            for way, scores in ways(part, images, texts).items():
                found.setdefault(way, []).append(measures(scores, truth[:, drawn]))
        print(f"\n{n} labels{'' if n == len(labels) else f', mean of {DRAWS} draws'}")
        print(f"{'':26}{'mAP':>8}{'micro-AP':>10}{'best F1':>9}{'at':>8}{f'F1 at {STANDS_OUT}':>12}")
        for way, each in found.items():
            mean_ap, micro, best, at, fixed = np.mean(each, axis=0)
            last = f"{fixed:12.3f}" if way.startswith("standard") else f"{'':>12}"
            print(f"{way:26}{mean_ap:8.3f}{micro:10.3f}{best:9.3f}{at:8.2f}{last}")


def ways(classifier: Classifier, images: Vectors, texts: Vectors) -> dict[str, Vectors]:
    """Scores (n, n_labels), way by way."""
    once = Standard.of(classifier.weights, texts, images[:0])
    return {
        "cosine": images @ classifier.weights.T,
        "softmax": classifier.scores(images),
        "standardised by image": once.z(images),
        "standardised twice": Standard.of(classifier.weights, texts, images).z(images),
    }


def measures(scores: Vectors, truth: Truth) -> list[float]:
    """Mean average precision of the labels, that of all decisions, the best F1 and where it is, and F1 at ours."""
    each = [average_precision(scores[:, j], truth[:, j]) for j in range(truth.shape[1]) if truth[:, j].any()]
    order = np.argsort(-scores, axis=None)
    right = np.cumsum(truth.ravel()[order])
    f1 = 2 * right / (np.arange(1, truth.size + 1) + truth.sum())
    given = scores >= STANDS_OUT
    fixed = 2 * (given & truth).sum() / max(1, given.sum() + truth.sum())
    best = int(f1.argmax())
    at = float(scores.ravel()[order[best]])
    return [float(np.mean(each)), average_precision(scores.ravel(), truth.ravel()), float(f1[best]), at, float(fixed)]


def average_precision(scores: Vectors, truth: Truth) -> float:
    """The mean of the precision at each right one."""
    ordered = truth[np.argsort(-scores, kind="stable")]
    return float((np.cumsum(ordered) / np.arange(1, len(ordered) + 1))[ordered].mean())


if __name__ == "__main__":
    main()
