"""Changes that are noted before they are done, so that a kill at any moment is made right, and all can be taken back.

Some images at a time: what is going to be done is on disk, then it is done, then that is on disk. What was begun when a
process was killed is looked at by the next one: it was done, or there is nothing of it.
"""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from base.files import NO_SPACE
from base.progress import Progress
from base.read_ahead import batches
from labelling.outputs.files import stamp_of
from labelling.outputs.output import ChangesImages, Judge, NotDone, Step
from labelling.runs import steps
from labelling.runs.steps import KeptStep
from labelling.runs.store import BLOCK, RunStore
from labelling.runs.tables import Row

TOGETHER = 64  # images whose files are changed between two commits, of which each waits for the disk


class Failure(NamedTuple):
    """A file that something could not be done for, and why."""

    path: str
    reason: str


@dataclass
class Changes:
    """What an output has changed in this run of the command.

    Attributes:
        done: steps that were done, by what they are counted as.
        taken_back: steps of before that were taken back.
        failed: what could not be done.
        first: the first steps in words, where nothing is done yet; those are some of `foreseen`.
    """

    done: dict[str, int] = field(default_factory=dict)
    taken_back: int = 0
    failed: list[Failure] = field(default_factory=list)
    first: list[str] = field(default_factory=list)
    foreseen: int = 0

    def count(self, step: Step) -> None:
        """Count a step."""
        self.done[step.counted] = self.done.get(step.counted, 0) + 1

    def foresee(self, step: Step, most: int | None) -> None:
        """Count a step that is not done yet, and say it if it is among the first."""
        self.count(step)
        if step.kind != "folder":
            self.foreseen += 1
            if most is None or len(self.first) < most:
                self.first.append(step.said)


class _Known(NamedTuple):
    row: Row
    applied: str | None  # what the output last brought about for it
    kept: list[KeptStep]  # what was done for that


class _Planned(NamedTuple):
    row: Row
    wanted: str
    take_back: list[KeptStep]
    do: list[Step]


class Journal:
    """The journal of a run's outputs.

    Args:
        store: the run's.
        outputs: by their names.
        restamp: whether images are known by their files' stamps, which change with what is done to them.
        judge: asked of each file just before it is read or changed; where it really leads may have changed.
    """

    def __init__(
        self,
        store: RunStore,
        outputs: Mapping[str, ChangesImages],
        *,
        restamp: bool,
        judge: Judge = lambda path: None,
    ) -> None:
        self.outputs = outputs
        self._store = store
        self._restamp = restamp
        self._judge = judge

    def settle(self) -> None:
        """Make right what a kill interrupted."""
        for kept in steps.begun(self._store):
            output = self.outputs[kept.output]
            done = output.settle(self._judged(output, output.step_of(kept.kind, kept.what)))
            output.flush()
            with self._store.writing():
                steps.end(self._store, [(kept.id, done.to_json() if done else None)])
                if done and kept.image is not None:
                    self._place(output, kept.image, done)

    def bring_about(self, name: str, rows: Iterable[Row], tell: Callable[[int], None]) -> Changes:
        """Have an output do for each image what it wants; `tell` is given how many were looked at."""
        output, changes = self.outputs[name], Changes()
        together = TOGETHER if output.on_disk else BLOCK
        waiting: list[_Planned] = []
        paths: set[Path] = set()
        for i, known in enumerate(self._known(output, rows), 1):
            planned = self._plan(output, known, changes)
            if planned and output.on_disk and not paths.isdisjoint(step.path for step in planned.do):
                self._do(output, waiting, changes)  # what it plans on will be as those before leave it
                waiting, paths = [], set()
                planned = self._plan(output, known, changes)
            if planned:
                waiting.append(planned)
                if output.on_disk:
                    paths.update(step.path for step in planned.do)
            if len(waiting) >= together:
                self._do(output, waiting, changes)
                waiting, paths = [], set()
            if i % TOGETHER == 0:
                tell(i)
        self._do(output, waiting, changes)
        self._remove_emptied(output)
        return changes

    def _remove_emptied(self, output: ChangesImages) -> None:
        """Take back the folders that were made for images of which none is there any more.

        Where images were moved on from such a folder it stays in the journal: taken back, they pass through it.
        """
        made = steps.folders_made(self._store, output.name)
        times = Counter(str(kept.what) for kept in made)
        removed: list[int] = []
        for kept in reversed(made):
            step = output.step_of(kept.kind, kept.what)
            with suppress(NotDone, OSError):  # it may stay
                output.undo(self._judged(output, step))
            if not step.path.is_dir() and not (output.moves and times[str(kept.what)] == 1):
                removed.append(kept.id)
                times[str(kept.what)] -= 1
        output.flush()
        with self._store.writing():
            steps.end(self._store, [(key, None) for key in removed])

    def _known(self, output: ChangesImages, rows: Iterable[Row]) -> Iterator[_Known]:
        """Rows with what is known of them, looked up for many at once."""
        for block in batches(rows, BLOCK):
            output.look_up([row.stamp for row in block])
            applied, kept = steps.so_far(self._store, output.name, [row.id for row in block])
            for row in block:
                yield _Known(row, applied.get(row.id), kept.get(row.id, []))

    def foresee(self, name: str, rows: Iterable[Row], most: int | None) -> Changes:
        """What `bring_about` would do, with the first `most` steps in words, None: all. Nothing is done."""
        output, changes = self.outputs[name], Changes()
        for known in self._known(output, rows):
            if planned := self._plan(output, known, changes):
                changes.taken_back += len(planned.take_back)
                for step in planned.do:
                    changes.foresee(step, most)
        return changes

    def let_go(self, name: str, row: Row) -> list[Failure]:
        """Take back what an output did for an image that is gone. What cannot be taken back is left as it is."""
        output, failed = self.outputs[name], []
        for kept in reversed(steps.steps_of(self._store, name, row.id)):
            try:
                output.gone(self._judged(output, output.step_of(kept.kind, kept.what)))
            except (NotDone, OSError) as error:
                failed.append(_failure(row.image.path, error))
        output.flush()
        with self._store.writing():
            steps.end(self._store, [(kept.id, None) for kept in steps.steps_of(self._store, name, row.id)])
        return failed

    def undo(self, progress: Progress | None = None) -> Changes:
        """Take all steps back, the last one first. Those that cannot be stay in the journal."""
        changes, total = Changes(), steps.count_steps(self._store)
        before: int | None = None
        while block := steps.last_steps(self._store, before, TOGETHER):
            back: list[KeptStep] = []
            for kept in block:
                if not kept.sound:
                    reason = "what the journal says of it is damaged, so what it did stays as it is"
                    changes.failed.append(Failure(f"step {kept.id}", reason))
                    continue
                output = self.outputs[kept.output]
                try:
                    step = output.step_of(kept.kind, kept.what)
                    output.undo(self._judged(output, step))
                    if kept.kind == "folder" and step.path.is_dir() and _lies_in(step.path, changes.failed):
                        continue  # until what stays in it can be taken back
                    back.append(kept)
                except (NotDone, OSError) as error:
                    changes.failed.append(_failure(Path(str(kept.what.get("target", ""))), error))
            for output in self.outputs.values():
                output.flush()
            with self._store.writing():
                steps.end(self._store, [(kept.id, None) for kept in back])
                for kept in back:
                    if kept.image is not None:
                        steps.forget_applied_for(self._store, kept.output, kept.image)
                        output = self.outputs[kept.output]
                        self._place(output, kept.image, output.step_of(kept.kind, kept.what), back=True)
            changes.taken_back += sum(kept.kind != "folder" for kept in back)
            before = block[-1].id
            if progress:
                progress(changes.taken_back + len(changes.failed), total)
        return changes

    def _plan(self, output: ChangesImages, known: _Known, changes: Changes) -> _Planned | None:
        """What is to be done for an image, perhaps no more than to note that nothing is; None: that is noted."""
        row, applied, kept = known
        wanted = output.wanted(row.image, row.stamp)
        if wanted == applied:
            return None
        if not wanted and not kept:
            return None
        so_far = [output.step_of(step.kind, step.what) for step in kept]
        try:
            for path in output.reads(row.image):
                self._judge(path)
            plan = output.plan(row.image, row.stamp, row.origin, so_far)
        except (NotDone, OSError) as error:
            changes.failed.append(_failure(row.image.path, error))
            return None
        return _Planned(row, wanted, [kept[i] for i in plan.take_back], list(plan.do))

    def _do(self, output: ChangesImages, planned: list[_Planned], changes: Changes) -> None:
        """Do what was planned for some images, noted before and after."""
        if not planned:
            return
        to_begin = [  # a folder is made for one image and used by others
            (None if step.kind == "folder" else one.row.id, step.kind, step.to_json())
            for one in planned
            for step in one.do
        ]
        with self._store.writing():
            keys = iter(steps.begin(self._store, output.name, to_begin))
        begun = [list(islice(keys, len(one.do))) for one in planned]
        ended: list[tuple[int, Step | None]] = []
        whole: list[_Planned] = []
        for one, ids in zip(planned, begun, strict=True):
            done, failed = self._do_one(output, one, changes)
            ended += zip(ids, [*done, *[None] * (len(ids) - len(done))], strict=True)
            if not failed:
                whole.append(one)
        output.flush()
        with self._store.writing():
            steps.end(self._store, [(kept.id, None) for one in planned for kept in one.take_back])
            steps.end(self._store, [(key, step.to_json() if step else None) for key, step in ended])
            steps.set_applied(self._store, output.name, [(one.row.id, one.wanted) for one in whole])
            done_as = {key: step for key, step in ended if step}
            for one, ids in zip(planned, begun, strict=True):
                for key in ids:
                    if key in done_as:
                        self._place(output, one.row.id, done_as[key])

    def _do_one(self, output: ChangesImages, one: _Planned, changes: Changes) -> tuple[list[Step], bool]:
        """The steps that were done for an image, and whether one could not be."""
        done: list[Step] = []
        for kept in reversed(one.take_back):
            try:
                output.undo(self._judged(output, output.step_of(kept.kind, kept.what)))
                changes.taken_back += 1
            except (NotDone, OSError) as error:  # it stays, and is no longer ours
                changes.failed.append(_failure(one.row.image.path, error))
        try:
            for step in one.do:
                for path in output.reads(one.row.image):
                    self._judge(path)
                done.append(output.do(self._judged(output, step)))
                changes.count(step)
        except (NotDone, OSError) as error:
            changes.failed.append(_failure(one.row.image.path, error))
            return done, True
        return done, False

    def _judged(self, output: ChangesImages, step: Step) -> Step:
        """The step, if what it changes may be changed. NotDone."""
        if output.on_disk:
            self._judge(step.path)
        return step

    def _place(self, output: ChangesImages, image: int, step: Step, *, back: bool = False) -> None:
        """Remember where an image lies after a step, and how its file is; one that is damaged stays known as that."""
        places = output.places(step)
        placed = places and self._store.placed(image)
        if placed is None or places is None:
            return
        before, origin, stamp = placed
        path, origin = places[0] if back else places[1], origin or before
        stamp = stamp_of(path) if self._restamp else stamp
        self._store.place(image, path, stamp, None if path == origin else origin)


def _lies_in(folder: Path, failed: Sequence[Failure]) -> bool:
    """Whether one of the files that something could not be done for lies there."""
    return any(Path(one.path).is_relative_to(folder) for one in failed)


def _failure(path: Path, error: NotDone | OSError) -> Failure:
    """What could not be done. OSError if it is one that all others would meet too."""
    if isinstance(error, NotDone):
        return Failure(str(error.path), error.reason)
    if error.errno in (*NO_SPACE, errno.EROFS):
        raise error
    return Failure(str(error.filename or path), error.strerror or str(error))
