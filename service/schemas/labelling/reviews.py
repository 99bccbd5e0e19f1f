"""What goes in and out over REST: what people say of a labelling run's images, and what comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from base.words import readable
from labelling.review import Reviewed
from labelling.runs.deciding import Flip
from labelling.runs.tables import Row
from service.schemas.base import MAX_ID, Label, RequestModel, Schema
from service.schemas.labelling.label_runs import SUMMARY, RunSummary

MAX_ITEMS = 1000
ImageId = Annotated[int, Field(ge=1, le=MAX_ID)]

FLIP: dict[str, Any] = {
    "id": 44, "path": "/photos/2024/b.jpg", "before": ["beach"], "after": ["city"],
    "thumbnail_url": "/v1/label-runs/photos-1f3a5c0e/images/44/thumbnail",
}  # fmt: skip
REVIEW: list[dict[str, Any]] = [
    {"items": [{"image": 42, "verdict": "correct", "labels": ["city"]}, {"image": 43, "verdict": "accept"}]},
    {"rules": [{"accept_above": 0.97}, {"accept_above": 0.9, "label": "beach"}]},
]


class ReviewItem(RequestModel):
    """What a person says of one image."""

    image: ImageId
    verdict: Literal["accept", "correct", "none", "skip"]
    labels: list[Label] = Field(
        [],
        max_length=1000,
        description="of a correction: what is right; of what is accepted: what was seen, which counts even if it has "
        "other labels by now",
    )
    expected_reviewed: str | None = Field(
        None, description="its `reviewed` as you saw it: if that is another by now, nothing is kept, 409; default: any"
    )


class ReviewRule(RequestModel):
    """Accept all that nobody has looked at and whose labels all have such a score."""

    accept_above: float = Field(ge=0, le=1)
    label: Label | None = Field(None, description="only those that have this label")


class ReviewRequest(RequestModel):
    """What is said of some images, and rules for the rest."""

    model_config = ConfigDict(json_schema_extra=dict[str, Any](examples=REVIEW))

    items: list[ReviewItem] = Field([], max_length=MAX_ITEMS)
    rules: list[ReviewRule] = Field([], max_length=100)

    @model_validator(mode="after")
    def _says_something(self) -> ReviewRequest:
        if not (self.items or self.rules):
            raise ValueError("give items, rules, or both")
        return self


class FlippedImage(Schema):
    """An image that is called otherwise now."""

    model_config = ConfigDict(json_schema_extra={"example": FLIP})

    id: int
    path: str
    before: list[str] = Field(description="its labels until now; none: it abstained")
    after: list[str]
    thumbnail_url: str | None = Field(description="null: it lies where the service may not read")

    @classmethod
    def of(cls, flip: Flip, row: Row, base: str | None) -> FlippedImage:
        """Of an image of a store; `base` is where it is shown."""
        return cls(
            id=row.id,
            path=readable(str(row.image.path)),
            before=list(flip.before),
            after=list(flip.after),
            thumbnail_url=base and f"{base}/thumbnail",
        )


class ReviewCounts(Schema):
    """Images by what was said of them, and what became of the rest."""

    accepted: int
    corrected: int
    none: int
    skipped: int
    by_rule: int
    relabelled: int = Field(description="images that were labelled anew by it")
    flipped: int = Field(description="those of them that are called otherwise now")
    flips: list[FlippedImage] = Field(description="up to a hundred of them")
    run: RunSummary

    @classmethod
    def told(cls, done: Reviewed, flips: Sequence[FlippedImage], run: RunSummary) -> dict[str, Any]:
        """Of a review."""
        names = ("accepted", "corrected", "none", "skipped", "by rule")
        counts: dict[str, Any] = {name.replace(" ", "_"): done.counts.get(name, 0) for name in names}
        return counts | {"relabelled": done.relabelled, "flipped": done.flips.count, "flips": flips, "run": run}


REVIEWED: dict[str, Any] = {
    "accepted": 1, "corrected": 1, "none": 0, "skipped": 0, "by_rule": 8000, "relabelled": 10228, "flipped": 1,
    "flips": [FLIP], "run": SUMMARY,
}  # fmt: skip


class ReviewAnswer(ReviewCounts):
    """What a review did, and the run after it."""

    model_config = ConfigDict(json_schema_extra={"example": REVIEWED})


class TakenBackAnswer(ReviewCounts):
    """What was taken back, counted by what had been said, and the run after it."""

    model_config = ConfigDict(json_schema_extra={"example": REVIEWED | {"by_rule": 0, "images": [42, 43]}})

    images: list[int] = Field(description="up to a thousand of those that it had been said of")


BAR: dict[str, Any] = {"accept_above": 0.9712, "images": 8000, "least_url": FLIP["thumbnail_url"]}


class BarAnswer(Schema):
    """What a rule with this `accept_above` would accept."""

    model_config = ConfigDict(json_schema_extra={"example": BAR})

    accept_above: float
    images: int
    least_url: str | None = Field(
        description="thumbnail of one with the least score of these; null: it lies where the service may not read"
    )


class BarsAnswer(Schema):
    """What rules would accept, the fewest images first."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"bars": [BAR | {"accept_above": 0.9998, "images": 100}, BAR]}}
    )

    bars: list[BarAnswer] = Field(description="up to a hundred, at even shares of the images; none: nothing to accept")
