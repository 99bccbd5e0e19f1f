"""Captions and other metadata of image files, from a CSV. Reads text only; attaches nothing by itself."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from base.errors import InputError

Metadata = dict[str, Any]


def read_captions(path: Path, *, image_key: str = "image", opened: Path | None = None) -> dict[Path, Metadata]:
    """Metadata by absolute image path: every other column that is not empty, under its own name.

    Relative image paths start at the CSV's folder. `opened` is a name of the open file, if it is not to be opened by
    `path` again. Where an image has several rows, values that differ become a list.

    Raises:
        InputError: no such file, or no column `image_key`.
    """
    found: dict[Path, Metadata] = {}
    try:
        with (opened or path).open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            columns = rows.fieldnames or []
            if image_key not in columns:
                there = ", ".join(columns) or "none"
                raise InputError(f'{path}: no column "{image_key}"; it has {there}. Choose one with --image-key')
            for row in rows:
                image = (path.parent / (row.pop(image_key) or "")).resolve()
                known = found.setdefault(image, {})
                for name, value in row.items():
                    if name is not None and value:
                        _merge(known, name, value)
    except InputError:
        raise
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as a CSV file ({error})") from error
    return found


def _merge(known: Metadata, name: str, value: str) -> None:
    if name not in known:
        known[name] = value
    elif isinstance(known[name], list):
        if value not in known[name]:
            known[name].append(value)
    elif known[name] != value:
        known[name] = [known[name], value]
