"""Images whose labels are known: class folders, or a table path,label. What is of no use to a label set is counted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from base.errors import ImageError, InputError
from base.sources.left_out import LeftOut
from base.sources.named_files import Names
from base.sources.rules import Rules
from base.sources.tables import Table, some_of
from base.sources.walk import no_images, walk_images
from encoder.zero_shot.prompts import Label
from labelling.label_file import composed
from labelling.learned import Vectors
from labelling.outputs.table import FORMULA

if TYPE_CHECKING:
    from encoder.encoder import Encoder

NO_LABEL = "images of no label of the set"


@dataclass
class Truth:
    """Images and which labels they have.

    Attributes:
        images: each once.
        has: (n, n_labels) of them.
        left_out: images, rows and folders that are of no use.
    """

    images: list[Path]
    has: npt.NDArray[np.bool_]
    left_out: LeftOut = field(default_factory=LeftOut)

    def of(self, rows: Sequence[int] | npt.NDArray[np.intp]) -> Truth:
        """Some of them."""
        return Truth([self.images[row] for row in rows], self.has[rows], self.left_out)


class LabelNames:
    """Labels by what people call them: the name, its last level or a synonym, where that is but one's; in any case."""

    def __init__(self, labels: Sequence[Label]) -> None:
        self._found: dict[str, int] = {}
        for names in ((label.name for label in labels), (label.levels[-1] for label in labels)):
            self._add(enumerate(names))
        self._add((i, word) for i, label in enumerate(labels) for word in label.synonyms)

    def _add(self, names: Iterator[tuple[int, str]] | enumerate[str]) -> None:
        found: dict[str, set[int]] = {}
        for i, name in names:
            found.setdefault(_key(name), set()).add(i)
        self._found = {key: min(ids) for key, ids in found.items() if len(ids) == 1} | self._found

    def find(self, name: str) -> int | None:
        """Which label is called so, whether or not it stands there as in our tables."""
        found = self._found.get(_key(name))
        return self._found.get(_key(plain_label(name))) if found is None else found

    def of_folders(self, image: Path, folder: Path) -> int | None:
        """Which label the folders say that an image is in: animal/dog, or the innermost that is called as one."""
        parts = image.relative_to(folder).parts[:-1]
        for end in range(len(parts), 0, -1):
            for start in range(end):
                if (found := self.find("/".join(parts[start:end]))) is not None:
                    return found
        return None


def read_truth(
    place: Path,
    labels: Sequence[Label],
    rules: Rules = Rules(),
    *,
    none: list[Path] | None = None,
    folder: Path | None = None,
) -> Truth:
    """The labelled images of a folder of class folders, or of a table with the columns path (or image) and label.

    Args:
        place: the folder or the table.
        labels: those that images may have.
        rules: of the walk through a folder.
        none: gets the images of a table whose label is empty, as in our own: none of the labels. Without it they are
            left out.
        folder: where relative paths of a table may start as well.

    Raises:
        InputError: it cannot be read, or no image has one of the labels.
    """
    names, left_out = LabelNames(labels), LeftOut()
    is_folder = place.is_dir()
    without: list[Path] = []
    taken = None if none is None else without
    rows = _of_folder(place, names, rules, left_out) if is_folder else _of_table(place, names, left_out, taken, folder)
    found: dict[Path, set[int]] = {}
    for path, label in rows:
        found.setdefault(path, set()).add(label)
    if none is not None:
        none += [path for path in dict.fromkeys(without) if path not in found]
    if not found and not none:
        why = f"{place}: has no rows" if not is_folder else no_images([place], rules)
        raise InputError(_nothing(place, labels, left_out) if left_out.found else why)
    has = np.zeros((len(found), len(labels)), bool)
    for row, ids in enumerate(found.values()):
        has[row, list(ids)] = True
    return Truth(list(found), has, left_out)


def new_labels(place: Path, labels: Sequence[Label] = (), rules: Rules = Rules()) -> tuple[Label, ...]:
    """What images of a folder or table, as `read_truth` takes them, are labelled with that is none of `labels`.

    In folders that is the whole path of folders around an image: animal/dog. Sorted, each once, in whatever capitals.
    InputError if the table cannot be read.
    """
    known, left_out = LabelNames(labels), LeftOut()
    if place.is_dir():
        images = (path for path, _ in walk_images(place, rules=rules, left_out=left_out))
        words = {
            str(image.relative_to(place).parent)
            for image in images
            if image.parent != place and known.of_folders(image, place) is None
        }
    else:
        words = {plain_label(word) for _, _, word in _rows(place, left_out) if word and known.find(word) is None}
    named = {_key(word): Label(composed(word)) for word in sorted(words, reverse=True)}
    return tuple(sorted(named.values(), key=lambda label: label.name))


def encode_truth(
    encoder: Encoder, truth: Truth, progress: Callable[[int, int | None], None] | None = None
) -> tuple[Truth, Vectors]:
    """Those of the images that can be read, and their unit vectors (n, dim). InputError if none can."""
    rows: list[int] = []
    vectors: list[Vectors] = []
    done = 0
    for batch in encoder.encode_stream(truth.images):
        for row, (path, vector) in enumerate(batch, start=done):
            if isinstance(vector, ImageError):
                truth.left_out.add("images that cannot be read", f"{path} ({vector.reason})")
            else:
                rows.append(row)
                vectors.append(vector)
        done += len(batch)
        if progress is not None:
            progress(done, len(truth.images))
    if not rows:
        raise InputError(f"none of the images can be read; {'; '.join(truth.left_out.lines())}")
    return truth.of(rows), np.stack(vectors)


def _of_folder(folder: Path, names: LabelNames, rules: Rules, left_out: LeftOut) -> Iterator[tuple[Path, int]]:
    for path, _ in walk_images(folder, rules=rules, on_error=left_out.unread, left_out=left_out):
        if (label := names.of_folders(path, folder)) is None:
            left_out.add(NO_LABEL, str(path))
        else:
            yield path, label


def _of_table(
    path: Path, names: LabelNames, left_out: LeftOut, none: list[Path] | None, folder: Path | None
) -> Iterator[tuple[Path, int]]:
    """Relative paths start at the table's folder, or else at `folder`, or else at the working one."""
    places = [Names(place) for place in (path.parent, folder, Path()) if place is not None]
    for where, file, label in _rows(path, left_out):
        image = next((found for names_in in places if (found := names_in.find(file))), None)
        if image is None:
            left_out.add("rows whose image is not there", f"{file} ({where})")
            continue
        named = Path(os.path.abspath(image))  # noqa: PTH100  one file, however it is named
        if none is not None and not label:
            none.append(named)
        elif (known := names.find(label)) is None:
            left_out.add(NO_LABEL, f"{file}: {some_of([label])} ({where})")
        else:
            yield named, known


def _rows(path: Path, left_out: LeftOut) -> Iterator[tuple[str, Any, str]]:
    """Where an image of a table has a label, the image, and the label: a row a label, or in JSON a list of them."""
    table = Table(path, ())
    for where, cells in table.rows():
        names = {name.lower(): name for name in reversed(cells)}
        column = next((names[name] for name in ("path", "image") if name in names), None)
        if column is None or "label" not in names:
            raise InputError(
                f'{path}: no columns "path" and "label"; it has {some_of(cells)}. Name in its first line the column of '
                "images path, and that of labels label"
            )
        label = cells[names["label"]]
        for word in label if isinstance(label, list) else [label]:
            yield where, cells[column], str(word or "").strip()
    left_out.add_all(table.left_out)


def _nothing(place: Path, labels: Sequence[Label], left_out: LeftOut) -> str:
    where = "its class folders are called as none" if place.is_dir() else "no row names an image with one"
    return (
        f"{place}: {where} of the labels ({some_of(label.name for label in labels)}); left out: "
        f"{'; '.join(left_out.lines())}"
    )


def plain_label(name: str) -> str:
    """A label without the apostrophe that it has in our tables before =, +, - and @."""
    return name[1:] if name.startswith("'") and name[1:].startswith(FORMULA) else name


def _key(name: str) -> str:
    return composed(name.strip()).casefold().replace("_", " ")
