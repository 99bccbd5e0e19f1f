"""What is done to put images into folders: a folder made, a file that stands for another, a move with its sidecars."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

from labelling.outputs import files
from labelling.outputs.output import NotDone, Step

How = Literal["copy", "move", "hardlink", "symlink"]


@dataclass(frozen=True)
class MadeFolder(Step):
    """A folder that was not there."""

    kind: ClassVar[str] = "folder"
    folder: str

    @property
    def path(self) -> Path:
        """The folder."""
        return Path(self.folder)

    @property
    def counted(self) -> str:
        """As `Step.counted`."""
        return "folders made"

    @property
    def said(self) -> str:
        """In words."""
        return f"make {self.folder}"


@dataclass(frozen=True)
class Placed(Step):
    """A file, `target`, that stands for `source`; and their stamps when it was made."""

    kind: ClassVar[str] = "place"
    source: str
    target: str
    how: How
    is_image: bool = True
    of: str = ""
    stamp: str = ""

    @property
    def path(self) -> Path:
        """What was made."""
        return Path(self.target)

    @property
    def counted(self) -> str:
        """As `Step.counted`."""
        done = {"copy": "copied", "hardlink": "linked", "symlink": "linked"}
        return done[self.how] if self.is_image else "sidecars"

    @property
    def said(self) -> str:
        """In words."""
        return f"{self.how} {self.source} -> {self.target}"


@dataclass(frozen=True)
class Moved(Step):
    """An image that was moved with its sidecars, [from, to] each; `link` is what it says if it is a symbolic link."""

    kind: ClassVar[str] = "move"
    source: str
    target: str
    link: str = ""
    along: tuple[tuple[str, str], ...] = ()

    @property
    def path(self) -> Path:
        """Where it is moved to."""
        return Path(self.target)

    @property
    def counted(self) -> str:
        """As `Step.counted`."""
        return "moved"

    @property
    def said(self) -> str:
        """In words."""
        return f"move {self.source} -> {self.target}"


def is_good(step: Placed) -> bool:
    """Whether what was made still stands for what its source is now."""
    if not files.is_there(step.path) or step.how == "symlink":
        return files.is_there(step.path)
    return _is_same(step) or step.of == files.stamp_of(Path(step.source))


def stays(step: Placed) -> str:
    """Why what was made is not taken away: others have changed it, or it is the last there is of it; "": it may be."""
    if not files.is_there(step.path) or _is_same(step):
        return ""
    if step.how == "symlink":
        is_ours = step.path.is_symlink() and str(step.path.readlink()) == step.source
        return "" if is_ours else "is another file now; it stays"
    if files.stamp_of(step.path) != step.stamp:
        return "was changed; it stays"
    return "" if files.is_there(Path(step.source)) else f"stays, since {step.source} is no longer there"


def _is_same(step: Placed) -> bool:
    """Whether a hard link and its source are one file still, whatever is in it by now."""
    source = Path(step.source)
    return step.how == "hardlink" and step.path.is_file() and source.is_file() and step.path.samefile(source)


def move(step: Moved) -> None:
    """All of it or nothing."""
    files.move(Path(step.source), step.path)
    moved: list[tuple[str, str]] = []
    try:
        for source, target in step.along:
            files.move(Path(source), Path(target))
            moved.append((source, target))
    except (NotDone, OSError):
        move_back(replace(step, along=tuple(moved)))
        raise


def was_moved(step: Moved) -> bool:
    """Whether the image was, which is the first; then its sidecars are by now."""
    if not files.was_moved(Path(step.source), step.path):
        return False
    for source, target in step.along:
        if not files.was_moved(Path(source), Path(target)) and Path(source).is_file():
            files.move(Path(source), Path(target))
    return True


def move_back(step: Moved) -> None:
    """Where it was; nothing to do if it is there. NotDone, OSError."""
    for source, target in step.along:
        if files.is_there(Path(source)) or files.is_there(Path(target)):  # a sidecar may have been deleted
            _bring_back(Path(source), Path(target))
    _bring_back(Path(step.source), step.path, step.link)


def _bring_back(source: Path, target: Path, link: str = "") -> None:
    if files.is_there(source) and files.is_there(target) and files.was_moved(target, source):
        return
    if files.is_there(source):
        if files.is_there(target):
            raise NotDone(source, f"there is another file of that name now; {target} stays")
        return
    if not files.is_there(target):
        raise NotDone(target, "is no longer there, so it cannot be moved back")
    source.parent.mkdir(parents=True, exist_ok=True)
    if link:
        source.symlink_to(link)
        target.unlink()
    else:
        files.move(target, source)


def remove(step: Placed) -> None:
    """Take away what was made, if it is still that, and not the last there is of it."""
    if reason := stays(step):
        raise NotDone(step.path, reason)
    step.path.unlink(missing_ok=True)
