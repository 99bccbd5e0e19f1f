"""What goes in and out over REST: a contrastive loss on points, with the forces on them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field, FiniteFloat, model_validator

from service.schemas import examples
from service.schemas.base import MAX_ID, CollectionName, RequestModel, Schema
from training.loss.forces import Forces, LossName, Mining

MAX_POINTS = 256  # anchors and others together; half as many squared are the cosines of a loss
MAX_DIMENSIONS = 16
MAX_PICTURES = 64  # of a collection, where a vector has hundreds of dimensions
EARLIER = 8

Coordinate = Annotated[FiniteFloat, Field(ge=-1e6, le=1e6)]
Point = Annotated[list[Coordinate], Field(min_length=2, max_length=MAX_DIMENSIONS)]
Points = Annotated[list[Point], Field(min_length=1, max_length=MAX_POINTS - 1)]
Ids = Annotated[list[Annotated[int, Field(ge=1, le=MAX_ID)]], Field(min_length=1, max_length=MAX_PICTURES)]


class Pictures(RequestModel):
    """Entries of a collection in place of points: their own vectors."""

    collection: CollectionName
    anchors: Ids
    others: Ids


class Moment(Schema):
    """Base of what an answer has and a request gives back: whole, so that both are of one shape."""

    model_config = ConfigDict(extra="forbid", strict=True)


class PointsHealth(Moment):
    """How the points lie, as a training measures its held-out pairs; null where there was nothing to measure.

    Anchors are called images here, and others texts.
    """

    alignment: FiniteFloat | None = Field(description="mean squared distance of what belongs together")
    uniformity_images: FiniteFloat | None = Field(description="how spread out; 0: all in one point")
    uniformity_texts: FiniteFloat | None
    effective_rank_images: FiniteFloat | None = Field(description="directions in use, from 1")
    effective_rank_texts: FiniteFloat | None
    positive_similarity: FiniteFloat | None = Field(description="mean cosine of what belongs together")
    negative_similarity: FiniteFloat | None = Field(description="and of what does not")
    hardest_negative_similarity: FiniteFloat | None
    modality_gap: FiniteFloat | None


class LabRecord(Moment):
    """One moment, as an epoch is kept in the metrics.json of a run."""

    epoch: int = Field(ge=0, le=1_000_000)
    loss: FiniteFloat
    guess: FiniteFloat | None
    health: PointsHealth


class ForcesRequest(RequestModel):
    """Anchors, others, and which of those are right for which anchor; and the loss with its settings."""

    model_config = ConfigDict(json_schema_extra=examples.FORCES)

    loss: LossName = "info-nce"
    anchors: Points | None = Field(None, description="of any length but none: what counts is their direction")
    others: Points | None = None
    pictures: Pictures | None = Field(None, description="entries of a collection, in place of anchors and others")
    right: Annotated[list[list[int]], Field(max_length=MAX_POINTS)] | None = Field(
        None, description="of each anchor the places in `others` of those that belong to it; default: its own place"
    )
    temperature: FiniteFloat = Field(0.07, ge=0.001, le=100, description="of info-nce and siglip")
    bias: FiniteFloat = Field(-10.0, ge=-100, le=100, description="of siglip")
    margin: FiniteFloat = Field(0.2, ge=0, le=2, description="of triplet and contrastive, a distance")
    mining: Mining = Field("semi-hard", description="of triplet")
    hardness: FiniteFloat = Field(0.0, ge=0, le=100, description="of info-nce: near negatives count more")
    epoch: int = Field(0, ge=0, le=1_000_000, description="what this moment is called among `earlier` ones")
    earlier: list[LabRecord] = Field(
        [], max_length=EARLIER, description="`record`s of before, the start first, for warnings to look back at"
    )

    @model_validator(mode="after")
    def _is_one_kind(self) -> ForcesRequest:
        if (self.anchors is None) != (self.others is None):
            raise ValueError("anchors and others go together")
        if (self.anchors is None) == (self.pictures is None):
            raise ValueError("give either anchors and others, or pictures")
        if self.anchors is not None and self.others is not None:
            if len(self.anchors) + len(self.others) > MAX_POINTS:
                raise ValueError(f"anchors and others together may be {MAX_POINTS}")
            if len({len(point) for point in (*self.anchors, *self.others)}) > 1:
                raise ValueError("all points have the same number of dimensions")
        if self.pictures and len(self.pictures.anchors) + len(self.pictures.others) > MAX_PICTURES:
            raise ValueError(f"pictures may be {MAX_PICTURES} together")
        if self.right is not None and sum(map(len, self.right)) > MAX_POINTS**2:
            raise ValueError(f"right: may name {MAX_POINTS**2} together")
        return self


class Gradients(Schema):
    """The gradient of the loss by each point, as it was given; a step of training goes against it."""

    anchors: list[list[float]]
    others: list[list[float]]


class ForcesAnswer(Schema):
    """The loss of the points, and how it pulls at them."""

    loss: float = Field(description="mean over anchors; in nats where it is a cross entropy")
    guess: float | None = Field(description="of info-nce: the loss of points that say nothing, log n")
    bound: float | None = Field(description="of info-nce: nats that anchors and others are proved to share")
    gradients: Gradients | None = Field(description="null of pictures, whose vectors are not told")
    cosines: list[float] = Field(description="of the first anchor with each of the others")
    pulls: list[float] = Field(
        description="how fast the loss falls as that cosine grows: above 0 the two are drawn together, below 0 apart"
    )
    record: LabRecord
    warnings: list[str] = Field(description="what `glimpse train` would say of such an epoch")

    model_config = ConfigDict(json_schema_extra=examples.FELT)

    @classmethod
    def of(cls, found: Forces, *, tells_gradients: bool) -> ForcesAnswer:
        """Of what `training.loss.forces` says."""
        gradients = Gradients(anchors=_rounded(found.anchors), others=_rounded(found.others))
        return cls(
            loss=found.loss,
            guess=found.guess,
            bound=found.bound,
            gradients=gradients if tells_gradients else None,
            cosines=_rounded(found.cosines),
            pulls=_rounded(found.pulls),
            record=LabRecord(**found.record),
            warnings=found.warnings,
        )


def _rounded(values: Any) -> Any:
    """As lists of numbers that are short to write."""
    return values.round(6).tolist()
