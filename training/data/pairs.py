"""Pairs of images and texts, and how a table becomes them. What cannot be used is counted.

Reads names and texts, never pixels. Folders are read by `training.data.folders`, shards by `training.data.shards`.
"""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from base.errors import InputError
from base.sources.left_out import LeftOut
from base.sources.named_files import Names
from base.sources.tables import Table, named
from base.words import is_blank
from encoder.image import sha256_of
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
    """The usable pairs of a source, and what of it was not."""

    pairs: list[Pair]
    left_out: LeftOut = field(default_factory=LeftOut)

    @property
    def without_caption(self) -> int:
        """Rows, images or samples that have no caption."""
        return self.left_out.count("without caption")

    @property
    def without_image(self) -> int:
        """Rows, texts or samples that have no image."""
        return self.left_out.count("without image") + self.left_out.count("whose image is not there")


def read_pairs(
    path: Path, keys: Keys = Keys(), *, images_root: Path | None = None, images_were: Path | None = None
) -> PairSet:
    """Read a table of pairs, one a row, as `base.sources.tables` takes it.

    Args:
        path: the table.
        keys: its columns. A negative that repeats a caption of its row is left out.
        images_root: where relative image paths start; default: the table's folder.
        images_were: the folder that the table has whole paths below, if that is now `images_root`.

    Raises:
        InputError: no such file, no table, a column is missing or there twice, a row is broken, or none is usable.
    """
    root = images_root if images_root is not None else path.parent
    names = Names(root, images_were)
    pairs: list[Pair] = []
    left_out = LeftOut()
    lost: list[str] = []
    table = Table(path, keys.flags())
    for where, row in table.rows():
        captions = texts_of(row, keys.captions)
        if keys.captions and not captions:
            left_out.add("rows without caption", named(row.get(keys.image), where))
        elif (image := names.find(row.get(keys.image))) is None:
            left_out.add("rows whose image is not there", named(row.get(keys.image), where))
            lost = lost or [str(row.get(keys.image) or "").strip()]
        else:
            pairs.append(make_pair(image, captions, texts_of(row, keys.labels), texts_of(row, keys.negatives)))
    left_out.add_all(table.left_out)
    if not pairs:
        why = "; ".join(left_out.lines()) or "it has no rows"
        place = _what_to_do(lost[0]) if lost else ""
        raise InputError(f"{path}: no usable pair; {why}. Images are looked for from {root} on (--images-root){place}")
    return PairSet(pairs, left_out)


def _what_to_do(name: str) -> str:
    """With names that are no file below a folder, and cannot be."""
    if re.match(r"https?://|s3://|gs://", name, re.I):
        return "; addresses are not fetched: download the images first, and name the files"
    if re.match(r"/|~|[A-Za-z]:[\\/]|\\\\", name):
        return "; these are whole paths, of another place it seems: leave out what stands before the folder of images"
    return ""


class ShardImage(bytes):
    """An image out of a shard: its bytes, and which sample of which shard it is."""

    name = ""


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
    return tuple(dict.fromkeys(text for text in found if not is_blank(text)))


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


def _is_text(value: object) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)
