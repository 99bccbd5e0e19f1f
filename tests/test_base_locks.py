"""Locks, also on disks that have others than a local one, or none."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import numpy as np
import pytest

from base.errors import DiskError
from base.files import disk_error, whole_file, write_whole
from base.locks import LOCK, LockHeld, folder_lock, has_locks, lock_file
from base.own_folders import clear, is_left, let_go, lock_left, new_own_folder
from index.collection import create_collection, delete_collection, open_collection, sweep_deleted
from index.entry import Entry
from index.renaming import rename_collection
from labelling.label_sets import LabelSet, LabelSets
from service import preflight
from service.jobs.store import JobStore
from service.keys import add_key, read_keys
from service.signing import FILE, Signer

FLOCK, FCNTL = fcntl.flock, fcntl.fcntl


def refusing(number: int) -> Callable[..., Any]:
    def refused(*_: object) -> Any:
        raise OSError(number, os.strerror(number))

    return refused


def network(fd: int, how: int) -> None:
    """As NFS does it (flock(2)): an exclusive lock is for what is open for writing."""
    if how & fcntl.LOCK_EX and FCNTL(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    FLOCK(fd, how)


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(fd: int, how: int, *more: Any) -> Any:
        if how == fcntl.F_GETLK:
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
        return FCNTL(fd, how, *more)

    monkeypatch.setattr(fcntl, "flock", refusing(errno.ENOLCK))
    monkeypatch.setattr(fcntl, "fcntl", none)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def filled(data: Path) -> None:
    with create_collection(data, "pets", model="m", fingerprint="f", dim=4) as pets:
        pets.upsert([Entry(np.eye(1, 4, dtype=np.float32)[0], "text", text="cat")])


def test_all_that_locks_does_so_on_a_network_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", network)
    filled(tmp_path)
    rename_collection(tmp_path, "pets", "cats")
    add_key(tmp_path, "ann", "read")
    assert [key.name for key in read_keys(tmp_path)] == ["ann"]
    sets = LabelSets(tmp_path)
    sets.put("colours", LabelSet.of(["red", "green"]))
    sets.delete("colours")
    jobs = JobStore(tmp_path)
    jobs.check_lock()
    held = jobs.lock()
    assert held is not None
    assert jobs.lock() is None
    os.close(held)
    delete_collection(tmp_path, "cats")
    assert list((tmp_path / "collections").iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EBADF, 524])
def test_a_disk_without_locks_is_named_and_told_from_a_lock_that_is_held(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", refusing(number))
    with pytest.raises(OSError, match="No locks") as refused, folder_lock(tmp_path):
        pass
    problem = disk_error(refused.value)
    assert isinstance(problem, DiskError)
    assert str(tmp_path) in str(problem)
    assert "mount it with locks" in str(problem)
    write_whole(tmp_path / "file", "what needs none is written")
    assert names(tmp_path) == [LOCK, "file"]


def test_without_locks_nothing_is_changed_and_all_is_read(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    filled(tmp_path)
    sets = LabelSets(tmp_path)
    sets.put("colours", LabelSet.of(["red"]))
    request.getfixturevalue("no_locks")
    folder = tmp_path / "collections" / "pets"
    assert not has_locks(folder / LOCK)
    warnings = preflight.check({"data": tmp_path, "model": str(tmp_path / "none"), "port": 0}).warnings
    assert any("on a disk without locks" in line for line in warnings)
    for change in (
        lambda: open_collection(tmp_path, "pets", writable=True),
        lambda: delete_collection(tmp_path, "pets"),
        lambda: filled(tmp_path / "new"),
        lambda: sets.put("colours", LabelSet.of(["blue"])),
        lambda: JobStore(tmp_path).check_lock(),
    ):
        with pytest.raises((DiskError, OSError), match=r"no locks|No locks"):
            change()
    with open_collection(tmp_path, "pets") as pets:
        assert pets.count() == 1
        assert names(folder) == [LOCK, "catalog.sqlite"]  # SQLite has locked nothing
        with pytest.raises(DiskError, match="no locks"):  # where it would wait without end
            pets._catalog.copy_to(tmp_path / "copy")
    assert sets.get("colours").tag
    assert "copy" not in names(tmp_path)


@pytest.mark.parametrize("mode", [0o700, 0o2775])
def test_who_may_write_in_a_folder_may_take_its_lock(tmp_path: Path, mode: int) -> None:
    group = 12345 if os.geteuid() == 0 else min(os.getgroups(), default=os.getegid())
    os.chown(tmp_path, -1, group)
    tmp_path.chmod(mode)
    with folder_lock(tmp_path):
        made = (tmp_path / LOCK).stat()
    assert (made.st_mode & 0o777, made.st_gid) == (mode & 0o666, group)


def test_a_lock_that_smb_says_is_held_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = lock_file(tmp_path / LOCK)
    monkeypatch.setattr(fcntl, "flock", refusing(errno.EACCES))
    monkeypatch.setattr(os, "pread", refusing(errno.EACCES))  # nobody else may read what is locked
    with pytest.raises(LockHeld, match="unknown"):
        lock_file(tmp_path / LOCK)
    os.close(first)


def test_a_lock_that_would_bar_its_holder_from_writing_is_let_go_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As SMB's do: nobody writes by another descriptor than the one that has the lock, and no sweep can be sure."""
    locked: dict[int, int] = {}  # inode -> descriptor
    write = os.write

    def flock(fd: int, how: int) -> None:
        FLOCK(fd, how)
        locked.pop(os.fstat(fd).st_ino, None)
        if how != fcntl.LOCK_UN:
            locked[os.fstat(fd).st_ino] = fd

    def barred(fd: int, content: bytes) -> int:
        if locked.get(os.fstat(fd).st_ino, fd) != fd:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        return write(fd, content)

    monkeypatch.setattr(fcntl, "flock", flock)
    monkeypatch.setattr(os, "write", barred)
    with whole_file(tmp_path / "file") as part:
        assert part.stat().st_ino not in locked
        part.write_text("whole")
        write_whole(tmp_path / "file", "by another, meanwhile")
        assert part.read_text() == "whole"
    assert (names(tmp_path), (tmp_path / "file").read_text()) == (["file"], "whole")


def test_who_waits_for_a_lock_that_is_deleted_gets_the_one_that_is_there(tmp_path: Path) -> None:
    first, got = lock_file(tmp_path / LOCK), []
    waits = threading.Thread(target=lambda: got.append(lock_file(tmp_path / LOCK, wait=True)))
    waits.start()
    (tmp_path / LOCK).unlink()
    second = lock_file(tmp_path / LOCK)
    os.close(first)
    waits.join(0.2)
    assert not got
    os.close(second)
    waits.join(20)
    assert os.path.samestat(os.fstat(got[0]), (tmp_path / LOCK).stat())
    os.close(got[0])


def test_a_link_is_no_lock(tmp_path: Path) -> None:
    (tmp_path / LOCK).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        lock_file(tmp_path / LOCK)
    assert names(tmp_path) == [LOCK]


def test_what_is_no_folder_among_the_collections_is_no_disk_without_locks(tmp_path: Path) -> None:
    filled(tmp_path)
    (tmp_path / "collections" / ".DS_Store").touch()
    (tmp_path / "collections" / "loop").symlink_to("loop")
    assert has_locks(tmp_path / "collections" / ".DS_Store" / LOCK)
    report = preflight.check({"data": tmp_path, "model": str(tmp_path / "none"), "port": 0})
    assert not any("locks" in line for line in report.warnings)


@pytest.mark.usefixtures("no_locks")
def test_signed_addresses_are_good_where_nothing_can_be_locked(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("0" * 64)
    path, _, query = Signer(tmp_path).signed("/a", 60).partition("?")
    assert Signer(tmp_path, read_only=True).problem_of(path, parse_qs(query)) is None


def test_a_link_to_where_a_disk_is_mounted_goes_with_what_lies_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(tmp_path)
    folder, disk = tmp_path / "collections" / "pets", tmp_path / "disk"
    folder.rename(disk)
    folder.symlink_to(disk)
    rmdir = Path.rmdir

    def busy(path: Path) -> None:
        if path == disk:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        rmdir(path)

    monkeypatch.setattr(Path, "rmdir", busy)
    delete_collection(tmp_path, "pets")
    assert names(tmp_path / "collections") == []
    assert names(disk) == []


def test_what_is_open_stays_no_longer_than_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path)
    unlink = Path.unlink

    def renamed(path: Path, missing_ok: bool = False) -> None:
        """As NFS removes a file that is open."""
        if path.name.startswith(".nfs"):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        if path.name == LOCK and path.exists():
            path.rename(path.with_name(".nfs0001"))
        else:
            unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", renamed)
    delete_collection(tmp_path, "pets")  # says nothing of files that could not be removed
    [gone] = (tmp_path / "collections").iterdir()
    monkeypatch.undo()
    assert not is_left(gone)
    (gone / ".nfs0001").unlink()
    sweep_deleted(tmp_path)
    assert list((tmp_path / "collections").iterdir()) == []


def test_a_folder_that_cannot_be_cleared_keeps_its_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, lock = new_own_folder(tmp_path, ".new-")
    with pytest.raises(LockHeld):
        lock_left(own)
    (own / "file").touch()
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", refusing(errno.EPERM))
        clear(own)
        assert is_left(own)
    assert names(own) == [LOCK, "file"]
    os.close(lock)
    let_go(own, lock_left(own))
    assert not own.exists()
