"""What runs remember of the folders that they looked at: whether each is still that folder, and when it was looked at.

A disk that is not mounted leaves no folder, or an empty one that is another than the one with the pictures. Asks the
disk for folders only, never for pictures.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from base.files import mtime_ns
from base.sources.rules import Rules
from base.sources.walk import image_names
from index.collection import Collection

MARGIN_NS = 60 * 10**9  # by which the clock of a disk, a server's perhaps, may be behind ours


class Places:
    """What a collection remembers, and what a run adds to it."""

    def __init__(self, collection: Collection, rules: Rules) -> None:
        self._collection = collection
        self._rules = replace(rules, exclude=())
        kept = collection.places()
        self._folders: dict[str, list[int]] = _those_like([0, 0], kept.get("folders"))  # inode, 1: a disk began there
        self._looked: dict[str, int] = _those_like(0, kept.get("looked"))  # root -> ns
        self._without_image: dict[Path, bool] = {}
        self._replaced: dict[Path, bool] = {}

    def looked_at(self, root: Path) -> int | None:
        """Nanoseconds of the clock; what changed later by its ctime has not been seen. None: it is not known.

        Where that is still to come the clock was wrong then, and any ctime may be that of a change that was not seen.
        """
        known = [self._looked[str(at)] for at in (root, *root.parents) if str(at) in self._looked]
        return -1 if known and max(known) > time.time_ns() else max(known, default=None)

    def holds_none(self, folder: Path) -> bool:
        """Whether a folder is missing or no image is in it; asked once in a run."""
        if folder not in self._without_image:
            self._without_image[folder] = next(image_names(folder, self._rules), None) is None and _may_look(folder)
        return self._without_image[folder]

    def why_away(self, folder: Path) -> str | None:
        """Why a folder that is missing or holds no image is likely to come back; None if nothing speaks for that."""
        if (known := self._folders.get(str(folder))) is None:
            return None
        now = _identity(folder)
        was_mount = bool(known[1])
        if now is None:
            return "the folder is missing, and a disk was mounted there" if was_mount else None
        if was_mount and not now[1]:
            return "the folder is empty, and no disk is mounted there now"
        is_other = now[0] != known[0]
        return "the folder is empty, and another than before, as where a disk is not mounted" if is_other else None

    def note_same(self, folder: Path) -> None:
        """A picture of this folder is as its entry says."""
        self._replaced[folder] = False

    def note_changed(self, folder: Path) -> None:
        """A picture of this folder is new, or not as its entry says: find out whether all are, before any is taken."""
        if folder not in self._replaced:
            known, now = self._folders.get(str(folder)), _identity(folder)
            is_other = known is not None and now is not None and known[0] != now[0]
            self._replaced[folder] = is_other and not any(
                path == f"{folder}{os.sep}{os.path.basename(path)}" and _is_as_known(path, known_as)  # noqa: PTH119
                for path, _, *known_as in self._collection.paths(folder)
            )

    def is_replaced(self, folder: Path) -> bool:
        """Whether another folder stands in its place, with no picture that is as the entry of its name says."""
        return self._replaced.get(folder, False)

    def is_away(self, path: Path) -> bool:
        """Whether a file that is not there is likely to come back, with a folder that it is in."""
        return any(
            str(folder) in self._folders and self.why_away(folder) is not None and self.holds_none(folder)
            for folder in path.parents
        )

    def remember(self, roots: Sequence[Path], seen: Iterable[Path], *, kept: Iterable[str], looked: int | None) -> None:
        """Keep what this run saw.

        Args:
            roots: the folders that it looked at.
            seen: the folders with images among them.
            kept: folders that are away.
            looked: when it began to look at everything, in nanoseconds; None: it looked at a few places only.
        """
        away = [Path(folder) for folder in kept]
        folders = dict(self._folders)
        if looked is not None:
            folders = {
                folder: known
                for folder, known in folders.items()
                if not _is_in(Path(folder), roots) or _is_in(Path(folder), away)
            }
            self._looked |= {str(root): looked - MARGIN_NS for root in roots}
        entered = {folder for path in seen for folder in (path, *path.parents)}
        for folder in sorted(entered):
            identity = _identity(folder)
            if identity and (identity[1] or _is_in(folder, roots)):
                folders[str(folder)] = identity
        if folders != self._folders or looked is not None:
            self._collection.set_places({"folders": folders, "looked": self._looked})


def roots_of(collection: Collection, folders: Iterable[Path]) -> list[Path]:
    """Folders by the names that a collection has them by, absolute, each once.

    A folder that was indexed, or lies in one that was, and is named by a link now, or by its own name where a link to
    it was followed, or in other capitals on a disk that takes them for equal, would have all its pictures twice.
    """
    kept = collection.places()
    known: dict[tuple[int, int], list[Path]] = {}
    for name in sorted(_those_like(0, kept.get("looked"))):
        _add(known, Path(name))
    entered: dict[int, list[str]] = {}  # by their inodes, which other disks have too
    for name, (inode, _) in sorted(_those_like([0, 0], kept.get("folders")).items()):
        entered.setdefault(inode, []).append(name)
    found = []
    for folder in folders:
        path = Path(os.path.abspath(folder))  # noqa: PTH100  keeps links as named
        real = Path(os.path.realpath(path))
        for above in (real, *real.parents):
            key = _key(above) or (0, 0)
            if names := known.get(key) or [Path(name) for name in entered.get(key[1], ()) if _key(Path(name)) == key]:
                others = [name / real.relative_to(above) for name in names]
                path = path if path in others else others[0]
                break
        _add(known, path)
        found.append(path)
    return found


def elsewhere(collection: Collection, roots: Sequence[Path]) -> frozenset[str]:
    """Where the folders really lie that a collection has pictures from by names that are not below these roots.

    With the roots themselves: what a link in one of them leads to may be there already.
    """
    looked = map(Path, _those_like(0, collection.places().get("looked")))
    others = [folder for folder in looked if not _is_in(folder, roots) and any(True for _ in collection.paths(folder))]
    return frozenset(os.path.realpath(folder) for folder in (*roots, *others))


def _add(known: dict[tuple[int, int], list[Path]], path: Path) -> None:
    if key := _key(path):
        known.setdefault(key, []).append(path)


def _key(folder: Path) -> tuple[int, int] | None:
    """What tells a folder apart whatever it is called; None: it is not there."""
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _those_like(form: object, kept: object) -> dict[str, Any]:
    """Of what the catalog kept by name, what has the form of an example; nothing of what is damaged."""
    if not isinstance(kept, dict):
        return {}
    return {name: value for name, value in kept.items() if _form(value) == _form(form)}


def _form(value: object) -> object:
    return [type(part) for part in value] if isinstance(value, list) else type(value)


def _is_as_known(path: str, known_as: list[int | None]) -> bool:
    try:
        stat = os.stat(path)  # noqa: PTH116
    except OSError:
        return False
    return [mtime_ns(stat), stat.st_size] == known_as


def _is_in(folder: Path, places: Iterable[Path]) -> bool:
    return any(folder.is_relative_to(place) for place in places)


def _identity(folder: Path) -> list[int] | None:
    """The inode, and 1 if another disk begins here than that of the folder above; None if it is not there."""
    try:
        here, above = folder.stat(), folder.parent.stat()
    except OSError:
        return None
    return [here.st_ino, int(is_mount(here, above))]


def is_mount(here: os.stat_result, above: os.stat_result) -> bool:
    """Whether a folder is on another disk than the one above it."""
    return here.st_dev != above.st_dev


def _may_look(folder: Path) -> bool:
    """Whether a folder can be read, or is not there; of one that cannot nothing is known."""
    with suppress(FileNotFoundError, NotADirectoryError):
        try:
            os.scandir(folder).close()
        except PermissionError:
            return False
    return True
