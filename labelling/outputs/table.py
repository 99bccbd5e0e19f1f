"""Labels as CSV, `path,label,score`: a row a label, written as they come.

An image that none of the labels fits has a row whose label is empty; its score is that of the likeliest. Where a
spreadsheet would calculate a cell, the name of a file has `./` before it, and a label an apostrophe.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Self, TextIO

from base.errors import InputError
from base.files import is_stream, to_open
from base.sources.tables import Table
from labelling.outputs.output import Listing
from labelling.rows import Labelled, LabelReport, Listed

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
        self._cells: dict[str, str] = {"": ""}  # of labels

    def write(self, images: Iterable[Listed]) -> None:
        """Add the rows of each image that was read, and hand them to the system: a killed run keeps them."""
        self._rows.writerows(self._of(images))
        self._file.flush()

    def _of(self, images: Iterable[Listed]) -> Iterator[tuple[str, str, str]]:
        cells = self._cells
        for path, answers, guess, error, *_ in images:
            if error:
                continue
            cell = f"./{path}" if path.startswith(FORMULA) else path
            for label, score in answers or (("", guess[1] if guess else 0.0),):
                if label not in cells:
                    cells[label] = f"'{label}" if label.startswith(FORMULA) else label
                yield cell, cells[label], f"{score:.4f}"


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

    def write(self, images: Iterable[Listed]) -> None:
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
        table.write(listing.images())


def check_table(path: Path, option: str) -> None:
    """InputError for a file that is there and is no table of labels: what it holds would be lost."""
    if is_stream(path) or not path.is_file() or not path.stat().st_size:
        return
    try:
        is_ours = Table(path, ()).columns == list(HEADER)
    except InputError:
        is_ours = False
    if not is_ours:
        raise InputError(f"{option} {path}: is there already, and is no table of labels; choose another name")


def open_table(path: Path) -> TextIO:
    """The file of a LabelTable, in place of what is there. OSError."""
    return open(to_open(path), "w", newline="", encoding="utf-8", errors="surrogateescape")  # noqa: PTH123


def write_rows(
    batches: Iterable[list[Labelled]], table: LabelTable | LateLabelTable, report: LabelReport
) -> Iterator[LabelReport]:
    """Write batches of labelled images to a table and count them; yields the report after each one."""
    for batch in batches:
        table.write(image.listed for image in batch)
        for image in batch:
            report.add(image)
        yield report
