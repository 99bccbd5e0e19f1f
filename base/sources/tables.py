"""Tables as people have them: one reader for all who take a table.

A table is CSV, with commas, semicolons, tabs or bars between the cells, JSON Lines, a JSON array of objects, or one
object of columns; in UTF-8, or in UTF-16 or UTF-32 that begins with its mark. What a column is for is the matter of who
asks.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from base.errors import InputError
from base.sources.left_out import LeftOut
from base.sources.no_table import no_columns, no_table, repeated, what_it_is
from base.sources.texts import encoding_of, json_items, json_lines, parse_json

MAX_CELL = 16 * 2**20  # characters; csv's own limit, 131,072, is less than a long text
csv.field_size_limit(MAX_CELL)
MAX_WHOLE = 256 * 2**20  # bytes of a JSON array, which is read whole
DELIMITERS = ",;\t|"
TOO_MANY = "rows with more cells than the header (put a text with the separator in it in quotes)"
TOO_LONG = f"rows with a cell of more than {MAX_CELL >> 20} million characters"
BROKEN = "rows with a broken quote"
Flags = Sequence[tuple[str, str]]


class Row(NamedTuple):
    """A row: where it stands, as "line 3" or "item 3", and its cells by column."""

    where: str
    cells: dict[str, Any]


class Table:
    """A table that is read from its begin to its end; of a JSON array all is in memory meanwhile.

    Attributes:
        columns: of a CSV, in their order; none of JSON.
        left_out: rows that could not be read; complete when all rows were.
    """

    def __init__(self, path: Path, flags: Flags, *, each_once: bool = False, opened: Path | None = None) -> None:
        """Open a table.

        Args:
            path: the file.
            flags: columns that must be there, each with the flag that chooses it.
            opened: a name of the open file, if it is not to be opened by `path` again.
            each_once: no other column of a CSV may be there twice either, for all are wanted.

        Raises:
            InputError: no such file, no text, or a CSV without one of the columns, or with one twice.
        """
        self.path = path
        self._opened = opened or path
        self.columns: list[str] = []
        self.left_out = LeftOut()
        self._flags = flags
        with self._reading():
            with self._opened.open("rb") as file:
                begin = file.read(4)
            if not begin:
                raise InputError(f"{path}: the file is empty")
            self._encoding = encoding_of(begin)
            with self._open() as text:
                head = text.read(2**16)
        if "\0" in head:  # a tar may begin like text, but for these
            raise no_table(path, self._opened)
        self._json = head.lstrip()[:1] if head.lstrip()[:1] in ("{", "[") else ""
        if not self._json:
            self._delimiter = _delimiter(head, [name for name, _ in flags])
            self.columns = next((cells for _, cells in self._cells()), [])
            self._check(self.columns)
            twice = [name for name in self.columns if name and self.columns.count(name) > 1]
            if each_once and twice:
                raise repeated(path, self.columns, twice[0])

    def rows(self) -> Iterator[Row]:
        """The rows in their order.

        Raises:
            InputError: one is no row at all, and where; or, behind the last row of JSON, a column is in none of them.
        """
        count = 0
        with self._reading():
            for row in self._objects() if self._json else self._records():
                count += 1
                yield row
        self.left_out.totals["rows"] = count + self.left_out.count()

    def _open(self) -> TextIO:
        return self._opened.open(newline="", encoding=self._encoding)

    def _check(self, columns: Sequence[str]) -> None:
        if missing := [(key, flag) for key, flag in self._flags if key not in columns]:
            if what := what_it_is(self._opened):  # a web page is text, and not one of these
                raise InputError(f"{self.path}: {what}")
            raise no_columns(self.path, missing, columns, some_of(columns), json=bool(self._json))
        for key, _ in self._flags:
            if columns.count(key) > 1:
                raise repeated(self.path, columns, key)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except UnicodeError as error:
            raise no_table(self.path, self._opened) from error
        except IsADirectoryError as error:
            raise InputError(f"{self.path}: a folder; give a table: CSV, TSV or JSON Lines") from error
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise InputError(f"{self.path}: cannot be read as a table ({why})") from error

    def _records(self) -> Iterator[Row]:
        """The rows of a CSV below its header."""
        cells_below = self._cells()
        next(cells_below, None)
        for where, cells in cells_below:
            if any(cell.strip() for cell in cells[len(self.columns) :]):
                self.left_out.add(TOO_MANY, where)
            else:
                yield Row(where, dict(zip(self.columns, cells, strict=False)))

    def _cells(self) -> Iterator[tuple[str, list[str]]]:
        """The rows of a CSV that are not empty, the header first.

        A quote that is opened and not closed would make one cell of all rows behind it, so quotes are taken strictly;
        a row of one line whose quotes can only be read otherwise is read so.
        """
        with self._open() as file:
            last, number = "", 0

            def lines() -> Iterator[str]:
                nonlocal last, number
                for number, last in enumerate(file, start=1):
                    if number > 1 or not _names_separator(last):
                        yield last

            form: dict[str, Any] = {"delimiter": self._delimiter, "skipinitialspace": True}
            reader = csv.reader(lines(), **form, strict=True)
            width = 0
            while True:
                begin = number + 1
                try:
                    cells = next(reader, None)
                except csv.Error as error:
                    cells = _read_loosely(last, form) if number == begin else []
                    if not cells and (number > begin or not width):
                        raise InputError(
                            f"{self.path}: the row that starts at line {begin} cannot be read ({error}); look for a "
                            "quote that is opened there and not closed"
                        ) from error
                    if len(cells) != (width or len(cells)):
                        self.left_out.add(TOO_LONG if len(last) > MAX_CELL else BROKEN, f"line {begin}")
                        continue
                if cells is None:
                    return
                if any(cell.strip() for cell in cells):
                    if not width:
                        width, cells = len(cells), [" ".join(cell.split()) for cell in cells]
                    yield f"line {begin}", cells

    def _objects(self) -> Iterator[Row]:
        """The rows of JSON."""
        seen: dict[str, None] = {}
        for where, row in json_items(self.path, self._whole()) if self._json == "[" else self._lines():
            if not isinstance(row, dict):
                raise InputError(f'{self.path}: {where} is not a JSON object, as in {{"image": "1.jpg", "title": "a"}}')
            seen.update(dict.fromkeys(row))
            if self._has_columns(row):
                yield from self._turned(row)
            else:
                yield Row(where, row)
        self._check(list(seen))

    def _has_columns(self, whole: dict[str, Any]) -> bool:
        """Whether an object is a table by columns, `{"image": [...], "title": [...]}`: of a row the image is a name."""
        names = [name for name, _ in self._flags] or list(whole)
        return bool(names) and all(isinstance(whole.get(name), list | dict) for name in names)

    def _turned(self, whole: dict[str, Any]) -> Iterator[Row]:
        """The rows of a table by columns, lists or objects by the row's name, as pandas writes them."""
        columns = {
            name: list(cells.values()) if isinstance(cells, dict) else cells
            for name, cells in whole.items()
            if isinstance(cells, list | dict)
        }
        if len(set(map(len, columns.values()))) > 1:
            sizes = some_of(f"{name} {len(cells)}" for name, cells in columns.items())
            raise InputError(f"{self.path}: a JSON object of columns of different lengths ({sizes}); make them one")
        for number, cells in enumerate(zip(*columns.values(), strict=True), start=1):
            yield Row(f"item {number}", dict(zip(columns, cells, strict=True)))

    def _lines(self) -> Iterator[tuple[str, Any]]:
        with self._open() as file:
            lines = json_lines(self.path, file, "object")
            try:
                yield next(lines)
            except InputError:
                if (whole := self._object()) is None:
                    raise
                yield "line 1", whole
                return
            yield from lines

    def _object(self) -> Any:
        """What the file says if all of it is one JSON object over several lines, or else None."""
        try:
            return parse_json(self._whole())
        except ValueError:
            return None

    def _whole(self) -> str:
        if self._opened.stat().st_size > MAX_WHOLE:
            raise InputError(f"{self.path}: JSON of more than {MAX_WHOLE >> 20} MB in one; give one object a line")
        with self._open() as file:
            return file.read()


def some_of(names: Iterable[str], most: int = 10) -> str:
    """Names with commas between, no more than some of them, none of them long."""
    known = [" ".join(name.split()) for name in names]
    shown = ", ".join(name if len(name) <= 60 else f"{name[:57]}..." for name in known[:most])
    return (shown or "none") + (f" and {len(known) - most} more" if len(known) > most else "")


def named(cell: object, where: str) -> str:
    """An image as a table names it, and where: "img/1.jpg (line 2)"."""
    return f"{some_of([cell]) if isinstance(cell, str) and cell.strip() else 'no name'} ({where})"


def _delimiter(head: str, wanted: Sequence[str]) -> str:
    """What stands between cells: whichever gives the header most of the wanted columns, and then most columns."""
    lines = [line for line in head.splitlines() if line.strip()]
    if lines and (named := _names_separator(lines[0])):
        return named

    def columns(delimiter: str) -> tuple[int, int]:
        cells = next(csv.reader(lines[:1], delimiter=delimiter, skipinitialspace=True), [])
        names = {cell.strip() for cell in cells}
        return sum(name in names for name in wanted), len(cells)

    return max(DELIMITERS, key=columns)


def _names_separator(line: str) -> str:
    """The separator that a line as Excel reads them, `sep=;`, names."""
    found = re.fullmatch(r'"?sep=([,;\t|])"?\s*', line)
    return found[1] if found else ""


def _read_loosely(line: str, form: dict[str, Any]) -> list[str]:
    """The cells of one line in which something follows a closing quote; none if a quote stays open."""
    try:
        return next(csv.reader([line], **form), []) if line.count('"') % 2 == 0 else []
    except csv.Error:
        return []
