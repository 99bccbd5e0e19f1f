"""`held_out.csv` of a run folder: what the run is measured on, so that any model can be measured on the same.

A row a caption, with the image's path and, of class folders, the label; of images alone a row an image; of shards a
row a shard, since their images have no files. It holds names, not images: of what was moved it must be said where to.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote_to_bytes

from base.errors import InputError, TrainingError
from base.sources.tables import Table
from training.config import TrainConfig
from training.data.keys import Keys
from training.data.pairs import Pair, PairSet, clean, read_pairs
from training.data.shards import read_shard_pairs
from training.run_folder import HELD_OUT, artefact

LOOKED_FOR = 100  # images by which it is found out where all have moved to
COLUMNS = ("image", "title", "label")  # as `glimpse train` and `eval` look for them unasked


def write_held_out(config: TrainConfig, pairs: Sequence[Pair], shards: Sequence[str] = ()) -> None:
    """Write the table of a run; `shards` are the held-out ones, whose samples `pairs` are."""
    rows: list[tuple[str, ...]]
    if shards:
        rows = [("shard",), *((_named(Path(shard)),) for shard in shards)]
    else:
        rows = [COLUMNS]
        for pair in pairs:
            captions = () if config.folders else pair.captions  # those of a class are made of its label
            rows += [(_named(pair.image), caption, clean(pair.label or "")) for caption in captions or ("",)]
    with (
        artefact(Path(config.out) / HELD_OUT) as part,
        part.open("w", encoding="utf-8", newline="") as f,
    ):
        csv.writer(f).writerows(rows)


def _named(image: Path | bytes) -> str:
    """The path of an image; as a URI where it is not in UTF-8, for tables of pairs are."""
    path = Path(str(image)).absolute()
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return path.as_uri()
    return str(path)


def read_held_out(run: Path, images_root: Path | None = None) -> tuple[TrainConfig, PairSet]:
    """What a run was asked to do, and the pairs it is measured on, those of an image together.

    Args:
        run: its folder.
        images_root: a folder that the images, or shards, were moved into, with the folders that they lay in or
            without.

    Raises:
        TrainingError: no run folder, or one from before the table was written.
        InputError: the table is broken, or nothing of it is there any more.
    """
    table = run / HELD_OUT
    config = TrainConfig.load(run)
    if not table.is_file():
        raise TrainingError(f"{table}: not there; {run} was begun before runs wrote down what they hold out")
    kept = Table(table, ())
    first = [next(iter(row.cells.values())) for row in kept.rows()]
    if kept.columns == ["shard"]:
        return config, read_shard_pairs(_shards_now([*map(_path_of, first)], run, images_root), config.keys)
    images = [image for name in first if (image := _path_of(name)).is_absolute()]  # as they are written
    labels = replace(Keys(), label="label" if config.folders or config.label_key else None)
    if images and images_root is None and not any(map(_is_file, images)):
        raise InputError(
            f"{table}: none of its {len(images)} images is where it was, the first: {images[0]}{_if_moved(run)}"
        )
    were = _folder_before(images, images_root) if images_root is not None else None
    keys = labels.images_only() if config.images_only or config.folders else labels
    return config, read_pairs(table, keys, images_root=images_root, images_were=were)


def _shards_now(shards: Sequence[Path], run: Path, root: Path | None) -> list[str]:
    """Where shards lie now. InputError: one of them is not there, and without its samples it is another measure."""
    now = shards
    if root is not None and (before := _folder_before(shards, root)) is not None:
        now = [root / shard.relative_to(before) for shard in shards]
    if missing := [shard for shard, place in zip(shards, now, strict=True) if not _is_file(place)]:
        where = f"not in {root}" if root is not None else "not where they were"
        raise InputError(
            f"{run / HELD_OUT}: {len(missing)} of its {len(shards)} shards are {where}, the first: {missing[0]}"
            f"{_if_moved(run)}"
        )
    return [str(shard) for shard in now]


def _if_moved(run: Path) -> str:
    return f"; if they were moved, glimpse eval --split {run} --images-root DIR measures them where they are now"


def _folder_before(images: Sequence[Path], root: Path) -> Path | None:
    """The folder that `root` stands for now: of those that all images lay in the one with the most that are found."""
    common = Path(os.path.commonpath([image.parent for image in images])) if images else Path()
    some = images[:LOOKED_FOR]
    return max(
        reversed((common, *common.parents)),
        key=lambda before: sum(_is_file(root / image.relative_to(before)) for image in some),
        default=None,
    )


def _path_of(name: str) -> Path:
    return Path(os.fsdecode(unquote_to_bytes(name.removeprefix("file://")))) if name.startswith("file:") else Path(name)


def _is_file(path: Path) -> bool:
    return os.path.isfile(path)  # noqa: PTH113  a name that is too long is no error
