"""Pairs out of folders: captions beside images, class folders, bare images. What cannot be used is counted.

Reads names and texts, never pixels.
"""

from __future__ import annotations

import contextlib
import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from base.errors import InputError
from base.sources.left_out import LeftOut
from base.sources.rules import Rules, is_not_photos
from base.sources.shards import SHARD_SUFFIXES
from base.sources.texts import decode_text
from base.sources.walk import check_class_names, class_folder, walk_images
from encoder.zero_shot.prompts import check_templates, fill_templates
from training.data.pairs import Pair, PairSet, clean

_BOX = re.compile(r"\d+(?: -?\d+(?:\.\d+)?(?:e-?\d+)?){4,}")  # class, then places
SUFFIXES = (".txt", ".caption")  # of captions: in any case, in place of the image's suffix or behind it


def read_sidecars(folder: Path, rules: Rules = Rules()) -> PairSet:
    """Read images with texts of the same name beside each: every line that is not empty is a caption.

    Of `7.jpg` these are `7.txt`, `7.jpg.txt`, `7.caption` and `7.jpg.caption`, in capitals too; all that there are.

    Raises:
        InputError: no such folder, or no image has a caption.
    """
    pairs: list[Pair] = []
    left_out, count = LeftOut(), 0
    texts = lru_cache(64)(_texts_in)
    used: set[Path] = set()
    for image, _ in walk_images(folder, rules=rules, on_error=left_out.unread, left_out=left_out):
        count += 1
        beside = texts(image.parent)
        own = [path for name in dict.fromkeys((image.stem, image.name)) for path in beside.get(_composed(name), ())]
        used.update(own)
        if captions := tuple(dict.fromkeys(line for path in own for line in _lines(path, left_out))):
            pairs.append(Pair(image, captions))
        else:
            left_out.add("images without caption", str(image))
    if not count:
        raise _no_images(folder)
    left_out.totals["images"] = count
    if not pairs:
        raise InputError(
            f"{folder}: no image has a .txt with its caption beside it; {'; '.join(left_out.lines())}. Give --folders "
            f"for a folder of class folders, {_table_in(folder)} instead of it, or --loss nt-xent for images alone"
        )
    for path in _texts_below(folder, rules):
        if path not in used:
            left_out.add("texts without image", str(path))
    return PairSet(pairs, left_out)


def read_class_folders(folder: Path, templates: Sequence[str] = (), rules: Rules = Rules()) -> PairSet:
    """Read a folder of class folders: the folder right below `folder` is the label, its captions the filled templates.

    Args:
        folder: as `labelled_images` takes it.
        templates: sentences with `{}` for the label; none stands for `encoder.zero_shot.prompts.DEFAULT_TEMPLATES`.
        rules: which names are walked.

    Raises:
        InputError: as `labelled_images`; fewer than two classes, or a template without `{}`.
    """
    templates = check_templates(templates)
    images, left_out = labelled_images(folder, rules)
    labels = dict.fromkeys(label for _, label in images)
    check_several(images, folder)
    captions = {label: tuple(dict.fromkeys(map(clean, fill_templates(label, templates)))) for label in labels}
    return PairSet([Pair(path, captions[label], label) for path, label in images], left_out)


def check_several(images: Sequence[tuple[Path, str]], folder: Path) -> None:
    """InputError if images, each with the folder right below `folder` that it is in, are all of one class."""
    if len({label for _, label in images}) == 1:
        only = folder / images[0][1]
        deeper = all(path.parent != only for path, _ in images)
        inside = f"; if the classes are the folders in it, give {only}" if deeper else ""
        raise InputError(f"{folder}: images of one class only ({only.name}); give two or more to tell apart{inside}")


@dataclass
class Walked:
    """What one walk below a folder found: its images, what it could not read or enter and why, what it passed by."""

    images: list[Path] = field(default_factory=list)
    unread: list[tuple[Path, str]] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=LeftOut)


def walk(folder: Path, rules: Rules = Rules()) -> Walked:
    """Walk below a folder, once. InputError: no such folder."""
    found = Walked()

    def failed(path: Path, reason: str) -> None:
        found.unread.append((path, reason))

    images = walk_images(folder, rules=rules, on_error=failed, left_out=found.left_out)
    found.images = [path for path, _ in images]
    return found


def labelled_images(
    folder: Path, rules: Rules = Rules(), found: Walked | None = None
) -> tuple[list[tuple[Path, str]], LeftOut]:
    """The images in class folders, each with the folder right below `folder` that it is in, at any depth.

    Args:
        folder: of class folders.
        rules: which names are walked.
        found: what a walk there found; None: walk now. What is left out is counted on in it.

    Raises:
        InputError: no such folder, no class folders, or a folder that cannot be entered: on what is left of a class,
            or without it, any measure would be wrong.
    """
    found = found or walk(folder, rules)
    left_out = found.left_out
    for path, reason in found.unread:
        if path.is_dir() and not path.is_symlink():
            raise InputError(f"{path}: cannot be entered ({reason}); let it be read, or move it out of {folder}")
        left_out.add("files that cannot be read", f"{path} ({reason})")
    images = []
    for path in found.images:
        if (label := class_folder(path, folder)) is None:
            left_out.add("images in no class folder", str(path))
        else:
            images.append((path, label))
    if not images and not left_out.count():
        raise _no_images(folder)
    if not images:
        raise InputError(f"{folder}: no images in class folders, as in {folder}/cat/1.jpg")
    classes = {label for _, label in images}
    check_class_names(classes, folder)
    excluded = rules.excluded(folder, folder)
    with os.scandir(folder) as scan:
        for entry in sorted(scan, key=lambda entry: entry.name):
            if excluded.reason(Path(entry.path), is_folder=entry.is_dir()) or is_not_photos(Path(entry.path)):
                continue
            name = unicodedata.normalize("NFC", entry.name)  # as `class_folder` has it
            if not name.startswith(".") and name not in classes and entry.is_dir():
                why = " (a link)" if entry.is_symlink() else ""
                left_out.add("class folders without images", entry.path + why)
    return images, left_out


def read_images(folder: Path, rules: Rules = Rules()) -> PairSet:
    """Read the images below a folder, without captions.

    Raises:
        InputError: no such folder, or no image in it.
    """
    left_out = LeftOut()
    pairs = [Pair(path) for path, _ in walk_images(folder, rules=rules, on_error=left_out.unread, left_out=left_out)]
    if not pairs:
        raise _no_images(folder)
    return PairSet(pairs, left_out)


def _table_in(folder: Path) -> str:
    """What to say of a table: the one that lies in a folder, if one does."""
    places = ("*.csv", "*.tsv", "*.jsonl", "*.json", "*/metadata.csv", "*/metadata.jsonl")
    found = next((path for place in places for path in sorted(folder.glob(place))), None)
    return str(found) if found else "a CSV of pairs"


def _no_images(folder: Path) -> InputError:
    kind = next((kind for kind in SHARD_SUFFIXES if any(folder.glob(f"*{kind}"))), None)
    inside = f"; for the shards there give '{folder}/*{kind}'" if kind else ""
    return InputError(f"{folder}: no images in it{inside}")


def _texts_below(folder: Path, rules: Rules) -> Iterator[Path]:
    """The files of captions below a folder, where a walk looks for images, but for those of images that it excludes."""
    folders = [(folder, rules.excluded(folder, folder))]
    while folders:  # not by recursion, as in `base.sources.walk`
        here, excluded = folders.pop()
        inner: list[Path] = []
        without: set[str] = set()
        with contextlib.suppress(OSError), os.scandir(here) as scan:  # the walk for images names it
            for entry in scan:
                path = here / entry.name
                if excluded.reason(path, is_folder=entry.is_dir(follow_symlinks=False)):
                    without |= {_composed(path.stem), _composed(path.name)}
                elif not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False) and not is_not_photos(path):
                    inner.append(path)
        for name, paths in _texts_in(here).items():
            if name not in without:
                yield from paths
        folders += [(path, excluded.inside(path)) for path in sorted(inner, reverse=True)]


def _texts_in(folder: Path) -> dict[str, list[Path]]:
    """The files of captions right in a folder, by their names without suffix and with accents composed."""
    found: dict[str, list[Path]] = {}
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208  names alone
    except OSError:  # the walk for images names it
        return found
    for suffix in SUFFIXES:
        for name in names:
            if name.lower().endswith(suffix) and not name.startswith("."):
                found.setdefault(_composed(name[: -len(suffix)]), []).append(folder / name)
    return found


def _lines(path: Path, left_out: LeftOut) -> list[str]:
    """The texts in a file, one a line; of one that cannot be read none, and it is counted."""
    try:
        texts = [text for text in map(clean, decode_text(path.read_bytes()).splitlines()) if text]
        if not (texts and all(map(_BOX.fullmatch, texts))):
            return texts
        left_out.add("texts with boxes of objects, as YOLO has them, and no caption", str(path))
    except OSError as error:
        left_out.add("texts that cannot be read", f"{path} ({error.strerror})")
    except ValueError:
        left_out.add("texts that are not in UTF-8", str(path))
    return []


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)
