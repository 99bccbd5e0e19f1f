"""Splits pairs into those that are trained on and those that are held out, without leaks, the same for the same seed.

Three ways, for three sources: by captions and images that hang together, by label, and plainly. Where people hold out
themselves, what they hold out is not trained on.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from base.errors import TrainingError
from base.files import file_sha256
from base.words import counted
from encoder.image import sha256_of
from training.data.pairs import Pair, image_key_of, text_key


def split_pairs(pairs: Sequence[Pair], val_fraction: float, seed: int) -> tuple[list[Pair], list[Pair]]:
    """Split into (train, validation) so that no caption and no image is on both sides.

    Pairs that share a caption or an image, directly or through others, stay together.

    Raises:
        TrainingError: one side is empty, since everything hangs together or by the fraction.
    """
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        parent.setdefault(key, key)
        while parent[key] != key:
            parent[key] = key = parent[parent[key]]
        return key

    images = [f"image {image_key_of(pair)}" for pair in pairs]
    for pair, image in zip(pairs, images, strict=True):
        for caption in pair.captions:
            parent[root(image)] = root(f"text {text_key(caption)}")
    groups: dict[str, list[Pair]] = {}
    for pair, image in zip(pairs, images, strict=True):
        groups.setdefault(root(image), []).append(pair)

    wanted = max(1, round(len(pairs) * val_fraction))
    order = list(groups.values())
    random.Random(seed).shuffle(order)
    train: list[Pair] = []
    val: list[Pair] = []
    for group in order:
        side = val if len(val) + len(group) <= wanted * 1.1 + 1 and len(val) < wanted else train
        side.extend(group)
    if not train or not val:
        found = f"{counted(len(pairs), 'pair')} in {counted(len(groups), 'group')} of shared captions or images"
        if len(groups) < 2:
            raise TrainingError(f"{found}: too few to hold any out; give more pairs with different captions")
        lack, remedy = ("hold out", "raise") if train else ("train on", "lower")
        raise TrainingError(f"{found}: --val-fraction {val_fraction} leaves none to {lack}; {remedy} it")
    return train, val


def split_classes(pairs: Sequence[Pair], val_fraction: float, seed: int) -> tuple[list[Pair], list[Pair]]:
    """Split into (train, validation) label by label, so that both sides have all labels: captions are shared by design.

    A label with one pair keeps it for training; any other holds out at least one and trains on at least one. What is
    held out of a label does not depend on the other labels.

    Raises:
        TrainingError: no label has two pairs.
    """
    groups: dict[str | None, list[Pair]] = {}
    for pair in pairs:
        groups.setdefault(pair.label, []).append(pair)
    train: list[Pair] = []
    val: list[Pair] = []
    for label, group in groups.items():
        held_out = min(len(group) - 1, max(1, round(len(group) * val_fraction)))
        order = random.Random(f"{seed} {label}".encode(errors="surrogateescape")).sample(group, len(group))
        val += order[:held_out]
        train += order[held_out:]
    if not val:
        raise TrainingError(
            f"{len(pairs)} images of {len(groups)} labels, none with an image to hold out; give two or more a label"
        )
    return train, val


def split_images(pairs: Sequence[Pair], val_fraction: float, seed: int) -> tuple[list[Pair], list[Pair]]:
    """Split into (train, validation) at random; each pair is an image of its own.

    Raises:
        TrainingError: fewer than two pairs.
    """
    if len(pairs) < 2:
        raise TrainingError(f"{len(pairs)} images: too few to hold any out; give more images")
    order = random.Random(seed).sample(pairs, len(pairs))
    held_out = min(len(pairs) - 1, max(1, round(len(pairs) * val_fraction)))
    return order[held_out:], order[:held_out]


def without_images_of(pairs: Sequence[Pair], held_out: Sequence[Pair]) -> tuple[list[Pair], list[Pair]]:
    """(the pairs whose image is none of the held-out ones, the others): by their bytes, under whatever name."""
    by_size: dict[int, list[Pair]] = {}
    for pair in held_out:
        by_size.setdefault(_size(pair), []).append(pair)
    hashes: dict[int, set[str]] = {}  # of the held-out images of a size that occurs on the other side too

    def is_held_out(pair: Pair) -> bool:
        size = _size(pair)
        if size not in by_size:
            return False
        if size not in hashes:
            hashes[size] = {_hash(other) for other in by_size[size]}
        return _hash(pair) in hashes[size]

    kept: list[Pair] = []
    repeated: list[Pair] = []
    for pair in pairs:
        (repeated if is_held_out(pair) else kept).append(pair)
    return kept, repeated


def _size(pair: Pair) -> int:
    """Bytes of its image; -1 of one that cannot be read, which the loader names."""
    try:
        return len(pair.image) if isinstance(pair.image, bytes) else pair.image.stat().st_size
    except OSError:
        return -1


def _hash(pair: Pair) -> str:
    """Of the bytes of its image; of one that cannot be read its name."""
    try:
        return sha256_of(pair.image) if isinstance(pair.image, bytes) else file_sha256(pair.image)
    except OSError:
        return image_key_of(pair)
