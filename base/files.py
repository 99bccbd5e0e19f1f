"""Files that appear whole: a kill, a full disk or a power cut leaves the old one or the new one, never half of one."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import shutil
import stat
import sys
import tempfile
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from base.errors import DiskError, DiskFull, InputError
from base.locks import LockHeld, let_go_if_barred, lock

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)  # on the disk, or in the quota of this user
PART = ".part"
_ID = rf"[0-9a-f]{{32}}{re.escape(PART)}"  # how the name of a part ends


@contextmanager
def whole_file(path: Path, *, private: bool = False) -> Iterator[Path]:
    """An empty file beside `path` to write to. When the block ends it is on disk and takes the place of `path`.

    It has the mode of a file that is there, and as far as one may its owner and group, unless the block says otherwise.
    When the block raises, nothing is left of it. It is locked meanwhile: what a killed process left there may be large,
    so who writes `path` next removes such files that nobody holds, with all whose names begin with theirs.

    Args:
        path: of the file.
        private: its owner alone may read it, whatever mode the one before had.

    Raises:
        OSError: it cannot be made, put on disk, or renamed.
    """
    beginning = _beginning(path)
    sweep_parts(path.parent, re.escape(beginning))
    is_there = path.is_file() and not path.is_symlink()
    mode = 0o600 if private or is_there else 0o666  # who may not read it cannot open it before it has its mode
    with _locked_part(path, beginning, mode) as part, _naming(path, part):
        if is_there:
            _as_before(path, part, private=private)
        yield part
        fsync_file(part)
        part.replace(path)
        fsync_file(path.parent)


@contextmanager
def out_file(path: Path, *, private: bool = False) -> Iterator[Path]:
    """`whole_file` for a name that a person gave: a link leads to it; a pipe, a device or /dev/stdout is written to."""
    if not is_stream(path):
        with whole_file(behind_links(path), private=private) as part:
            yield part
        return
    with tempfile.TemporaryDirectory() as folder, _naming(path):
        (part := Path(folder) / PART).touch()
        yield part
        with part.open("rb") as content, open(to_open(path), "wb") as stream:  # noqa: PTH123  or a descriptor
            shutil.copyfileobj(content, stream)


@contextmanager
def new_file(file: Path, *, overwrite: bool, private: bool = False) -> Iterator[Path]:
    """`out_file` for one that is new. InputError if it is there and `overwrite` is not given."""
    if file.is_dir():
        raise InputError(f"{file}: a folder; give the name of a file")
    if file.exists() and not overwrite and not is_stream(file):
        raise InputError(f"{file}: is there already; choose another name, or overwrite it with --force")
    if not file.parent.is_dir():
        raise InputError(f"{file.parent}: no such folder")
    with out_file(file, private=private) as part:
        yield part


@contextmanager
def new_folder(folder: Path, *, instead_of: Collection[str] = (), overwrite: bool = False) -> Iterator[Path]:
    """An empty folder that takes the place of `folder`, which a person named, when the block ends; files alone in it.

    When the block raises, nothing is left of it; what a killed process left is swept as by `whole_file`.

    Args:
        folder: not there, or empty, or with nothing in it but `instead_of`.
        instead_of: names of files that go with what is there.
        overwrite: they may go; else a folder with them is refused as well.

    Raises:
        InputError: there is something else in it, it is a file, or it has no folder to lie in.
        OSError: as `whole_file`.
    """
    folder = folder.resolve()
    _check_replaceable(folder, instead_of, overwrite)
    beginning = _beginning(folder)
    sweep_parts(folder.parent, re.escape(beginning))
    with _locked_part(folder, beginning) as part:
        made, old = Path(f"{part}.new"), Path(f"{part}.old")
        try:
            made.mkdir()
            _as_before(folder, made)
            with _naming(folder):
                yield made
            for file in made.iterdir():
                fsync_file(file)
            fsync_file(made)
            _check_replaceable(folder, instead_of, overwrite)
            if folder.exists():
                folder.rename(old)
            made.rename(folder)
            fsync_file(folder.parent)
        finally:
            shutil.rmtree(made, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)


def sweep_parts(folder: Path, beginning: str) -> None:
    """Remove the parts in `folder` that nobody holds, with what stands beside them: what killed processes left.

    Whoever writes a file again does so for its own; who gives each a new name must for all of them.

    Args:
        folder: where they lie; one that cannot be read has none.
        beginning: a regular expression of how their names begin: a dot, the file's name, a dot.
    """
    name = re.compile(f"({beginning}{_ID}).*", re.DOTALL)
    with suppress(OSError):
        left: dict[str, list[Path]] = {}
        for entry in os.listdir(folder):  # noqa: PTH208  names alone, for each file that is written among thousands
            if PART in entry and (found := name.fullmatch(entry)):
                left.setdefault(found[1], []).append(folder / entry)
        for part, paths in left.items():
            with _taken(folder / part) as is_ours:
                for path in paths if is_ours else ():
                    if path.is_dir() and not path.is_symlink():
                        shutil.rmtree(path, ignore_errors=True)
                    else:
                        path.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes) -> None:
    """Put `content`, text as UTF-8, at `path` in place of what is there; its folder is made. OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)


def kept_bytes(path: Path) -> bytes:
    """The bytes of a file that is kept. OSError, also where there is no file but a pipe, which would be waited for."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "no file", str(path))
    return path.read_bytes()


def behind_links(path: Path) -> Path:
    """Where a file lies, or is to lie, that a person named by a link to it."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def is_stream(path: Path) -> bool:
    """Whether a name is that of a pipe, a device or an open file of this process, which is written to, not replaced."""
    return _descriptor(path) is not None or (path.exists() and not path.is_file() and not path.is_dir())


def is_stdout(path: Path) -> bool:
    """Whether a name is that of this process's standard output."""
    return _descriptor(path) == 1


def is_closed(path: Path) -> bool:
    """Whether a name is that of an open file which this process has not: later one of its own may get the number."""
    descriptor = _descriptor(path)
    try:
        return descriptor is not None and os.fstat(descriptor) is None
    except OSError:
        return True


def to_open(path: Path) -> Path | int:
    """What `open` is to be given for a path: a copy of the open file that it names, as /dev/stdout, goes on there."""
    descriptor = _descriptor(path)
    return path if descriptor is None else os.dup(descriptor)


def fsync_file(path: Path) -> None:
    """Make a file, or the names in a folder, survive a power cut."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        os.close(fd)


def place_of(fd: int) -> Path:
    """Where an open file lies, without links. OSError where the system does not tell."""
    if sys.platform == "darwin":
        return Path(os.fsdecode(fcntl.fcntl(fd, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0")))
    return Path(f"/proc/self/fd/{fd}").readlink()


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file's bytes, 64 hex digits. OSError."""
    with open(path, "rb") as file:  # noqa: PTH123  a path may be text
        return hashlib.file_digest(file, "sha256").hexdigest()


def mtime_ns(stat: os.stat_result) -> int:
    """When a file was changed, in 64 bits of nanoseconds since 1970: some disks tell of times that do not fit."""
    return max(-(2**63), min(stat.st_mtime_ns, 2**63 - 1))


def disk_problem(error: OSError, path: Path | None = None) -> str | None:
    """Of a disk that is full, read-only, failing or has no locks, what is wrong where, and the remedy; else None."""
    name = str(path) if path else error.filename
    where = f"{os.fsdecode(name)}: " if name else ""
    if error.errno in NO_SPACE:
        return f"{where}the disk is full; free some space and try again (nothing was changed)"
    if error.errno == errno.EROFS:
        return f"{where}on a read-only disk; make it writable and try again"
    if error.errno == errno.EIO:
        return f"{where}the disk fails (I/O error); look at it, its cable or network, and the system's log"
    if error.errno == errno.ENOLCK:
        return (
            f"{where}the disk has no locks, so two processes could write there at once: mount it with locks (NFS with "
            "its lock service, Lustre with the option flock), or take a folder on a local disk"
        )
    if error.errno == errno.EFBIG:
        return f"{where}a file may not be so large there, by a limit of this user (ulimit -f) or of the disk"
    return None


def disk_error(error: OSError, path: Path | None = None) -> DiskError | None:
    """What to raise for such a disk; None for another error."""
    problem = disk_problem(error, path)
    if problem is None:
        return None
    return DiskFull(problem) if error.errno in NO_SPACE else DiskError(problem)


def _check_replaceable(folder: Path, names: Collection[str], overwrite: bool) -> None:
    """InputError for a folder that may not be written, or with anything in it but files of these names."""
    if not folder.parent.is_dir():
        raise InputError(f"{folder.parent}: no such folder")
    if not folder.exists():
        return
    if not folder.is_dir():
        raise InputError(f"{folder}: a file; give the name of a folder")
    found = sorted(folder.iterdir())
    for path in found:
        if path.name not in names or path.is_dir():
            raise InputError(f"{folder}: holds {path.name}, which would be lost with it; choose another name")
    if found and not overwrite:
        raise InputError(
            f"{folder}: is there already with files in it; choose another name, or replace it with --force"
        )


def _as_before(path: Path, part: Path, *, private: bool = False) -> None:
    """Give a part the mode, owner and group of what it will replace, as far as one may; its owner can write it."""
    with suppress(OSError):
        old = path.lstat()
        if stat.S_IFMT(old.st_mode) != stat.S_IFMT(part.stat().st_mode):
            return
        for owner in (old.st_uid, -1):  # of any owner root alone, of a group all who are in it
            with suppress(OSError):
                os.chown(part, owner, old.st_gid)
                break
        if not private:
            part.chmod(stat.S_IMODE(old.st_mode) | stat.S_IWUSR)


@contextmanager
def _naming(path: Path, part: Path | None = None) -> Iterator[None]:
    """Have errors name the file that was to be written: a full disk does not say where, and a part means nothing."""
    try:
        yield
    except OSError as error:
        if part is None or error.filename in (None, str(part)):
            error.filename = str(path)
        raise


def _descriptor(path: Path) -> int | None:
    """The open file of this process that a path names: /dev/stdout, /dev/fd/3."""
    for _ in range(8):  # links to links
        if found := re.fullmatch(rf"/(?:dev|proc/self|proc/{os.getpid()})/fd/(\d+)", str(path.absolute())):
            return int(found[1])
        if not path.is_symlink():
            break
        path = path.parent / path.readlink()
    return None


def _beginning(path: Path) -> str:
    """How the names of its parts begin: so short that all have 143 bytes at most, as eCryptfs takes no more."""
    return f".{os.fsencode(path.name)[:90].decode(errors='ignore')}."


@contextmanager
def _locked_part(path: Path, beginning: str, mode: int = 0o666) -> Iterator[Path]:
    """An empty part beside `path` that goes with the block, and is locked meanwhile where a disk has such locks."""
    with _naming(path):
        part, held = _new_part(path, beginning, mode)
    try:
        yield part
    finally:
        with suppress(OSError):  # it has taken its place, or on a disk that fails the next sweep takes it
            part.unlink()
        os.close(held)


def _new_part(path: Path, beginning: str, mode: int) -> tuple[Path, int]:
    while True:
        part, held = path.with_name(f"{beginning}{uuid.uuid4().hex}{PART}"), -1
        try:
            held = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)
            lock(held, part, wait=True, needed=False)  # where there are none, no sweep takes it either
            if part.exists():
                let_go_if_barred(held, part)
                return part, held
        except BaseException:  # Ctrl-C too
            with suppress(OSError):
                part.unlink()
            if held >= 0:
                os.close(held)
            raise
        os.close(held)  # another's sweep came between making and locking it


@contextmanager
def _taken(part: Path) -> Iterator[bool]:
    """Whether nobody else holds it; then nobody does while the block runs."""
    try:
        fd = os.open(part, os.O_RDWR)
    except OSError as error:
        yield isinstance(error, FileNotFoundError)  # what is beside it has been left behind
        return
    try:
        try:
            lock(fd, part)
            is_ours = not let_go_if_barred(fd, part)
        except (OSError, LockHeld):
            is_ours = False
        yield is_ours
    finally:
        os.close(fd)
