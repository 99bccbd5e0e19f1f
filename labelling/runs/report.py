"""What a run is asked, what it is, and what it did."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from labelling.outputs.asked import OutputsAsked
from labelling.rows import LabelReport
from labelling.runs.journal import Changes, Failure


@dataclass(frozen=True)
class SourceAsked:
    """What a run reads: a folder's absolute path, or the name of a collection."""

    folder: str | None = None
    collection: str | None = None

    @property
    def name(self) -> str:
        """As a person calls it."""
        return Path(self.folder).name if self.folder else self.collection or ""


@dataclass(frozen=True)
class RunInfo:
    """What a run is, for a list of them.

    Attributes:
        state: "begun", "done", "undoing" or "undone".
        used_at: when it was used last, UTC, ISO 8601.
        steps: changes that can be taken back.
    """

    id: str
    source: SourceAsked
    outputs: OutputsAsked
    state: str
    used_at: str
    images: int
    steps: int


@dataclass
class RunReport:
    """What a run did, and what it has by now.

    Attributes:
        labels: counts over all its images.
        new, changed, unchanged, gone: images that were read for the first time, anew, not at all, or are no more.
        outputs: what each output that changes something did, by its name.
        written: images in each file that was written.
        failed: what could not be done, but for unreadable images.
    """

    id: str
    labels: LabelReport
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    gone: int = 0
    outputs: dict[str, Changes] = field(default_factory=dict)
    written: dict[str, int] = field(default_factory=dict)
    failed: list[Failure] = field(default_factory=list)

    @property
    def failures(self) -> list[Failure]:
        """All that could not be done."""
        return self.failed + [failure for changes in self.outputs.values() for failure in changes.failed]


class Watcher(Protocol):
    """Told how far a run is."""

    def __call__(self, what: str, done: int, total: int) -> None:
        """`what` goes on: reading, labelling, writing."""


@dataclass(frozen=True)
class Going:
    """How a run is to go on.

    Attributes:
        overwrite: replace files, and metadata, that are not the run's own.
        dry: change nothing but what the run keeps itself.
        foreseen: steps of an output that a dry run names; None: all.
        watch: told how far it is.
        tool: who labels, with a version; it is kept beside keywords.
    """

    overwrite: bool = False
    dry: bool = False
    watch: Watcher = lambda what, done, total: None
    tool: str = "glimpse"
    foreseen: int | None = 5
