"""Labels images: the zero-shot classifier over the folder reader, as a stream, and as CSV."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import numpy as np

from base.errors import ImageError
from base.walk import walk_images
from encoder.encoder import Encoder
from encoder.zero_shot import Classifier

Progress = Callable[[int], None]  # told how many images are done
HEADER = ("path", "label", "score")


@dataclass
class LabelReport:
    """What `label_folder` did. `skipped` holds (path, reason)."""

    labelled: int = 0
    per_label: dict[str, int] = field(default_factory=dict)
    skipped: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Labelled:
    """An image with its likeliest label and that label's probability; or why it cannot be read."""

    path: Path
    label: str = ""
    score: float = 0.0
    error: str = ""

    def row(self) -> tuple[str, str, str]:
        """As it stands in the CSV, under `HEADER`."""
        return str(self.path), self.label, f"{self.score:.4f}"


def label_images(encoder: Encoder, classifier: Classifier, paths: Iterable[Path]) -> Iterator[list[Labelled]]:
    """Label image files as they come, in their order; one list a batch."""
    for batch in encoder.encode_stream(paths):
        good = [vector for _, vector in batch if not isinstance(vector, ImageError)]
        best = iter(classifier.best(np.stack(good)) if good else ())
        yield [
            Labelled(path, error=vector.reason) if isinstance(vector, ImageError) else Labelled(path, *next(best))
            for path, vector in batch
        ]


def label_folder(
    encoder: Encoder, classifier: Classifier, folder: Path, out: TextIO, *, progress: Progress | None = None
) -> LabelReport:
    """Write `path,label,score` for each image below a folder, as it goes; `score` is the label's probability.

    A file that cannot be read is reported and left out. Rows are flushed batch by batch, so an interrupted run keeps
    what it wrote.

    Raises:
        InputError: `folder` is not a folder.
    """
    report = LabelReport(per_label=dict.fromkeys(classifier.labels, 0))

    def paths() -> Iterator[Path]:
        for path, _ in walk_images(folder, on_error=lambda path, reason: report.skipped.append((str(path), reason))):
            yield path

    writer = csv.writer(out)
    writer.writerow(HEADER)
    for batch in label_images(encoder, classifier, paths()):
        for image in batch:
            if image.error:
                report.skipped.append((str(image.path), image.error))
                continue
            writer.writerow(image.row())
            report.per_label[image.label] += 1
            report.labelled += 1
        out.flush()
        if progress:
            progress(report.labelled + len(report.skipped))
    return report
