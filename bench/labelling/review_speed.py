"""What a review costs: a correction, and the rest of a run labelled anew; and a page of the least certain.

    python -m bench.labelling.review_speed --images 100000 --labels 20 --dim 256

Vectors are random around a direction for each label. Times stand beside those of the labels' matrix product alone.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from base.sources.rules import Rules
from encoder.encoder import Encoder, Vectors
from encoder.image import Pixels
from labelling.label_sets import LabelSet
from labelling.outputs.asked import OutputsAsked
from labelling.review import Item, review
from labelling.runs import reviews
from labelling.runs.deciding import LabelsAsked, decide
from labelling.runs.kept import LabelRuns
from labelling.runs.report import SourceAsked
from labelling.runs.run import Run
from labelling.runs.sources import FolderSource
from labelling.runs.tables import Found

NO_RULES = Rules()


class Made(Encoder):
    """An encoder whose texts are known beforehand."""

    ref = fingerprint = "made"
    logit_scale = 100.0

    def __init__(self, weights: Vectors) -> None:
        self.dim = weights.shape[1]
        self._weights = weights

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Of label 7 that of label 7."""
        return self._weights[[int(re.findall(r"[0-9]+", text)[0]) for text in texts]]

    def encode_pixels(self, pixels: Pixels) -> Vectors:
        """No image is read."""
        raise NotImplementedError


def main() -> None:
    """Measure, and print a line a step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--labels", type=int, default=20)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--corrections", type=int, default=100)
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    weights = _unit(rng.standard_normal((given.labels, given.dim)))
    which = rng.integers(0, given.labels, given.images)
    vectors = _unit(weights[which] + rng.standard_normal((given.images, given.dim)) * 0.15)
    names = tuple(f"label {i}" for i in range(given.labels))
    encoder = Made(weights)
    source = FolderSource(Path("/nowhere"), NO_RULES, encoder, lambda: encoder)
    with (
        tempfile.TemporaryDirectory() as data,
        LabelRuns(Path(data)).make(SourceAsked(folder="/nowhere"), OutputsAsked()) as run,
    ):
        start = time.perf_counter()
        for at in range(0, len(vectors), 4096):
            _ = vectors[at : at + 4096] @ weights.T
        product = time.perf_counter() - start
        with run.store.writing():
            run.store.set(fingerprint="made", model="made")
            run.store.put(Found(Path(f"/nowhere/{i:08}.jpg"), "1 2 3", vector) for i, vector in enumerate(vectors))
        _measure(run, source, LabelsAsked(LabelSet.of(names)), which, given.corrections)
        print(f"the matrix product of {len(vectors)} images and {len(names)} labels alone: {product:.3f} s")


def _measure(run: Run, source: FolderSource, asked: LabelsAsked, truth: Vectors, corrections: int) -> None:
    names = asked.label_set.names
    start = time.perf_counter()
    decide(run.store, source, asked, lambda *_: None)
    print(f"labelled for the first time: {time.perf_counter() - start:.2f} s")
    start = time.perf_counter()
    page = reviews.page(run.store, reviews.Wanted(limit=corrections))
    print(f"a page of {len(page)}: {1000 * (time.perf_counter() - start):.1f} ms")
    items = [Item(row.id, "correct", [names[truth[row.id - 1]]]) for row in page]
    for some in (items[:1], items):
        start = time.perf_counter()
        done = review(run, source, some)
        print(f"{len(some)} corrected, {done.relabelled} labelled anew: {time.perf_counter() - start:.2f} s")
    start = time.perf_counter()
    reviews.summary(run.store)
    print(f"counts: {1000 * (time.perf_counter() - start):.0f} ms")


def _unit(rows: npt.NDArray[np.float64]) -> Vectors:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


if __name__ == "__main__":
    main()
