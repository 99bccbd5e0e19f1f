"""What every command shows alike: a progress bar on a terminal, JSON on request, a table of scores.

Results go to stdout, everything else to stderr, so that `glimpse ... --json | jq` works.
"""

from __future__ import annotations

import codecs
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import typer
from rich.console import Console, ConsoleRenderable, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.style import Style
from rich.text import Text

from base.errors import GlimpseError, InputError
from base.files import is_stdout
from base.words import counted
from glimpse.columns import Columns
from glimpse.progress_lines import ProgressLines, still_working

if TYPE_CHECKING:
    from base.sources.left_out import LeftOut
    from encoder.encoder import Encoder

# No markup: "[live]" or ":cat:" in a file name is a name.
# Into a pipe a path is never broken over lines.
# What a terminal obeys, and halves of characters, which no encoding has; those that stand for a byte are told apart.
_OBEYED = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\\u061c\\u200b\\u200e\\u200f\\u2028-\\u202e\\u2060-\\u2069\\ufeff"
    "\\ud800-\\udc7f\\udd00-\\udfff]"
)
WIDTH = None if sys.stdout.isatty() else 10_000


class _Console(Console):
    """Prints one line a call: what is in it of names cannot begin another, nor tell a terminal what to do."""

    def print(self, *objects: Any, **options: Any) -> None:
        shown = (shown_as(one, self.is_terminal) if isinstance(one, str) else one for one in objects)
        super().print(*shown, **options)


out = _Console(markup=False, emoji=False, highlight=False, soft_wrap=True, width=WIDTH)
err = _Console(markup=False, emoji=False, highlight=False, soft_wrap=True, stderr=True)


def beside(file: Path) -> Console:
    """Where to say what was written to a file that a person named: not among it, where that is standard output."""
    return err if is_stdout(file) else out


def print_json(content: Any, indent: int | None = 2) -> None:
    """One JSON document on stdout, in UTF-8; what no UTF-8 can say (a file's name in another encoding) is escaped.

    So is all that is not ASCII where stdout has another encoding.
    """
    text = json.dumps(content, ensure_ascii=False, indent=indent)
    try:
        text.encode("utf-8" if codecs.lookup(sys.stdout.encoding or "utf-8").name == "utf-8" else "ascii")
    except UnicodeEncodeError:
        text = json.dumps(content, indent=indent)
    print(text)


class Bar(Protocol):
    """What `progress_bar` gives."""

    def __call__(self, done: int, total: int | None) -> None:
        """Show how many of how many are done."""


class Bars(Protocol):
    """What `progress_bars` gives."""

    def __call__(self, what: str, done: int, total: int | None) -> None:
        """Show how many of how many are done of that piece of work."""


@contextmanager
def progress_bars() -> Iterator[Bars]:
    """A bar on stderr for each piece of work while a terminal watches, else a line now and then."""
    if not err.is_terminal:
        lines: dict[str, ProgressLines] = {}

        def tell(what: str, done: int, total: int | None) -> None:
            if what not in lines:
                lines[what] = ProgressLines(what, err.print)
            lines[what](done, total)

        yield tell
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as shown:
        tasks: dict[str, TaskID] = {}

        def update(what: str, done: int, total: int | None) -> None:
            if what not in tasks:
                tasks[what] = shown.add_task(what, total=total)
            shown.update(tasks[what], completed=done, total=total)

        yield update


@contextmanager
def progress_bar(what: str) -> Iterator[Bar]:
    """The same of one piece of work; call it with (done, total)."""
    with progress_bars() as bars:
        bars(what, 0, None)  # it begins now, though nobody knows yet how much there is
        yield partial(bars, what)


@contextmanager
def working(what: str) -> Iterator[None]:
    """Says on stderr that something goes on of which no end can be told; where no terminal watches, now and then."""
    with err.status(what) if err.is_terminal else still_working(what, err.print):
        yield


def prepare_queries(encoder: Encoder, *, images: bool = False) -> None:
    """At the end of a command: have the model's text tower kept, or both, so that a search need not load torch."""
    from encoder.towers.folder import towers_of

    kept = towers_of(encoder.fingerprint)
    if kept and not (images and kept.visual is None):
        return
    from encoder.lazy import LazyEncoder
    from encoder.query import keep_towers

    # what was asked for is done, and a search works without
    with suppress(GlimpseError, OSError, MemoryError, KeyboardInterrupt), working("preparing searches with this model"):
        if isinstance(encoder, LazyEncoder):
            encoder.release()
        keep_towers(encoder.ref, encoder.fingerprint, images=images)


def print_skipped(skipped: Sequence[tuple[str, str]], limit: int = 10) -> None:
    """Name the files that could not be read, at most `limit` of them."""
    for path, reason in skipped[:limit]:
        err.print(f"skipped {path}: {reason}")
    if len(skipped) > limit:
        err.print(f"... and {len(skipped) - limit} more; --json lists them all")


def print_left_out(left_out: LeftOut) -> None:
    """Say what of a source was not used: a line for each reason."""
    for line in left_out.lines():
        err.print(f"left out: {line}")


def print_cut_off(files: Sequence[tuple[str, str]]) -> None:
    """Say how many files were taken though they end before their pictures do."""
    if files:
        is_are = "is" if len(files) == 1 else "are"
        err.print(f"{counted(len(files), 'file')} {is_are} cut off; what there is was taken, the first: {files[0][0]}")


def print_not_taken(
    skipped: Sequence[Mapping[str, str]], left_out: LeftOut, cut_off: Sequence[Mapping[str, str]], others: Counter[str]
) -> None:
    """Say what of folders was not taken, or not whole: {"path", "reason"} of files; `others` are no pictures."""
    from base.sources.left_out import others_said

    print_skipped([(file["path"], file["reason"]) for file in skipped])
    print_left_out(left_out)
    print_cut_off([(file["path"], file["reason"]) for file in cut_off])
    if others:
        err.print(others_said(others))


def print_warnings(warnings: Sequence[str]) -> None:
    """Say what a person should know of a result."""
    for line in warnings:
        err.print(f"warning: {line}", style="yellow")


def confirm_deletion(what: str) -> None:
    """Ask whether it is to be deleted; the command ends if not. InputError where nobody can be asked."""
    if not sys.stdin.isatty():
        raise InputError(f"deleting {what} cannot be undone: say --yes")
    if not typer.confirm(f"Delete {what}? This cannot be undone.", err=True):
        raise typer.Exit(1)


def table(*columns: str, rows: Sequence[Sequence[object]]) -> Columns:
    """A plain table; numbers stand to the right."""
    numeric = [all(isinstance(row[i], (int, float)) for row in rows) for i in range(len(columns))]
    return Columns(columns, [[*map(_cell, row)] for row in rows], numeric)


def _cell(value: object) -> RenderableType:
    if isinstance(value, ConsoleRenderable):
        return value
    return f"{value:.3f}" if isinstance(value, float) else Text(shown_as(str(value), out.is_terminal))


def linked(text: str, url: str) -> Text:
    """A cell of a table that leads somewhere (OSC 8) where a terminal can, and is a text elsewhere."""
    return Text(shown_as(text, out.is_terminal), style=Style(link=url))


def shown_as(text: str, terminal: bool = False) -> str:
    """A text with what a terminal would obey escaped: control characters, marks that turn the direction of
    writing, what has no width, and half characters.

    Bytes of a name that are not UTF-8 go out as they are, so that a program has the name, but not to a `terminal`.
    """
    return "".join(_escape(c) if _OBEYED.match(c) or (terminal and "\ud800" <= c <= "\udfff") else c for c in text)


def _escape(c: str) -> str:
    return f"\\x{ord(c) - 0xDC00:02x}" if "\udc80" <= c <= "\udcff" else repr(c)[1:-1]
