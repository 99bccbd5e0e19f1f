"""Shards that the webdataset library wrote: what is read, how ranks share them, and that a resumed epoch is exact."""

from __future__ import annotations

import io
import os
import sys
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset
from colour_encoder import ColourEncoder
from PIL import Image

from base.errors import InputError, TrainingError
from base.sources.left_out import LeftOut
from base.sources.shards import expand_shards
from encoder.image import Preprocess
from training.data.augment import Augmentation
from training.data.keys import Keys
from training.data.loader import Batch, Feeding
from training.data.pairs import Pair
from training.data.shards import ShardLoader, count_samples, hold_out_shards, read_shard_pairs
from training.evaluation.evaluate import encode_pairs

SMALL = Preprocess(size=16)


def png(i: int) -> bytes:
    """A picture of noise, so that any other crop has other pixels."""
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(i).integers(0, 255, (40, 48, 3), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def write(path: Path, samples: list[dict[str, Any]]) -> str:
    with webdataset.TarWriter(str(path)) as tar:
        for i, sample in enumerate(samples):
            tar.write({"__key__": f"{i:04d}", **sample})
    return str(path)


@pytest.fixture
def shards(tmp_path: Path) -> Callable[..., list[str]]:
    """Makes shards of the given lengths, of samples with the caption "number i", i counted through."""

    def make(*lengths: int) -> list[str]:
        made, first = [], 0
        for shard, n in enumerate(lengths):
            samples = [{"png": png(i), "txt": f"number {i}"} for i in range(first, first + n)]
            made.append(write(tmp_path / f"{shard:03d}.tar", samples))
            first += n
        return made

    return make


def loader(
    shards: list[str],
    keys: Keys = Keys(),
    *,
    batch_size: int = 4,
    seed: int = 0,
    **feeding: Any,
) -> ShardLoader:
    feeding_of = Feeding(batch_size, seed, Augmentation(0.5), **feeding)
    return ShardLoader(shards, SMALL, feeding_of, samples=count_samples(shards), keys=keys)


def captions(batches: list[Batch]) -> list[str]:
    return [caption for batch in batches for caption in batch.captions]


def test_a_name_stands_for_many_shards(tmp_path: Path) -> None:
    with webdataset.ShardWriter(str(tmp_path / "part-%03d.tar"), maxcount=2, verbose=0) as writer:
        for i in range(6):
            writer.write({"__key__": str(i), "png": png(i), "txt": "x"})
    all_three = [str(tmp_path / f"part-00{i}.tar") for i in range(3)]
    assert expand_shards(str(tmp_path / "part-{000..002}.tar")) == all_three
    assert expand_shards(str(tmp_path / "*.tar")) == all_three
    assert expand_shards(str(tmp_path / "part-{001,000,001}.tar")) == [all_three[1], all_three[0]]
    assert expand_shards(all_three[0]) == all_three[:1]
    assert count_samples(all_three) == 6
    with pytest.raises(InputError, match=r"part-003\.tar: no such shard"):
        expand_shards(str(tmp_path / "part-{000..003}.tar"))
    with pytest.raises(InputError, match="no such shard"):
        expand_shards(str(tmp_path / "none-*.tar"))
    with pytest.raises(InputError, match="not a name of shards"):
        expand_shards(str(tmp_path / "part-{000..002.tar"))


def test_captions_come_from_the_json_or_else_the_txt(tmp_path: Path) -> None:
    fields = {"title": ["named", " twice "], "kind": "hat", "not": "a cap"}
    shard = write(
        tmp_path / "a.tar",
        [
            {"png": png(0), "json": fields, "txt": "not this"},
            {"PNG": png(1), "json": {"other": 1}, "txt": "one\n\n two "},
            {"png": png(2), "json": b"{broken"},
            {"json": fields},
            {"png": png(4), "txt": b"\xff caption"},
        ],
    )
    found = read_shard_pairs([shard], Keys.of(label="kind", negative="not"))
    assert found.pairs == [
        Pair(png(0), ("named", "twice"), "hat", ("a cap",)),
        Pair(png(1), ("one", "two")),
    ]
    assert found.left_out.found == {
        "samples with a .json that cannot be read": (1, f"0002 in {shard}"),
        "samples without image": (1, f"0003 in {shard}"),
        "samples with a .txt that is not in UTF-8": (1, f"0004 in {shard}"),
    }
    assert count_samples([shard]) == 4
    assert count_samples([shard], Keys.of(label="kind")) == 2
    bare = read_shard_pairs([shard], Keys.of(caption=None))
    assert [pair.image for pair in bare.pairs] == [png(i) for i in (0, 1, 2, 4)]
    assert {pair.captions for pair in bare.pairs} == {()}
    assert read_shard_pairs([shard, shard], limit=2).pairs == read_shard_pairs([shard]).pairs[:2]
    with pytest.raises(InputError, match=r'no image with a .txt or a .json with "title"'):
        read_shard_pairs([write(tmp_path / "b.tar", [{"png": png(0)}])])


def test_an_epoch_is_each_sample_once_in_an_order_of_its_own(shards: Callable[..., list[str]]) -> None:
    files = shards(10, 10, 10)
    first = list(loader(files, batch_size=6).epoch(1))
    assert len(loader(files, batch_size=6)) == len(first) == 5
    assert sorted(captions(first)) == sorted(f"number {i}" for i in range(30))
    assert captions(first) != [f"number {i}" for i in range(30)]
    again = list(loader(files, batch_size=6, overlap=True).epoch(1))
    for a, b in zip(first, again, strict=True):
        assert np.array_equal(a.pixels, b.pixels)
        assert np.array_equal(a.ids, b.ids)
    assert captions(first) == captions(again)
    assert captions(list(loader(files, batch_size=6).epoch(2))) != captions(first)
    assert captions(list(loader(files, batch_size=6, seed=1).epoch(1))) != captions(first)


def test_the_samples_of_one_shard_are_shuffled_too(shards: Callable[..., list[str]]) -> None:
    files = shards(20)
    orders = [captions(list(loader(files).epoch(epoch))) for epoch in range(2)]
    written = [f"number {i}" for i in range(20)]
    assert sorted(orders[0]) == sorted(orders[1]) == sorted(written)
    assert written not in orders
    assert orders[0] != orders[1]


@pytest.mark.parametrize("skip", [1, 4, 5])
def test_a_resumed_epoch_is_the_rest_of_it(skip: int, shards: Callable[..., list[str]]) -> None:
    files = shards(10, 7, 5)
    for rank in range(2):
        whole = list(loader(files, rank=rank, world=2).epoch(3))
        rest = list(loader(files, rank=rank, world=2).epoch(3, skip=skip))
        assert len(whole) == 5
        assert len(rest) == 5 - skip
        for a, b in zip(whole[skip:], rest, strict=True):
            assert np.array_equal(a.pixels, b.pixels)
            assert a.captions == b.captions


def test_an_epoch_that_is_left_leaves_no_thread_and_no_open_file(shards: Callable[..., list[str]]) -> None:
    epoch = loader(shards(30, 30), overlap=True).epoch(1)
    next(epoch)
    assert [thread for thread in threading.enumerate() if thread.name.startswith("reader")]
    epoch.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("reader")]
    open_files = [str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    assert not [name for name in open_files if name.endswith(".tar")]


def test_ranks_share_out_the_shards(shards: Callable[..., list[str]]) -> None:
    files = shards(8, 8, 8, 8)
    ranks = [captions(list(loader(files, rank=rank, world=2).epoch(1))) for rank in range(2)]
    assert [len(rank) for rank in ranks] == [16, 16]
    assert sorted(ranks[0] + ranks[1]) == sorted(f"number {i}" for i in range(32))
    of_rank_0 = [set(captions(list(loader(files, rank=0, world=2).epoch(epoch)))) for epoch in range(8)]
    assert len(set.union(*of_rank_0)) == 32  # other shards in other epochs


def test_a_rank_with_less_starts_its_shards_over(shards: Callable[..., list[str]]) -> None:
    files = shards(20, 4)
    ranks = [list(loader(files, rank=rank, world=2).epoch(1)) for rank in range(2)]
    assert [len(batches) for batches in ranks] == [6, 6]
    short, long = sorted((captions(batches) for batches in ranks), key=lambda texts: len(set(texts)))
    assert len(set(long)) == 12
    numbers = {f"number {i}" for i in range(20, 24)}
    assert [set(short[turn : turn + 4]) for turn in (0, 4, 8)] == [numbers] * 3
    pixels = np.concatenate([batch.pixels for batches in ranks for batch in batches if batch.captions[0] in numbers])
    assert len(np.unique(pixels, axis=0)) == 12  # augmented anew each turn


def test_broken_images_are_left_out_and_counted(tmp_path: Path) -> None:
    samples = [{"png": b"broken" if i == 5 else png(i), "txt": f"number {i}"} for i in range(12)]
    shard = write(tmp_path / "a.tar", samples)
    batches = list(loader([shard]).epoch(1))
    [unreadable] = [said for batch in batches for said in batch.unreadable]
    assert unreadable.startswith(f"0005 in {shard}: ")
    [skipped] = encode_pairs(ColourEncoder(), read_shard_pairs([shard]).pairs).skipped
    assert skipped["path"] == f"0005 in {shard}"
    assert sorted(captions(batches)) == sorted(f"number {i}" for i in range(12) if i != 5)
    assert all(len(batch.pixels) + batch.skipped == 4 for batch in batches)


def test_rows_know_what_belongs_together(tmp_path: Path) -> None:
    samples = [{"png": png(i % 2), "json": {"title": f"t {i % 3}", "kind": i % 4}} for i in range(12)]
    (batch,) = loader([write(tmp_path / "a.tar", samples)], Keys.of(label="kind"), batch_size=12).epoch(0)
    assert [len(np.unique(column)) for column in batch.ids.T] == [3, 2, 4]
    assert len(np.unique(batch.ids, axis=0)) == 12
    assert (batch.ids > 0).all()


def test_what_is_counted_is_what_is_trained_on(tmp_path: Path) -> None:
    deep = b'{"title": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    few = write(
        tmp_path / "few.tar",
        [{"png": png(i), **({"txt": f"number {i}"} if i < 4 else {"json": deep} if i == 4 else {})} for i in range(8)],
    )
    left_out = LeftOut()
    assert count_samples([few], Keys(), left_out) == 4
    assert left_out.lines() == [
        f"1 of 8 samples with a .json that cannot be read, the first: 0004 in {few}",
        f"3 of 8 samples without caption, the first: 0005 in {few}",
    ]
    feeding = Feeding(4, 0, Augmentation(0.5))
    batches = list(ShardLoader([few], SMALL, feeding, samples=4, keys=Keys()).epoch(1))
    assert sorted(captions(batches)) == [f"number {i}" for i in range(4)]
    assert read_shard_pairs([few, few], limit=5).left_out.count("which are enough to measure") == 3


def test_members_that_do_not_follow_each_other_are_named(tmp_path: Path) -> None:
    with webdataset.TarWriter(str(tmp_path / "apart.tar")) as tar:
        for kind in ("png", "txt"):
            for i in range(3):
                tar.write({"__key__": str(i), kind: png(i) if kind == "png" else "text"})
    message = r"3 of 6 samples whose members do not follow each other in the tar \(write it with tar --sort=name\)"
    with pytest.raises(InputError, match=message):
        read_shard_pairs([str(tmp_path / "apart.tar")])


def test_images_and_texts_in_two_folders_of_a_tar_are_named(tmp_path: Path) -> None:
    with webdataset.TarWriter(str(tmp_path / "two.tar")) as tar:
        for folder, kind in (("images", "png"), ("captions", "txt")):
            for i in range(3):
                tar.write({"__key__": f"{folder}/{i}", kind: png(i) if kind == "png" else "text"})
    message = r"3 of 6 samples whose image and text are in two folders of the tar .*, the first: captions/0 in "
    with pytest.raises(InputError, match=message):
        read_shard_pairs([str(tmp_path / "two.tar")])


def test_two_views_of_images_without_captions(shards: Callable[..., list[str]]) -> None:
    (batch,) = loader(shards(4), Keys.of(caption=None), two_views=True).epoch(0)
    assert batch.captions == [""] * 4
    assert batch.views is not None
    assert batch.views.shape == (4, 16, 16, 3)


def test_whole_shards_are_held_out(shards: Callable[..., list[str]]) -> None:
    files = shards(*[1] * 10)
    train, val = hold_out_shards(files, 0.2, 0)
    assert sorted(train + val) == files
    assert len(val) == 2
    assert hold_out_shards(files, 0.2, 0) == (train, val)
    assert [len(side) for side in hold_out_shards(files[:2], 0.99, 0)] == [1, 1]
    assert [len(side) for side in hold_out_shards(files[:2], 0.01, 0)] == [1, 1]
    with pytest.raises(InputError, match="cut the samples into two or more"):
        hold_out_shards(files[:1], 0.1, 0)


def test_a_shard_that_ends_early_is_named(shards: Callable[..., list[str]]) -> None:
    whole, short = shards(6, 6)
    Path(short).write_bytes(Path(short).read_bytes()[:3000])
    for use in (count_samples, read_shard_pairs, loader):
        with pytest.raises(InputError, match=r"001\.tar: cannot be read as a tar file"):
            use([whole, short])  # type: ignore[operator]
    Path(short).write_bytes(b"no tar file at all")
    for use in (count_samples, read_shard_pairs):
        with pytest.raises(InputError, match=r"001\.tar: cannot be read as a tar file"):
            use([short])  # type: ignore[operator]


@pytest.mark.parametrize("pad", [0, 1, 511])
def test_a_cut_anywhere_is_seen(pad: int, shards: Callable[..., list[str]]) -> None:
    """At any block, or `pad` bytes after one; only what the writer adds after the end mark may go."""
    (file,) = shards(3)
    whole = Path(file).read_bytes()
    end = len(whole.rstrip(b"\0")) // 512 * 512 + 512 + 2 * 512  # the last member's last block, and the mark
    for cut in range(512 + pad, end, 512):
        Path(file).write_bytes(whole[:cut])
        for use in (count_samples, read_shard_pairs):
            with pytest.raises(InputError, match=r"000\.tar: .*; copy it again or leave it out"):
                use([file])  # type: ignore[operator]
    Path(file).write_bytes(whole[:end])
    assert count_samples([file]) == len(read_shard_pairs([file]).pairs) == 3


def test_a_shard_whose_middle_is_no_header_is_not_taken_for_a_shorter_one(shards: Callable[..., list[str]]) -> None:
    (file,) = shards(3)
    with tarfile.open(file) as tar:
        third = tar.getmembers()[2].offset
    with Path(file).open("r+b") as raw:
        raw.seek(third)
        raw.write(b"x" * 512)
    with pytest.raises(InputError, match="is cut short or damaged"):
        count_samples([file])


def test_samples_are_counted_without_reading_them(shards: Callable[..., list[str]], tmp_path: Path) -> None:
    """A member of 100 GB that is a hole in the file is passed over."""
    (file,) = shards(1)
    with tarfile.open(tmp_path / "big.tar", "w") as tar:
        member = tarfile.TarInfo("big.png")
        member.size = 2 * 10**11
        header = member.tobuf(tar.format)
    with (tmp_path / "big.tar").open("wb") as raw:
        raw.write(header)
        raw.seek(member.size // 512 * 512, os.SEEK_CUR)
        raw.write(Path(file).read_bytes())
    assert count_samples([str(tmp_path / "big.tar")]) == 2


def test_what_cannot_be_trained_on_says_so(tmp_path: Path, shards: Callable[..., list[str]]) -> None:
    with pytest.raises(InputError, match=r"1 shards for 2 processes.*or start 1 processes"):
        loader(shards(8), world=2)
    with pytest.raises(InputError, match="5 cannot be shared equally by 2 processes; 4 or 6 can"):
        loader(shards(8, 8), batch_size=5, world=2)
    bare = write(tmp_path / "bare.tar", [{"png": png(i)} for i in range(8)])
    with pytest.raises(InputError, match=r"no image with a .txt"):
        list(loader([bare]).epoch(0))
    dotted = write(tmp_path / "dotted.tar", [{"__key__": f"v1.0-{i}", "png": png(i), "txt": "a"} for i in range(2)])
    with pytest.raises(InputError, match=r"1 of 1 samples with a dot in their name, which ends at its first one"):
        read_shard_pairs([dotted])
    (tmp_path / "empty.tar").touch()
    with pytest.raises(InputError, match=r"empty\.tar: cannot be read as a tar file of samples \(is empty\); copy"):
        count_samples([str(tmp_path / "empty.tar")])
    with pytest.raises(InputError, match='--caption-key "" names no column'):
        Keys.of(caption="")


def test_without_the_library_the_extra_is_named(
    shards: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = shards(4)
    monkeypatch.setitem(sys.modules, "webdataset", None)  # how Python itself marks what cannot be imported
    with pytest.raises(TrainingError, match=r"needs? the library webdataset; .* pip install .*\[train\]"):
        loader(files)


def test_what_stands_on_a_plain_ground_in_a_shard_is_laid_on_drawn_ones(tmp_path: Path) -> None:
    picture = Image.new("RGB", (40, 48), "white")
    picture.paste("red", (10, 10, 30, 38))
    shard = write(tmp_path / "000.tar", [{"png": picture, "txt": f"number {i}"} for i in range(40)])
    feeding = Feeding(20, 0, Augmentation(grounds=0.5))
    loaded = ShardLoader([shard], SMALL, feeding, samples=40, keys=Keys())
    views = [batch.pixels for batch in loaded.epoch(1)]
    white = (np.concatenate(views)[:, [0, 0, -1, -1], [0, -1, 0, -1]] == 255).all(axis=(1, 2))
    assert 0.4 < white.mean() < 0.8
