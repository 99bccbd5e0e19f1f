"""Backups: copied while a writer writes, refused when not sound, restored whole or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from base.errors import CollectionDamaged, CollectionExists, CollectionNotFound, InputError
from glimpse.cli import app
from index import backup
from index.backup import back_up, restore
from index.collection import (
    Collection,
    Entry,
    check_collection,
    create_collection,
    delete_collection,
    list_collections,
    open_collection,
)
from index.local.collection import LocalCollection
from index.local.layout import uploads_folder
from index.parquet.collections import export_parquet
from index.renaming import rename_collection
from index.uploads import remove_leftovers, take_home

DIM = 16


def create(data: Path, name: str = "pets") -> Collection:
    return create_collection(data, name, model="ViT-B-32/x", fingerprint="abc", dim=DIM)


def vectors(n: int, seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed).standard_normal((n, DIM)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def fill(pets: Collection, n: int = 50) -> list[int]:
    return pets.upsert([Entry(x, "image", f"/{i}.jpg", metadata={"i": i}) for i, x in enumerate(vectors(n))])


ROOT = Path(__file__).parents[1]


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_backup_restores_to_the_same_collection(tmp_path: Path) -> None:
    with create(tmp_path) as pets:
        ids = fill(pets)
        pets.delete(ids[:5])
        pets.upsert([Entry(vectors(1, seed=1)[0], "text", text="a text")])
        pets.set_title("Süße “Tiere”, 2024")
        file = tmp_path / "pets.glimpse"
        kept = back_up(tmp_path, "pets", file)  # the writer is open, and what it wrote is in the WAL
        assert (kept.entries, kept.bytes) == (46, file.stat().st_size)
        pets.delete(ids)
    before = file.read_bytes()
    assert restore(tmp_path, file, "again").entries == 46
    assert file.read_bytes() == before
    assert files(tmp_path / "collections") == ["again", "pets"]
    assert "pets.glimpse" in files(tmp_path)
    assert not [name for name in files(tmp_path) if name.startswith("pets.glimpse-") or name.endswith(".part")]

    [again, _] = list_collections(tmp_path)
    assert (again.model, again.fingerprint, again.counts) == ("ViT-B-32/x", "abc", {"image": 45, "text": 1})
    assert again.title == "Süße “Tiere”, 2024"
    with open_collection(tmp_path, "again", writable=True) as collection:
        assert collection.check() == []
        assert [r.id for r in collection.records("image")] == ids[5:]
        for i, x in enumerate(vectors(50)):
            [hit] = collection.search(x, k=1)
            assert i < 5 or hit.record.metadata == {"i": i}
        new = collection.upsert([Entry(vectors(1, seed=2)[0], "image", "/new.jpg")])
        assert new[0] > max(ids) + 1  # no id is given twice


def upload(data: Path, pets: Collection, content: bytes) -> Path:
    """A file of an upload, and its entry."""
    sha256 = hashlib.sha256(content).hexdigest()
    path = uploads_folder(data, pets.name) / sha256[:2] / f"{sha256}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    pets.upsert([Entry(vectors(1)[0], "image", path, sha256=sha256)])
    return path


def test_what_goes_into_a_pipe_is_told_by_its_size(tmp_path: Path) -> None:
    with create(tmp_path) as pets:
        fill(pets)
    os.mkfifo(tmp_path / "pipe")
    for write in (back_up, export_parquet):
        with ThreadPoolExecutor(1) as beside:
            read = beside.submit((tmp_path / "pipe").read_bytes)
            kept = write(tmp_path, "pets", tmp_path / "pipe")
            assert kept.bytes == len(read.result()) > 0


def test_uploaded_files_go_with_their_collection(tmp_path: Path) -> None:
    here, there, file = tmp_path / "here", tmp_path / "there", tmp_path / "pets.glimpse"
    with create(here) as pets:
        fill(pets, 3)
        kept = [upload(here, pets, f"file {i}".encode()) for i in range(3)]
    back_up(here, "pets", file)
    kept[1].rename(kept[1].with_suffix(".gone"))  # a restore does not look at what was there
    for data, name in ((there, "pets"), (here, "again")):
        assert restore(data, file, name).entries == 6
        with open_collection(data, name) as collection:
            assert collection.check() == []
            own = uploads_folder(data, name)
            assert [Path(path).relative_to(own) for path, *_ in collection.paths(own)] == sorted(
                path.relative_to(uploads_folder(here, "pets")) for path in kept
            )
            assert (own / kept[1].relative_to(uploads_folder(here, "pets"))).read_bytes() == b"file 1"
            assert collection.find_path("/0.jpg") is not None
        delete_collection(data, name)
        assert not own.exists()
    assert kept[0].exists()  # of another collection


def flip(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def test_files_that_something_made_links_are_backed_up_as_files(tmp_path: Path) -> None:
    with create(tmp_path) as pets:
        paths = [upload(tmp_path, pets, f"file {i}".encode()) for i in range(3)]
        (twin := paths[0].with_name(f"{paths[0].stem}-{'0' * 32}.png")).hardlink_to(paths[0])  # as who deduplicates
        pets.upsert([Entry(vectors(1)[0], "image", twin, sha256=paths[0].stem)])
    moved = paths[1].rename(tmp_path / "another disk")
    paths[1].symlink_to(moved)
    file = tmp_path / "pets.glimpse"
    assert back_up(tmp_path, "pets", file).entries == restore(tmp_path / "there", file, "pets").entries == 4
    own = uploads_folder(tmp_path / "there", "pets")
    assert sorted(path.read_bytes() for path in own.glob("*/*") if not path.is_symlink()) == [
        b"file 0", b"file 0", b"file 1", b"file 2"
    ]  # fmt: skip


@pytest.mark.parametrize(
    "harm",
    [
        flip,
        Path.unlink,
        lambda path: path.chmod(0) or path.unlink() or path.mkdir(),
        lambda path: path.unlink() or os.mkfifo(path),  # which would be waited for
        lambda path: path.unlink() or path.symlink_to("/etc/hostname"),
    ],
)
def test_a_damaged_upload_is_named_and_never_backed_up(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    with create(tmp_path) as pets:
        paths = [upload(tmp_path, pets, f"file {i}".encode()) for i in range(3)]
    file = tmp_path / "pets.glimpse"
    back_up(tmp_path, "pets", file)
    sound = file.read_bytes()
    assert check_collection(tmp_path, "pets") == ([], [])
    harm(paths[1])
    [problem], _ = check_collection(tmp_path, "pets")
    assert str(paths[1]) in problem
    with pytest.raises(CollectionDamaged, match=str(paths[1])):
        back_up(tmp_path, "pets", file, overwrite=True)
    assert file.read_bytes() == sound
    assert not [name for name in files(tmp_path) if ".part" in name]


def test_a_changed_vector_is_not_backed_up_even_if_its_row_has_no_checksum(tmp_path: Path) -> None:
    with create(tmp_path) as pets:
        fill(pets)
        pets.compact()
    file, catalog = tmp_path / "pets.glimpse", tmp_path / "collections/pets/catalog.sqlite"
    back_up(tmp_path, "pets", file)
    with closing(sqlite3.connect(catalog)) as db:
        db.execute("UPDATE entries SET checksum = NULL")
        db.commit()
    back_up(tmp_path, "pets", file, overwrite=True)
    vector = vectors(50)[7].astype(np.float16).tobytes()
    content = catalog.read_bytes()
    assert content.count(vector) == 1
    catalog.write_bytes(content.replace(vector, bytes([vector[0], vector[1] ^ 0x80]) + vector[2:]))  # another sign
    assert check_collection(tmp_path, "pets")[0]
    with pytest.raises(CollectionDamaged, match="image 8: its vector"):
        back_up(tmp_path, "pets", file, overwrite=True)


def test_an_upload_that_is_deleted_while_it_is_backed_up_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with create(tmp_path) as pets:
        paths = [upload(tmp_path, pets, f"file {i}".encode()) for i in range(2)]

        def meanwhile(path: Path, folder: Path) -> list[str]:
            gone = pets.find_path(paths[0])
            assert gone is not None
            pets.delete([gone.id])
            paths[0].unlink()
            return []

        monkeypatch.setattr(backup, "_check", meanwhile)
        assert back_up(tmp_path, "pets", tmp_path / "pets.glimpse").entries == 1
    assert restore(tmp_path, tmp_path / "pets.glimpse", "again").entries == 1
    assert check_collection(tmp_path, "again") == ([], [])


def test_one_that_is_renamed_while_it_is_backed_up_is_not_taken_for_one_whose_entries_were_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with create(tmp_path) as pets:
        upload(tmp_path, pets, b"a file")

    def meanwhile(step: Callable[..., object], *given: object) -> object:
        monkeypatch.undo()
        rename_collection(tmp_path, "pets", "dogs")
        return step(*given)

    for step in ("copy_sound", "_add_uploads"):
        monkeypatch.setattr(backup, step, partial(meanwhile, getattr(backup, step)))
        with pytest.raises(CollectionNotFound, match="'pets' was deleted or renamed while"):
            back_up(tmp_path, "pets", tmp_path / "pets.glimpse")
        assert not (tmp_path / "pets.glimpse").exists()
        rename_collection(tmp_path, "dogs", "pets")
    assert back_up(tmp_path, "pets", tmp_path / "pets.glimpse").entries == 1


def test_what_a_kill_leaves_of_uploads_is_named_and_removed(tmp_path: Path) -> None:
    with create(tmp_path) as pets:
        kept, left = (upload(tmp_path, pets, content) for content in (b"kept", b"left"))
        entry = pets.find_path(left)
        assert entry is not None
        pets.delete([entry.id])
        part = left.with_name(f".{left.name}.0a.part")
        theirs = left.with_name("notes.txt")
        for path in (part, theirs):
            path.write_bytes(b"")
        assert check_collection(tmp_path, "pets") == ([], [part, left])
        assert remove_leftovers(pets, tmp_path) == 2
    assert check_collection(tmp_path, "pets") == ([], [])
    assert (kept.exists(), theirs.exists()) == (True, True)


def test_a_path_that_leads_out_of_the_uploads_is_neither_taken_nor_restored(tmp_path: Path) -> None:
    """As a catalog of before may hold one."""
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    own = uploads_folder(tmp_path, "pets")
    with create(tmp_path) as pets:
        upload(tmp_path, pets, b"file")
        [key] = pets.upsert([Entry(vectors(1)[0], "image", "/fine.jpg")])
    for path in (f"{own}/../../secret.txt", "/photos/../secret.txt", f"{own}/notes.txt", f"{own}//{'ab' * 32}.png"):
        with closing(sqlite3.connect(tmp_path / "collections/pets/catalog.sqlite")) as db:
            db.execute("UPDATE entries SET path = ?, checksum = NULL WHERE id = ?", (path, key))
            db.commit()
        assert check_collection(tmp_path, "pets")[0]
        with pytest.raises(CollectionDamaged, match="pets' is damaged"):
            back_up(tmp_path, "pets", tmp_path / "file", overwrite=True)
        with pytest.raises(CollectionDamaged, match="file is damaged"):
            restore(tmp_path, packed(tmp_path, {"glimpse.uploads": str(own)}), "copy")
    assert files(tmp_path / "collections") == ["pets"]


def test_a_data_folder_that_was_named_by_a_way_around_works_as_it_did(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    data = tmp_path / "here" / ".." / "data"
    with create(data) as pets:
        path = upload(data, pets, b"file")
    assert ".." in path.parts
    assert check_collection(data, "pets") == ([], [])
    back_up(data, "pets", tmp_path / "file")
    for there, name in ((data, "again"), (tmp_path / "there", "pets")):
        restore(there, tmp_path / "file", name)
        assert check_collection(there, name) == ([], [])
        assert len(list(uploads_folder(there, name).glob("*/*"))) == 1


def test_uploads_of_a_data_folder_that_was_moved_are_missed_and_taken_home(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    with create(old) as pets:
        fill(pets, 3)
        names = [upload(old, pets, f"file {i}".encode()).relative_to(old) for i in range(3)]
    old.rename(new)
    (new / names[0]).unlink()
    here, nowhere = check_collection(new, "pets")[0]
    assert here.startswith("uploads of 2 entries, the first ")
    assert "`glimpse collections compact pets`" in here
    assert nowhere.startswith(f"uploads of 1 entries, the first 4: {old / names[0]} is not there")
    assert check_collection(new, "pets")[1] == []  # nobody could do without them
    with pytest.raises(CollectionDamaged, match="uploads of 2 entries"):
        back_up(new, "pets", tmp_path / "file")
    with open_collection(new, "pets", writable=True) as pets:
        assert remove_leftovers(pets, new) == 0
        assert take_home(pets, uploads_folder(new, "pets")) == 2
        pets.delete([4])
    assert check_collection(new, "pets") == ([], [])
    back_up(new, "pets", tmp_path / "file")
    assert restore(old, tmp_path / "file", "pets").missing == ()


def test_a_catalog_that_was_copied_without_its_uploads_misses_them(tmp_path: Path) -> None:
    here, there, file = tmp_path / "here", tmp_path / "there", tmp_path / "copied.sqlite"
    with create(here) as pets:
        paths = [upload(here, pets, f"file {i}".encode()) for i in range(2)]
    shutil.copy(here / "collections/pets/catalog.sqlite", file)
    assert restore(there, file, "pets").missing == ()  # they are where it says, and shown from there
    assert check_collection(there, "pets") == ([], [])
    shutil.rmtree(here)
    (problem,) = check_collection(there, "pets")[0]
    assert problem.startswith(f"uploads of 2 entries, the first 1: {sorted(paths)[0]} is not there")
    assert set(restore(tmp_path / "anew", file, "pets").missing) == set(map(str, paths))
    own = uploads_folder(tmp_path / "last", "again")
    for path in paths:
        own.joinpath(path.parent.name).mkdir(parents=True, exist_ok=True)
        own.joinpath(path.parent.name, path.name).write_bytes(b"file %d" % paths.index(path))
    assert restore(tmp_path / "last", file, "again").missing == ()
    assert check_collection(tmp_path / "last", "again") == ([], [])


def packed(data: Path, header: dict[str, str]) -> Path:
    """A tar of the collection `pets` and its uploads, as a stranger may make one."""
    with tarfile.open(data / "file", "w", pax_headers=header) as tar:
        tar.add(data / "collections/pets/catalog.sqlite", "catalog.sqlite")
        own = uploads_folder(data, "pets")
        for path in own.rglob("*.png"):
            tar.add(path, f"uploads/{path.relative_to(own)}")
    return data / "file"


def test_what_a_backup_says_of_itself_is_checked(tmp_path: Path) -> None:
    with create(tmp_path) as pets:
        path, lost = (upload(tmp_path, pets, content) for content in (b"file", b"lost"))
    own = str(uploads_folder(tmp_path, "pets"))
    for header in (
        {},
        *({"glimpse.uploads": word} for word in ("", "/", "//", "pets", own + "/", own + "s", own + "//x")),
    ):
        with pytest.raises(CollectionDamaged, match="file is damaged"):
            restore(tmp_path, packed(tmp_path, header), "copy")
    lost.unlink()
    with pytest.raises(CollectionDamaged, match="1 of its entries"):
        restore(tmp_path, packed(tmp_path, {"glimpse.uploads": own, "glimpse.complete": "1"}), "copy")
    backup = packed(tmp_path, {"glimpse.uploads": own})  # of before, which left out what was lost
    missing = restore(tmp_path, backup, "copy").missing
    assert missing == (str(uploads_folder(tmp_path, "copy") / lost.relative_to(own)),)
    told = CliRunner().invoke(app, ["collections", "restore", str(backup), "more", "--data", str(tmp_path)])
    assert "warning: 1 uploaded files are neither in the backup nor here, the first: " in told.stderr
    [problem], _ = check_collection(tmp_path, "copy")
    assert f"{lost.name} is missing" in problem
    with open_collection(tmp_path, "copy") as copy:
        assert copy.find_path(uploads_folder(tmp_path, "copy") / path.relative_to(own)) is not None


def test_a_tar_that_is_no_backup_of_ours_is_refused(tmp_path: Path) -> None:
    with create(tmp_path) as pets:
        upload(tmp_path, pets, b"file")
    good = tmp_path / "pets.glimpse"
    back_up(tmp_path, "pets", good)
    whole = good.read_bytes()
    file = tmp_path / "bad.glimpse"
    for bad in (whole.replace(b"file" + bytes(508), b"fool" + bytes(508)), whole[:5000], whole[:1024]):
        assert bad != whole
        file.write_bytes(bad)
        with pytest.raises(CollectionDamaged):
            restore(tmp_path, file, "copy")
    for name in ("../evil", "/etc/evil", "uploads/../../evil", "other"):
        with tarfile.open(file, "w") as tar:
            tar.add(tmp_path / "collections/pets/catalog.sqlite", "catalog.sqlite")
            tar.addfile(tarfile.TarInfo(name))
        with pytest.raises(CollectionDamaged, match="is no backup"):
            restore(tmp_path, file, "copy")
    assert files(tmp_path / "collections") == ["pets"]
    assert files(tmp_path / "uploads") == ["pets"]


def test_a_backup_holds_one_moment_while_a_writer_writes(tmp_path: Path) -> None:
    """Commit k replaces the ten rows of place k % 7: all that a state can be follows from its newest k."""
    acknowledged = -1
    done = threading.Event()
    with create(tmp_path) as pets:
        fill(pets, 2000)  # so that a copy takes its time

        def write() -> None:
            nonlocal acknowledged
            while not done.is_set():
                k = acknowledged + 1
                x = vectors(10, seed=k)
                pets.upsert([Entry(x[i], "image", f"/{k % 7}/{i}", metadata={"k": k}) for i in range(10)])
                acknowledged = k

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for turn in range(8):
                before = acknowledged
                back_up(tmp_path, "pets", tmp_path / f"{turn}.glimpse")
                after = acknowledged + 1  # one more may be committed and not yet acknowledged
                restore(tmp_path, tmp_path / f"{turn}.glimpse", f"copy-{turn}")
                with open_collection(tmp_path, f"copy-{turn}") as copy:
                    assert copy.check() == []
                    held = {r.path: r.metadata["k"] for r in copy.records() if "k" in r.metadata}
                    newest = max(held.values(), default=-1)
                    assert before <= newest <= after
                    assert held == {f"/{k % 7}/{i}": k for k in range(newest + 1) for i in range(10)}
        finally:
            done.set()
            writer.join()
    assert acknowledged > 8


def test_what_cannot_be_is_refused_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "pets.glimpse"
    with pytest.raises(CollectionNotFound, match="no collection 'pets'"):
        back_up(tmp_path, "pets", file)
    with create(tmp_path) as pets:
        fill(pets)
    back_up(tmp_path, "pets", file)
    old = file.read_bytes()
    with pytest.raises(InputError, match="--force"):
        back_up(tmp_path, "pets", file)
    with pytest.raises(InputError, match="no such folder"):
        back_up(tmp_path, "pets", tmp_path / "nowhere" / "file")
    with pytest.raises(InputError, match="a folder"):
        back_up(tmp_path, "pets", tmp_path, overwrite=True)
    with open_collection(tmp_path, "pets", writable=True) as pets:
        fill(pets, 60)
    assert back_up(tmp_path, "pets", file, overwrite=True).entries == 60
    assert file.read_bytes() != old

    with pytest.raises(CollectionExists, match="'pets' exists"):
        restore(tmp_path, file, "pets")
    with pytest.raises(InputError, match="no such file"):
        restore(tmp_path, tmp_path / "none", "new")
    with pytest.raises(InputError, match="cannot name a collection"):
        restore(tmp_path, file, "No Name")


@pytest.mark.parametrize("damage", ["no database", "cut", "a page of zeros", "empty"])
def test_a_damaged_backup_is_refused_and_leaves_nothing(tmp_path: Path, damage: str) -> None:
    with create(tmp_path) as pets:
        fill(pets, 400)
    file = tmp_path / "pets.glimpse"
    back_up(tmp_path, "pets", file)
    whole = file.read_bytes()
    page = 8192 * (len(whole) // 8192 // 2)
    file.write_bytes(
        {
            "no database": b"no database" * 1000,
            "cut": whole[: len(whole) // 2],
            "a page of zeros": whole[:page] + bytes(8192) + whole[page + 8192 :],
            "empty": b"",
        }[damage]
    )
    with pytest.raises(CollectionDamaged, match="earlier backup") as caught:
        restore(tmp_path, file, "new")
    assert str(file) in str(caught.value)
    assert files(tmp_path / "collections") == ["pets"]


def test_a_damaged_collection_is_not_backed_up_over_a_sound_backup(tmp_path: Path) -> None:
    with create(tmp_path) as pets:
        fill(pets, 400)
    file = tmp_path / "pets.glimpse"
    back_up(tmp_path, "pets", file)
    sound = file.read_bytes()
    catalog = tmp_path / "collections/pets/catalog.sqlite"
    whole = catalog.read_bytes()
    page = 8192 * (len(whole) // 8192 // 2)
    catalog.write_bytes(whole[:page] + bytes(8192) + whole[page + 8192 :])
    with pytest.raises(CollectionDamaged):
        back_up(tmp_path, "pets", file, overwrite=True)
    assert file.read_bytes() == sound
    assert not [name for name in files(tmp_path) if ".part" in name]


def test_a_catalog_in_use_is_no_backup(tmp_path: Path) -> None:
    with create(tmp_path) as pets:
        fill(pets)
        with pytest.raises(InputError, match="collections backup"):
            restore(tmp_path, pets.folder / "catalog.sqlite", "copy")


def test_a_restore_that_fails_late_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with create(tmp_path) as pets:
        fill(pets)
    back_up(tmp_path, "pets", tmp_path / "file")

    def full(self: LocalCollection) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(LocalCollection, "compact", full)
    with pytest.raises(OSError, match="No space"):
        restore(tmp_path, tmp_path / "file", "copy")
    assert files(tmp_path / "collections") == ["pets"]


@pytest.mark.parametrize("stage", ["backup", "copy"])
def test_the_next_backup_removes_what_a_killed_one_left(tmp_path: Path, stage: str) -> None:
    with create(tmp_path) as pets:
        fill(pets)
    killed = {
        "backup": "b._check = lambda path, whose: os.kill(os.getpid(), signal.SIGKILL)",
        "copy": "d.fsync_file = lambda path: os.kill(os.getpid(), signal.SIGKILL)",
    }[stage]
    script = (
        "import os, signal, sys; from pathlib import Path; from index import backup as b\n"
        "from index.local.catalog.sqlite import database as d\n"
        f"{killed}\n"
        "b.back_up(Path(sys.argv[1]), 'pets', Path(sys.argv[2]))"
    )
    out = tmp_path / "out"
    out.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path), str(out / "pets.glimpse")], cwd=ROOT, check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert len(files(out)) == 1
    back_up(tmp_path, "pets", out / "pets.glimpse")
    assert files(out) == ["pets.glimpse"]
