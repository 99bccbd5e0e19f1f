"""Results of runs that take long, kept in a file as they come: a script that is interrupted goes on where it was."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from training.run_folder import write_json


class Kept:
    """What runs gave, by their names, in WORK/results.json."""

    def __init__(self, work: Path, settings: dict[str, Any], minutes: float | None = None) -> None:
        """Read what is there.

        Args:
            work: the folder; made if there is none.
            settings: what the results hang on; as JSON has them.
            minutes: begin no run later than this.

        Raises:
            SystemExit: what is there is of other settings.
        """
        work.mkdir(parents=True, exist_ok=True)
        self._file = work / "results.json"
        self._until = None if minutes is None else time.monotonic() + 60 * minutes
        kept = json.loads(self._file.read_text()) if self._file.exists() else {"settings": settings, "runs": {}}
        if kept["settings"] != settings:
            raise SystemExit(f"{self._file} is of other settings; choose another --work")
        self._settings = settings
        self.runs: dict[str, Any] = kept["runs"]

    def run(self, name: str, work: Callable[[], Any]) -> bool:
        """Do what is not done yet and keep what it gives; false where there is no time left to begin it."""
        if name in self.runs:
            return True
        if self._until is not None and time.monotonic() > self._until:
            return False
        started = time.perf_counter()
        self.runs[name] = work()
        write_json(self._file, {"settings": self._settings, "runs": self.runs})
        print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)
        return True


def mean_sd(values: Sequence[float]) -> str:
    """Mean and standard deviation, which one value has none of."""
    return f"{statistics.mean(values):.3f}" + (f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else "")
