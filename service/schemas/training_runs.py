"""What goes out over REST: training runs, their curves, and how several compare."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pydantic import ConfigDict, Field

from service.schemas.base import Schema
from training.reading.comparison import headline
from training.reading.diary import Diary
from training.reading.measures import Table, number
from training.reading.run import Run, State

RUN: dict[str, Any] = {
    "name": "clothes", "state": "training", "epoch": 3, "epochs": 6, "best_epoch": 3,
    "measure": "Recall@10 from text to image", "before": 0.01, "after": 0.61, "score": 0.55, "minutes": 12.5,
    "started_from": "ViT-B-32/datacomp_xl_s13b_b90k", "warnings": [], "has_model": True,
    "written_at": "2026-01-31T12:00:00+00:00",
}  # fmt: skip
DETAILS: dict[str, Any] = RUN | {
    "settings": {"pairs": "captions.csv", "epochs": 6, "batch_size": 256, "loss": "info-nce", "lr": 0.001},
    "tables": [{"title": "Recall from text to image",
                "rows": [{"name": "recall@10", "before": 0.01, "after": 0.61}]}],
    "report_url": "/v1/training-runs/clothes/report?expires=1780000000&signature=0",
}  # fmt: skip
DIARY: dict[str, Any] = {
    "steps": {"step": [1, 2], "epoch": [1, 1], "loss": [5.6, 5.4], "lr": [2.9e-5, 5.9e-5]},
    "epochs": [{"epoch": 0, "loss": None, "score": 0.01, "text_to_image/recall@10": 0.01}],
    "next": 1432, "anew": True, "more": False,
}  # fmt: skip
COMPARED: dict[str, Any] = {
    "measure": "Recall@10 from text to image",
    "verdict": "clothes is ahead, with a score of 0.550; shoes follows with 0.520.",
    "objections": [],
    "settings": {"lr": [0.001, 0.0003]},
    "runs": [
        {"name": name, "score": score, "before": 0.01, "after": after, "best_epoch": 3, "epochs": 6, "seconds": 750.0,
         "samples_per_second": 480.0, "warnings": []}
        for name, score, after in (("clothes", 0.55, 0.61), ("shoes", 0.52, 0.58))
    ],
}  # fmt: skip


class TrainingRunAnswer(Schema):
    """A training run."""

    model_config = ConfigDict(json_schema_extra={"example": RUN})

    name: str
    state: State = Field(description="training: it has written something in the last ten minutes")
    epoch: int | None = Field(description="that was measured last; 0: before training; null: nothing was yet")
    epochs: int | None = Field(description="that it was asked for")
    best_epoch: int | None
    measure: str = Field(description="what before and after are")
    before: float | None = Field(description="before training")
    after: float | None = Field(description="at the best epoch")
    score: float | None = Field(description="of the model in its folder, by which the best epoch is chosen")
    minutes: float = Field(description="that its epochs took")
    started_from: str | None = Field(description="model or architecture that it began with")
    warnings: list[str]
    has_model: bool = Field(description="whether there is a model to serve")
    written_at: str

    @classmethod
    def told(cls, run: Run, *, has_model: bool) -> dict[str, Any]:
        """Of what its folder says."""
        path, measure = headline([run])
        asked = number(run.config, "epochs")
        started_from = run.config.get("model") or run.config.get("init")
        return {
            "name": run.name,
            "state": run.state,
            "epoch": run.last_epoch,
            "epochs": None if asked is None else int(asked),
            "best_epoch": run.best_epoch,
            "measure": measure,
            "before": number(run.epochs[0], *path) if run.epochs else None,
            "after": number(run.best, *path),
            "score": run.score,
            "minutes": round(run.seconds / 60, 2),
            "started_from": None if started_from is None else str(started_from),
            "warnings": run.warnings,
            "has_model": has_model,
            "written_at": datetime.fromtimestamp(run.written_at, UTC).isoformat(timespec="seconds"),
        }


class TrainingRunsAnswer(Schema):
    """The runs of the folder that the operator names, the one that was written to last first."""

    model_config = ConfigDict(json_schema_extra={"example": {"named": True, "folder": "/runs", "training_runs": [RUN]}})

    named: bool = Field(description="whether the operator named a folder (GLIMPSE_RUNS)")
    folder: str | None = Field(description="null: none is named, or the key may only read")
    training_runs: list[TrainingRunAnswer]


class MeasureRow(Schema):
    """A measure before training, and at the best epoch."""

    name: str
    before: float | None
    after: float


class MeasureTable(Schema):
    """Measures that belong together."""

    title: str
    rows: list[MeasureRow]

    @classmethod
    def of(cls, table: Table) -> MeasureTable:
        """Of a table."""
        return cls(title=table.title, rows=[MeasureRow(**row._asdict()) for row in table.rows])


class TrainingRunDetails(TrainingRunAnswer):
    """A training run, what it was asked, and all its measures."""

    model_config = ConfigDict(json_schema_extra={"example": DETAILS})

    settings: dict[str, Any] = Field(description="as `glimpse train` was asked")
    tables: list[MeasureTable]
    report_url: str | None = Field(
        description="its report, signed for an hour; null: there is none, or the key may only read"
    )


class DiaryAnswer(Schema):
    """What a run noted, for curves."""

    model_config = ConfigDict(json_schema_extra={"example": DIARY})

    steps: dict[str, list[float | None]] = Field(
        description="a value a step for each key; where there are more than `most`, means of neighbours"
    )
    epochs: list[dict[str, Any]] = Field(description="a record an epoch, measures by their path")
    next: int = Field(description="give it as `offset` for what comes after")
    anew: bool = Field(description="this begins at the beginning: forget what was read before")
    more: bool = Field(description="there is more already")

    @classmethod
    def of(cls, diary: Diary) -> DiaryAnswer:
        """Of what was read."""
        return cls(steps=diary.steps, epochs=diary.epochs, next=diary.next, anew=diary.anew, more=diary.more)


class ComparedRun(Schema):
    """One of the runs that are compared; before and after are of the measure that all have."""

    name: str
    score: float | None
    before: float | None
    after: float | None
    best_epoch: int | None
    epochs: int
    seconds: float
    samples_per_second: float | None
    warnings: list[str]


class ComparisonAnswer(Schema):
    """Runs beside each other."""

    model_config = ConfigDict(json_schema_extra={"example": COMPARED})

    measure: str
    verdict: str
    objections: list[str] = Field(description="why their numbers are not those of one contest")
    settings: dict[str, list[Any]] = Field(description="those that differ, with each run's value")
    runs: list[ComparedRun]
