"""Training runs beside each other: what came of each, which settings differ, and what stands in the way of comparing.

Read from their folders; nothing is measured, and no model is loaded.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from base.errors import InputError
from base.files import file_sha256
from base.left_out import LeftOut
from training.records.measures import HEADLINES, Record, number
from training.run_folder import HELD_OUT, METRICS, TRAIN_CONFIG, read_json, read_log

HEAD = ("run", "before", "after", "score", "best epoch", "of", "minutes", "samples/s", "warnings")
NOT_RESULTS = ("out", "device", "track")  # settings that decide nothing of a result


@dataclass(frozen=True)
class Run:
    """One run as its folder tells it.

    Attributes:
        name: of the folder; its whole path where two have one name.
        out: the folder.
        config: `train_config.json`.
        epochs: the records of `metrics.json`, the measures before training first; none yet: an empty list.
        steps: the records of `log.jsonl`.
        result: `metrics.json`.
        held_out: a hash of what it is measured on; None: it does not say.
    """

    name: str
    out: Path
    config: Record
    epochs: list[Record]
    steps: list[Record]
    result: Record
    held_out: str | None

    @property
    def best(self) -> Record | None:
        """The record of its best epoch."""
        return next((epoch for epoch in self.epochs if epoch["epoch"] == self.result.get("best_epoch")), None)

    @property
    def score(self) -> float | None:
        """What the run folder's model scores on what the run holds out, 0 to 1."""
        return number(self.result, "best_score")

    @property
    def seconds(self) -> float:
        """That its epochs took, measuring included."""
        return sum(number(epoch, "seconds") or 0.0 for epoch in self.epochs)

    @property
    def minutes(self) -> list[float]:
        """When each epoch was over, in minutes of training."""
        return [seconds / 60 for seconds in accumulate(number(epoch, "seconds") or 0.0 for epoch in self.epochs)]

    @property
    def samples_per_second(self) -> float | None:
        """The median of its steps."""
        rates = [rate for step in self.steps if (rate := number(step, "samples_per_second")) is not None]
        return statistics.median(rates) if rates else None

    @property
    def warnings(self) -> list[str]:
        """What the run says is wrong with it."""
        return list(self.result.get("warnings") or [])

    def as_json(self, path: Sequence[str], measure: str) -> dict[str, Any]:
        """For programs; before and after are of the measure at that path of an epoch's record, as of `headline`."""
        return {
            "name": self.name,
            "out": str(self.out),
            "score": self.score,
            "measure": measure,
            "before": number(self.epochs[0], *path) if self.epochs else None,
            "after": number(self.best, *path),
            "best_epoch": self.result.get("best_epoch"),
            "epochs": max(0, len(self.epochs) - 1),
            "seconds": round(self.seconds, 2),
            "samples_per_second": self.samples_per_second,
            "warnings": self.warnings,
        }


def read_runs(folders: Iterable[Path]) -> tuple[list[Run], LeftOut]:
    """The runs in some folders, each once, in the order given; what is no run folder is left out, and counted.

    Raises:
        InputError: fewer than two runs.
    """
    left_out = LeftOut()
    found: dict[Path, Path] = {}
    for folder in folders:
        if (folder / TRAIN_CONFIG).is_file():
            found.setdefault(folder.resolve(), folder)
        else:
            left_out.add("paths that are no run folder", str(folder))
        left_out.totals["paths"] = left_out.totals.get("paths", 0) + 1
    if len(found) < 2:
        without = "".join(f"; left out: {line}" for line in left_out.lines())
        raise InputError(f"{len(found)} run to compare{without}; give two or more, as in glimpse compare runs/*")
    names = [folder.name for folder in found]
    unique = len(set(names)) == len(names)
    return [_read(folder, real.name if unique else str(folder)) for real, folder in found.items()], left_out


def _read(folder: Path, name: str) -> Run:
    result = read_json(folder / METRICS)
    held_out = folder / HELD_OUT
    return Run(
        name=name,
        out=folder,
        config=read_json(folder / TRAIN_CONFIG),
        epochs=result.get("epochs") or [],
        steps=[record for record in read_log(folder) if "step" in record],
        result=result,
        held_out=file_sha256(held_out) if held_out.is_file() else None,
    )


def headline(runs: Sequence[Run]) -> tuple[tuple[str, ...], str]:
    """(path in an epoch's record, its name): the measure that all runs have which says most; the score if none else."""
    measured = [run.epochs[0] for run in runs if run.epochs]
    have = (told for told in HEADLINES if measured and all(number(epoch, *told[0]) is not None for epoch in measured))
    return next(have, HEADLINES[-1])


def rows(runs: Sequence[Run]) -> list[list[str]]:
    """A line a run, under HEAD, all by the one measure that they have in common."""
    path, measure = headline(runs)
    return [_row(run, path, measure) for run in runs]


def _row(run: Run, path: Sequence[str], measure: str) -> list[str]:
    said = run.as_json(path, measure)
    shown = [said["before"], said["after"], said["score"]]
    rate = said["samples_per_second"]
    return [
        run.name,
        *("–" if value is None else f"{value:.3f}" for value in shown),
        "–" if said["best_epoch"] is None else str(said["best_epoch"]),
        str(said["epochs"]),
        f"{run.seconds / 60:.1f}",
        "–" if rate is None else f"{rate:,.0f}",
        str(len(run.warnings)),
    ]


def verdict(runs: Sequence[Run]) -> str:
    """Which one is ahead, in a sentence."""
    scored = [run for run in runs if run.score is not None]
    if len(scored) < 2:
        return "There are no two runs that are measured."
    first, second = sorted(scored, key=lambda run: -(run.score or 0.0))[:2]
    if first.score == second.score:
        return f"{first.name} and {second.name} are level, with a score of {first.score:.3f}."
    return f"{first.name} is ahead, with a score of {first.score:.3f}; {second.name} follows with {second.score:.3f}."


def differing(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """The settings that are not the same in all runs, each with its value of each."""
    names = dict.fromkeys(name for run in runs for name in run.config if name not in NOT_RESULTS)
    values = {name: [run.config.get(name) for run in runs] for name in names}
    return {name: row for name, row in values.items() if any(value != row[0] for value in row)}


def setting(value: Any) -> str:
    """A setting's value as a person reads it."""
    return "–" if value is None else value if isinstance(value, str) else json.dumps(value)


def objections(runs: Sequence[Run]) -> list[str]:
    """Why the numbers of these runs are not those of one contest, a sentence each."""
    said = []
    first = runs[0]
    if others := [run.name for run in runs if _measured_on(run) != _measured_on(first)]:
        said.append(
            f"Held out differs: {', '.join(others)} and {first.name} are measured on different images, so their scores "
            f"do not compare; glimpse eval --split {first.out} --model RUN measures each on the same."
        )
    if unmeasured := [run.name for run in runs if not run.epochs]:
        said.append(f"Not measured yet: {', '.join(unmeasured)}.")
    kinds = {tuple(sorted(run.epochs[0].get("metrics") or ())) for run in runs if run.epochs}
    if len(kinds) > 1:
        said.append("Measures differ: some are told by recall, some by accuracy; only the score is shown for all.")
    return said


def _measured_on(run: Run) -> object:
    """What is the same for runs that are measured on the same."""
    if run.held_out is not None:
        return run.held_out
    return [run.config.get(name) for name in ("pairs", "val", "val_fraction", "seed")]
