"""Files that appear whole: a kill, a full disk or a power cut leaves the old one or the new one, never half of one."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from base.errors import InputError

_numbers = itertools.count()


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to. When the block ends it is on disk and takes the place of `path`.

    When the block raises, nothing is left of it. What a killed process of this machine left there is removed first:
    such files, or folders, begin with the name that was given and are as large as what they were to become.

    Raises:
        OSError: what the block wrote cannot be put on disk, or renamed.
    """
    beginning = f".{os.fsdecode(os.fsencode(path.name)[:100])}.{socket.gethostname()[:64]}."
    _sweep(path.parent, beginning)
    part = path.with_name(f"{beginning}{os.getpid()}.{next(_numbers)}.part")
    try:
        yield part
        fsync_file(part)
        part.replace(path)
        fsync_file(path.parent)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def new_file(file: Path, *, overwrite: bool) -> Iterator[Path]:
    """`whole_file` for a file that a person named. InputError if it is there and `overwrite` is not given."""
    if file.is_dir():
        raise InputError(f"{file}: a folder; give the name of a file")
    if file.exists() and not overwrite:
        raise InputError(f"{file}: is there already; choose another name, or overwrite it with --force")
    if not file.parent.is_dir():
        raise InputError(f"{file.parent}: no such folder")
    with whole_file(file) as part:
        yield part


def write_whole(path: Path, content: str | bytes) -> None:
    """Put `content`, text as UTF-8, at `path` in place of what is there; its folder is made. OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """The same for a JSON object."""
    write_whole(path, json.dumps(content, indent=2) + "\n")


def fsync_file(path: Path) -> None:
    """Make a file, or the names in a folder, survive a power cut."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _sweep(folder: Path, beginning: str) -> None:
    """Remove what begins so and whose process is gone."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith(beginning):
                continue
            pid = entry.name[len(beginning) :].partition(".")[0]
            if not pid.isdigit() or _is_alive(int(pid)):
                continue
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                Path(entry.path).unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
