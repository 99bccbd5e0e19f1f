"""Files that appear whole: whatever happens in the middle, the name holds the old content or the new."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from base.errors import InputError
from base.files import PART, disk_problem, new_file, new_folder, out_file, whole_file, write_whole

ROOT = Path(__file__).parents[1]
KILLED = """
import os, signal, sys
from pathlib import Path
from base.files import whole_file
with whole_file(Path(sys.argv[1])) as part:
    part.write_text("half")
    Path(f"{part}-journal").touch()
    Path(f"{part}.folder").mkdir()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_written_takes_the_place_of_what_was_there(tmp_path: Path) -> None:
    file = tmp_path / "made" / "file.txt"
    for content in ("old\n", "new é\n", b"\xff"):
        write_whole(file, content)
        assert file.read_bytes() == (content if isinstance(content, bytes) else content.encode())
    assert names(file.parent) == ["file.txt"]


def test_a_block_that_raises_leaves_the_old_file_alone(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("old")
    with pytest.raises(TypeError), whole_file(file) as part:
        part.write_text(1)  # type: ignore[arg-type]
    assert (names(tmp_path), file.read_text()) == (["file"], "old")


def test_a_kill_in_the_middle_leaves_the_old_file_and_the_next_write_sweeps(tmp_path: Path) -> None:
    file = tmp_path / ("x" * 255)  # as long as a name may be
    file.write_text("old")
    assert subprocess.run([sys.executable, "-c", KILLED, file], cwd=ROOT).returncode == -signal.SIGKILL
    assert file.read_text() == "old"
    left = {name for name in names(tmp_path) if name != file.name}
    assert len(left) == 3
    assert max(len(name) for name in left) <= 143  # as long as eCryptfs lets one be
    with whole_file(file) as held:
        assert set(names(tmp_path)) == {file.name, held.name}
        write_whole(file, "by another, meanwhile")
        assert held.exists()
        held.write_text("new")
    assert (names(tmp_path), file.read_text()) == ([file.name], "new")


def test_a_name_that_looks_like_a_part_is_nobodys(tmp_path: Path) -> None:
    mine = [tmp_path / name for name in (".file.part", ".file.mine.part", f".file.{'0' * 31}.part", "file.part")]
    for path in mine:
        path.touch()
    write_whole(tmp_path / "file", "new")
    assert names(tmp_path) == sorted(["file", *(path.name for path in mine)])


def test_two_at_once_do_not_meet(tmp_path: Path) -> None:
    file = tmp_path / "file"
    with whole_file(file) as first, whole_file(file) as second:
        first.write_text("first")
        second.write_text("second")
    assert (names(tmp_path), file.read_text()) == (["file"], "first")


def test_a_sweep_between_the_making_of_a_part_and_its_lock_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    lock = fcntl.flock
    swept = []

    def sweep_first(fd: int, how: int) -> None:
        if not swept:
            swept.append(names(tmp_path))
            write_whole(file, "another's")
        lock(fd, how)

    monkeypatch.setattr(fcntl, "flock", sweep_first)
    with whole_file(file) as part:
        assert part.exists()
        part.write_text("ours")
    assert len(swept[0]) == 1
    assert (names(tmp_path), file.read_text()) == (["file"], "ours")


def test_many_at_once_all_write(tmp_path: Path) -> None:
    file = tmp_path / "file"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: write_whole(file, f"{i}\n" * 100), range(400)))
    assert (names(tmp_path), len(set(file.read_text().split()))) == (["file"], 1)


def test_a_file_that_a_person_named_is_not_overwritten_unasked(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("old")
    for path, said in ((file, "--force"), (tmp_path, "a folder"), (tmp_path / "no" / "file", "no such folder")):
        with pytest.raises(InputError, match=said), new_file(path, overwrite=False):
            pass
    with new_file(file, overwrite=True) as part:
        part.write_text("new")
    assert file.read_text() == "new"


def test_a_link_to_a_file_that_a_person_named_stays_one(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there/file")
    (tmp_path / "further").symlink_to(tmp_path / "link")
    for name, content in (("link", "made"), ("further", "written again")):
        with out_file(tmp_path / name) as part:
            part.write_text(content)
        assert (tmp_path / "there" / "file").read_text() == content
    assert (names(tmp_path), names(tmp_path / "there")) == (["further", "link", "there"], ["file"])
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "further").is_symlink()


def test_what_takes_the_place_of_another_has_its_mode_owner_and_group(tmp_path: Path) -> None:
    file, folder = tmp_path / "file", tmp_path / "folder"
    file.touch()
    folder.mkdir()
    for path, modes in ((file, (0o600, 0o664, 0o444)), (folder, (0o700, 0o2775))):
        owner = 12345 if os.geteuid() == 0 else os.geteuid()
        group = 12345 if os.geteuid() == 0 else min(os.getgroups(), default=os.getegid())
        os.chown(path, owner, group)
        for mode in modes:
            path.chmod(mode)
            with new_folder(path, overwrite=True) if path is folder else out_file(path) as part:
                assert part.stat().st_mode & 0o777 == mode & 0o777 | 0o200  # also while it is written
            now = path.stat()
            assert (now.st_mode & 0o7777, now.st_uid, now.st_gid) == (mode | 0o200, owner, group)
    with out_file(file) as part:
        part.chmod(0o640)
    assert file.stat().st_mode & 0o777 == 0o640


def test_who_may_not_read_a_file_can_open_no_part_of_it_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "old"
    old.touch()
    old.chmod(0o644)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "chmod", lambda *_: None)  # after the part is made it is too late
        for path, private in ((tmp_path / "new", True), (old, True), (old, False)):
            with whole_file(path, private=private) as part:
                assert part.stat().st_mode & 0o777 == 0o600
    old.chmod(0o644)
    with new_file(old, overwrite=True, private=True):
        pass
    assert old.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(sys.platform != "linux", reason="what files are open")
def test_a_part_that_cannot_be_removed_is_let_go_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unlink = Path.unlink

    def failing(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == PART:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        unlink(path, missing_ok=missing_ok)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", failing)
        write_whole(tmp_path / "file", "whole")
        with pytest.raises(TypeError):
            write_whole(tmp_path / "file", 1)  # type: ignore[arg-type]
        write_whole(tmp_path / "file", "again, beside what was left")
    assert not [fd for fd in Path("/proc/self/fd").iterdir() if str(tmp_path) in os.path.realpath(fd)]
    write_whole(tmp_path / "file", "new")
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "/d/f: the disk is full; free"),
        (errno.EROFS, "/d/f: on a read-only disk; make"),
        (errno.EIO, "/d/f: the disk fails"),
        (errno.EFBIG, "/d/f: a file may not be so large there"),
    ],
)
def test_what_is_wrong_with_a_disk_is_told_with_what_to_do(number: int, said: str) -> None:
    problem = disk_problem(OSError(number, os.strerror(number), "/d/f"))
    assert problem
    assert problem.startswith(said)
    assert disk_problem(FileNotFoundError(errno.ENOENT, "No such file", "/d/f")) is None


@pytest.mark.skipif(sys.platform != "linux", reason="what open files are called")
def test_what_is_written_to_a_pipe_or_an_open_file_arrives_there_and_the_name_stays(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    for name in ("pipe", "link"):
        with new_file(tmp_path / name, overwrite=False) as part:
            part.write_bytes(b"a,b\n")
        assert os.read(reader, 100) == b"a,b\n"
    os.close(reader)
    with (tmp_path / "appended.csv").open("ab") as file:
        file.write(b"before\n")
        file.flush()
        (tmp_path / "out").symlink_to(f"/proc/self/fd/{file.fileno()}")  # as /dev/stdout is one
        for path in (Path(f"/dev/fd/{file.fileno()}"), tmp_path / "out"):
            with out_file(path) as part:
                part.write_bytes(b"x\n")
    assert (tmp_path / "appended.csv").read_bytes() == b"before\nx\nx\n"
    assert (tmp_path / "pipe").is_fifo()
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "out").is_symlink()
    with pytest.raises(OSError, match="Bad file descriptor"), out_file(Path("/dev/fd/987")) as part:
        part.write_bytes(b"x")
