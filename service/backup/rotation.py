"""Backups in a folder, named by their time; of those that are of one data folder the newest are kept.

A file goes only if its name is one that is given here and its own header says that it is a backup of that folder. One
whose time is still to come was named by a wrong clock: it stays, and counts for none, or it would cost the newest.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from base.errors import GlimpseError, InputError
from base.files import sweep_parts
from service.backup.archive import opened

_NAME = re.compile(r"glimpse-(\d{8}T\d{6}Z)\.glimpse")
_TIME = "%Y%m%dT%H%M%SZ"


def new_name(folder: Path, now: datetime) -> Path:
    """Where a backup that is begun now goes. InputError if there is no such folder."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; make it, or mount its disk")
    return folder / f"glimpse-{now.astimezone(UTC).strftime(_TIME)}.glimpse"


def sweep(folder: Path) -> None:
    """Remove what killed backups left: each had a name of its own, so no other would."""
    sweep_parts(folder, rf"\.{_NAME.pattern}\.")


def superfluous(folder: Path, data: Path, now: datetime, *, keep: int, weekly: int = 0) -> list[Path]:
    """The backups of `data` that may go, the oldest first.

    Args:
        folder: where they lie.
        data: the data folder.
        now: what the last one was named by.
        keep: so many of the newest stay,
        weekly: and of so many weeks (ISO 8601) in which there are any the newest.
    """
    newest = new_name(folder, now).name
    own = [path for path in _named(folder) if path.name <= newest and _is_of(path, data)]
    stay = set(own[-keep:])
    stay.update(_newest_of_weeks(own)[-weekly:] if weekly else ())
    return [path for path in own if path not in stay]


def _named(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if _time_of(path) and path.is_file() and not path.is_symlink())


def _time_of(path: Path) -> datetime | None:
    found = _NAME.fullmatch(path.name)
    try:
        return datetime.strptime(found[1], _TIME).replace(tzinfo=UTC) if found else None
    except ValueError:
        return None


def _is_of(path: Path, data: Path) -> bool:
    try:
        with opened(path) as archive:
            return archive.manifest.data == str(data.absolute())
    except (GlimpseError, OSError):  # not ours to judge
        return False


def _newest_of_weeks(paths: Sequence[Path]) -> list[Path]:
    weeks = {}
    for path in paths:
        if when := _time_of(path):
            weeks[when.isocalendar()[:2]] = path
    return list(weeks.values())
