"""Texts as people have them: their encoding, and JSON in them, all in one array or a value a line."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from base.errors import InputError

MARKS = (  # UTF-32's begins with UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def encoding_of(head: bytes) -> str:
    """The encoding of a text by its first four bytes: UTF-8, unless it begins with another's mark."""
    return next((name for mark, name in MARKS if head.startswith(mark)), "utf-8-sig")


def decode_text(data: bytes) -> str:
    """The text of a file.

    Raises:
        ValueError: it is not in UTF-8, and bears no mark of another encoding.
    """
    text = data.decode(encoding_of(data[:4]))
    if "\0" in text:
        raise ValueError("not text")
    return text


def parse_json(text: str | bytes) -> Any:
    """What a JSON text says.

    Raises:
        ValueError: it is no JSON that can be read; why, in few words.
    """
    try:
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ValueError(why_no_json(error)) from None


def why_no_json(error: ValueError | RecursionError) -> str:
    """In few words why `json.loads` did not read a text."""
    if isinstance(error, RecursionError):
        return "too deep"
    if isinstance(error, json.JSONDecodeError):
        line = f"line {error.lineno}, " if "\n" in error.doc else ""
        return f"from {line}column {error.colno} on"
    if isinstance(error, UnicodeDecodeError):
        return "not text in UTF-8"
    return "a number with thousands of digits"  # Python makes no integer of them


def json_items(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    """What stands in a JSON array, the text of a file, each with its place, as "item 3".

    Raises:
        InputError: it is no array.
    """
    try:
        items = parse_json(text)
    except ValueError as error:
        raise InputError(f"{path}: begins as a JSON array and is none ({error})") from error
    yield from ((f"item {number}", item) for number, item in enumerate(items, start=1))


def json_lines(path: Path, lines: Iterable[str], each: str, form: str = "") -> Iterator[tuple[str, Any]]:
    """What the lines of a file say that are not empty, each with its place, as "line 3".

    Args:
        path: the file, for who reads that a line is no JSON.
        lines: its lines.
        each: what stands on one, for the same.
        form: an array of some.

    Raises:
        InputError: a line is no JSON.
    """
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                yield f"line {number}", parse_json(line.strip())
            except ValueError as error:
                remedy = f"each line holds one {each}, or all is one list of them" + (f", as {form}" if form else "")
                raise InputError(f"{path}: line {number} cannot be read as JSON ({error}); {remedy}") from error


def _no_number(name: str) -> None:
    """What NaN and Infinity, which Python writes and JSON has not, say of a cell: nothing."""
