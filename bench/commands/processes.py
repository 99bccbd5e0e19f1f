"""Commands as processes, and what they take: for bench/commands/cold_speed.py."""

from __future__ import annotations

import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple


class Took(NamedTuple):
    """Seconds of one process and its children."""

    wall: float
    cpu: float


def run(command: Sequence[str], environment: Mapping[str, str], cwd: Path | None = None) -> Took:
    """One command; an error of it ends the benchmark, with its last words."""
    before, started = cpu_of_children(), time.perf_counter()
    done = subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True)
    wall = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-2000:]}")
    return Took(wall, cpu_of_children() - before)


def until(command: Sequence[str], environment: Mapping[str, str], there: Callable[[], bool]) -> Took:
    """Start a command, ask every 20 ms whether it is there, and end it then. CPU is all that was used till its end."""
    before, started = cpu_of_children(), time.perf_counter()
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not there():
            if process.poll() is not None:
                raise RuntimeError(f"{' '.join(command)} ended with {process.returncode} before it was there")
            time.sleep(0.02)
        wall = time.perf_counter() - started
        process.kill()
    return Took(wall, cpu_of_children() - before)


def cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def medians(ways: Mapping[str, Callable[[], Took]], rounds: int) -> dict[str, list[Took]]:
    """What each way took, sorted; the ways take turns, so that a slow moment of the machine meets all of them."""
    took: dict[str, list[Took]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            took[name].append(way())
    return {name: sorted(runs) for name, runs in took.items()}


def show(title: str, took: Mapping[str, Sequence[Took]], references: Mapping[str, str] | None = None) -> None:
    """Print a row a way, and how many times as long its reference took in the same run, by the medians."""
    middle = {name: statistics.median(each.wall for each in runs) for name, runs in took.items()}
    print(f"\n{title:36}{'wall s':>8}{'least':>8}{'most':>8}{'CPU s':>8}{'reference / this':>18}")
    for name, runs in took.items():
        cpu = statistics.median(each.cpu for each in runs)
        other = middle.get((references or {}).get(name, ""))
        ratio = f"{other / middle[name]:>18.2f}" if other else ""
        print(f"{name:36}{middle[name]:>8.2f}{runs[0].wall:>8.2f}{runs[-1].wall:>8.2f}{cpu:>8.2f}{ratio}", flush=True)
