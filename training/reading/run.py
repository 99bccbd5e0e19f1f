"""A training run as its folder tells it, while it trains and after. Measures nothing, and loads no model."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

from base.files import file_sha256
from training.config import in_effect
from training.reading.measures import Record, Table, before_and_after, number
from training.run_folder import HELD_OUT, LOG, METRICS, TRAIN_CONFIG, read_json, read_log

State = Literal["training", "stopped", "done"]
SILENCE = 600.0  # seconds without a word after which nobody is taken to be at work: to measure takes long, too


@dataclass(frozen=True)
class Run:
    """One run.

    Attributes:
        name: of the folder; its whole path where two have one name.
        out: the folder.
        config: `train_config.json`.
        epochs: the records of `metrics.json`, the measures before training first; none yet: an empty list.
        result: `metrics.json`.
    """

    name: str
    out: Path
    config: Record
    epochs: list[Record]
    result: Record

    @classmethod
    def of(cls, out: Path, name: str) -> Run:
        """As it lies there now."""
        result = read_json(out / METRICS)
        epochs = result.get("epochs")
        known = [one for one in epochs if isinstance(one, dict)] if isinstance(epochs, list) else []
        measured = [one for one in known if isinstance(one.get("epoch"), int)]
        return cls(name, out, read_json(out / TRAIN_CONFIG), measured, result)

    @cached_property
    def settings(self) -> Record:
        """`config` with what None stood for."""
        return in_effect(self.config)

    @cached_property
    def steps(self) -> list[Record]:
        """The records of `log.jsonl` that are of a step."""
        return [record for record in read_log(self.out) if "step" in record]

    @cached_property
    def held_out(self) -> str | None:
        """A hash of what it is measured on; None: it does not say."""
        held_out = self.out / HELD_OUT
        return file_sha256(held_out) if held_out.is_file() else None

    @property
    def best(self) -> Record | None:
        """The record of its best epoch."""
        return next((epoch for epoch in self.epochs if epoch["epoch"] == self.best_epoch), None)

    @property
    def best_epoch(self) -> int | None:
        """Which one that is."""
        best = number(self.result, "best_epoch")
        return None if best is None else int(best)

    @property
    def last_epoch(self) -> int | None:
        """The epoch that was measured last, 0 before training; None: nothing was measured yet."""
        return int(self.epochs[-1]["epoch"]) if self.epochs else None

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
    def tables(self) -> list[Table]:
        """Every measure before training and at the best epoch."""
        return before_and_after(self.epochs[0], self.best) if self.best is not None else []

    @property
    def warnings(self) -> list[str]:
        """What the run says is wrong with it."""
        said = self.result.get("warnings")
        return [str(one) for one in said] if isinstance(said, list) else []

    @property
    def written_at(self) -> float:
        """When it last wrote something, in seconds since 1970."""
        return max(_written(self.out / name) for name in (TRAIN_CONFIG, LOG, METRICS))

    @property
    def state(self) -> State:
        """Whether it goes on, ended before its time, or has done all that it was asked."""
        last, best = self.last_epoch, self.best_epoch
        asked, patience = number(self.config, "epochs"), number(self.config, "patience")
        if last is not None:
            if asked is not None and last >= asked:
                return "done"
            if patience is not None and best is not None and last - best >= patience:
                return "done"
        return "training" if time.time() - self.written_at < SILENCE else "stopped"

    def as_json(self, path: Sequence[str], measure: str) -> dict[str, Any]:
        """For programs; before and after are of the measure at that path of an epoch's record, as of `headline`."""
        return {
            "name": self.name,
            "out": str(self.out),
            "score": self.score,
            "measure": measure,
            "before": number(self.epochs[0], *path) if self.epochs else None,
            "after": number(self.best, *path),
            "best_epoch": self.best_epoch,
            "epochs": max(0, len(self.epochs) - 1),
            "seconds": round(self.seconds, 2),
            "samples_per_second": self.samples_per_second,
            "warnings": self.warnings,
        }


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
