"""Putting files somewhere without overwriting any: moved, copied, linked; across disks too, and what a kill left of it.

A name is reserved by an empty file that must be new, then a rename puts the real one in its place: no moment has half a
file, on any kind of disk.
"""

from __future__ import annotations

import errno
import filecmp
import os
import shutil
from contextlib import suppress
from itertools import islice
from pathlib import Path

from base.files import file_sha256, fsync_file, whole_file
from labelling.outputs.output import NotDone

LEFT_BY_VIEWERS = {".DS_Store", "Thumbs.db"}


def stamp_of(path: Path, status: os.stat_result | None = None) -> str:
    """A file as it is now: one of another content has another stamp; moved on its disk it keeps it. "": none there."""
    if status is None:
        try:
            status = path.stat()
        except OSError:
            return ""
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ino}"


def is_there(path: Path) -> bool:
    """Whether there is anything of that name, a link that leads nowhere too."""
    return os.path.lexists(path)


def make_folder(path: Path) -> None:
    """Make a folder if it is not there. NotDone."""
    try:
        path.mkdir()
    except FileExistsError:
        if not path.is_dir():
            raise NotDone(path, "is a file where a folder is to be; move it away, or choose another folder") from None


def remove_folder(path: Path) -> None:
    """Remove a folder, unless there is something in it; what a file manager leaves where it has looked is nothing."""
    try:
        with os.scandir(path) as inside:  # a folder may have a million images: no more names than tell
            found = [each.name for each in islice(inside, len(LEFT_BY_VIEWERS) + 1)]
        if LEFT_BY_VIEWERS.issuperset(found):
            for name in found:
                (path / name).unlink()
        path.rmdir()
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT, errno.ENOTDIR):
            raise


def move(source: Path, target: Path) -> None:
    """Move a file, or a link, to a name that is free. NotDone, OSError; then it lies where it lay."""
    if source.is_symlink():
        link_to(Path(os.path.realpath(source)), target)
        source.unlink()
        return
    if not source.is_file():
        raise NotDone(source, "is no longer there")
    _reserve(target)
    try:
        try:
            source.rename(target)
            return
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
    except BaseException:
        _unreserve(source, target)
        raise
    _copy(source, target)
    try:
        source.unlink()
    except OSError:
        target.unlink()
        raise


def was_moved(source: Path, target: Path) -> bool:
    """Whether a move that was begun is done; what a kill left half done is done, or taken away."""
    if not (is_there(source) and is_there(target)):
        return is_there(target)
    if source.is_symlink():
        is_done = target.is_symlink() and os.path.realpath(source) == os.path.realpath(target)
    else:
        _unreserve(source, target)
        is_done = target.is_file() and not target.is_symlink() and filecmp.cmp(source, target, shallow=False)
        is_done = is_done and not source.samefile(target)
    if is_done:
        source.unlink()
    return is_done


def copy(source: Path, target: Path) -> None:
    """Copy a file, with its times and mode, to a name that is free. NotDone, OSError; then nothing is there."""
    _reserve(target)
    _copy(source, target)


def write(data: bytes, target: Path) -> None:
    """Put bytes at a name that is free. NotDone, OSError; then nothing is there."""
    _reserve(target)
    try:
        with whole_file(target) as part:
            part.write_bytes(data)
    except BaseException:
        target.unlink()
        raise


def was_copied(source: Path, target: Path) -> bool:
    """Whether a copy or a link that was begun is done; what a kill left half done is taken away."""
    _unreserve(source, target)
    return source.is_file() and target.is_file() and filecmp.cmp(source, target, shallow=False)


def hard_link(source: Path, target: Path) -> None:
    """Give a file a second name, which is free. NotDone, OSError."""
    try:
        os.link(os.path.realpath(source), target)
    except OSError as error:
        if error.errno in (errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK):
            raise NotDone(source, "cannot be linked there, on another disk or one without hard links: copy") from error
        raise _told(target, error) from error


def link_to(source: Path, target: Path) -> None:
    """Make a symbolic link to a file, at a name that is free. NotDone, OSError."""
    try:
        target.symlink_to(source)
    except OSError as error:
        raise _told(target, error) from error


def _reserve(target: Path) -> None:
    try:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    except OSError as error:
        raise _told(target, error) from error


def _unreserve(source: Path, target: Path) -> None:
    """Take away what `_reserve` made, if it is still as that left it."""
    with suppress(OSError):
        if not target.is_symlink() and target.stat().st_size == 0 and source.stat().st_size:
            target.unlink()


def _copy(source: Path, target: Path) -> None:
    """Put a file's copy in the place of what was reserved for it; proved by its bytes. NotDone, OSError: it goes."""
    try:
        with whole_file(target) as part:
            shutil.copyfile(source, part)
            fsync_file(part)
            if file_sha256(part) != file_sha256(source):
                raise NotDone(source, "changed while it was copied; run it again")
            shutil.copystat(source, part)
    except BaseException:  # the copy may lie there, and only its name not be on disk
        target.unlink(missing_ok=True)
        raise


def _told(target: Path, error: OSError) -> OSError | NotDone:
    if error.errno == errno.EEXIST:
        return NotDone(target, "appeared just now; run it again")
    return error
