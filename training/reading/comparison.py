"""Training runs beside each other: what came of each, which settings differ, and what stands in the way of comparing.

Read from their folders; nothing is measured, and no model is loaded.
"""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any

from base.errors import InputError
from base.sources.left_out import LeftOut
from training.reading.measures import HEADLINES, number
from training.reading.run import Run
from training.run_folder import TRAIN_CONFIG

HEAD = ("run", "before", "after", "score", "best epoch", "of", "minutes", "samples/s", "warnings")
NOT_RESULTS = ("out", "device", "track")  # settings that decide nothing of a result


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
    return [Run.of(folder, real.name if unique else str(folder)) for real, folder in found.items()], left_out


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
    scored = sorted(((run.score, run) for run in runs if run.score is not None), key=lambda one: one[0], reverse=True)
    if len(scored) < 2:
        return "There are no two runs that are measured."
    if len({_measured_on(run) for _, run in scored}) > 1:
        return "None is ahead: they are measured on different images."
    (best, first), (next_best, second), *_ = scored
    if best == next_best:
        return f"{first.name} and {second.name} are level, with a score of {best:.3f}."
    said = f"{first.name} is ahead, with a score of {best:.3f}; {second.name} follows with {next_best:.3f}"
    images = number(second.best or {}, "metrics", "n_images")
    if images and best - next_best < (spread := _spread(next_best, images)):
        said += f", which may be chance: ±{spread:.3f} with {images:.0f} images held out"
    return f"{said}."


def _spread(share: float, number: float) -> float:
    """Within what a share of so many lies by chance, 19 times of 20."""
    return 1.96 * math.sqrt(share * (1 - share) / number)


def differing(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """The settings that are not the same in all runs, each with what counted in each."""
    names = dict.fromkeys(name for run in runs for name in run.settings if name not in NOT_RESULTS)
    values = {name: [run.settings.get(name) for run in runs] for name in names}
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


def _measured_on(run: Run) -> Hashable:
    """What is the same for runs that are measured on the same."""
    if run.held_out is not None:
        return run.held_out
    return tuple(map(run.config.get, ("pairs", "val", "val_fraction", "seed")))
