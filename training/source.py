"""The source of a run's pairs: read, split without leaks, and fed. Tables and folders are lists, shards are streams."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from base.errors import InputError, TrainingError
from base.sources.left_out import LeftOut
from base.sources.rules import Rules
from base.sources.shards import expand_shards, is_shards
from encoder.image import Preprocess
from training.config import TrainConfig
from training.data.folders import read_class_folders, read_images, read_sidecars
from training.data.keys import Keys
from training.data.loader import Feeding, Loader, PairLoader
from training.data.pairs import Pair, PairSet, hash_pairs, image_key_of, read_pairs, text_key
from training.data.shards import ShardLoader, count_samples, hold_out_shards, read_shard_pairs
from training.data.split import split_classes, split_images, split_pairs, without_images_of
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
        val_shards: files that `val` was read from, where it is samples of shards.
        told: what is to be said of what is held out, a sentence each.
    """

    train: list[Pair]
    shards: list[str]
    val: list[Pair]
    n_train: int
    left_out: LeftOut
    hash: str
    val_shards: Sequence[str] = ()
    told: Sequence[str] = ()

    @property
    def at_hand(self) -> list[Pair]:
        """Pairs that can be looked at before a step: of shards those alone that are held out."""
        return self.train or self.val

    @property
    def classes(self) -> set[str]:
        """The labels of both sides."""
        return {pair.label for pair in (*self.train, *self.val) if pair.label is not None}


def open_source(config: TrainConfig, *, begun: bool = False) -> Source:
    """Read and split what `config.pairs` names; of a run that was `begun`, a setting that does nothing is let be.

    Raises:
        InputError: it cannot be used, or a setting is of another kind of source.
        TrainingError: nothing of it can be held out.
    """
    if not begun:
        _check_settings(config)
    held_out = _held_out(config) if config.val is not None else None
    if is_shards(config.pairs):
        return _open_shards(config, held_out)
    found = _open(config, config.pairs)
    left_out, told = found.left_out, list[str]()
    if held_out is None:
        split = split_images if config.images_only else split_classes if config.folders else split_pairs
        train, val = split(found.pairs, config.val_fraction, config.seed)
    else:
        val = held_out.pairs
        train = _apart(config, found.pairs, val, left_out)
        told = [*_not_whole(held_out), *_on_both_sides(config, train, val)]
    content = hash_pairs(train + val)
    kept = without_negatives_of(train, val)
    for before, after in zip(train, kept, strict=True):
        for text in before.negatives:
            if text not in after.negatives:
                left_out.add("hard negatives that are held-out captions", text)
    shards = () if held_out is None else held_out.shards
    return Source(kept, [], val, len(kept), left_out, content, shards, told)


def _check_settings(config: TrainConfig) -> None:
    """InputError for a setting that is about another kind of source than those that are read: it would do nothing."""
    read = {_kind_of(source) for source in (config.pairs, config.val) if source}
    probed = {_kind_of(config.probe)} if config.probe else set()
    if None in read | probed:
        return  # who opens it says so
    captions = set() if config.images_only or config.folders else read
    for flag, given, of, kinds in (
        ("--images-root", config.images_root is not None, "a table", read),
        ("--image-key", config.image_key != "image", "a table", read | probed),
        ("--caption-key", config.caption_key != "title", "captions in a table or shards", captions | probed),
        ("--label-key", config.label_key is not None, "a table or shards", read),
        ("--negative-key", config.negative_key is not None, "a table or shards", read),
        ("--exclude", config.exclude != (), "a folder", read | probed),
        ("--follow-links", config.follow_links, "a folder", read | probed),
        ("--any-name", config.any_name, "a folder", read | probed),
    ):
        if given and not any(str(kind) in of for kind in kinds):
            raise InputError(f"{flag} is for {of}, and nothing of the kind is read here: leave it out")


def _kind_of(source: str) -> str | None:
    """None of what is not there."""
    if is_shards(source):
        return "shards"
    return "folder" if Path(source).is_dir() else "table" if Path(source).is_file() else None


def _open_shards(config: TrainConfig, held_out: _HeldOut | None) -> Source:
    """Shards to train on; what is held out is some of them, or what `--val` names."""
    shards = expand_shards(config.pairs)
    val_shards: Sequence[str]
    if held_out is None:
        shards, val_shards = hold_out_shards(shards, config.val_fraction, config.seed)
        found = read_shard_pairs(val_shards, config.keys)
        left_out, told = found.left_out, list[str]()
        val = found.pairs
    else:
        val, val_shards, left_out, told = held_out.pairs, held_out.shards, LeftOut(), _not_whole(held_out)
    if twice := sorted({*_resolved(shards)} & {*_resolved(val_shards)}):
        raise InputError(f"{twice[0]}: a shard to train on and one of --val {config.val}; name it in one of them")
    content = hash_pairs([Pair(Path(shard)) for shard in shards] + val)
    n = count_samples(shards, config.keys, left_out)
    return Source([], shards, val, n, left_out, content, val_shards, told)


@dataclass(frozen=True)
class _HeldOut:
    """The pairs that are held out, and the shards that they come from, if they do."""

    pairs: list[Pair]
    left_out: LeftOut
    shards: Sequence[str] = ()


def _held_out(config: TrainConfig) -> _HeldOut:
    """What `--val` names; what of it is not used is counted apart from what of the pairs is not."""
    source = str(config.val)
    if is_shards(source):
        shards = expand_shards(source)
        found = read_shard_pairs(shards, config.keys)
        return _HeldOut(found.pairs, found.left_out, shards)
    found = _open(config, source)
    return _HeldOut(found.pairs, found.left_out)


def _not_whole(held_out: _HeldOut) -> list[str]:
    return [f"Held-out set not whole: {line}." for line in held_out.left_out.lines()]


def _apart(config: TrainConfig, pairs: list[Pair], val: list[Pair], left_out: LeftOut) -> list[Pair]:
    """The pairs whose image is not held out.

    Raises:
        TrainingError: all images are held out.
    """
    train, repeated = without_images_of(pairs, val)
    if repeated:
        left_out.add("images to train on that --val holds out too", str(repeated[0].image), len(repeated))
    if not train:
        raise TrainingError(f"--val {config.val} holds out all images of {config.pairs}; give it others")
    return train


def _on_both_sides(config: TrainConfig, train: list[Pair], val: list[Pair]) -> Iterator[str]:
    """What is said of captions on both sides; those of classes are there by design."""
    if config.folders or config.images_only:
        return
    known = {text_key(caption) for pair in train for caption in pair.captions}
    captions = {text_key(caption): caption for pair in val for caption in pair.captions}
    if shared := [caption for key, caption in captions.items() if key in known]:
        yield (
            f"Captions on both sides: {len(shared)} of {len(captions)} held-out captions are trained on too, beside "
            f"other images; the first: {shared[0]}."
        )


def _open(config: TrainConfig, source: str) -> PairSet:
    return open_pairs(
        source,
        config.keys,
        folders=config.folders,
        images_only=config.images_only,
        templates=config.templates,
        images_root=Path(config.images_root) if config.images_root else None,
        rules=config.rules,
    )


def _resolved(paths: Sequence[str]) -> list[str]:
    return [str(Path(path).resolve()) for path in paths]


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
        what = "not a folder" if path.exists() else "no such folder"
        raise InputError(f"{path}: {what}; --folders takes a folder of class folders, as in {path}/cat/1.jpg")
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
        config.used_word_dropout,
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
