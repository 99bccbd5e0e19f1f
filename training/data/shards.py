"""WebDataset shards: tar files whose members of one name are a sample, read by the webdataset library in one pass.

A sample is an image with its texts in a .json (fields by name) or a .txt beside it (every line a caption). Shards are
local files, on a disk or a mounted store; of a stream of any length only a buffer of undecoded samples is in memory.
"""

from __future__ import annotations

import random
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import count, islice
from pathlib import Path
from typing import Any

from base.errors import ImageError, InputError
from base.read_ahead import read_batches
from base.sources.left_out import LeftOut
from base.sources.shards import TEXTS, broken, caption_in, is_image, need_webdataset, read_samples
from base.sources.texts import decode_text, parse_json
from base.words import is_blank
from encoder.image import Preprocess
from training.data.decoded import DecodedPictures
from training.data.keys import Keys
from training.data.loader import Batch, Feeding, Row, RowReader, pair_ids
from training.data.pairs import Pair, PairSet, ShardImage, clean, make_pair, texts_of

APART = "samples whose members do not follow each other in the tar (write it with tar --sort=name)"
IN_TWO_FOLDERS = "samples whose image and text are in two folders of the tar (a sample is one name in one folder)"
DOTTED = "samples with a dot in their name, which ends at its first one (write them with other names)"
HALVES = {"samples without image", "samples without caption"}
SHUFFLE_BUFFER = 1000  # samples; neighbours in a shard are often of one source, and a batch should not be


def count_samples(shards: Sequence[str], keys: Keys = Keys(captions=()), left_out: LeftOut | None = None) -> int:
    """How many usable samples the shards hold, by the headers of the tar files and the texts: no image is read.

    Args:
        shards: as `base.sources.shards.expand_shards` gives them.
        keys: as `read_shard_pairs`; without captions a sample needs its image alone.
        left_out: told of the samples that are not usable.

    Raises:
        InputError: a shard cannot be read, or is cut short.
    """
    told = left_out if left_out is not None else LeftOut()
    usable = samples = 0
    for shard in shards:
        known: set[str] = set()
        lacking: dict[str, str] = {}  # by the name without its folder, why it cannot be used
        for name, members in read_samples(shard, TEXTS.__contains__):
            problem = _pair(members, keys)[1]
            if problem:
                other = lacking.setdefault(name.rpartition("/")[2], problem)
                reason = APART if name in known else IN_TWO_FOLDERS if {problem, other} == HALVES else problem
                told.add(reason, f"{name} in {shard}")
            known.add(name)
            usable += not problem
            samples += 1
    told.totals["samples"] = told.totals.get("samples", 0) + samples
    return usable


def hold_out_shards(shards: Sequence[str], val_fraction: float, seed: int) -> tuple[list[str], list[str]]:
    """Split into (train, validation) by whole shards, at least one on each side.

    A caption that repeats in two shards may be on both sides; nothing but reading all of them could tell.

    Raises:
        InputError: a single shard.
    """
    if len(shards) < 2:
        raise InputError(f"{len(shards)} shard: none to hold out for validation; cut the samples into two or more")
    order = random.Random(seed).sample(shards, len(shards))
    held_out = min(len(shards) - 1, max(1, round(len(shards) * val_fraction)))
    return order[held_out:], order[:held_out]


def read_shard_pairs(shards: Sequence[str], keys: Keys = Keys(), limit: int = 5000) -> PairSet:
    """Read the first `limit` usable samples into memory, images undecoded: for validation.

    Args:
        shards: as `base.sources.shards.expand_shards` gives them.
        keys: fields of the .json; a sample without a caption there takes the .txt.
        limit: pairs.

    Raises:
        InputError: a shard cannot be read or is cut short, or no sample is usable.
        TrainingError: the library webdataset is not installed.
    """
    left_out = LeftOut()
    n = count_samples(shards, keys, left_out)  # the stream below cannot tell a shard that is cut short
    pairs = (_pair(sample, keys) for shard in shards for sample in _samples(shard))
    usable = list(islice((pair for pair, problem in pairs if not problem), limit))
    if not usable:
        raise _no_sample(shards, keys, left_out)
    if n > limit:
        left_out.add(f"samples that are held out beyond {limit}, which are enough to measure", shards[-1], n - limit)
    return PairSet(usable, left_out)


class ShardLoader:
    """Batches out of shards: shards in a new order each epoch, their samples through a shuffle buffer.

    The ranks share out whole shards. Shards differ in length, so a rank that runs dry starts its own over, and one
    that has more leaves the rest to an epoch in which they come first: each rank yields the same number of batches.
    """

    def __init__(
        self, shards: Sequence[str], preprocess: Preprocess, feeding: Feeding, *, samples: int, keys: Keys
    ) -> None:
        """Take the shards.

        Args:
            shards: of all ranks, in the same order on all.
            preprocess: of the model.
            feeding: how they become batches.
            samples: how many there are in all shards, by `count_samples`.
            keys: as `read_shard_pairs`.

        Raises:
            InputError: fewer shards than ranks, or a batch that they cannot share equally.
            TrainingError: the library webdataset is not installed.
        """
        need_webdataset()
        if len(shards) < feeding.world:
            raise InputError(
                f"{len(shards)} shards for {feeding.world} processes, and each needs one of its own; cut the samples "
                f"into {feeding.world} or more shards, or start {len(shards)} processes"
            )
        self._shards = list(shards)
        self._keys = keys
        self._feeding = feeding
        pictures = DecodedPictures(0, cut_out=feeding.augmentation.grounds > 0)
        self.reader = RowReader(preprocess, feeding, pictures)
        self._rows = feeding.rows()
        self._batches = samples // feeding.batch_size

    def __len__(self) -> int:
        """Batches an epoch."""
        return self._batches

    def epoch(self, epoch: int, skip: int = 0) -> Iterator[Batch]:
        """The rank's batches of an epoch, without the first `skip`, whose samples are passed over undecoded.

        Raises:
            InputError: a shard is broken, or none of the rank's samples is usable.
        """
        feeding, overlap = self._feeding, self._feeding.overlap
        order = random.Random(f"{feeding.seed} {epoch}").sample(self._shards, len(self._shards))
        seed = f"{feeding.seed} {epoch} {feeding.rank}"
        stream = self._endless(order[feeding.rank :: feeding.world], seed)
        mine = islice(enumerate(stream), skip * self._rows, None)
        chunks = read_batches(  # from disk in a thread of its own, so that a step need not wait for it either
            lambda _: list(islice(mine, self._rows)), range(skip, len(self)), 1, overlap=overlap, readers=1
        )

        def read(item: tuple[int, Pair]) -> Row | ImageError:
            position, pair = item
            return self.reader.read(pair, pair_ids(pair), f"{seed} {position}")

        items = (item for [chunk] in chunks for item in chunk)
        for rows in read_batches(read, items, self._rows, overlap=overlap):
            yield self.reader.collate(rows)

    def _endless(self, shards: Sequence[str], seed: str) -> Iterator[Pair]:
        """The usable samples of some shards, all of them before any comes again."""
        import webdataset

        for turn in count():
            rng = random.Random(f"{seed} {turn}")
            order = rng.sample(shards, len(shards)) if turn else shards
            pairs = (_pair(sample, self._keys) for shard in order for sample in _samples(shard))
            usable = (pair for pair, problem in pairs if not problem)
            none = True
            for pair in webdataset.shuffle(SHUFFLE_BUFFER, initial=SHUFFLE_BUFFER, rng=rng)(usable):
                none = False
                yield pair
            if none:
                raise _no_sample(shards, self._keys)


def _samples(shard: str) -> Iterator[Mapping[str, Any]]:
    """The samples of a shard: the bytes of each member by its suffix."""
    need_webdataset()
    from webdataset.tariterators import group_by_keys, tar_file_expander

    try:
        with Path(shard).open("rb") as file:  # not by the library's gopen: it runs what a name calls a pipe
            yield from group_by_keys(tar_file_expander([{"url": shard, "stream": file}]))
    except (OSError, EOFError, ValueError, tarfile.TarError) as error:
        raise broken(shard, error) from error


def _pair(sample: Mapping[str, Any], keys: Keys) -> tuple[Pair, str]:
    """What a sample holds, and why it cannot be used, as a reason of `LeftOut`; "" if it can."""
    image = ShardImage(next((data for suffix, data in sample.items() if is_image(suffix)), b""))
    image.name = f"{sample.get('__key__')} in {sample.get('__url__')}"
    has_dot = not image and any(is_image(suffix.rpartition(".")[2]) for suffix in sample)
    problems = [] if image else [DOTTED if has_dot else "samples without image"]
    fields: Any = {}
    captions: tuple[str, ...] = ()
    try:
        fields = parse_json(sample.get("json", b"{}"))
        fields = fields if isinstance(fields, dict) else {}
        captions = texts_of(fields, keys.captions)
    except ValueError:
        if keys.labels or keys.negatives or (keys.captions and not caption_in(sample)):
            problems.append("samples with a .json that cannot be read")
    if keys.captions and not captions:
        try:
            lines = decode_text(caption_in(sample)).splitlines()
            captions = tuple(dict.fromkeys(text for text in map(clean, lines) if not is_blank(text)))
            problems += [] if captions else ["samples without caption"]
        except ValueError:
            problems.append("samples with a .txt that is not in UTF-8")
    pair = make_pair(image, captions, texts_of(fields, keys.labels), texts_of(fields, keys.negatives))
    return pair, problems[0] if problems else ""


def _no_sample(shards: Sequence[str], keys: Keys, left_out: LeftOut | None = None) -> InputError:
    wanted = f' with a .txt or a .json with "{",".join(keys.captions)}" (--caption-key)' if keys.captions else ""
    why = "".join(f"; {line}" for line in left_out.lines()) if left_out else ""
    return InputError(f"{', '.join(shards[:3])}: no image{wanted} in {len(shards)} shards{why}")
