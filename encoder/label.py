"""Labels a folder of images: the zero-shot classifier over the folder reader, streamed to CSV."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import numpy as np

from encoder.errors import ImageError
from encoder.folder import walk_images
from encoder.model import DualEncoder
from encoder.zero_shot import Classifier

Progress = Callable[[int], None]  # told how many images are done


@dataclass
class LabelReport:
    """What `label_folder` did. `skipped` holds (path, reason)."""

    labelled: int = 0
    per_label: dict[str, int] = field(default_factory=dict)
    skipped: list[tuple[str, str]] = field(default_factory=list)


def label_folder(
    encoder: DualEncoder, classifier: Classifier, folder: Path, out: TextIO, *, progress: Progress | None = None
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
    writer.writerow(("path", "label", "score"))
    for batch in encoder.encode_stream(paths()):
        good = []
        for path, vector in batch:
            if isinstance(vector, ImageError):
                report.skipped.append((str(path), vector.reason))
            else:
                good.append((path, vector))
        best = classifier.best(np.stack([vector for _, vector in good])) if good else []
        for (path, _), (label, score) in zip(good, best, strict=True):
            writer.writerow((path, label, f"{score:.4f}"))
            report.per_label[label] += 1
            report.labelled += 1
        out.flush()
        if progress:
            progress(report.labelled + len(report.skipped))
    return report
