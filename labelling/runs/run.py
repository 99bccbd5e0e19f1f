"""A labelling run: what it reads and what it writes. Asked again it goes on; asked to, it takes all back.

    <data>/label-runs/<id>/run.sqlite     images, vectors, labels, journal (store.py)
                           lock           held by the one process that works on it

A run is known by its source and its outputs: with other labels or another model it is the same run, and what it wrote
is brought in step. Images are read first, then decided, then outputs follow; until then nothing is changed.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from base.errors import GlimpseError, InputError
from labelling.labeller import Labeller
from labelling.outputs.asked import OutputsAsked
from labelling.outputs.output import Listing
from labelling.rows import Labelled, LabelReport
from labelling.runs.deciding import LabelsAsked, decide
from labelling.runs.journal import Changes, Journal
from labelling.runs.lists import check_lists, remove_lists, write_lists
from labelling.runs.report import Going, RunInfo, RunReport, SourceAsked, Watcher
from labelling.runs.sources import Source
from labelling.runs.store import Row, RunStore
from labelling.xmp.words import Origin

if TYPE_CHECKING:
    from index.collection import Collection

FOLDER = "label-runs"
LAST = "last"  # instead of an id: the run that was used last
FORESEEN = 5  # steps of an output that a dry run names


class RunNotFound(InputError):
    """No labelling run of that id."""

    code = "label_run_not_found"


class RunBusy(GlimpseError):
    """Another process works on the run."""

    code = "label_run_busy"


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
        changing = asked.changing(
            labels.label_set.names, self._origin(going.tool, source.model), collection, overwrite=going.overwrite
        )
        journal = Journal(self._store, {output.name: output for output in changing}, restamp=self._reads_files)
        check_lists(self._store, asked.files, overwrite=going.overwrite)
        if self._store.get("state") == "undoing":
            self.undo(collection)
        journal.settle()
        self._trust(source)
        report = RunReport(self.id, LabelReport(per_label=dict.fromkeys(labels.label_set.names, 0)))
        seen = source.look(self._store, report.labels, lambda done, total: going.watch("reading", done, total))
        report.new, report.changed, report.unchanged = seen.new, seen.changed, seen.unchanged
        report.gone = len(seen.gone)
        labeller = decide(self._store, source, labels, going.watch)
        report.labels.cut_texts = self._store.get("cut_texts", 0)
        gone = {row.id for row in seen.gone}
        for row in self._store.rows():
            if row.id not in gone:
                report.labels.add(row.image)
        if going.dry:
            report.outputs = self._foresee(journal, gone)
        else:
            with self._full_disks():
                self._follow(journal, seen.gone, report, going)
                if looked_at := report.labels.labelled + report.labels.abstained:
                    listing = Listing(self.images, labels.label_set.names, source.folder)
                    report.written = dict.fromkeys(write_lists(self._store, asked.files, listing), looked_at)
        with self._store.writing():
            self._store.set(used_at=_now(), **({} if going.dry else {"state": "done"}))
        return report, labeller

    @contextmanager
    def _full_disks(self) -> Iterator[None]:
        """Say of a full disk what holds half-way: some is changed already."""
        try:
            yield
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise GlimpseError(
                f"run {self.id}: a disk that it writes to is full; free some space, and the same command goes on. What "
                f"is done by now stays; glimpse label --undo {self.id} takes it back"
            ) from error

    def _foresee(self, journal: Journal, gone: set[int]) -> dict[str, Changes]:
        """What each output would do."""
        return {
            name: journal.foresee(name, (row for row in self._store.rows() if row.id not in gone), FORESEEN)
            for name in journal.outputs
        }

    def _follow(self, journal: Journal, gone: list[Row], report: RunReport, going: Going) -> None:
        """Have each output do what is to be done."""
        for row in gone:
            for name in journal.outputs:
                report.failed += journal.let_go(name, row)
        with self._store.writing():
            self._store.forget([row.id for row in gone])
        total = self._store.count()
        for name in journal.outputs:
            report.outputs[name] = journal.bring_about(
                name, self._store.rows(), lambda done: going.watch("writing", min(done, total), total)
            )

    def undo(self, collection: Collection | None = None, watch: Watcher | None = None) -> Changes:
        """Take back all that it changed; what it read and decided is kept.

        What others changed since stays as it is, and is named in `failed`; a later call tries that again.
        """
        asked = OutputsAsked.of_json(self._store.get("outputs"))
        outputs = {
            output.name: output for output in asked.changing((), self._origin("", ""), collection, overwrite=False)
        }
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

    def _origin(self, tool: str, model: str) -> Origin:
        return Origin(tool, Path(model).name if Path(model).exists() else model, self.id)

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
        """All of them, the one used last first; of one that another process works on no more than that."""
        infos = []
        for path in self._folder.glob("*/run.sqlite"):
            try:
                with Run(path.parent) as run:
                    infos.append(run.info())
            except RunBusy:
                infos.append(RunInfo(path.parent.name, SourceAsked(), OutputsAsked(), "at work", _now(), 0, 0))
            except TypeError:  # killed before it knew what it is
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
