"""Images whose labels are known, to hold a label set against: as `example_files` reads them, one row an image.

What is of no label of the set is counted, and is no part of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from base.errors import ImageError, InputError
from base.left_out import LeftOut
from base.progress import Progress
from base.rules import Rules
from base.tables import some_of
from encoder.prompts import Label
from labelling.example_files import read_examples
from labelling.learned import Vectors

if TYPE_CHECKING:
    from encoder.encoder import Encoder

NO_LABEL = "images of no label of the set"


@dataclass
class Truth:
    """Images and which labels they have.

    Attributes:
        images: each once.
        has: (n, n_labels) of them, one a row at least.
        left_out: what is of no use.
    """

    images: list[Path]
    has: npt.NDArray[np.bool_]
    left_out: LeftOut = field(default_factory=LeftOut)

    def of(self, rows: Sequence[int] | npt.NDArray[np.intp]) -> Truth:
        """Some of them."""
        return Truth([self.images[row] for row in rows], self.has[rows], self.left_out)


def read_truth(place: Path, labels: Sequence[Label], rules: Rules = Rules()) -> Truth:
    """The labelled images of a folder of class folders, or of a table with the columns path and label.

    Raises:
        InputError: it cannot be read, or no image has one of the labels.
    """
    files = read_examples(place, labels, rules=rules)
    column = {label.name: i for i, label in enumerate(labels)}
    images: list[Path] = []
    rows: list[list[int]] = []
    for path, names in files.names_of.items():
        if found := [column[name] for name in names if name in column]:
            images.append(path)
            rows.append(found)
        else:
            files.left_out.add(NO_LABEL, f"{path}: {some_of(names)}")
    if not images:
        there, wanted = some_of(files.new), some_of(label.name for label in labels)
        raise InputError(f"{place}: no image of a label of the set ({wanted}); there are {there}")
    has = np.zeros((len(images), len(labels)), bool)
    for i, row in enumerate(rows):
        has[i, row] = True
    return Truth(images, has, files.left_out)


def encode_truth(encoder: Encoder, truth: Truth, progress: Progress | None = None) -> tuple[Truth, Vectors]:
    """Those of the images that can be read, and their unit vectors (n, dim). InputError if none can."""
    rows: list[int] = []
    vectors: list[Vectors] = []
    done = 0
    for batch in encoder.encode_stream(truth.images):
        for row, (path, vector) in enumerate(batch, start=done):
            if isinstance(vector, ImageError):
                truth.left_out.add("images that cannot be read", f"{path} ({vector.reason})")
            else:
                rows.append(row)
                vectors.append(vector)
        done += len(batch)
        if progress is not None:
            progress(done, len(truth.images))
    if not rows:
        raise InputError(f"none of the images can be read; {'; '.join(truth.left_out.lines())}")
    return truth.of(rows), np.stack(vectors)
