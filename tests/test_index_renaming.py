"""A collection under another name: whole under the one or the other, whenever it is killed, and its uploads with it."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from base.errors import (
    CollectionDamaged,
    CollectionExists,
    CollectionLocked,
    CollectionNotFound,
    DiskFull,
    GlimpseError,
    InputError,
    QuotaExceeded,
)
from index import renaming
from index.collection import Entry, check_collection, collection_names, create_collection, open_collection
from index.config import Quota
from index.local.layout import sweep, uploads_folder
from index.renaming import rename_collection
from index.uploads import file_of, remove_leftovers, take_home

ROOT = Path(__file__).parents[1]
UPLOADS = 3
KILLED = """
import os, sys
from pathlib import Path
from index import renaming

kept = getattr(renaming, sys.argv[1])
def killed(*given):
    if sys.argv[2] == "after":
        kept(*given)
    os._exit(9)
setattr(renaming, sys.argv[1], killed)
renaming.rename_collection(Path(sys.argv[3]), "shop", "autumn")
"""


def add_uploads(data: Path, name: str, first: int = 0) -> None:
    """Entries with uploaded files, whose bytes are told by their number."""
    with open_collection(data, name, writable=True) as collection:
        for i in range(first, first + UPLOADS):
            content = str(i).encode()
            sha256 = hashlib.sha256(content).hexdigest()
            path = uploads_folder(data, name) / sha256[:2] / f"{sha256}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            collection.upsert([Entry(np.eye(4, dtype=np.float32)[i % 4], "image", path, sha256=sha256)])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder whose collection `shop` has entries of uploads and another one."""
    with create_collection(tmp_path, "shop", model="m", fingerprint="f", dim=4) as made:
        made.set_title("Shop")
        made.set_quota(Quota(entries=10))
        made.upsert([Entry(np.ones(4, np.float32), "image", "/photos/uploads/x/a.png")])
    add_uploads(tmp_path, "shop")
    return tmp_path


def check(data: Path, name: str, *, entries: int = 1 + UPLOADS) -> None:
    """That it is whole, and each upload is where its entry says, and nowhere else."""
    assert collection_names(data) == [name]
    assert check_collection(data, name) == ([], [])
    with open_collection(data, name) as collection:
        assert (collection.name, collection.title, collection.count()) == (name, "Shop", entries)
        paths = [Path(path) for path, *_ in collection.paths(uploads_folder(data, name))]
    assert sorted(path.read_bytes() for path in paths) == [b"0", b"1", b"2"]
    assert sorted(path for path in (data / "uploads").rglob("*") if path.is_file()) == sorted(paths)


def test_all_of_it_is_under_the_new_name_and_nothing_under_the_old(data: Path) -> None:
    with open_collection(data, "shop") as before:
        ids = [record.id for record in before.records()]
        rename_collection(data, "shop", "autumn")
        assert not before.is_there()
    check(data, "autumn")
    with open_collection(data, "autumn", writable=True) as collection:
        assert [record.id for record in collection.records()] == ids
        assert collection.quota == Quota(entries=10)
        more = [Entry(np.ones(4, np.float32), "text", text=str(i)) for i in range(10)]
        with pytest.raises(GlimpseError, match="collection 'autumn' has 4 entries and may have 10"):
            collection.upsert(more)
    rename_collection(data, "autumn", "shop")
    check(data, "shop")


@pytest.mark.parametrize(
    ("step", "when", "name"),
    [
        ("_link", "before", "shop"),
        ("_link", "after", "shop"),
        ("call", "after", "autumn"),
        ("take_home", "before", "autumn"),
        ("take_home", "after", "autumn"),
    ],
)
def test_a_kill_leaves_it_whole_under_the_one_name_or_the_other(data: Path, step: str, when: str, name: str) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, step, when, str(data)], cwd=ROOT, check=False)
    assert killed.returncode == 9
    assert collection_names(data) == [name]
    sweep(data / "collections")  # as whoever makes or deletes one next does
    with open_collection(data, name, writable=True) as collection:
        own = uploads_folder(data, name)
        found = [file_of(str(record.path), own) for record in collection.records() if record.sha256]
        assert sorted(path.read_bytes() for path in found) == [b"0", b"1", b"2"]
        take_home(collection, own)
        remove_leftovers(collection, data)
    if name == "shop":
        assert not uploads_folder(data, "autumn").exists()  # where nobody would look for them, or delete any
        rename_collection(data, "shop", "autumn")
    check(data, "autumn")


def test_one_that_is_made_anew_under_the_old_name_keeps_its_uploads(data: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, "call", "after", str(data)], cwd=ROOT, check=False)
    assert killed.returncode == 9
    create_collection(data, "shop", model="m", fingerprint="f", dim=4).close()
    add_uploads(data, "shop")
    sweep(data / "collections")
    with open_collection(data, "autumn", writable=True) as collection:
        take_home(collection, uploads_folder(data, "autumn"))
    assert check_collection(data, "shop") == check_collection(data, "autumn") == ([], [])


def test_what_cannot_be_done_leaves_all_as_it_was(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create_collection(data, "autumn", model="m", fingerprint="f", dim=4).close()
    for to, kind in (("autumn", CollectionExists), ("shop", InputError), ("a/b", InputError), ("", InputError)):
        with pytest.raises(kind):
            rename_collection(data, "shop", to)
    with pytest.raises(CollectionNotFound, match="no collection 'sho'"):
        rename_collection(data, "sho", "new")
    with open_collection(data, "shop", writable=True), pytest.raises(CollectionLocked):
        rename_collection(data, "shop", "new")
    (data / "collections" / "autumn" / "catalog.sqlite").write_bytes(b"nothing" * 1000)
    with pytest.raises(CollectionDamaged):
        rename_collection(data, "autumn", "new")
    (data / "collections" / "autumn").rename(data / "away")
    (data / "collections" / "autumn").symlink_to(data / "nowhere")
    with pytest.raises(CollectionExists):
        rename_collection(data, "shop", "autumn")
    (data / "collections" / "autumn").unlink()

    def failing(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(renaming, "call", failing)
    with pytest.raises(OSError, match="No space"):
        rename_collection(data, "shop", "new")
    with open_collection(data, "shop", writable=True):  # nobody holds it
        pass
    assert sorted(path.name for path in (data / "uploads").iterdir()) == ["shop"]
    monkeypatch.undo()
    rename_collection(data, "shop", "new")
    check(data, "new")


def test_one_whose_entries_cannot_be_written_is_renamed_all_the_same(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise DiskFull("the disk is full")

    monkeypatch.setattr(renaming, "take_home", full)
    rename_collection(data, "shop", "autumn")
    with open_collection(data, "autumn", writable=True) as collection:
        assert take_home(collection, uploads_folder(data, "autumn")) == UPLOADS
    check(data, "autumn")


def test_a_disk_without_links_has_copies(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    def times(name: str) -> list[int]:
        return sorted(path.stat().st_mtime_ns for path in uploads_folder(data, name).rglob("*.png"))

    before = times("shop")
    monkeypatch.setattr("os.link", none)
    rename_collection(data, "shop", "autumn")
    check(data, "autumn")
    assert times("autumn") == before  # by which thumbnails that are kept are known to be of these files


def test_a_sweep_that_comes_between_costs_nothing(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mkdir, swept = Path.mkdir, []

    def then_sweep(path: Path, *given: Any, **more: Any) -> None:
        mkdir(path, *given, **more)
        if path.name.startswith(".gone-") and not swept:
            swept.append(path)
            sweep(path.parent)

    monkeypatch.setattr(Path, "mkdir", then_sweep)
    rename_collection(data, "shop", "autumn")
    assert swept
    check(data, "autumn")


def test_one_that_lies_on_another_disk_is_renamed_by_its_link(data: Path, tmp_path: Path) -> None:
    (data / "collections" / "shop").rename(tmp_path / "elsewhere")
    (data / "collections" / "shop").symlink_to(tmp_path / "elsewhere")
    rename_collection(data, "shop", "autumn")
    check(data, "autumn")
    assert (data / "collections" / "autumn").readlink() == tmp_path / "elsewhere"
    more = [Entry(np.ones(4, np.float32), "text", text=str(i)) for i in range(10)]
    with open_collection(data, "autumn", writable=True) as collection:
        for refused in (lambda: collection.upsert(more), lambda: collection.check_room(10)):
            with pytest.raises(QuotaExceeded, match="collection 'autumn' has 4 entries and may have 10"):
                refused()


def test_the_uploads_that_another_store_shares_stay(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renaming, "is_elsewhere", lambda *_: True)
    rename_collection(data, "shop", "autumn")
    assert sum(path.is_file() for path in uploads_folder(data, "shop").rglob("*")) == UPLOADS
    assert check_collection(data, "autumn") == ([], [])


def test_on_a_server_it_is_refused(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLIMPSE_STORE", "milvus://localhost:19530/default")
    with pytest.raises(GlimpseError, match="give it a title") as refused:
        rename_collection(data, "shop", "autumn")
    assert refused.value.code == "not_in_store"  # type: ignore[attr-defined]
