"""Hits as files in a folder: numbered in their order, and none overwritten."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from base.errors import GlimpseError, InputError
from glimpse.finding.files import Files, Found
from labelling.outputs.files import is_there
from labelling.outputs.folder_names import folder_name

DIGITS = 3  # of a number at least, so that pages of one search stand in order
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}")


@dataclass
class Placed:
    """What was done: the files that there are now, in the order of the hits; `new` of them were not there before."""

    files: list[Path] = field(default_factory=list)
    new: int = 0
    left_out: list[str] = field(default_factory=list)  # why, a line each


def check_folder(folder: Path, option: str) -> None:
    """InputError for what cannot be a folder."""
    if is_there(folder) and not folder.is_dir():
        raise InputError(f"{option} {folder}: is a file; name a folder, which is made if it is not there")


def place(
    hits: Sequence[Found],
    folder: Path,
    files: Files,
    *,
    link: bool = False,
    first: int = 1,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> Placed:
    """Copy, or link, the files of hits into a folder, which is made.

    A name that is taken by another file is left alone, and the next free one chosen; the same file is not put again.

    Args:
        hits: best first.
        folder: need not be there.
        files: where they come from.
        link: make symbolic links.
        first: number of the first hit.
        progress: called with how many of how many are done.

    Raises:
        OSError: the folder cannot be written.
    """
    done = Placed()
    if hits:
        folder.mkdir(parents=True, exist_ok=True)
    digits = max(DIGITS, len(str(first + len(hits) - 1)))
    for number, hit in enumerate(hits, first):
        try:
            placing = files.placing(hit, link=link)
            for target in _names(folder, f"{number:0{digits}}-{name_of(hit)}"):
                if not is_there(target):
                    placing.put(target)
                    done.new += 1
                elif not placing.is_same(target):
                    continue
                done.files.append(target)
                break
        except GlimpseError as error:
            done.left_out.append(str(error))
        progress(number - first + 1, len(hits))
    return done


def name_of(hit: Found) -> str:
    """The name of a hit's file: the one that it was sent under, if it was; without what some disk does not take."""
    path, given = str(hit["path"] or "image"), hit["metadata"].get("filename")
    name = re.split(r"[/\\]", given)[-1] if isinstance(given, str) else ""
    stem, suffix = os.path.splitext(name or os.path.basename(path))  # noqa: PTH119, PTH122
    suffix = suffix or os.path.splitext(path)[1]  # noqa: PTH122
    if not _SUFFIX.fullmatch(suffix):
        stem, suffix = stem + suffix, ""
    return folder_name(stem) + suffix


def _names(folder: Path, name: str) -> Iterator[Path]:
    """A name, and others if that is taken."""
    stem, suffix = os.path.splitext(name)  # noqa: PTH122
    yield folder / name
    for number in itertools.count(2):
        yield folder / f"{stem}~{number}{suffix}"
