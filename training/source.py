"""The source of a run's pairs: read, split without leaks, and fed. Tables and folders are lists, shards are streams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from base.errors import InputError
from base.left_out import LeftOut
from base.rules import Rules
from encoder.image import Preprocess
from training.config import TrainConfig
from training.data.folders import read_class_folders, read_images, read_sidecars
from training.data.keys import Keys
from training.data.loader import Feeding, Loader, PairLoader
from training.data.pairs import Pair, PairSet, hash_pairs, image_key_of, is_shards, read_pairs, text_key
from training.data.shards import ShardLoader, count_samples, expand_shards, hold_out_shards, read_shard_pairs
from training.data.split import split_classes, split_images, split_pairs
from training.model.distributed import Ranks


@dataclass(frozen=True)
class Source:
    """What there is to train on, and what is held out.

    Attributes:
        train: pairs; empty for shards.
        shards: files of samples, instead of `train`.
        val: pairs.
        n_train: pairs to train on.
        left_out: what of it is not used.
        hash: of all of it; a run is resumed with the same.
    """

    train: list[Pair]
    shards: list[str]
    val: list[Pair]
    n_train: int
    left_out: LeftOut
    hash: str


def open_source(config: TrainConfig) -> Source:
    """Read and split what `config.pairs` names.

    Raises:
        InputError: it cannot be used.
        TrainingError: nothing of it can be held out.
    """
    if is_shards(config.pairs):
        shards, held_out = hold_out_shards(expand_shards(config.pairs), config.val_fraction, config.seed)
        found = read_shard_pairs(held_out, config.keys)
        content = hash_pairs([Pair(Path(shard)) for shard in shards] + found.pairs)
        n = count_samples(shards, config.keys, found.left_out)
        return Source([], shards, found.pairs, n, found.left_out, content)
    found = open_pairs(
        config.pairs,
        config.keys,
        folders=config.folders,
        images_only=config.images_only,
        templates=config.templates,
        images_root=Path(config.images_root) if config.images_root else None,
        rules=config.rules,
    )
    split = split_images if config.images_only else split_classes if config.folders else split_pairs
    train, val = split(found.pairs, config.val_fraction, config.seed)
    content = hash_pairs(train + val)
    kept = without_negatives_of(train, val)
    for before, after in zip(train, kept, strict=True):
        for text in before.negatives:
            if text not in after.negatives:
                found.left_out.add("hard negatives that are held-out captions", text)
    train = kept
    return Source(train, [], val, len(train), found.left_out, content)


def open_pairs(
    source: str,
    keys: Keys = Keys(),
    *,
    folders: bool = False,
    images_only: bool = False,
    templates: Sequence[str] = (),
    images_root: Path | None = None,
    rules: Rules = Rules(),
) -> PairSet:
    """Read pairs from a table or a folder, whichever `source` is.

    Args:
        source: a file as `read_pairs` takes it, or a folder.
        keys: columns of a table.
        folders: the folder holds a folder a class.
        images_only: leave captions and negatives out; each image once.
        templates: of the captions of class folders.
        images_root: as `read_pairs`.
        rules: which names of a folder are walked.

    Raises:
        InputError: nothing usable, or a folder with neither classes nor captions; names the remedies.
    """
    path = Path(source)
    if path.is_dir():
        if folders:
            found = read_class_folders(path, templates, rules)
            return _images_of(found) if images_only else found
        return read_images(path, rules) if images_only else read_sidecars(path, rules)
    if folders:
        raise InputError(f"{path}: not a folder; --folders takes a folder of class folders, as in {path}/cat/1.jpg")
    if images_only:
        return _images_of(read_pairs(path, keys.images_only(), images_root=images_root))
    return read_pairs(path, keys, images_root=images_root)


def without_negatives_of(train: Sequence[Pair], val: Sequence[Pair]) -> list[Pair]:
    """The pairs to train on, without hard negatives that are held-out captions: they would be trained on."""
    held_out = {text_key(caption) for pair in val for caption in pair.captions}

    def kept(pair: Pair) -> tuple[str, ...]:
        return tuple(text for text in pair.negatives if text_key(text) not in held_out)

    return [replace(pair, negatives=kept(pair)) if pair.negatives else pair for pair in train]


def make_loader(source: Source, preprocess: Preprocess, config: TrainConfig, ranks: Ranks, *, overlap: bool) -> Loader:
    """The batches of a source for this process.

    Raises:
        InputError: the batch, or the shards, cannot be shared among the processes.
    """
    feeding = Feeding(
        config.batch_size,
        config.seed,
        config.augmentation,
        two_views=config.images_only,
        overlap=overlap,
        rank=ranks.rank,
        world=ranks.world,
    )
    if not source.shards:
        return PairLoader(source.train, preprocess, feeding)
    return ShardLoader(source.shards, preprocess, feeding, samples=source.n_train, keys=config.keys)


def _images_of(found: PairSet) -> PairSet:
    bare: dict[str, Pair] = {}
    for pair in found.pairs:
        key = image_key_of(pair)
        if key in bare:
            found.left_out.add("rows with an image that is there already", key)
        bare.setdefault(key, replace(pair, captions=(), negatives=()))
    return replace(found, pairs=list(bare.values()))
