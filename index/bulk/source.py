"""What is to be embedded: a folder, a table of images, WebDataset shards, Parquet files; cut into shards. Reads names.

Shards are cut the same way every time. A folder, or a table, is cut behind images whose paths have a certain hash: so
an image more or less changes the shard that it is in, and no other.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from base.errors import InputError
from base.files import mtime_ns
from base.sources.left_out import LeftOut
from base.sources.rules import Rules
from base.sources.shards import SHARD_SUFFIXES, expand_shards, is_shards
from base.sources.walk import no_images, walk_images
from index.ingest.captions import Captions, read_captions

Kind = Literal["folder", "table", "tar", "parquet"]
SHARD = 1000  # images of a folder or a table, on average
MOST = 4 * SHARD  # at most


@dataclass(frozen=True, slots=True)
class File:
    """An image file of a folder or a table: its path, what its table says of it, its size and time if it is there."""

    path: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    size: int | None = None
    mtime_ns: int | None = None


@dataclass(frozen=True)
class Shard:
    """What is embedded in one go, into one file. It can be sent to another process.

    Attributes:
        name: of that file without its suffix: of the same images as before it is the same.
        said: what it is called in messages.
        kind: of its source.
        files: of a folder or a table.
        column: of Parquet, that which holds the images; None: see `index.bulk.rows`.
    """

    name: str
    said: str
    kind: Kind
    files: tuple[File, ...] = ()
    column: str | None = None


@dataclass
class Source:
    """What is embedded.

    Attributes:
        place: as it was given, absolute.
        shards: each of another name.
        left_out: what a walk passed by, or rows of a table that name no image.
        others: files of a folder that are no pictures, by suffix.
        unread: {"path", "reason"} of files and folders that could not be entered.
    """

    place: str
    kind: Kind
    shards: list[Shard]
    left_out: LeftOut = field(default_factory=LeftOut)
    others: Counter[str] = field(default_factory=Counter)
    unread: list[dict[str, str]] = field(default_factory=list)

    @property
    def images(self) -> int | None:
        """How many there are; None where that takes reading the shards."""
        return sum(len(shard.files) for shard in self.shards) if self.kind in ("folder", "table") else None


def open_source(given: str, *, image_key: str | None = None, rules: Rules = Rules()) -> Source:
    """What a source is, by its name.

    Args:
        given: a folder; shards `a.tar`, Parquet files `a.parquet`, or a pattern of either, as `shards/{000..009}.tar`
            or `data/*.parquet`; else a table with a row an image.
        image_key: column of a table or of Parquet that names, or holds, the images.
        rules: which names in a folder are walked.

    Raises:
        InputError: there is no such thing, or nothing in it.
        TrainingError: a pattern of shards needs the library webdataset, which is not installed.
    """
    place = os.path.abspath(given)  # noqa: PTH100  keeps links as named
    if is_shards(given):
        return Source(place, "tar", [_whole(path, "tar") for path in expand_shards(place)])
    if given.endswith(".parquet"):
        return Source(place, "parquet", [_whole(path, "parquet", image_key) for path in _matching(place)])
    if Path(given).is_dir():
        return _folder(Path(place), rules)
    if Path(given).is_file():
        return _table(Path(place), image_key or "image")
    raise InputError(
        f"{given}: no such folder or file; give a folder of images, a table that names some, shards as "
        "'shards/{000..009}.tar', or Parquet files as 'data/*.parquet'"
    )


def _matching(pattern: str) -> list[str]:
    found = [pattern] if Path(pattern).is_file() else sorted(glob.glob(pattern))  # noqa: PTH207  keeps the name's form
    if not found:
        raise InputError(f"{pattern}: no such file; Parquet files lie on this machine or on a mounted disk")
    return found


def _whole(path: str, kind: Kind, column: str | None = None) -> Shard:
    """A file as one shard: another one if its bytes may be."""
    status = Path(path).stat()
    digest = _digest([kind, path, status.st_size, status.st_mtime_ns, column])
    stem = re.sub(r"[^\w-]+", "_", Path(path).stem)[:60]
    return Shard(f"{stem}-{digest}", path, kind, column=column)


def _folder(folder: Path, rules: Rules) -> Source:
    source = Source(str(folder), "folder", [])

    def failed(path: Path, reason: str) -> None:
        source.unread.append({"path": str(path), "reason": reason})

    walk = walk_images(folder, rules=rules, on_error=failed, left_out=source.left_out, others=source.others)
    files = (File(str(path), size=status.st_size, mtime_ns=mtime_ns(status)) for path, status in walk)
    source.shards = list(_cut(files, "folder"))
    if not source.shards:
        inside = next((f"; for what is there give '{folder}/*{kind}'" for kind in (*SHARD_SUFFIXES, ".parquet")
                       if any(folder.glob(f"*{kind}"))), "")  # fmt: skip
        raise InputError(f"{no_images([folder], rules)}{inside}")
    return source


def _table(table: Path, image_key: str) -> Source:
    captions = read_captions(table, image_key=image_key)
    source = Source(str(table), "table", list(_cut(_named(captions), "table")), captions.unread)
    if not source.shards:
        why = "; ".join(source.left_out.lines())
        raise InputError(f"{table}: names no image{f'; {why}' if why else ''}")
    return source


def _named(captions: Captions) -> Iterator[File]:
    for path in sorted(captions, key=os.fsencode):
        try:
            status = path.stat()
            yield File(str(path), captions[path], status.st_size, mtime_ns(status))
        except OSError:  # who reads it says why
            yield File(str(path), captions[path])


def _cut(files: Iterable[File], kind: Kind) -> Iterator[Shard]:
    """Shards of files, which come in the order of their paths."""
    some: list[File] = []
    for file in files:
        some.append(file)
        ends = int.from_bytes(hashlib.sha256(os.fsencode(file.path)).digest()[:8]) % SHARD == 0
        if ends or len(some) == MOST:
            yield _cut_out(some, kind)
            some = []
    if some:
        yield _cut_out(some, kind)


def _cut_out(files: list[File], kind: Kind) -> Shard:
    digest = _digest([kind, *([file.path, file.size, file.mtime_ns, file.metadata] for file in files)])
    return Shard(f"images-{digest}", f"images from {files[0].path} on", kind, tuple(files))


def _digest(what: object) -> str:
    return hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode()).hexdigest()[:16]
