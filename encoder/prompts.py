"""Turns label names into prompts. A template is a sentence with `{}` where the label goes (CLIP, section 3.1.4)."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from base.errors import InputError
from base.tables import decode_text

DEFAULT_TEMPLATES = ("a photo of a {}.", "a picture of a {}.", "{}")


def fill_templates(label: str, templates: Sequence[str]) -> list[str]:
    """Every template with the label in it; underscores in the label are read as spaces."""
    name = label.replace("_", " ").strip()
    return [template.replace("{}", name) for template in templates]


def check_templates(templates: Sequence[str]) -> tuple[str, ...]:
    """The templates as given, or the defaults for none.

    Raises:
        InputError: a template without `{}`.
    """
    for template in templates:
        if "{}" not in template:
            raise InputError(f'template "{template}" has no {{}} for the label, as in "a photo of a {{}}."')
    return tuple(templates) or DEFAULT_TEMPLATES


def check_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """The labels stripped, each once, in order.

    Raises:
        InputError: fewer than one label.
    """
    unique = tuple(dict.fromkeys(label.strip() for label in labels if label.strip()))
    if not unique:
        raise InputError('no labels given; name them as in --labels "cat,dog,bird"')
    return unique


def split_labels(text: str) -> list[str]:
    """The labels of a text with commas between, as in a row of CSV: one with a comma in it stands in quotes."""
    return [label for row in csv.reader(text.splitlines(), skipinitialspace=True) for label in row]


def read_labels(path: Path) -> tuple[str, ...]:
    """Labels from a text file, one a line; empty lines and lines that start with # do not count.

    Raises:
        InputError: the file cannot be read, is a table or JSON, or names no label.
    """
    try:
        lines = decode_text(path.read_bytes()).splitlines()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InputError(f"{path}: cannot be read as a text file of labels, one a line ({why})") from error
    labels = [line for line in lines if not line.lstrip().startswith("#")]
    if path.suffix.lower() in (".csv", ".tsv") and any(mark in line for line in labels for mark in ",;\t"):
        raise InputError(f"{path}: a table with several columns; give a text file with one label a line")
    if any(label.lstrip().startswith(("[", "{")) for label in labels[:1]):
        raise InputError(f"{path}: JSON; give a text file with one label a line")
    return check_labels(labels)
