"""Pairs of images and texts, read from what people have: tables, captions beside images, class folders, bare images.

Reads names and texts, never pixels. Shards of samples are opened by `training.data.shards`.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from base.errors import InputError
from base.walk import class_folder, walk_images
from encoder.image import sha256_of
from encoder.prompts import check_templates, fill_templates
from training.data.keys import Keys


@dataclass(frozen=True)
class Pair:
    """An image with what is known of it."""

    image: Path | bytes  # bytes: an undecoded image out of a shard
    captions: tuple[str, ...] = ()  # each epoch draws one of them; empty: images only
    label: str | None = None  # rows of a batch with the same label are not negatives of each other
    negatives: tuple[str, ...] = ()  # hard negatives: texts that are near and wrong


@dataclass(frozen=True)
class PairSet:
    """The usable pairs of a source, and how many of its entries were not."""

    pairs: list[Pair]
    without_caption: int
    without_image: int


def is_shards(source: str) -> bool:
    """Whether a source is WebDataset shards: `a.tar`, `shards/{000..009}.tar` or `shards/*.tar`."""
    return source.endswith(".tar")


def open_pairs(
    source: str,
    keys: Keys = Keys(),
    *,
    folders: bool = False,
    images_only: bool = False,
    templates: Sequence[str] = (),
    images_root: Path | None = None,
) -> PairSet:
    """Read pairs from a table or a folder, whichever `source` is.

    Args:
        source: a file as `read_pairs` takes it, or a folder.
        keys: columns of a table.
        folders: the folder holds a folder a class.
        images_only: leave captions and negatives out; each image once.
        templates: of the captions of class folders.
        images_root: as `read_pairs`.

    Raises:
        InputError: nothing usable, or a folder with neither classes nor captions; names the remedies.
    """
    path = Path(source)
    if path.is_dir():
        if folders:
            found = read_class_folders(path, templates)
            return _images_of(found) if images_only else found
        return read_images(path) if images_only else read_sidecars(path)
    if folders:
        raise InputError(f"{path}: not a folder; --folders takes a folder of class folders, as in {path}/cat/1.jpg")
    if images_only:
        return _images_of(read_pairs(path, keys.images_only(), images_root=images_root))
    return read_pairs(path, keys, images_root=images_root)


def read_pairs(path: Path, keys: Keys = Keys(), *, images_root: Path | None = None) -> PairSet:
    """Read a table of pairs, one a row: .tsv by tabs, .jsonl one JSON object a line, any other file as CSV.

    Args:
        path: the table.
        keys: its columns. A negative that repeats a caption of its row is left out.
        images_root: where relative image paths start; default: the table's folder.

    Raises:
        InputError: no such file, no table, a column is missing or there twice, a line is broken, or no row is usable.
    """
    root = images_root if images_root is not None else path.parent
    pairs: list[Pair] = []
    without_caption = without_image = 0
    try:
        columns = _columns(path)
        for key, flag in keys.flags():
            if key not in columns:
                there = ", ".join(columns) or "none"
                if len(columns) == 1 and re.search("[;\t]", there):
                    there += "; separate columns with commas (or, if by tabs, name it .tsv)"
                raise InputError(f'{path}: no column "{key}"; it has {there}. Choose one with {flag}')
            if columns.count(key) > 1:
                raise InputError(f'{path}: {columns.count(key)} columns are named "{key}"; rename all but one')
        for row in _rows(path):
            name = row.get(keys.image)
            image = root / (name if isinstance(name, str) else "")
            captions = texts_of(row, keys.captions)
            if keys.captions and not captions:
                without_caption += 1
            elif not _is_file(image):
                without_image += 1
            else:
                pairs.append(make_pair(image, captions, texts_of(row, keys.labels), texts_of(row, keys.negatives)))
    except UnicodeDecodeError as error:
        raise _not_a_table(path) from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"{path}: cannot be read as a {_kind(path)} file ({reason})") from error
    if not pairs:
        raise InputError(
            f"{path}: no usable pair; {without_image} rows name an image that is not under {root} (--images-root), "
            f"{without_caption} have no caption"
        )
    return PairSet(pairs, without_caption, without_image)


def read_sidecars(folder: Path) -> PairSet:
    """Read images with a .txt of the same name beside each: every line of it that is not empty is a caption.

    Raises:
        InputError: no such folder, or no image has a caption.
    """
    pairs: list[Pair] = []
    without_caption = 0
    used: set[Path] = set()
    for image, _ in walk_images(folder):
        text = image.with_suffix(".txt")
        used.add(text)
        if captions := _lines(text):
            pairs.append(Pair(image, captions))
        else:
            without_caption += 1
    if not used:
        raise _no_images(folder)
    if not pairs:
        raise InputError(
            f"{folder}: none of {without_caption} images has a .txt with its caption beside it; give --folders for a "
            "folder of class folders, a CSV of pairs instead of the folder, or --loss nt-xent for images alone"
        )
    lone = sum(
        text not in used and not any(part.startswith(".") for part in text.relative_to(folder).parts)
        for text in folder.rglob("*.txt")
    )
    return PairSet(pairs, without_caption, without_image=lone)


def read_class_folders(folder: Path, templates: Sequence[str] = ()) -> PairSet:
    """Read a folder of class folders: the folder right below `folder` is the label, its captions the filled templates.

    Args:
        folder: holds one folder a class, with images at any depth; an image in none of them counts as without caption.
        templates: sentences with `{}` for the label; none stands for `encoder.prompts.DEFAULT_TEMPLATES`.

    Raises:
        InputError: no such folder, fewer than two classes, or a template without `{}`.
    """
    templates = check_templates(templates)
    images = [(path, class_folder(path, folder)) for path, _ in walk_images(folder)]
    if not images:
        raise _no_images(folder)
    labels = dict.fromkeys(label for _, label in images if label is not None)
    if not labels:
        raise InputError(f"{folder}: no images in class folders, as in {folder}/cat/1.jpg")
    if len(labels) == 1:
        raise InputError(f"{folder}: images of one class only ({next(iter(labels))}); give two or more to tell apart")
    captions = {label: tuple(dict.fromkeys(map(clean, fill_templates(label, templates)))) for label in labels}
    pairs = [Pair(path, captions[label], label) for path, label in images if label is not None]
    return PairSet(pairs, without_caption=len(images) - len(pairs), without_image=0)


def read_images(folder: Path) -> PairSet:
    """Read the images below a folder, without captions.

    Raises:
        InputError: no such folder, or no image in it.
    """
    pairs = [Pair(path) for path, _ in walk_images(folder)]
    if not pairs:
        raise _no_images(folder)
    return PairSet(pairs, 0, 0)


def make_pair(
    image: Path | bytes, captions: Sequence[str], labels: Sequence[str] = (), negatives: Sequence[str] = ()
) -> Pair:
    """A pair of clean texts: the first label counts, and what is a caption of the image is no negative of it."""
    own = {text_key(caption) for caption in captions}
    wrong = tuple(text for text in negatives if text_key(text) not in own)
    return Pair(image, tuple(captions), labels[0] if labels else None, wrong)


def texts_of(row: Mapping[str, Any], keys: Sequence[str]) -> tuple[str, ...]:
    """The texts under some keys of a row, clean, each once: a value is a text, a number, or a list of them."""
    found = []
    for key in keys:
        value = row.get(key)
        found += [clean(str(item)) for item in (value if isinstance(value, list) else [value]) if _is_text(item)]
    return tuple(dict.fromkeys(text for text in found if text))


def clean(text: str) -> str:
    """A text with each run of whitespace as one space, fit for UTF-8."""
    return " ".join(text.encode("utf-8", "replace").decode().split())


def text_key(caption: str) -> str:
    """What makes two captions the same text: not case, spacing or the way accents are composed."""
    return " ".join(unicodedata.normalize("NFC", caption).casefold().split())


def image_key_of(pair: Pair) -> str:
    """What makes two images the same: their path, or their bytes."""
    return sha256_of(pair.image) if isinstance(pair.image, bytes) else os.path.normpath(pair.image)


def hash_pairs(pairs: Sequence[Pair]) -> str:
    """A hash of the pairs in their order, SHA-256 in 64 hex digits."""
    digest = hashlib.sha256()
    for pair in pairs:
        image = sha256_of(pair.image) if isinstance(pair.image, bytes) else str(pair.image)
        fields = [
            image,
            *(f"\0{caption}" for caption in pair.captions),
            *([] if pair.label is None else [f"\1{pair.label}"]),
            *(f"\2{negative}" for negative in pair.negatives),
            "\n",
        ]
        digest.update("".join(fields).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _images_of(found: PairSet) -> PairSet:
    bare: dict[str, Pair] = {}
    for pair in found.pairs:
        bare.setdefault(image_key_of(pair), replace(pair, captions=(), negatives=()))
    return replace(found, pairs=list(bare.values()))


def _kind(path: Path) -> str:
    return {".tsv": "TSV", ".jsonl": "JSON Lines"}.get(path.suffix.lower(), "CSV")


def _columns(path: Path) -> list[str]:
    """The names in a table: of its header, or of all its lines, since JSON objects may each have others."""
    if _kind(path) == "JSON Lines":
        return list(dict.fromkeys(key for row in _rows(path) for key in row))
    columns: list[str] = next(_lists(path), [])
    if any("\0" in column for column in columns):  # a tar may begin like text, but for these
        raise _not_a_table(path)
    return columns


def _rows(path: Path) -> Iterator[Mapping[str, Any]]:
    if _kind(path) != "JSON Lines":
        lists = _lists(path)
        columns = next(lists, [])
        yield from (dict(zip(columns, row, strict=False)) for row in lists if row)
        return
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise InputError(f"{path}: line {number} is not JSON ({error}); each line holds one object") from error
            if not isinstance(row, dict):
                raise InputError(
                    f'{path}: line {number} is not a JSON object, as in {{"image": "1.jpg", "title": "a"}}'
                )
            yield row


def _lists(path: Path) -> Iterator[list[str]]:
    """The rows of a CSV or TSV, the header first."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.reader(file, delimiter="\t" if _kind(path) == "TSV" else ",")
        end = 0  # line at which the last good row ends
        try:
            for row in rows:
                yield row
                end = rows.line_num
        except csv.Error as error:
            raise InputError(
                f"{path}: the row that starts at line {end + 1} cannot be read ({error}); look for a quote that is "
                "opened there and not closed"
            ) from error


def _not_a_table(path: Path) -> InputError:
    return InputError(
        f"{path}: not text in UTF-8; save it as UTF-8, or give a table of pairs instead: a .csv, .tsv or .jsonl file "
        "with a row an image, as in image,title"
    )


def _no_images(folder: Path) -> InputError:
    shards = f"; for the shards there give '{folder}/*.tar'" if any(folder.glob("*.tar")) else ""
    return InputError(f"{folder}: no images in it{shards}")


def _lines(path: Path) -> tuple[str, ...]:
    """The texts in a file, one a line; none where there is no such file or it is not UTF-8."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        return ()
    return tuple(dict.fromkeys(text for text in map(clean, lines) if text))


def _is_text(value: object) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or no name at all
        return False
