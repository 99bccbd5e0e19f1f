"""The labelling runs of a data folder: made, found, listed, forgotten."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import time
import unicodedata
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import chain, count
from pathlib import Path

from base.errors import GlimpseError, RunBusy, RunNotFound
from base.own_folders import let_go
from base.sqlite_files import Unmerged
from index.local.layout import collection_folder, folder_identity
from labelling.outputs.asked import OutputsAsked
from labelling.outputs.output import Judge
from labelling.runs.report import RunInfo, SourceAsked
from labelling.runs.run import Run, lock_run
from labelling.runs.store import RunStore

log = logging.getLogger(__name__)

FOLDER = "label-runs"
LAST = "last"  # instead of an id: the run that was used last
ID = re.compile(r"[a-z0-9][a-z0-9-]{0,60}")
AGAIN = 0.05  # seconds from one look at a run that others work on to the next


class LabelRuns:
    """The runs in a data folder.

    Args:
        data: the folder.
        judge: asked of each file that a run is about to read or change beside it, as `Journal` has it.
        read_only: change nothing in the folder when a run is looked at.
    """

    def __init__(self, data: Path, judge: Judge = lambda path: None, *, read_only: bool = False) -> None:
        self._read_only = read_only
        self._folder = data.absolute() / FOLDER
        self._judge = judge

    def problems(self) -> list[str]:
        """Which of them are damaged, a line each. Each file is read to its end."""
        found = []
        for path in sorted(self._folder.glob("*/run.sqlite")):
            try:
                store = RunStore(path, reads=True, read_only=True)
                try:
                    store.check()
                finally:
                    store.close()
            except (RunNotFound, FileNotFoundError, Unmerged):  # not begun, or forgotten just now; or killed, and sound
                continue
            except GlimpseError as error:
                found.append(f"labelling run {path.parent.name}: {error}")
        return found

    def list(self) -> list[RunInfo]:
        """All of them, the one used last first, without those that were not begun or are damaged."""
        infos = []
        for path in self._folder.glob("*/run.sqlite"):
            try:
                with self.look(path.parent.name) as run:
                    infos.append(run.info())
            except (RunNotFound, TypeError):  # TypeError: killed before it knew what it is
                continue
            except (GlimpseError, ValueError) as error:  # one that is damaged hides no other
                log.warning("labelling run %s is passed over: %s", path.parent.name, error)
        return sorted(infos, key=lambda info: info.used_at, reverse=True)

    def open(self, name: str, patience: float = 0.0) -> Run:
        """The run of that id, or the one used last for "last".

        Raises:
            RunNotFound: there is none.
            RunBusy: others work on it, `patience` seconds long.
        """
        return self._open(self._find(name), patience)

    def look(self, name: str) -> Run:
        """The same to read alone, whoever works on it. RunNotFound."""
        return Run(self._find(name), reads=True, read_only=self._read_only)

    def forget(self, name: str) -> None:
        """Forget a run, damaged or not; what it wrote stays as it is, and can no longer be taken back.

        Raises RunNotFound, RunBusy, and OSError where the disk does not let go of it.
        """
        folder = self._find(name)
        lock = lock_run(folder)  # not opened: that takes room, of which a full disk has none
        try:
            (folder / "run.sqlite").unlink(missing_ok=True)
        except BaseException:
            os.close(lock)
            raise
        let_go(folder, lock)

    @contextmanager
    def following(self, collection: str, to: str) -> Iterator[None]:
        """Have the runs of a collection be those of `to`, if it is called so after the block, however that ends.

        Raises:
            RunBusy: others work on one of them.
        """
        old, new = (collection_folder(self._folder.parent, name) for name in (collection, to))
        identity = folder_identity(old)
        with ExitStack() as held:
            runs = []
            for info in self.list():
                if info.source.collection in (collection, to):  # a killed renaming has told some already
                    with suppress(RunNotFound):  # forgotten just now
                        runs.append(held.enter_context(self._open(self._folder / info.id, 0.0)))
            with ExitStack() as back:
                for run in runs:
                    if run.info().source.collection == collection:
                        back.callback(run.read_from, collection)
                        run.read_from(to)
                try:
                    yield
                finally:
                    if identity is not None and folder_identity(new) == identity:
                        back.pop_all()
            for run in runs:
                info = run.info()
                run.store.close()
                with suppress(OSError):  # one that is there is of a collection of before; this one keeps its id then
                    (self._folder / run.id).rename(self._folder / run_id(info.source, info.outputs))

    def _find(self, name: str) -> Path:
        if name == LAST:
            if not (infos := self.list()):
                raise RunNotFound(f"no labelling run in {self._folder.parent}; is --data the right folder?")
            name = infos[0].id
        folder = self._folder / name
        if not ID.fullmatch(name) or not (folder / "run.sqlite").is_file():
            known = ", ".join(info.id for info in self.list()[:10]) or "none"
            raise RunNotFound(f"no labelling run {name!r}; there are: {known}")
        return folder

    def make(self, source: SourceAsked, outputs: OutputsAsked, patience: float = 0.0) -> Run:
        """The run of this source and these outputs; made if there is none. RunBusy after `patience`, OSError."""
        folder = self._place_of(source, outputs)
        folder.mkdir(parents=True, exist_ok=True)
        run = self._open(folder, patience)
        run.begin(source, outputs)
        return run

    def _place_of(self, source: SourceAsked, outputs: OutputsAsked) -> Path:
        """The folder of a run; a free one if there is none."""
        wanted = run_id(source, outputs)
        folder = self._folder / wanted
        if not source.collection or (folder.exists() and not self._has_moved_on(folder, source.collection)):
            return folder
        for info in self.list():  # its collection was called otherwise before
            if run_id(info.source, info.outputs) == wanted:
                return self._folder / info.id
        free = (f"{wanted}-{i}" for i in count(2))
        return next(self._folder / name for name in chain([wanted], free) if not (self._folder / name).exists())

    def _has_moved_on(self, folder: Path, collection: str) -> bool:
        """Whether a run, by its id one of `collection`, is one of another by now: whose renaming was killed since."""
        try:
            with Run(folder, reads=True, read_only=self._read_only) as run:
                of = run.info().source.collection
        except (GlimpseError, TypeError):  # not begun; or damaged, as who opens it says
            return False
        return of not in (None, collection) and collection_folder(self._folder.parent, of).exists()

    def _open(self, folder: Path, patience: float) -> Run:
        end = time.monotonic() + patience
        while True:
            try:
                return Run(folder, judge=self._judge)
            except RunBusy:
                if time.monotonic() > end:
                    raise
            time.sleep(AGAIN)


def run_id(source: SourceAsked, outputs: OutputsAsked) -> str:
    """The same for the same; it begins with the source's name as far as a file's name can hold that."""
    plain = unicodedata.normalize("NFKD", source.name).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:30].strip("-") or "run"
    asked = [source.folder, source.collection, outputs.to_json()]
    return f"{name}-{hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:8]}"
