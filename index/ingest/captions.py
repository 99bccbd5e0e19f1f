"""Captions and other metadata of image files, from a table. Reads text only; attaches nothing by itself."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from base.sources.left_out import LeftOut
from base.sources.named_files import Names, name_in
from base.sources.tables import Table, named
from index.entry import is_deeper

Metadata = dict[str, Any]

DEEPEST = 32  # objects and lists inside each other


class Captions(dict[Path, Metadata]):
    """Metadata by absolute image path, and which rows of the table were of use.

    Attributes:
        unread: rows that could not be read.
    """

    def __init__(self) -> None:
        super().__init__()
        self.unread = LeftOut()
        self._rows_of: dict[Path, tuple[int, str]] = {}  # how many, and the image as the first one names it
        self._used: set[Path] = set()

    def add(self, image: Path, metadata: Metadata, name: str) -> None:
        """Take a row. Where an image has several, values that differ become a list."""
        known = self.setdefault(image, {})
        for key, value in metadata.items():
            _merge(known, key, value)
        count, first = self._rows_of.get(image, (0, name))
        self._rows_of[image] = (count + 1, first)

    def of(self, path: Path) -> Metadata | None:
        """What is known of an image, which the table may name by the place that a link leads to."""
        if not self:
            return None
        image = path if path in self else Path(os.path.realpath(path))
        if image not in self:
            return None
        self._used.add(image)
        return self[image]

    def left_out(self) -> LeftOut:
        """The rows that could not be read, and those whose image nobody has asked for."""
        found = LeftOut()
        found.add_all(self.unread)
        reason = "rows name no image of these folders"
        if not self._used:
            reason += " (relative names start at the table's folder, or at one of these)"
        for image, (count, name) in self._rows_of.items():
            if image not in self._used:
                found.add(reason, name, count)
        return found


def read_captions(
    path: Path, *, image_key: str = "image", opened: Path | None = None, folders: Sequence[Path] = ()
) -> Captions:
    """Metadata by image: every other column that is not empty, under its own name.

    Texts of CSV lose blanks around them; JSON keeps its types.

    Args:
        path: the table.
        image_key: its column with the images, whose relative names start at the table's folder.
        opened: a name of the open file, if it is not to be opened by `path` again.
        folders: where relative names may start as well, if nothing is called so there.

    Raises:
        InputError: no such file, no table, no column `image_key`, or a column that is there twice.
    """
    found, places = Captions(), [Names(path.parent), *map(Names, folders)]
    table = Table(path, [(image_key, "--image-key")], each_once=True, opened=opened)
    for where, row in table.rows():
        name = name_in(row.pop(image_key, None))
        if name is None or not name.strip():
            found.unread.add("rows without an image's name", where)
            continue
        try:
            there = next(filter(None, (names.find(name) for names in places)), None) or places[0].likely(name)
            image = Path(os.path.realpath(there))  # links may lead in a circle
        except (OSError, ValueError):
            found.unread.add("rows whose image no file can be named", named(name, where))
            continue
        values = {key: value.strip() if isinstance(value, str) else value for key, value in row.items()}
        metadata = {key: value for key, value in values.items() if key and value not in ("", None)}
        if can_be_kept(metadata):
            found.add(image, metadata, named(name, where))
        else:
            found.unread.add("rows with values that cannot be kept as JSON", named(name, where))
    found.unread.add_all(table.left_out)
    return found


def can_be_kept(metadata: Metadata) -> bool:
    """Whether there are neither half characters in it nor endless numbers, nor objects in objects beyond all use."""
    try:
        text = json.dumps(metadata, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return False
    return text.count(b"[") + text.count(b"{") <= DEEPEST or not is_deeper(metadata, DEEPEST)


def _merge(known: Metadata, name: str, value: Any) -> None:
    if name not in known:
        known[name] = value
    elif isinstance(known[name], list):
        if value not in known[name]:
            known[name] = [*known[name], value]
    elif known[name] != value:
        known[name] = [known[name], value]
