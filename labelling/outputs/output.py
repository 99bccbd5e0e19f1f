"""What an output is: one that lists all images in a file, or one that changes something for each image, step by step.

Steps are noted in a run's journal before they are done, so each says of itself whether it was done, and takes itself
back. Knows no journal.
"""

from __future__ import annotations

import base64
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

from base.errors import InputError
from labelling.rows import Labelled, Listed


@dataclass(frozen=True)
class Listing:
    """All images of a run, for an output that is one file.

    Attributes:
        images: gives them, in the order of their paths, as often as it is asked.
        labels: those that there were to choose from.
        folder: that the images lie in; None: in several.
    """

    images: Callable[[], Iterator[Listed]]
    labels: Sequence[str]
    folder: Path | None = None


Judge = Callable[[Path], None]  # raises NotDone for a file that may not be read or changed


class NotDone(InputError):
    """A step that cannot be done, or not be taken back, for one file; nothing is lost by it."""

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path}: {reason}")


@dataclass(frozen=True)
class Step:
    """One change, as it is noted. Its fields are texts, numbers, bytes and what JSON holds.

    Attributes:
        kind: what it is called in a journal.
    """

    kind: ClassVar[str]

    @property
    def counted(self) -> str:
        """What it is counted as."""
        raise NotImplementedError

    @property
    def path(self) -> Path:
        """What is changed."""
        raise NotImplementedError

    @property
    def said(self) -> str:
        """In words, for who wants to know before."""
        raise NotImplementedError

    def to_json(self) -> dict[str, Any]:
        """As `of_json` takes it."""
        return {field.name: _packed(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def of_json(cls, content: dict[str, Any]) -> Self:
        """Of what `to_json` gave."""
        return cls(**{name: _unpacked(value) for name, value in content.items()})


class Plan(NamedTuple):
    """What is to be done for an image: steps of before that are taken back, by their place in those, and new ones."""

    take_back: Sequence[int] = ()
    do: Sequence[Step] = ()


class ChangesImages(ABC):
    """An output that changes something for each image.

    Attributes:
        name: what a run's journal calls it; the same for the same output.
        kinds: its steps.
        on_disk: whether they change files.
        moves: whether images themselves are moved, one step from where the last has put them.
    """

    name: str
    kinds: ClassVar[tuple[type[Step], ...]]
    on_disk: ClassVar[bool] = True
    moves: bool = False

    @abstractmethod
    def wanted(self, image: Labelled, stamp: str) -> str:
        """What it wants for an image, to be compared with what it wanted before; "" for nothing."""

    @abstractmethod
    def plan(self, image: Labelled, stamp: str, origin: Path | None, so_far: Sequence[Step]) -> Plan:
        """The steps to what it wants, where they are not done already.

        Args:
            image: where it lies now, and its labels.
            stamp: of its file.
            origin: where it lay before a run moved it.
            so_far: what was done for it.

        Raises:
            NotDone: they cannot be done.
        """

    @abstractmethod
    def do(self, step: Step) -> Step:
        """Do a step; as it is to be kept. NotDone, OSError."""

    @abstractmethod
    def settle(self, step: Step) -> Step | None:
        """Of a step that was begun before a kill: as it is to be kept if it was done; else None, and nothing of it."""

    @abstractmethod
    def undo(self, step: Step) -> None:
        """Take a step back; nothing to do if it is taken back already. NotDone, OSError."""

    def look_up(self, stamps: Sequence[str]) -> None:  # noqa: B027  most have nothing to look up
        """Told of the images that it is asked about next, for what is looked up sooner of many at once."""

    def reads(self, image: Labelled) -> Sequence[Path]:
        """The files that are read to plan for an image, and to do it."""
        return (image.path,)

    def gone(self, step: Step) -> None:
        """Take a step back whose image is gone."""
        self.undo(step)

    @abstractmethod
    def flush(self) -> None:
        """Put on disk what was done."""

    def places(self, step: Step) -> tuple[Path, Path] | None:
        """Where the image itself lies before and after a step that changes its file; None: it does not."""
        return None

    def step_of(self, kind: str, content: dict[str, Any]) -> Step:
        """A step as it was noted."""
        return next(one for one in self.kinds if one.kind == kind).of_json(content)


def _packed(value: Any) -> Any:
    return {"zlib": base64.b64encode(zlib.compress(value)).decode()} if isinstance(value, bytes) else value


def _unpacked(value: Any) -> Any:
    if isinstance(value, dict) and set(value) == {"zlib"}:
        return zlib.decompress(base64.b64decode(value["zlib"]))
    return value
