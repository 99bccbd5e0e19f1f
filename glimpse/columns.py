"""A table as a terminal has room for it: where it would have to break numbers and words, its rows one below another."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

LEAST = 12  # characters that a column of long words, as paths are, has at least
GAP = 2  # between two columns


class Columns:
    """Rows below their names; numbers stand to the right.

    Args:
        names: of the columns.
        rows: a cell a column each.
        numeric: which columns are numbers.
    """

    def __init__(self, names: Sequence[str], rows: Sequence[Sequence[RenderableType]], numeric: Sequence[bool]) -> None:
        self._names, self._rows, self._numeric = names, rows, numeric

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """A table, or a list of what each row has; where no terminal is, lines that end with their last cell."""
        if not options.is_terminal:
            yield from self._lines()
            return
        measured = [
            (_of_text(name), *(_of_cell(console, options, row[i]) for row in self._rows))
            for i, name in enumerate(self._names)
        ]
        least = [max(one.minimum for one in column) for column in measured]
        whole = [max(one.maximum for one in column) for column in measured]
        room = options.max_width - GAP * (len(self._names) - 1)
        if sum(least) > room:
            yield from self._listed()
            return
        shown = Table(box=None, pad_edge=False, header_style="dim")
        widths = whole if sum(whole) <= room else _shared(least, whole, room)
        for name, width, numeric in zip(self._names, widths, self._numeric, strict=True):
            shown.add_column(name, width=width, justify="right" if numeric else "left", overflow="fold")
        for row in self._rows:
            shown.add_row(*row)
        yield shown

    def _lines(self) -> RenderResult:
        lines = [[str(cell) for cell in row] for row in (self._names, *self._rows)]
        widths = [max(cell_len(line[i]) for line in lines) for i in range(len(self._names))]
        for line in lines:
            gaps = [" " * (width - cell_len(cell)) for cell, width in zip(line, widths, strict=True)]
            cells = [
                gap + cell if numeric else cell + gap
                for cell, gap, numeric in zip(line, gaps, self._numeric, strict=True)
            ]
            last = cells[-1] if self._numeric[-1] else line[-1]
            yield Text((" " * GAP).join([*cells[:-1], last]))

    def _listed(self) -> RenderResult:
        for number, row in enumerate(self._rows):
            if number:
                yield ""
            one = Table(box=None, pad_edge=False, show_header=False)
            one.add_column(style="dim", overflow="fold")
            one.add_column(overflow="fold")
            for name, cell in zip(self._names, row, strict=True):
                one.add_row(name, cell)
            yield one


def _of_text(text: str) -> Measurement:
    words = (cell_len(word) for word in text.split())
    return Measurement(min(max(words, default=0), LEAST), cell_len(text))


def _of_cell(console: Console, options: ConsoleOptions, cell: RenderableType) -> Measurement:
    if isinstance(cell, str | Text):
        return _of_text(str(cell))
    return Measurement.get(console, options, cell)


def _shared(least: Sequence[int], whole: Sequence[int], room: int) -> list[int]:
    """Widths of columns that fill the room, which is more than the least: what is left is shared by those that lack."""
    widths = list(least)
    while (left := room - sum(widths)) > 0 and (lacking := [i for i, width in enumerate(widths) if width < whole[i]]):
        for i in lacking[:left]:
            widths[i] = min(whole[i], widths[i] + max(1, left // len(lacking)))
    return widths
