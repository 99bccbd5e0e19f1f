"""What goes in and out over REST: labelling runs, their images, and what is done with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import ConfigDict, Field

from base.names import NAME
from base.words import readable
from labelling.label_sets import Mode
from labelling.rows import Answer
from labelling.runs.deciding import LabelsAsked
from labelling.runs.journal import Changes, Failure
from labelling.runs.report import RunInfo, RunReport
from labelling.runs.reviews import Summary
from labelling.runs.tables import Row
from service.schemas.base import RequestModel, Schema
from service.schemas.labelling.labels import LabelScore

RUN: dict[str, Any] = {
    "id": "photos-1f3a5c0e", "folder": "/photos", "collection": None, "outputs": {"files": ["/photos/labels.csv"]},
    "state": "done", "used_at": "2026-01-31T12:00:00.000+00:00", "images": 18230, "steps": 1,
}  # fmt: skip
SUMMARY: dict[str, Any] = RUN | {
    "model": "ViT-B-32/datacomp_xl_s13b_b90k", "labels": ["beach", "city"], "mode": "single", "calibrated": False,
    "per_label": {"beach": 9120, "city": 9010}, "abstained": 99, "undecided": 0, "unread": 1,
    "reviewed": {"accepted": 12, "corrected": 30, "by rule": 8000}, "undoable": 3, "last_review": 3,
}  # fmt: skip
IMAGE: dict[str, Any] = {
    "id": 42, "path": "/photos/2024/a.jpg", "answers": [{"label": "beach", "score": 0.51}],
    "guess": {"label": "beach", "score": 0.51}, "margin": 0.02, "reviewed": None, "error": None,
    "width": 4032, "height": 3024, "content_url": "/v1/label-runs/photos-1f3a5c0e/images/42/content",
    "thumbnail_url": "/v1/label-runs/photos-1f3a5c0e/images/42/thumbnail",
}  # fmt: skip


class RunAnswer(Schema):
    """A labelling run."""

    model_config = ConfigDict(json_schema_extra={"example": RUN})

    id: str
    folder: str | None = Field(description="null: it labels a collection")
    collection: str | None
    outputs: dict[str, Any] = Field(description="what it writes; as it is kept")
    state: str = Field(description="begun, done, undoing or undone")
    used_at: str
    images: int
    steps: int = Field(description="changes that can be taken back")

    @classmethod
    def told(cls, info: RunInfo) -> dict[str, Any]:
        """Of what a run is."""
        folder = info.source.folder and readable(info.source.folder)
        own = {name: getattr(info, name) for name in ("id", "state", "used_at", "images", "steps")}
        outputs = info.outputs.to_json()
        return own | {"folder": folder, "collection": info.source.collection, "outputs": outputs}


class RunsAnswer(Schema):
    """All runs, the one used last first."""

    model_config = ConfigDict(json_schema_extra={"example": {"label_runs": [RUN]}})

    label_runs: list[RunAnswer]


class RunSummary(RunAnswer):
    """A run, and what it has by now."""

    model_config = ConfigDict(json_schema_extra={"example": SUMMARY})

    model: str
    labels: list[str]
    mode: Mode
    calibrated: bool = Field(description="whether its scores are chances; a review ends that, until calibrated again")
    per_label: dict[str, int] = Field(description="images that have each; labels that none has are not named")
    abstained: int = Field(description="images that none of the labels fits")
    undecided: int = Field(description="images that wait for their labels: the run was ended half-way")
    unread: int = Field(description="files that could not be read")
    reviewed: dict[str, int] = Field(description="accepted, corrected, none, skipped, by rule")
    undoable: int = Field(description="reviews that can be taken back, the last first; labelling again ends that")
    last_review: int | None = Field(description="the number of the last of them")

    @classmethod
    def of(cls, info: RunInfo, model: str, asked: LabelsAsked | None, found: Summary) -> RunSummary:
        """Of a run."""
        label_set = asked and asked.label_set
        taught = any(found.reviewed.get(kind) for kind in ("accepted", "corrected", "none"))
        return cls(
            **cls.told(info),
            model=model,
            labels=list(label_set.names) if label_set else [],
            mode=label_set.mode if label_set else "single",
            calibrated=bool(label_set and label_set.is_calibrated and not taught),
            **{name: value for name, value in found._asdict().items() if name != "images"},
        )


class RunImage(Schema):
    """An image of a run, and its labels."""

    model_config = ConfigDict(json_schema_extra={"example": IMAGE})

    id: int
    path: str
    answers: list[LabelScore] = Field(description="its labels; none: it abstained")
    guess: LabelScore | None = Field(description="the likeliest label, given or not")
    margin: float | None = Field(description="how clear that is; 0: another label, or none, would be as good")
    reviewed: str | None = Field(description="accepted, corrected, none, skipped or by rule; null: not yet")
    error: str | None = Field(description="why it could not be read")
    width: int | None
    height: int | None
    content_url: str | None = Field(description="null: it lies where the service may not read")
    thumbnail_url: str | None

    @classmethod
    def of(cls, row: Row, base: str | None) -> RunImage:
        """Of an image of a store; `base` is where it is shown."""
        image = row.image
        return cls(
            id=row.id,
            path=readable(str(image.path)),
            answers=[_score(answer) for answer in image.answers],
            guess=image.guess and _score(image.guess),
            margin=row.margin,
            reviewed=row.reviewed or None,
            error=image.error or None,
            width=image.width,
            height=image.height,
            content_url=base and f"{base}/content",
            thumbnail_url=base and f"{base}/thumbnail",
        )


class RunImages(Schema):
    """A page of a run's images."""

    model_config = ConfigDict(json_schema_extra={"example": {"images": [IMAGE], "next": 42}})

    images: list[RunImage]
    next: int | None = Field(description="give it as `after` for the next page; null: this is the last")


class NotChanged(Schema):
    """A file that something could not be done for, and why."""

    path: str
    reason: str


class OutputChanges(Schema):
    """What one output did."""

    output: str
    done: dict[str, int]
    taken_back: int


class ApplyAnswer(Schema):
    """What was brought in step."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "outputs": [{"output": "metadata labels", "done": {"entries changed": 30}, "taken_back": 0}],
                "written": {"/photos/labels.csv": 18230},
                "failed": [],
            },
        }
    )

    outputs: list[OutputChanges]
    written: dict[str, int] = Field(description="images in each file that was written")
    failed: list[NotChanged]

    @classmethod
    def of(cls, report: RunReport) -> ApplyAnswer:
        """Of what a run did."""
        outputs = [
            OutputChanges(output=name, done=changes.done, taken_back=changes.taken_back)
            for name, changes in report.outputs.items()
        ]
        return cls(
            outputs=outputs,
            written={readable(file): images for file, images in report.written.items()},
            failed=failures(report.failures),
        )


class UndoAnswer(Schema):
    """What was taken back."""

    model_config = ConfigDict(json_schema_extra={"example": {"taken_back": 30, "failed": []}})

    taken_back: int
    failed: list[NotChanged] = Field(description="what stays, since others have changed it")

    @classmethod
    def of(cls, changes: Changes) -> UndoAnswer:
        """Of what an undo did."""
        return cls(taken_back=changes.taken_back, failed=failures(changes.failed))


class SaveRequest(RequestModel):
    """The name that a run's labels are kept under, with what was reviewed."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "clothes"}]})

    name: str = Field(pattern=f"^{NAME.pattern}$")


def failures(failed: Sequence[Failure]) -> list[NotChanged]:
    """The first thousand."""
    return [NotChanged(path=readable(one.path), reason=one.reason) for one in failed[:1000]]


def _score(answer: Answer) -> LabelScore:
    return LabelScore(label=answer.label, score=answer.score)
