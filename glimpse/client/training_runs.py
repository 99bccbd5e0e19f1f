"""The training runs of a service: listed, followed, compared. A reindex job with a `training_run` has one served."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from glimpse.client.answers import TrainingRun, listed, read
from glimpse.client.connection import Connection, in_path


class TrainingRuns(Connection):
    """Run folders of `glimpse train` in the folder that the service's operator names."""

    def training_runs(self) -> list[TrainingRun]:
        """All of them, the one that was written to last first."""
        return [read(TrainingRun, one) for one in listed(self.ask("GET", "/v1/training-runs"), "training_runs")]

    def training_run(self, name: str) -> TrainingRun:
        """One, with what it was asked and all its measures."""
        return read(TrainingRun, self.ask("GET", _path(name)))

    def training_diary(self, name: str, offset: int = 0, most: int = 1000) -> dict[str, Any]:
        """Its curves from a place on: `steps` and `epochs`; give `next` as `offset` to follow it."""
        return dict(self.ask("GET", f"{_path(name)}/diary", params={"offset": offset, "most": most}))

    def training_report(self, name: str) -> bytes:
        """Its report, a page of HTML."""
        return self.send("GET", f"{_path(name)}/report").content

    def compare_training_runs(self, name: str, others: Sequence[str]) -> dict[str, Any]:
        """What came of each by the measure that all have, which settings differ, and what does not compare."""
        return dict(self.ask("GET", f"{_path(name)}/compare", params={"with": list(others)}))


def _path(name: str) -> str:
    return f"/v1/training-runs/{in_path(name)}"
