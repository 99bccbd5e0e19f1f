"""The training runs of a folder that the operator names: found by their names, and nothing outside of it is read.

Reads them alone; whoever trains writes. Knows no HTTP.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from encoder.model.weights import CONFIG, HUB_WEIGHTS
from training.reading.run import Run
from training.run_folder import HELD_OUT, LOG, METRICS, REPORT, TRAIN_CONFIG

NAME = re.compile(r"[^./\x00-\x1f\x7f][^/\x00-\x1f\x7f]{0,199}")  # of a folder that is not hidden
READ = (TRAIN_CONFIG, METRICS, LOG, HELD_OUT, REPORT, CONFIG, *HUB_WEIGHTS)


class TrainingRuns:
    """The run folders right below a folder, as they are now.

    Args:
        folder: it; None: there are no runs.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def list(self) -> list[Run]:
        """All of them, the one that was written to last first."""
        try:
            names = [path.name for path in self.folder.iterdir()] if self.folder is not None else []
        except OSError:
            names = []
        runs = (self.find(name) for name in names)
        return sorted((run for run in runs if run is not None), key=lambda run: (-run.written_at, run.name))

    def find(self, name: str) -> Run | None:
        """The run of that name; None: there is none, or what it is made of lies elsewhere."""
        if self.folder is None or not NAME.fullmatch(name) or not name.isprintable():
            return None
        out = self.folder / name
        try:
            if not (out / TRAIN_CONFIG).is_file() or not _lie_in_a_run(self.folder, (out / file for file in READ)):
                return None
        except OSError:  # a folder that nobody here may look into, a name that no folder can have
            return None
        return Run.of(out, name)


def report_of(run: Run) -> Path | None:
    """Its report, if it has one."""
    path = run.out / REPORT
    return path if path.is_file() else None


def has_model(run: Run) -> bool:
    """Whether a model lies in its folder: since the measures of its start."""
    return (run.out / CONFIG).is_file() and any((run.out / file).is_file() for file in HUB_WEIGHTS)


def _lie_in_a_run(folder: Path, files: Iterable[Path]) -> bool:
    """Whether files, links resolved, lie in a folder right below that of all runs."""
    root = Path(os.path.realpath(folder))
    return all(Path(os.path.realpath(file)).parent.parent == root for file in files)
