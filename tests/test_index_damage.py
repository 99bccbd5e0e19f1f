"""A disk that is full or read-only, a snapshot or a catalog that is damaged: the right answer, or an error."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from test_index_durability import ENVIRONMENT, snapshot_files

from base.errors import CollectionError
from index.collection import (
    Collection,
    Entry,
    Record,
    create_collection,
    delete_collection,
    list_collections,
    open_collection,
)
from index.config import IndexConfig

# --- a disk that is full, a disk that is read-only ---


def on_a_disk_of_its_own(function: Callable[[Path], None], folder: Path, mount: str) -> None:
    """Run `function(folder)` in a process that sees another disk at `folder`, as `mount` makes it."""
    if subprocess.run(["unshare", "-Urm", "true"], capture_output=True).returncode:
        pytest.skip("needs a kernel that lets users make namespaces")
    call = f"from pathlib import Path; import {__name__} as t; t.{function.__name__}(Path({str(folder)!r}))"
    done = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", f'{mount} && exec "$1" -c "$2"', str(folder), sys.executable, call],
        capture_output=True, text=True, env=ENVIRONMENT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def rows(seed: int, n: int = 150, dim: int = 64) -> list[Entry]:
    x = np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)
    return [Entry(v, "image", f"/{seed}/{i}", metadata={"seed": seed}) for i, v in enumerate(x)]


def finds(pets: Collection, entries: list[Entry]) -> bool:
    hits = pets.search_many(np.array([entry.vector for entry in entries]), 1)
    return [row[0].record.path for row in hits] == [entry.path for entry in entries]


def fill_the_disk(folder: Path) -> None:
    def fill(ballast: Path) -> None:
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(4096)):
                pass

    (folder / "ballast").write_bytes(bytes(1 << 20))
    pets = create_collection(folder, "pets", model="x", fingerprint="0", dim=64)
    pets.upsert(rows(0))
    pets.compact()

    def write_all() -> None:
        for seed in range(1, 1000):
            pets.upsert(rows(seed))

    with pytest.raises(CollectionError, match="the disk is full; free some space") as caught:
        write_all()
    assert "\n" not in str(caught.value)
    written = max(r.metadata["seed"] for r in pets.records()) + 1
    assert [r.metadata["seed"] for r in pets.records()] == [seed for seed in range(written) for _ in range(150)]
    assert finds(pets, rows(0) + rows(written - 1))
    assert not pets.search(rows(written)[0].vector, 1)[0].score > 0.99
    with open_collection(folder, "pets") as reader:
        assert finds(reader, rows(0) + rows(written - 1))

    (folder / "ballast").unlink()
    pets.upsert(rows(written))  # no restart was needed
    assert finds(pets, rows(written))

    fill(folder / "ballast")
    there = snapshot_files(folder)
    with pytest.raises((CollectionError, OSError), match=r"disk is full|No space left"):
        pets.compact()
    assert finds(pets, rows(0) + rows(written))
    assert snapshot_files(folder) == there  # what was half-written takes no space
    pets.close()
    with open_collection(folder, "pets") as reader:
        assert finds(reader, rows(0) + rows(written))
    (folder / "ballast").unlink()
    with open_collection(folder, "pets", writable=True) as pets:
        assert finds(pets, rows(0) + rows(written))
        pets.delete([r.id for r in pets.records() if r.metadata["seed"] == 1])
        pets.compact()
        pets.upsert(rows(1))
        assert finds(pets, rows(0) + rows(1) + rows(written))
        assert pets.check() == []


def test_a_full_disk_leaves_the_old_state_and_can_be_freed(tmp_path: Path) -> None:
    on_a_disk_of_its_own(fill_the_disk, tmp_path, 'mount -t tmpfs -o size=6m none "$0"')


def use_a_read_only_disk(folder: Path) -> None:
    assert not os.access(folder / "collections/pets/catalog.sqlite", os.W_OK)
    with open_collection(folder, "pets") as pets:
        assert finds(pets, rows(0))
        assert pets.check() == []
        assert pets.info().counts["image"] == 150
        with pytest.raises(CollectionError, match="for reading only"):
            pets.upsert(rows(1))
    assert [info.problem for info in list_collections(folder)] == [None]
    with pytest.raises(CollectionError, match=r"[Rr]ead-only"):
        open_collection(folder, "pets", writable=True)
    with pytest.raises((CollectionError, OSError), match=r"[Rr]ead-only"):
        delete_collection(folder, "pets")
    with pytest.raises((CollectionError, OSError), match=r"[Rr]ead-only"):
        create_collection(folder, "new", model="x", fingerprint="0", dim=64)


@pytest.mark.parametrize("snapshot", [True, False], ids=["with a snapshot", "without"])
def test_a_read_only_disk_can_be_searched(tmp_path: Path, snapshot: bool) -> None:
    with create_collection(tmp_path, "pets", model="x", fingerprint="0", dim=64) as pets:
        pets.upsert(rows(0))
        if snapshot:
            pets.compact()
    on_a_disk_of_its_own(use_a_read_only_disk, tmp_path, 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0"')


# --- a damaged snapshot, a damaged catalog ---


@pytest.fixture
def pets_with_snapshot(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    with create_collection(tmp_path, "pets", model="x", fingerprint="0", dim=64) as pets:
        pets.upsert(rows(0) + rows(1))
        pets.compact(getattr(request, "param", None))
        pets.delete([r.id for r in pets.records() if r.metadata["seed"] == 1])
        pets.upsert(rows(2))
    return tmp_path


DAMAGE: dict[str, Callable[[bytes], bytes | None]] = {
    "missing": lambda content: None,
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "one byte short": lambda content: content[:-1],
    "longer": lambda content: content + bytes(100),
    "zeros": lambda content: bytes(len(content)),
    **{
        f"flipped at {share}": lambda content, at=share: (  # type: ignore[misc]
            content[: int(at * len(content))]
            + bytes(b ^ 0xFF for b in content[int(at * len(content)) :][:16])
            + content[int(at * len(content)) + 16 :]
        )
        for share in (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99)
    },
}


@pytest.mark.parametrize(
    ("damage", "pets_with_snapshot"),
    [
        *((damage, IndexConfig()) for damage in DAMAGE),
        *((damage, IndexConfig("ivf-sq8", 1.0)) for damage in ("missing", "cut")),
    ],
    ids=[*DAMAGE, "coarse missing", "coarse cut"],
    indirect=["pets_with_snapshot"],
)
def test_a_damaged_snapshot_is_never_searched_and_heals(pets_with_snapshot: Path, damage: str) -> None:
    there = snapshot_files(pets_with_snapshot)
    assert len(there) > 1
    for path in there:
        content = DAMAGE[damage](path.read_bytes())
        path.unlink()  # a new file, as one that is mapped is never written to
        if content is not None:
            path.write_bytes(content)
    with open_collection(pets_with_snapshot, "pets") as pets:
        assert finds(pets, rows(0) + rows(2))
        assert len(pets.search(rows(0)[0].vector, 1000)) == 300
    with open_collection(pets_with_snapshot, "pets", writable=True) as pets:
        assert finds(pets, rows(0) + rows(2))
        pets.compact()
        assert pets.check() == []
    assert len(snapshot_files(pets_with_snapshot)) == len(there)
    with open_collection(pets_with_snapshot, "pets") as pets:
        assert finds(pets, rows(0) + rows(2))


def test_the_snapshot_of_another_collection_is_not_taken(pets_with_snapshot: Path, tmp_path: Path) -> None:
    with create_collection(tmp_path / "other", "pets", model="x", fingerprint="0", dim=64) as other:
        other.upsert(rows(7) + rows(8))
        other.compact()
    theirs = snapshot_files(tmp_path / "other")
    for mine, its in zip(snapshot_files(pets_with_snapshot), theirs, strict=True):
        mine.unlink()
        shutil.copyfile(its, mine)
    with open_collection(pets_with_snapshot, "pets") as pets:
        assert finds(pets, rows(0) + rows(2))


def answers(data: Path) -> tuple[list[Record], list[list[tuple[int, float]]]]:
    with open_collection(data, "pets") as pets:
        hits = pets.search_many([entry.vector for entry in rows(0, 5)], 10)
        return list(pets.records()), [[(hit.id, round(hit.score, 5)) for hit in row] for row in hits]


def problems(data: Path) -> list[str]:
    try:
        with open_collection(data, "pets") as pets:
            return pets.check()
    except CollectionError as error:
        return [str(error)]


def test_each_page_of_a_catalog_that_is_lost_is_noticed(pets_with_snapshot: Path) -> None:
    """Pages of zeros, one after the other: the check names it, or nothing was in it. No search is wrong meanwhile."""
    catalog = pets_with_snapshot / "collections/pets/catalog.sqlite"
    whole, right, named = catalog.read_bytes(), answers(pets_with_snapshot), 0
    assert problems(pets_with_snapshot) == []
    pages = range(0, len(whole), 8192)
    for page in pages:
        catalog.write_bytes(whole[:page] + bytes(8192) + whole[page + 8192 :])
        found = problems(pets_with_snapshot)
        named += bool(found)
        assert not any("\n" in problem for problem in found)
        try:
            assert answers(pets_with_snapshot) == right, page
        except CollectionError:
            assert found, page
    assert named > len(pages) / 2
    for length in (0, 100, 8192, len(whole) // 2, len(whole) - 8192):
        catalog.write_bytes(whole[:length])
        assert problems(pets_with_snapshot), length
        with pytest.raises(CollectionError):
            answers(pets_with_snapshot)
    catalog.write_bytes(whole)
    assert problems(pets_with_snapshot) == []
    assert answers(pets_with_snapshot) == right


def test_flipped_bytes_in_a_catalog_raise_only_what_is_ours(pets_with_snapshot: Path) -> None:
    """A letter in a caption may change unseen: SQLite keeps no checksums. But only our errors are raised."""
    catalog = pets_with_snapshot / "collections/pets/catalog.sqlite"
    whole, rng, named = catalog.read_bytes(), np.random.default_rng(1), 0
    for _ in range(150):
        flipped = bytearray(whole)
        at = int(rng.integers(len(whole)))
        for i in range(at, min(at + int(rng.integers(1, 40)), len(whole))):
            flipped[i] ^= int(rng.integers(1, 256))
        catalog.write_bytes(flipped)
        found = problems(pets_with_snapshot)
        named += bool(found)
        assert not any("\n" in problem for problem in found)
        with suppress(CollectionError):
            answers(pets_with_snapshot)
    assert named > 30
