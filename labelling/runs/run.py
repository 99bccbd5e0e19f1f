"""A labelling run: what it reads and what it writes. Asked again it goes on; asked to, it takes all back.

    <data>/label-runs/<id>/run.sqlite     images, vectors, labels, journal (store.py)
                           lock           held by the one process that works on it

A run is known by its source and its outputs: with other labels or another model it is the same run, and what it wrote
is brought in step. Images are read first, then decided, then outputs follow; until then nothing is changed.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from base.errors import GlimpseError, InputError
from index.collection import Collection
from labelling.labeller import Labeller
from labelling.outputs.asked import OutputsAsked
from labelling.outputs.output import Listing
from labelling.rows import Labelled, LabelReport
from labelling.runs.deciding import LabelsAsked, decide
from labelling.runs.journal import Changes, Failure, Journal
from labelling.runs.lists import check_lists, remove_lists, write_lists
from labelling.runs.sources import Source
from labelling.runs.store import RunStore

FOLDER = "label-runs"
LAST = "last"  # instead of an id: the run that was used last
FORESEEN = 5  # steps of an output that a dry run names


class RunNotFound(InputError):
    """No labelling run of that id."""

    code = "label_run_not_found"


class RunBusy(GlimpseError):
    """Another process works on the run."""

    code = "label_run_busy"


@dataclass(frozen=True)
class SourceAsked:
    """What a run reads: a folder's absolute path, or the name of a collection."""

    folder: str | None = None
    collection: str | None = None

    @property
    def name(self) -> str:
        """As a person calls it."""
        return Path(self.folder).name if self.folder else str(self.collection)


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
        watch: told how far it is.
    """

    overwrite: bool = False
    dry: bool = False
    watch: Watcher = lambda what, done, total: None


class Run:
    """An open run. Use `LabelRuns`; close it."""

    def __init__(self, folder: Path) -> None:
        self.id = folder.name
        self._lock = _locked(folder)
        try:
            self._store = RunStore(folder / "run.sqlite")
        except BaseException:
            os.close(self._lock)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let others work on it."""
        self._store.close()
        os.close(self._lock)

    def info(self) -> RunInfo:
        """What it is."""
        return RunInfo(
            self.id,
            SourceAsked(**self._store.get("source")),
            OutputsAsked.of_json(self._store.get("outputs")),
            self._store.get("state"),
            self._store.get("used_at"),
            self._store.count(),
            self._store.count_steps(),
        )

    def begin(self, source: SourceAsked, outputs: OutputsAsked) -> None:
        """Keep what it is, when it is made."""
        with self._store.writing():
            kept = {"folder": source.folder, "collection": source.collection}
            self._store.set(source=kept, outputs=outputs.to_json())
            if self._store.get("state") is None:
                self._store.set(state="begun")
            self._store.set(used_at=_now())

    def images(self) -> Iterator[Labelled]:
        """Its images, in the order of their paths."""
        return (row.image for row in self._store.rows())

    def go_on(
        self,
        source: Source,
        labels: LabelsAsked,
        collection: Collection | None = None,
        going: Going = Going(),
    ) -> tuple[RunReport, Labeller | None]:
        """Bring all outputs in step with the source and the labels.

        Args:
            source: what it reads.
            labels: what is asked of each image.
            collection: open for writing, if its metadata are an output.
            going: how.

        Returns:
            What it did; and what it labelled with, None if no image was decided.

        Raises:
            InputError: there is no image, or a file is there that is not the run's own. Nothing was changed then.
            GlimpseError, OSError: it was ended half-way: the disk is full, the model is gone. The same call goes on.
        """
        asked = OutputsAsked.of_json(self._store.get("outputs"))
        changing = asked.changing(labels.label_set.names, collection, overwrite=going.overwrite)
        outputs = {output.name: output for output in changing}
        journal = Journal(self._store, outputs, restamp=self._reads_files)
        check_lists(self._store, asked.files, overwrite=going.overwrite)
        if self._store.get("state") == "undoing":
            self.undo(collection)
        journal.settle()
        self._trust(source)
        report = RunReport(self.id, LabelReport(per_label=dict.fromkeys(labels.label_set.names, 0)))
        seen = source.look(self._store, report.labels, lambda done, total: going.watch("reading", done, total))
        report.new, report.changed, report.unchanged, report.gone = (
            seen.new,
            seen.changed,
            seen.unchanged,
            len(seen.gone),
        )
        labeller = decide(self._store, source, labels, lambda done, total: going.watch("labelling", done, total))
        if not going.dry:
            for row in seen.gone:
                for name in outputs:
                    report.failed += journal.let_go(name, row)
            with self._store.writing():
                self._store.forget([row.id for row in seen.gone])
        total = self._store.count()
        for name in outputs:
            rows = self._store.rows()
            if going.dry:
                gone = {row.id for row in seen.gone}
                rows = (row for row in rows if row.id not in gone)
                report.outputs[name] = journal.foresee(name, rows, FORESEEN)
            else:
                tell = lambda done: going.watch("writing", done, total)  # noqa: E731
                report.outputs[name] = journal.bring_about(name, rows, tell)
        report.labels.cut_texts = self._store.get("cut_texts", 0)
        for image in self.images():
            report.labels.add(image)
        if report.labels.labelled + report.labels.abstained and not going.dry:
            listing = Listing(self.images, labels.label_set.names, source.folder)
            report.written = dict.fromkeys(write_lists(self._store, asked.files, listing), report.labels.done)
        with self._store.writing():
            self._store.set(used_at=_now(), **({} if going.dry else {"state": "done"}))
        return report, labeller

    def undo(self, collection: Collection | None = None, watch: Watcher | None = None) -> Changes:
        """Take back all that it changed; what it read and decided is kept.

        What others changed since stays as it is, and is named in `failed`; a later call tries that again.
        """
        asked = OutputsAsked.of_json(self._store.get("outputs"))
        outputs = {output.name: output for output in asked.changing((), collection, overwrite=False)}
        journal = Journal(self._store, outputs, restamp=self._reads_files)
        with self._store.writing():
            self._store.set(state="undoing")
        journal.settle()
        changes = journal.undo((lambda done, total: watch("undoing", done, total)) if watch else None)
        removed, failed = remove_lists(self._store)
        changes.taken_back += removed
        changes.failed += failed
        with self._store.writing():
            self._store.forget_applied()
            self._store.set(state="undone", used_at=_now())
        return changes

    @property
    def _reads_files(self) -> bool:
        return self._store.get("source")["folder"] is not None

    def _trust(self, source: Source) -> None:
        """Forget vectors and decisions of another model."""
        if self._store.get("fingerprint") != source.fingerprint:
            with self._store.writing():
                self._store.distrust()
                self._store.set(fingerprint=source.fingerprint)


class LabelRuns:
    """The runs in a data folder."""

    def __init__(self, data: Path) -> None:
        self._folder = data.absolute() / FOLDER

    def list(self) -> list[RunInfo]:
        """All of them, the one used last first; those that another process works on are left out."""
        infos = []
        for path in self._folder.glob("*/run.sqlite"):
            try:
                with Run(path.parent) as run:
                    infos.append(run.info())
            except (RunBusy, TypeError):  # TypeError: killed before it knew what it is
                continue
        return sorted(infos, key=lambda info: info.used_at, reverse=True)

    def open(self, name: str) -> Run:
        """The run of that id, or the one used last for "last". RunNotFound, RunBusy."""
        if name == LAST:
            if not (infos := self.list()):
                raise RunNotFound(f"no labelling run in {self._folder.parent}; is --data the right folder?")
            name = infos[0].id
        folder = self._folder / name
        if "/" in name or not (folder / "run.sqlite").is_file():
            known = ", ".join(info.id for info in self.list()[:10]) or "none"
            raise RunNotFound(f"no labelling run {name!r} in {self._folder.parent}; there are: {known}")
        return Run(folder)

    def make(self, source: SourceAsked, outputs: OutputsAsked) -> Run:
        """The run of this source and these outputs; made if there is none. RunBusy, OSError."""
        folder = self._folder / run_id(source, outputs)
        folder.mkdir(parents=True, exist_ok=True)
        run = Run(folder)
        run.begin(source, outputs)
        return run


def run_id(source: SourceAsked, outputs: OutputsAsked) -> str:
    """The same for the same; it begins with the source's name as far as a file's name can hold that."""
    plain = unicodedata.normalize("NFKD", source.name).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:30].strip("-") or "run"
    asked = [source.folder, source.collection, outputs.to_json()]
    return f"{name}-{hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:8]}"


def _locked(folder: Path) -> int:
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 40, 0).decode(errors="replace") or "unknown"
        os.close(descriptor)
        raise RunBusy(f"run {folder.name} is at work in process {holder}: wait until it ends, or stop it") from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return descriptor


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
