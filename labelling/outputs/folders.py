"""Images in folders named by their labels: moved, copied, or linked there.

A move takes the likeliest label, all else a place for each. A name that is taken becomes `name-2.jpg`; nothing is ever
overwritten. Sidecars (`a.jpg.xmp`, `a.xmp`) go with what is moved or copied.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import cast, get_args

from base.errors import InputError
from base.files import fsync_file
from labelling.outputs import files
from labelling.outputs.folder_names import folders_of
from labelling.outputs.folder_steps import (
    How,
    MadeFolder,
    Moved,
    Placed,
    is_good,
    move,
    move_back,
    remove,
    stays,
    was_moved,
)
from labelling.outputs.output import ChangesImages, NotDone, Plan, Step
from labelling.rows import Labelled
from labelling.xmp.sidecar import sidecar_of, sidecars_there
from labelling.xmp.words import XmpError

LONGEST = 255  # bytes of a file's name


class Folders(ChangesImages):
    """Class folders below one folder.

    Args:
        to: the folder; it need not be there.
        how: what is made of an image there.
        labels: all that there are.
    """

    kinds = (MadeFolder, Placed, Moved)

    def __init__(self, to: Path, how: How, labels: Sequence[str]) -> None:
        if how not in get_args(How):
            raise InputError(f"--how {how}: is none of {', '.join(get_args(How))}")
        if to.exists() and not to.is_dir():
            raise InputError(f"--to {to}: a file; give a folder")
        self.name = f"folders {how} {to}"
        self.to, self.how, self.moves = to, how, how == "move"
        self._folders = folders_of(labels)
        self._taken: set[Path] = set()  # names that were planned; they may not be there yet
        self._last: dict[Path, int] = {}  # the number that a name got last, for a thousand of one name
        self._touched: set[Path] = set()

    def wanted(self, image: Labelled, stamp: str) -> str:
        """Which folders, and of what it is to be a copy."""
        folders = [str(folder) for folder in self._wanted(image)]
        if self.how == "move" or not folders:
            return json.dumps(folders) if folders else ""
        of = [] if self.how == "symlink" else [stamp, *map(files.stamp_of, self._sidecars_of(image.path))]
        return json.dumps([folders, of])

    def plan(self, image: Labelled, stamp: str, origin: Path | None, so_far: Sequence[Step]) -> Plan:
        """As `ChangesImages.plan`."""
        if self.how == "move":
            return Plan(do=self._plan_move(image, origin))
        sources = {image.path, *self._sidecars_of(image.path)}
        placed: dict[Path, list[int]] = {}
        for i, step in enumerate(so_far):
            if isinstance(step, Placed):
                placed.setdefault(step.path.parent, []).append(i)
        back: list[int] = []
        steps: list[Step] = []
        wanted = self._wanted(image)
        for folder, which in placed.items():
            made = [step for i in which if isinstance(step := so_far[i], Placed)]
            if folder not in wanted or {Path(step.source) for step in made} != sources or not all(map(is_good, made)):
                back += which
        freed = {step.path for i in back if isinstance(step := so_far[i], Placed) and not stays(step)}
        for folder in wanted:
            if not set(placed.get(folder, ())) - set(back):
                steps += self._missing_folders(folder)
                steps += [
                    Placed(str(source), str(target), self.how, source == image.path)
                    for source, target in self._targets(image.path, folder, freed=freed)
                ]
        return Plan(back, steps)

    def _plan_move(self, image: Labelled, origin: Path | None) -> list[Step]:
        wanted = self._wanted(image)
        folder = wanted[0] if wanted else (origin or image.path).parent
        if folder == image.path.parent:
            return []
        steps = self._missing_folders(folder)
        (_, target), *along = self._targets(image.path, folder, name=(origin or image.path).name)
        link = os.readlink(image.path) if image.path.is_symlink() else ""  # noqa: PTH115  as it is written
        pairs = tuple((str(source), str(to)) for source, to in along)
        return [*steps, Moved(str(image.path), str(target), link, pairs)]

    def do(self, step: Step) -> Step:
        """As `ChangesImages.do`."""
        if isinstance(step, MadeFolder):
            files.make_folder(step.path)
        elif isinstance(step, Moved):
            move(step)
            self._touched.add(Path(step.source).parent)
        else:
            step = self._place(cast("Placed", step))
        self._touched.add(step.path.parent)
        return step

    def settle(self, step: Step) -> Step | None:
        """As `ChangesImages.settle`."""
        if isinstance(step, MadeFolder):
            return step if step.path.is_dir() else None
        if isinstance(step, Moved):
            return step if was_moved(step) else None
        placed = cast("Placed", step)
        return self._stamped(placed) if self._was_placed(placed) else None

    def undo(self, step: Step) -> None:
        """As `ChangesImages.undo`."""
        self._touched.add(step.path.parent)
        if isinstance(step, MadeFolder):
            files.remove_folder(step.path)
        elif isinstance(step, Moved):
            move_back(step)
            self._touched.add(Path(step.source).parent)
        else:
            remove(cast("Placed", step))

    def gone(self, step: Step) -> None:
        """As `ChangesImages.gone`: what may be the last there is of an image stays, and is the user's from now on."""
        if isinstance(step, Placed) and step.how == "symlink":
            self.undo(step)

    def flush(self) -> None:
        """Put the names on disk."""
        for folder in self._touched:
            if folder.is_dir():
                fsync_file(folder)
        self._touched.clear()

    def places(self, step: Step) -> tuple[Path, Path] | None:
        """As `ChangesImages.places`."""
        return (Path(step.source), step.path) if isinstance(step, Moved) else None

    def _wanted(self, image: Labelled) -> list[Path]:
        answers = image.answers[:1] if self.how == "move" else image.answers
        return [self.to / self._folders[label] for label, _ in answers]

    def _missing_folders(self, folder: Path) -> list[Step]:
        missing: list[Step] = []
        while not folder.is_dir() and folder not in self._taken:
            if files.is_there(folder):
                raise NotDone(folder, "is a file where a folder is to be; move it away, or choose another folder")
            missing.append(MadeFolder(str(folder)))
            self._taken.add(folder)
            folder = folder.parent
        return missing[::-1]

    def _targets(
        self, image: Path, folder: Path, name: str = "", freed: Collection[Path] = ()
    ) -> list[tuple[Path, Path]]:
        """From where to where, of the image and of its sidecars; the names are free, or will be."""
        first = folder / (name or image.name)
        number = 0 if freed else self._last.get(first, 0)
        while True:
            number += 1
            target = first if number == 1 else first.with_name(_numbered(first.name, number))
            pairs = [(image, target)]
            for sidecar in self._sidecars_of(image):
                is_full = sidecar.stem == image.name
                own = target.with_name(target.name + sidecar.suffix) if is_full else target.with_suffix(sidecar.suffix)
                pairs.append((sidecar, own))
            if all(path in freed or not (path in self._taken or files.is_there(path)) for _, path in pairs):
                break
        self._last[first] = max(number, self._last.get(first, 0))
        self._taken.update(path for _, path in pairs)
        return pairs

    def _sidecars_of(self, image: Path) -> list[Path]:
        """Those that go with it."""
        found = []
        for path in sidecars_there(image) if self.how in ("copy", "move") else ():
            with suppress(XmpError):  # of `a.xmp` it may not be told whose it is
                if path.stem == image.name or sidecar_of(image, "stem") == path:
                    found.append(path)
        return found

    def _place(self, step: Placed) -> Placed:
        source = Path(step.source)
        if not source.is_file():
            raise NotDone(source, "is no longer there")
        if step.how == "copy":
            files.copy(source, step.path)
        elif step.how == "hardlink":
            files.hard_link(source, step.path)
        else:
            files.link_to(source, step.path)
        return self._stamped(step)

    @staticmethod
    def _stamped(step: Placed) -> Placed:
        return replace(step, of=files.stamp_of(Path(step.source)), stamp=files.stamp_of(step.path))

    @staticmethod
    def _was_placed(step: Placed) -> bool:
        if step.how == "symlink":
            return step.path.is_symlink() and str(step.path.readlink()) == step.source
        return files.was_copied(Path(step.source), step.path)


def _numbered(name: str, number: int) -> str:
    stem, suffix = os.path.splitext(name)  # noqa: PTH122  a name, not a path
    ending = f"-{number}{suffix}"
    room = LONGEST - len(os.fsencode(ending))
    return os.fsdecode(os.fsencode(stem)[: max(room, 1)]) + ending
