"""Which image files are examples of which labels: class folders, or a table `path,label`; read, and encoded.

Labels that a set does not have become labels of it. Learns nothing of them: `examples` does.
"""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from base.errors import ImageError, InputError
from base.left_out import LeftOut
from base.named_files import Names
from base.progress import Progress
from base.rules import Rules
from base.tables import Table, named
from base.walk import no_images, walk_images
from encoder.prompts import Label
from labelling.examples import Examples
from labelling.outputs.table import FORMULA

if TYPE_CHECKING:
    from encoder.encoder import Encoder


@dataclass(frozen=True)
class ExampleFiles:
    """Image files and their labels.

    Attributes:
        names_of: by image the names of its labels, one at least.
        labels: those of the set, and behind them the ones that it did not have.
        new: the names of the latter.
        left_out: what of the source is not used.
    """

    names_of: Mapping[Path, Sequence[str]]
    labels: tuple[Label, ...]
    new: tuple[str, ...]
    left_out: LeftOut

    def encode(
        self, encoder: Encoder, *, read: Callable[[Path], bytes] | None = None, progress: Progress | None = None
    ) -> Examples:
        """Their unit vectors, and which of the `labels` each has; what cannot be read goes to `left_out`.

        Raises:
            InputError: none can be read.
        """
        column = {label.name: i for i, label in enumerate(self.labels)}
        vectors, targets, done = [], [], 0
        for batch in encoder.encode_stream(self.names_of, read=read):
            for path, vector in batch:
                if isinstance(vector, ImageError):
                    self.left_out.add("images that cannot be read", f"{path} ({vector.reason})")
                    continue
                vectors.append(vector)
                row = np.zeros(len(column), np.float32)
                row[[column[name] for name in self.names_of[path]]] = 1
                targets.append(row)
            done += len(batch)
            if progress:
                progress(done, len(self.names_of))
        if not vectors:
            raise InputError(f"no example can be read: {'; '.join(self.left_out.lines())}")
        return Examples(np.stack(vectors), np.stack(targets))


def read_examples(
    source: Path,
    labels: Sequence[Label] = (),
    *,
    image_key: str = "path",
    label_key: str = "label",
    rules: Rules = Rules(),
) -> ExampleFiles:
    """The examples in a folder of class folders, or in a table.

    An image is of the innermost folder around it that is called as a label: by its name with `/` between levels, by its
    last level, if no other label ends so, or by a synonym; if none is, of the whole path of folders below `source`. In
    a table each row is a label of an image, or a list of them in JSON; corrected labels as `glimpse label` writes them
    are such a table. Capitals, `_` for a blank and the form of accents make no difference.

    Args:
        source: the folder or table; relative names in a table start at its folder, or else where the program runs.
        labels: of the set.
        image_key: the column of a table with the images.
        label_key: the one with their labels.
        rules: which names of a folder are walked.

    Raises:
        InputError: no such folder or table, or no example in it.
    """
    known = _Known(labels)
    left_out = LeftOut()
    found = (
        _in_folders(source, known, rules, left_out)
        if source.is_dir()
        else _in_table(source, (image_key, label_key), known, left_out)
    )
    if not found:
        said = f": {'; '.join(left_out.lines())}" if left_out.found else ""
        if source.is_dir():
            said = said or f": {no_images([source], rules)}"
            raise InputError(f"{source}: no examples in class folders, as in {source}/cat/1.jpg{said}")
        raise InputError(f"{source}: no examples in it{said}")
    return ExampleFiles(found, (*labels, *known.new.values()), tuple(known.new), left_out)


class _Known:
    """Labels by what they are called."""

    def __init__(self, labels: Sequence[Label]) -> None:
        self.new: dict[str, Label] = {}
        last = Counter(_key(label.levels[-1]) for label in labels)
        self._names = {key: label.name for label in labels if last[key := _key(label.levels[-1])] == 1}
        self._names |= {_key(word): label.name for label in labels for word in label.synonyms}
        self._names |= {_key(label.name): label.name for label in labels}

    def find(self, name: str) -> str | None:
        """The label that is called so."""
        return self._names.get(_key(name))

    def add(self, name: str) -> str:
        """The label that is called so, a new one if there is none."""
        if known := self.find(name):
            return known
        name = unicodedata.normalize("NFC", name).strip()
        self._names[_key(name)] = name
        self.new[name] = Label(name)
        return name


def _key(name: str) -> str:
    """A label's name, as far as it matters."""
    levels = unicodedata.normalize("NFC", name).casefold().replace("_", " ").split("/")
    return "/".join(" ".join(level.split()) for level in levels)


def _in_folders(source: Path, known: _Known, rules: Rules, left_out: LeftOut) -> dict[Path, list[str]]:
    found: dict[Path, list[str]] = {}
    for path, _ in walk_images(source, rules=rules, on_error=left_out.unread, left_out=left_out):
        folders = path.relative_to(source).parts[:-1]
        if not folders:
            left_out.add("images in no class folder", str(path))
            continue
        levels = ("/".join(folders[:depth]) for depth in range(len(folders), 0, -1))
        name = next(filter(None, map(known.find, levels)), None)
        found[path] = [name or known.add("/".join(folders))]
    return found


def _in_table(source: Path, keys: tuple[str, str], known: _Known, left_out: LeftOut) -> dict[Path, list[str]]:
    image_key, label_key = keys
    table = Table(source, [(key, f"a header as in {image_key},{label_key}") for key in keys])
    found: dict[Path, list[str]] = {}
    beside, here = Names(source.parent), Names(Path())
    for where, row in table.rows():
        name = row.get(image_key)
        path = beside.find(name) or here.find(name)
        words = _words(row.get(label_key))
        if words is None:
            left_out.add("rows whose label is no text", where)
        elif not words:
            left_out.add("rows without a label", named(name, where))
        elif path is None:
            left_out.add("rows name no image that is there", named(name, where))
        else:
            labels = found.setdefault(Path(os.path.normpath(path)), [])
            labels += [label for label in dict.fromkeys(map(known.add, words)) if label not in labels]
    left_out.add_all(table.left_out)
    return found


def _words(cell: Any) -> list[str] | None:
    """The names of labels in a cell; None if it holds something else."""
    words: Iterable[Any] = cell if isinstance(cell, list) else [] if cell is None else [cell]
    if not all(isinstance(word, str) for word in words):
        return None
    return [_plain(word) for word in words if word.strip()]


def _plain(word: str) -> str:
    """Without the apostrophe that keeps a spreadsheet from calculating it."""
    word = word.strip()
    return word[1:] if word[0] == "'" and word[1:].startswith(FORMULA) else word
