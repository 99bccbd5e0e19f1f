"""A labelling run: what it reads and what it writes. Asked again it goes on; asked to, it takes all back.

    <data>/label-runs/<id>/run.sqlite     images, vectors, labels, journal (store.py)
                           .lock          held by the one process that works on it

A run is known by its source and its outputs: with other labels or another model it is the same run, and what it wrote
is brought in step. Images are read first, then decided, then outputs follow; until then nothing is changed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from base.errors import DiskFull, InputError, RunBusy, RunNotFound
from base.files import NO_SPACE
from base.locks import LOCK, LockHeld, lock_file
from labelling.labeller import Labeller
from labelling.outputs.asked import OutputsAsked
from labelling.outputs.output import Judge, Listing
from labelling.rows import LabelReport, Listed
from labelling.runs import steps, taking_back
from labelling.runs.counts import count
from labelling.runs.deciding import LabelsAsked, decide
from labelling.runs.journal import Changes, Journal
from labelling.runs.lists import check_lists, remove_lists, write_lists
from labelling.runs.report import Going, RunInfo, RunReport, SourceAsked, Watcher
from labelling.runs.sources import Source
from labelling.runs.store import RunStore
from labelling.runs.tables import Row
from labelling.xmp.words import Origin

if TYPE_CHECKING:
    from index.collection import Collection


class Run:
    """An open run. Use `kept.LabelRuns`; close it.

    Attributes:
        id: its name.
        store: what it keeps.
    """

    def __init__(
        self, folder: Path, *, reads: bool = False, read_only: bool = False, judge: Judge = lambda path: None
    ) -> None:
        self.id = folder.name
        self._judge = judge
        self._lock = None if reads else lock_run(folder)
        try:
            self.store = RunStore(folder / "run.sqlite", reads=reads, read_only=read_only)
        except BaseException:
            self._unlock()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let others work on it."""
        self.store.close()
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)

    def info(self) -> RunInfo:
        """What it is."""
        return RunInfo(
            self.id,
            SourceAsked(**self.store.get("source")),
            self._outputs,
            self.store.get("state"),
            self.store.get("used_at"),
            self.store.count(),
            steps.count_steps(self.store),
        )

    def begin(self, source: SourceAsked, outputs: OutputsAsked) -> None:
        """Keep what it is, when it is made."""
        with self.store.writing():
            kept = {"folder": source.folder, "collection": source.collection}
            self.store.set(source=kept, outputs=outputs.to_json())
            if self.store.get("state") is None:
                self.store.set(state="begun")
            self.store.set(used_at=_now())

    def read_from(self, collection: str) -> None:
        """Say that its collection is called so."""
        with self.store.writing():
            self.store.set(source={"folder": None, "collection": collection})

    def images(self) -> Iterator[Listed]:
        """Its images, in the order of their paths."""
        return self.store.listed()

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
        self.store.check_rows()
        names = labels.label_set.names
        journal = self._journal(names, self._origin(going.tool, source.model), collection, overwrite=going.overwrite)
        check_lists(self.store, self._outputs.files, overwrite=going.overwrite)
        if self.store.get("state") == "undoing":
            self.undo(collection)
        journal.settle()
        with self.store.writing():
            taking_back.forget(self.store)
        self._trust(source)
        report = RunReport(self.id, LabelReport(per_label=dict.fromkeys(names, 0)))
        seen = source.look(self.store, report.labels, lambda done, total: going.watch("reading", done, total))
        report.new, report.changed, report.unchanged = seen.new, seen.changed, seen.unchanged
        labeller = decide(self.store, source, labels, going.watch)
        gone = {row.id: row for row in (*seen.gone, *self.store.undecided())}  # or went while others were decided
        report.gone = len(gone)
        report.labels.cut_texts = self.store.get("cut_texts", 0)
        report.labels.unread_labels = self.store.get("unread_labels", [])
        count(self.store, report.labels, sorted(gone))
        if going.dry:
            report.outputs = self._foresee(journal, set(gone), going.foreseen)
        else:
            self._write(journal, list(gone.values()), names, report, going)
        with self.store.writing():
            self.store.set(used_at=_now(), **({} if going.dry else {"state": "done"}))
        return report, labeller

    def apply(self, collection: Collection | None = None, going: Going = Going()) -> RunReport:
        """Bring all outputs in step with the labels that it has by now; the source is not looked at.

        Raises:
            InputError: nothing was labelled yet, or a file is there that is not the run's own.
        """
        self.store.check_rows()
        labels = LabelsAsked.of(self.store)
        if labels is None or self.store.count(undecided=True):
            raise InputError(f"run {self.id} was ended before all was labelled: ask for the same labels once more")
        names = labels.label_set.names
        origin = self._origin(going.tool, self.store.get("model", ""))
        journal = self._journal(names, origin, collection, overwrite=going.overwrite)
        check_lists(self.store, self._outputs.files, overwrite=going.overwrite)
        journal.settle()
        report = RunReport(self.id, LabelReport(per_label=dict.fromkeys(names, 0)))
        count(self.store, report.labels)
        self._write(journal, [], names, report, going)
        with self.store.writing():
            self.store.set(used_at=_now(), state="done")
        return report

    def _journal(
        self, labels: Sequence[str], origin: Origin, collection: Collection | None, *, overwrite: bool
    ) -> Journal:
        outputs = self._outputs.changing(labels, origin, collection, overwrite=overwrite)
        reads_files = self._folder is not None
        return Journal(self.store, {one.name: one for one in outputs}, restamp=reads_files, judge=self._judge)

    def _write(self, journal: Journal, gone: list[Row], labels: Sequence[str], report: RunReport, going: Going) -> None:
        """Have all outputs become what the images' labels are."""
        with self._full_disks():
            self._follow(journal, gone, report, going)
            if looked_at := report.labels.labelled + report.labels.abstained:
                files = self._outputs.files
                for file in files:
                    self._judge(Path(file))
                written = write_lists(self.store, files, Listing(self.images, labels, self._folder))
                report.written = dict.fromkeys(written, looked_at)

    @contextmanager
    def _full_disks(self) -> Iterator[None]:
        """Say of a full disk what holds half-way: some is changed already."""
        try:
            yield
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise
            raise DiskFull(
                f"run {self.id}: a disk that it writes to is full; free some space, and the same command goes on. What "
                f"is done by now stays; glimpse label --undo {self.id} takes it back"
            ) from error

    def _foresee(self, journal: Journal, gone: set[int], most: int | None) -> dict[str, Changes]:
        """What each output would do."""
        return {
            name: journal.foresee(name, (row for row in self.store.rows() if row.id not in gone), most)
            for name in journal.outputs
        }

    def _follow(self, journal: Journal, gone: list[Row], report: RunReport, going: Going) -> None:
        """Have each output do what is to be done."""
        for row in gone:
            for name in journal.outputs:
                report.failed += journal.let_go(name, row)
        with self.store.writing():
            self.store.forget([row.id for row in gone])
        total = self.store.count()
        for name in journal.outputs:
            report.outputs[name] = journal.bring_about(
                name, self.store.rows(), lambda done: going.watch("writing", min(done, total), total)
            )
            going.watch("writing", total, total)

    def undo(self, collection: Collection | None = None, watch: Watcher | None = None) -> Changes:
        """Take back all that it changed; what it read and decided is kept.

        What others changed since stays as it is, and is named in `failed`; a later call tries that again.
        """
        journal = self._journal((), self._origin("", ""), collection, overwrite=False)
        with self.store.writing():
            self.store.set(state="undoing")
        journal.settle()
        changes = journal.undo((lambda done, total: watch("undoing", done, total)) if watch else None)
        removed, failed = remove_lists(self.store, self._judge)
        changes.taken_back += removed
        changes.failed += failed
        with self.store.writing():
            steps.forget_applied(self.store)
            self.store.set(state="undone", used_at=_now())
        return changes

    def _origin(self, tool: str, model: str) -> Origin:
        return Origin(tool, Path(model).name if Path(model).exists() else model, self.id)

    @property
    def _folder(self) -> Path | None:
        folder = self.store.get("source")["folder"]
        return folder and Path(folder)

    @property
    def _outputs(self) -> OutputsAsked:
        return OutputsAsked.of_json(self.store.get("outputs"))

    def _trust(self, source: Source) -> None:
        """Forget vectors and decisions of another model."""
        if self.store.get("fingerprint") != source.fingerprint:
            with self.store.writing():
                self.store.distrust()
                self.store.set(fingerprint=source.fingerprint, model=source.model)


def lock_run(folder: Path) -> int:
    """Take the lock of the run in a folder; held until the descriptor is closed. RunNotFound, RunBusy."""
    try:
        return lock_file(folder / LOCK)
    except LockHeld as error:
        raise RunBusy(
            f"run {folder.name} is at work in process {error.holder}: wait until it ends, or stop it"
        ) from None
    except FileNotFoundError:
        raise RunNotFound(f"run {folder.name} was forgotten just now") from None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
