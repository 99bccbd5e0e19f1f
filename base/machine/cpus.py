"""The processors that this process may really use, and how many threads its libraries take for them.

Affinity and the quota of a container count, not the machine's cores. Reads Linux's files; elsewhere there are as many
as Python says. Knows no torch: numbers reach the libraries by the environment, which they read when they are loaded.
"""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from base.errors import InputError
from base.machine.control_groups import OWN, ROOT, group_folders

# How often a thread of OpenMP looks for its next work before it sleeps. libgomp itself looks 300,000 times, which takes
# milliseconds, and keeps from the processor the thread that all wait for, if there is other work on the machine.
SPINS, SPINS_BESIDE_OTHERS = "3000", "300"  # the first costs a quiet machine little, the second a busy one least
MOST = 1024  # threads
FELT = 0.3  # processors
_WAITING = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
_taken_by_itself = False


@dataclass(frozen=True)
class Cpus:
    """Processors, counted three ways.

    Attributes:
        machine: of the machine.
        affinity: that this process may run on.
        quota: that its control groups let it take, as 1.5; inf: all.
    """

    machine: int
    affinity: int
    quota: float = math.inf

    @property
    def usable(self) -> int:
        """How many threads are worth having. A part of a processor counts as one: a thread more takes that part."""
        return max(1, min(self.affinity, math.ceil(min(self.quota, self.affinity))))

    def __str__(self) -> str:
        by = "by their quota" if self.quota < self.affinity else "by affinity"
        return f"{self.usable} of {self.machine} processors" + (f", {by}" if self.usable < self.machine else "")


@cache
def cpus() -> Cpus:
    """Those of this process, looked up once."""
    machine = os.cpu_count() or 1
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else machine
    return Cpus(machine, affinity, quota())


def threads() -> int:
    """How many threads work at the same time: as asked by --threads or OMP_NUM_THREADS, else one a usable processor."""
    return _asked() or cpus().usable


def use_threads(given: int | None = None) -> int:
    """Have torch, FAISS and BLAS take so many threads, by the environment: call it before any of them is imported.

    Args:
        given: by the user; None leaves it to OMP_NUM_THREADS, and without one takes a thread a usable processor.

    Returns:
        How many it is.

    Raises:
        InputError: OMP_NUM_THREADS is no number of threads.
    """
    global _taken_by_itself
    said = os.environ.get("OMP_NUM_THREADS")
    if given is None and said and _asked() is None:
        raise InputError(f"OMP_NUM_THREADS={said}: give a number of threads from 1 to {MOST}, or unset it")
    n = given or threads()
    _taken_by_itself = not (given or said)
    if given or not said:  # a list for nested loops stays one
        os.environ["OMP_NUM_THREADS"] = str(n)
    if not any(name in os.environ for name in _WAITING):
        os.environ["GOMP_SPINCOUNT"] = SPINS_BESIDE_OTHERS if is_busy() else SPINS
    return n


def is_busy(loadavg: Path = Path("/proc/loadavg")) -> bool:
    """Whether others want the machine's processors now, and did in the last minute, as far as Linux tells."""
    try:
        last_minute, _, _, running, _ = loadavg.read_text().split()
        return min(float(last_minute), int(running.partition("/")[0]) - 1) >= FELT  # one of those that run is this one
    except (OSError, ValueError):
        return False


def fewer_taken() -> str | None:
    """In words, if `use_threads` took fewer threads by itself than the machine has processors."""
    return f"takes {cpus()}" if _taken_by_itself and cpus().usable < cpus().machine else None


def quota(root: Path = ROOT, of: Path = OWN) -> float:
    """Processors that control groups, old and new, let this process take: the least along its own path; inf: all.

    Args:
        root: where they are mounted.
        of: the process's own paths, as Linux lists them.
    """
    return min((_quota_v2(folder / "cpu.max") if is_new else _quota_v1(folder)
                for is_new, folder in group_folders("cpu", root, of)), default=math.inf)  # fmt: skip


class Others:
    """How many processors the other programs of the machine keep busy, from its making on."""

    def __init__(self, stat: Path = Path("/proc/stat")) -> None:
        self._stat = stat
        self._since = self._now()

    def busy(self) -> float | None:
        """Processors, on average; None where Linux does not tell it, or no time has passed."""
        if self._since is None or (now := self._now()) is None or now[0] - self._since[0] < 0.1:
            return None
        seconds, all_of_it, own = (b - a for a, b in zip(self._since, now, strict=True))
        return max(0.0, (all_of_it - own) / seconds)

    def said(self) -> str | None:
        """In words, if that is enough to be felt."""
        busy = self.busy()
        if busy is None or busy < FELT:
            return None
        return f"other programs keep {busy:.1f} of {cpus().machine} processors busy: without them the model is faster"

    def _now(self) -> tuple[float, float, float] | None:
        """Seconds: of the clock, of all processors in use, of this process and what it waited for."""
        try:
            with self._stat.open() as file:
                user, nice, system, _idle, _io, irq, soft, stolen = map(int, file.readline().split()[1:9])
        except (OSError, ValueError):
            return None
        ticks = user + nice + system + irq + soft + stolen
        return time.monotonic(), ticks / os.sysconf("SC_CLK_TCK"), sum(os.times()[:4])


def _asked() -> int | None:
    """The number of OMP_NUM_THREADS, which may be a list for nested loops."""
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(first) if first.isascii() and first.isdigit() and 0 < int(first) <= MOST else None


def _quota_v2(file: Path) -> float:
    """Of `cpu.max`: "150000 100000", or "max 100000"."""
    try:
        most, period = file.read_text().split()
        return math.inf if most == "max" else int(most) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf


def _quota_v1(folder: Path) -> float:
    """Of `cpu.cfs_quota_us`, -1 for none, and `cpu.cfs_period_us`."""
    try:
        most, period = (int((folder / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
        return most / period if most > 0 else math.inf
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf
