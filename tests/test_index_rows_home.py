"""Rows of an index on another disk: they lie there and nowhere else, searches are the same, nothing is left behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pets import create, images, unit

from base.errors import CollectionError, InputError
from index.collection import Collection, delete_collection, open_collection

GLIMPSE = Path(sys.executable).with_name("glimpse")


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    disk = tmp_path / "slow"
    disk.mkdir()
    return disk


@pytest.fixture
def data(tmp_path: Path, disk: Path) -> Path:
    """A collection of which rows of before lie at home."""
    data = tmp_path / "data"
    with create(data) as pets:
        pets.upsert(images(*range(300)))
        pets.compact()
    return data


def files(folder: Path) -> list[str]:
    return sorted(path.suffix for path in folder.rglob("*") if path.is_file())


def found(pets: Collection) -> list[tuple[int, float]]:
    return [(hit.record.id, hit.score) for hit in pets.search(unit(7), 10)]


def compact(data: Path, *more: str | Path) -> subprocess.CompletedProcess[str]:
    command = [GLIMPSE, "collections", "compact", "pets", "--data", data, *more]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_rows_lie_where_they_are_told_to_and_searches_are_the_same(data: Path, disk: Path) -> None:
    with open_collection(data, "pets") as pets:
        before, size = found(pets), pets.info().bytes
    done = compact(data, "--rows", disk)
    assert done.returncode == 0, done.stderr
    (rows,) = (data / "collections" / "pets").glob("*.rows")
    assert rows.resolve().parent.parent == disk
    assert files(disk) == [".rows"]
    with open_collection(data, "pets", writable=True) as pets:
        assert found(pets) == before
        assert pets.info().bytes == pytest.approx(size, abs=20_000)  # they are counted
        pets.upsert(images(*range(300, 400)))
        pets.compact()  # no word of a disk: as before
        assert files(disk) == [".rows"]
        assert pets.check() == []


def test_the_data_folder_brings_them_back(data: Path, disk: Path) -> None:
    compact(data, "--rows", disk)
    done = compact(data, "--rows", data)
    assert done.returncode == 0, done.stderr
    assert list(disk.iterdir()) == []
    assert not any(path.is_symlink() for path in (data / "collections" / "pets").iterdir())
    with open_collection(data, "pets") as pets:
        assert found(pets)[0] == (8, pytest.approx(1, abs=1e-3))


def test_they_go_with_their_collection(data: Path, disk: Path) -> None:
    compact(data, "--rows", disk)
    delete_collection(data, "pets")
    assert list(disk.iterdir()) == []


def test_a_disk_that_is_away_costs_an_index_and_no_entry(data: Path, disk: Path, tmp_path: Path) -> None:
    compact(data, "--rows", disk)
    disk.rename(tmp_path / "away")
    with open_collection(data, "pets", writable=True) as pets:
        assert found(pets)[0][0] == 8
        pets.upsert(images(1_000))
        with pytest.raises(CollectionError, match=f"{disk}.*it is away: bring that disk back, or name another"):
            pets.compact()
        other = tmp_path / "other"
        other.mkdir()
        pets.compact(rows=other)
        assert files(other) == [".rows"]
        assert [hit.record.path for hit in pets.search(unit(1_000), 1)] == ["/photos/1000.jpg"]


def test_a_disk_that_is_none_changes_nothing(data: Path, disk: Path) -> None:
    done = compact(data, "--rows", disk / "typo")
    assert done.returncode == 2
    assert done.stderr.strip().endswith("typo: no such folder: make it on the disk that the rows are to lie on")
    with open_collection(data, "pets", writable=True) as pets, pytest.raises(InputError):
        pets.compact(rows=disk / "typo")
    assert files(data / "collections" / "pets").count(".rows") == 1


WRITE = """
import sys
from pathlib import Path
from index.local.vectors import segment_files
from index.collection import open_collection

class Slowly:
    @staticmethod
    def write(path, blocks, dim, write=segment_files.FlatRows.write):
        write(path, blocks, dim)
        print("written", flush=True)
        sys.stdin.read()

segment_files.FlatRows.write = Slowly.write
with open_collection(Path(sys.argv[1]), "pets", writable=True) as pets:
    pets.compact(rows=Path(sys.argv[2]))
"""


def test_what_a_kill_leaves_goes_with_the_next(data: Path, disk: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WRITE, str(data), str(disk)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        process.send_signal(signal.SIGKILL)
    assert files(disk) == [".rows"]
    (left,) = disk.rglob("*.rows")
    with open_collection(data, "pets", writable=True) as pets:
        assert found(pets)[0][0] == 8
        pets.compact()
    (there,) = disk.rglob("*.rows")
    assert there.name != left.name


def test_two_collections_share_a_disk(data: Path, disk: Path) -> None:
    with create(data, "others") as others:
        others.upsert(images(1, 2, 3))
        others.compact(rows=disk)
    compact(data, "--rows", disk)
    assert files(disk) == [".rows", ".rows"]
    delete_collection(data, "others")
    assert files(disk) == [".rows"]
    with open_collection(data, "pets") as pets:
        assert pets.check() == []
