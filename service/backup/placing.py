"""What was unpacked of a backup put in its place in a data folder, by renames alone; a kill between two is made good.

<data>/.restoring-<32 digits>/         what is not in its place yet, by name
<data>/.restoring-<32 digits>/old/     what was there before; it goes last
<data>/.restoring-<32 digits>/cleared  there once all of that has been moved away
<data>/.restoring-<32 digits>/source   the checksum of the backup's manifest
"""

from __future__ import annotations

import shutil
import uuid
from contextlib import suppress
from pathlib import Path

from base.errors import InputError
from base.files import fsync_file
from base.locks import LockHeld, folder_lock
from base.own_folders import clear
from service.backup.contents import COLLECTIONS, KNOWN, SECRETS

_ORDER = (*SECRETS, "uploads", "jobs", "label-sets", "label-runs", COLLECTIONS)  # keys first, then what they guard


def place(stage: Path, data: Path, source: str) -> None:
    """Put what lies in `stage`, a folder in `data` whose lock we have, in place of what glimpse keeps there.

    Where a rename fails all is as it was. OSError.
    """
    (stage / "source").write_text(source)
    fsync_file(stage / "source")
    moving = data / f".restoring-{uuid.uuid4().hex}"
    moved: list[tuple[Path, Path]] = []
    stage.rename(moving)
    try:
        _go_on(moving, data, moved)
    except BaseException:
        for was, now in reversed(moved):
            if now.exists():
                now.rename(was)
        shutil.rmtree(moving, ignore_errors=True)
        raise


def finish(data: Path) -> str | None:
    """Put in place what a restore that was killed had begun to; the checksum of its manifest. None: there is nothing.

    Raises:
        InputError: a restore is at it.
        OSError: it cannot be done now; nothing is lost by that.
    """
    source = None
    for moving in sorted(data.glob(".restoring-*")):
        with suppress(FileNotFoundError):  # it has just been done
            try:
                with folder_lock(moving, wait=False):
                    source = (moving / "source").read_text()
                    _go_on(moving, data, [])
            except LockHeld:
                raise InputError(f"{data}: a restore is under way: wait for its end") from None
    return source


def _go_on(moving: Path, data: Path, moved: list[tuple[Path, Path]]) -> None:
    """Do what is left to do, and note each rename in `moved`."""
    old, cleared = moving / "old", moving / "cleared"
    old.mkdir(exist_ok=True)
    if not cleared.exists():
        for name in KNOWN:
            _move(data / name, old / name, moved)
        cleared.mkdir()
    for name in _ORDER:
        _move(moving / name, data / name, moved)
    fsync_file(data)
    gone = data / f".gone-{uuid.uuid4().hex}"  # half removed it must not look like half done
    moving.rename(gone)
    clear(gone)


def _move(was: Path, now: Path, moved: list[tuple[Path, Path]]) -> None:
    if was.exists():
        moved.append((was, now))
        was.rename(now)
