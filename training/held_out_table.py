"""`held_out.csv` of a run folder: what the run is measured on, so that any model can be measured on the same.

A row a caption, with the image's path and, of class folders, the label; of images alone a row an image; of shards a
row a shard, since their images have no files. It holds names, not images: what is moved is no longer found.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from base.errors import TrainingError
from training.config import TrainConfig
from training.data.keys import Keys
from training.data.pairs import Pair, PairSet, clean, read_pairs
from training.data.shards import read_shard_pairs
from training.run_folder import HELD_OUT, artefact

COLUMNS = ("image", "title", "label")  # as `glimpse train` and `eval` look for them unasked


def write_held_out(config: TrainConfig, pairs: Sequence[Pair], shards: Sequence[str] = ()) -> None:
    """Write the table of a run; `shards` are the held-out ones, whose samples `pairs` are."""
    rows: list[tuple[str, ...]]
    if shards:
        rows = [("shard",), *((str(Path(shard).absolute()),) for shard in shards)]
    else:
        rows = [COLUMNS]
        for pair in pairs:
            captions = () if config.folders else pair.captions  # those of a class are made of its label
            rows += [(_named(pair.image), caption, clean(pair.label or "")) for caption in captions or ("",)]
    with (
        artefact(Path(config.out) / HELD_OUT) as part,
        part.open("w", encoding="utf-8", errors="surrogateescape", newline="") as f,
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


def read_held_out(run: Path) -> tuple[TrainConfig, PairSet]:
    """What a run was asked to do, and the pairs it is measured on, those of an image together.

    Raises:
        TrainingError: no run folder, or one from before the table was written.
        InputError: the table is broken, or nothing of it is there any more.
    """
    table = run / HELD_OUT
    config = TrainConfig.load(run)
    if not table.is_file():
        raise TrainingError(f"{table}: not there; {run} was begun before runs wrote down what they hold out")
    with table.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = csv.reader(file)
        if next(rows, None) == ["shard"]:
            return config, read_shard_pairs([shard for [shard] in rows], config.keys)
    labels = replace(Keys(), label="label" if config.folders or config.label_key else None)
    found = read_pairs(table, labels.images_only() if config.images_only or config.folders else labels)
    return config, found
