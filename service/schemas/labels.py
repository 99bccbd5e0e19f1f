"""What goes in and out over REST: classification, label sets, and zero-shot in the shape of Hugging Face's task."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field, RootModel, model_validator

from encoder.zero_shot import ScoredBy
from service.schemas import examples
from service.schemas.base import MAX_ID, Image, ImitatingModel, Label, OfTexts, RequestModel, Schema

SCORES_HELP = "softmax: one of them; sigmoid: each on its own; default: as the model was trained"


class ClassifyRequest(RequestModel):
    """Images (sent, or one of a collection), the labels to choose from, and optionally the prompts to ask with."""

    model_config = ConfigDict(json_schema_extra=examples.CLASSIFY)

    image: Image | None = None
    images: list[Image] = Field([])
    id: Annotated[int, Field(ge=1, le=MAX_ID)] | None = Field(None, description="an image of `collection`")
    collection: str | None = Field(None, description="where the image of that id is")
    labels: list[Label] | None = Field(None, min_length=1)
    label_set: str | None = Field(None, description="the name of a kept label set, instead of labels")
    templates: list[Label] = Field([], description="prompts with {} for the label; several are averaged")
    scores: ScoredBy | None = Field(None, description=SCORES_HELP)

    @model_validator(mode="after")
    def _has_image(self) -> ClassifyRequest:
        if [self.image is not None, bool(self.images), self.id is not None].count(True) != 1:
            raise ValueError("give exactly one of image, images and id")
        if (self.id is None) != (self.collection is None):
            raise ValueError("id and collection go together")
        return self


class LabelScore(Schema):
    """A label with its probability."""

    label: str
    score: float


class ClassifyResult(Schema):
    """Of one image: its likeliest label, and all labels by probability; or why it could not be read."""

    label: str | None = None
    score: float | None = None
    scores: list[LabelScore] = Field([])
    error: str | None = None
    cut_off: str | None = Field(None, description="of a file that ends before its picture; what there is was taken")


class ClassifyAnswer(OfTexts):
    """One result an image, in the order sent."""

    results: list[ClassifyResult]
    seconds: float

    model_config = ConfigDict(json_schema_extra=examples.CLASSIFIED)


class LabelSetRequest(RequestModel):
    """Labels to keep under a name, and optionally the prompts to ask with."""

    model_config = ConfigDict(json_schema_extra=examples.KEEP_LABELS)

    labels: list[Label] = Field(min_length=1)
    templates: list[Label] = Field([], description="prompts with {} for the label; several are averaged")


class LabelSetAnswer(Schema):
    """A label set as it is kept."""

    name: str
    labels: list[str]
    templates: list[str]

    model_config = ConfigDict(json_schema_extra=examples.LABEL_SET)


class LabelSetsAnswer(Schema):
    """The names of all label sets."""

    label_sets: list[str]

    model_config = ConfigDict(json_schema_extra=examples.LABEL_SETS)


class ZeroShotParameters(ImitatingModel):
    """What to choose from. Parameters that other servers know are passed over."""

    candidate_labels: list[Label] = Field(min_length=1)
    hypothesis_template: Label | None = Field(None, description="a sentence with {} for the label")


class ZeroShotRequest(ImitatingModel):
    """Hugging Face's request of the task zero-shot-image-classification."""

    model_config = ConfigDict(json_schema_extra=examples.ZERO_SHOT)

    inputs: Image
    parameters: ZeroShotParameters


class ZeroShotAnswer(RootModel[list[LabelScore]]):
    """Each label with its probability, the likeliest first."""

    model_config = ConfigDict(json_schema_extra=examples.ZERO_SHOT_SCORES)
