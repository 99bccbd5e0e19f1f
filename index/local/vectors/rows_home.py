"""Where the rows of a collection's index lie: on another disk, large and slow, if one is named. Reads none of them.

The folder's link `rows` leads to where new ones go, and each that lies there has a link of its own in the folder: who
opens, maps or measures one knows nothing of it. All vectors are in the catalog too, so that nothing is lost with that
disk: the index is built anew.
"""

from __future__ import annotations

import uuid
from contextlib import suppress
from pathlib import Path

from base.errors import CollectionError, InputError

LINK = "rows"


def rows_home(folder: Path) -> Path | None:
    """Where new rows go, if that is not the folder. CollectionError if that disk is away."""
    link = folder / LINK
    if not link.is_symlink():
        return None
    home = link.readlink()
    if not home.is_dir():
        raise CollectionError(
            f"{home}: the rows of collection {folder.name!r} go there, and it is away: bring that disk back, or name "
            f"another place (glimpse collections compact {folder.name} --rows DIR)"
        )
    return home


def move_rows_home(folder: Path, disk: Path) -> None:
    """Have new rows go to a folder of their own in `disk`; that of the collections brings them back.

    Those that are there already stay until they are written anew. InputError if there is no folder `disk`.
    """
    disk = disk.absolute()
    if not disk.is_dir():
        raise InputError(f"{disk}: no such folder: make it on the disk that the rows are to lie on")
    link = folder / LINK
    now = link.readlink() if link.is_symlink() else None
    if disk.samefile(folder.parent) or disk.samefile(folder.parent.parent):
        link.unlink(missing_ok=True)
    elif now is None or now.parent != disk or not now.is_dir():
        home = disk / f"{folder.name}-{uuid.uuid4().hex[:8]}"
        home.mkdir()
        new = folder / f"{LINK}.new"
        new.unlink(missing_ok=True)
        new.symlink_to(home)
        new.replace(link)


def link_rows(path: Path) -> None:
    """Before the rows `path` are written: have them lie where new ones go. A kill leaves a link that leads there."""
    if home := rows_home(path.parent):
        path.symlink_to(home / path.name)


def remove_file(path: Path) -> None:
    """Remove a file of the index, wherever it lies, and the folder there that it was the last in, if none will come."""
    if path.is_symlink():
        real = path.readlink()
        real.unlink(missing_ok=True)
        link = path.parent / LINK
        if not link.is_symlink() or real.parent != link.readlink():
            _remove_empty(real.parent)
    path.unlink(missing_ok=True)


def remove_all(folder: Path) -> None:
    """Remove all that a collection's folder, which is about to go, has on other disks."""
    link = folder / LINK
    homes = {link.readlink()} if link.is_symlink() else set()
    for path in folder.glob("*.rows"):
        if path.is_symlink():
            homes.add(path.readlink().parent)
            remove_file(path)
    for home in homes:
        _remove_empty(home)


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):  # others lie in it, or it is gone
        folder.rmdir()
