"""Labels as CSV, `path,label,score`: a row a label, written as they come.

An image that none of the labels fits has a row whose label is empty; its score is that of the likeliest.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Self, TextIO

from base.read_ahead import batches
from labelling.outputs.output import Listing
from labelling.rows import Labelled, LabelReport

HEADER = ("path", "label", "score")
FORMULA = tuple("=+-@\t\r")  # a spreadsheet takes what begins so for a formula


class LabelTable:
    """A CSV that rows are added to; `score` is the label's probability.

    Args:
        file: open for text with newline="" and errors="surrogateescape", for names that are no UTF-8.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._rows = csv.writer(file)
        self._rows.writerow(HEADER)

    def write(self, images: Iterable[Labelled]) -> None:
        """Add the rows of each image that was read, and hand them to the system: a killed run keeps them."""
        for image in images:
            if image.error:
                continue
            for label, score in image.answers or (("", image.guess.score if image.guess else 0.0),):
                self._rows.writerow((_path_cell(image.path), _label_cell(label), f"{score:.4f}"))
        self._file.flush()


class LateLabelTable:
    """A LabelTable in place of the file at `path`, opened with its first row: a run without one leaves what is there.

    Use it in a `with`. OSError as it writes.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._opened = ExitStack()
        self._table: LabelTable | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._opened.close()

    def write(self, images: Iterable[Labelled]) -> None:
        """As `LabelTable.write`."""
        rows = [image for image in images if not image.error]
        if rows and self._table is None:
            self._table = LabelTable(self._opened.enter_context(open_table(self._path)))
        if self._table is not None:
            self._table.write(rows)


def write_table(part: Path, listing: Listing) -> None:
    """The whole table of a run. OSError."""
    with open_table(part) as file:
        table = LabelTable(file)
        for images in batches(listing.images(), 1024):
            table.write(images)


def _path_cell(path: Path) -> str:
    """The path; of a file of this folder with `./` before it, where a spreadsheet would calculate its name."""
    return f"./{path}" if str(path).startswith(FORMULA) else str(path)


def _label_cell(label: str) -> str:
    """The label; with an apostrophe before it, where a spreadsheet would calculate it."""
    return f"'{label}" if label.startswith(FORMULA) else label


def open_table(path: Path) -> TextIO:
    """The file of a LabelTable, in place of what is there. OSError."""
    return path.open("w", newline="", encoding="utf-8", errors="surrogateescape")


def write_rows(
    batches: Iterable[list[Labelled]], table: LabelTable | LateLabelTable, report: LabelReport
) -> Iterator[LabelReport]:
    """Write batches of labelled images to a table and count them; yields the report after each one."""
    for batch in batches:
        table.write(batch)
        for image in batch:
            report.add(image)
        yield report
