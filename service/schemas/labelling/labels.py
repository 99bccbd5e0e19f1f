"""What goes in and out over REST: classification, label sets, and zero-shot in the shape of Hugging Face's task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, FiniteFloat, RootModel, model_validator

from encoder.zero_shot.classifier import ScoredBy
from labelling.label_sets import LabelSet, Mode
from labelling.learned import Learned
from service.schemas import examples
from service.schemas.base import MAX_ID, Image, ImitatingModel, Label, ModelName, OfTexts, RequestModel, Schema

SCORES_HELP = "softmax: one of them; sigmoid: each on its own; default: as the model was trained"
MODEL_HELP = "default: the collection's, or the one that learned the label set, else the default model"
MODE_HELP = "single: one of the labels; multi: each on its own; default: the label set's, else single"
ABSTAIN_HELP = "whether an image may be none of the labels though one is the likeliest, by words held against them"


class ClassifyRequest(RequestModel):
    """Images (sent, one of a collection, or a vector), the labels to choose from, and maybe the prompts to ask with."""

    model_config = ConfigDict(json_schema_extra=examples.CLASSIFY)

    image: Image | None = None
    images: list[Image] = Field([])
    id: Annotated[int, Field(ge=1, le=MAX_ID)] | None = Field(None, description="an image of `collection`")
    collection: str | None = Field(None, description="where the image of that id is")
    vector: list[FiniteFloat] | None = Field(None, min_length=1, description="an image's, as /v1/embeddings gives it")
    labels: list[Label] | None = Field(None, min_length=1)
    label_set: str | None = Field(None, description="the name of a kept label set, instead of labels")
    templates: list[Label] = Field([], description="prompts with {} for the label; several are averaged")
    mode: Mode | None = Field(None, description=MODE_HELP)
    scores: ScoredBy | None = Field(None, description=SCORES_HELP)
    abstain: bool = Field(False, description=ABSTAIN_HELP)
    model: ModelName = Field(None, description=MODEL_HELP)

    @model_validator(mode="after")
    def _has_image(self) -> ClassifyRequest:
        given = [self.image is not None, bool(self.images), self.id is not None, self.vector is not None]
        if given.count(True) != 1:
            raise ValueError("give exactly one of image, images, id and vector")
        if (self.id is None) != (self.collection is None):
            raise ValueError("id and collection go together")
        return self


class LabelScore(Schema):
    """A label with its probability."""

    label: str
    score: float


class LabelEvidence(LabelScore):
    """And with what its probability was made of."""

    cosine: float = Field(description="of the image with the label's prompts, -1 to 1")
    logit: float = Field(description="logit_scale * cosine, bettered by examples; of a multi set how far it stands out")


class ClassifyResult(Schema):
    """Of one image: its likeliest label, and all labels by probability; or why it could not be read."""

    label: str | None = Field(None, description="the likeliest of `labels`")
    score: float | None = None
    labels: list[LabelScore] = Field([], description="those given, the likeliest first: one, of a multi set several")
    abstained: bool = Field(False, description="it was looked at, and none of the labels is given")
    scores: list[LabelEvidence] = Field([])
    known: float | None = Field(None, description="how far it is any of the labels, 0 to 1; null where nobody asked")
    error: str | None = None
    cut_off: str | None = Field(None, description="of a file that ends before its picture; what there is was taken")


class ClassifyAnswer(OfTexts):
    """One result an image, in the order sent."""

    results: list[ClassifyResult]
    calibrated: bool = Field(False, description="whether scores were held against labelled images, and are chances")
    scored_by: Literal["softmax", "sigmoid", "rank"] = Field(
        description="what a score is of logit / temperature; rank: one label alone scores what is `known`"
    )
    logit_scale: float = Field(description="what the model multiplies cosines by, 1 / its learned temperature")
    temperature: float = Field(description="what a calibration found logits are to be divided by; else 1")
    known_threshold: float | None = Field(description="the least `known` of an image that gets a label")
    seconds: float

    model_config = ConfigDict(json_schema_extra=examples.CLASSIFIED)


class WholeLabel(RequestModel):
    """A label with all that there is to it."""

    name: Label = Field(min_length=1, description="as it is written down; / stands between its levels")
    synonyms: list[Label] = Field([], description="other words for the same; the label is the mean of all")
    prompts: list[Label] = Field([], description="to ask with instead of templates")


LabelOrText = Annotated[Label | WholeLabel, Field(description="sofa|couch, animal/dog, or with prompts of its own")]


class LabelSetRequest(RequestModel):
    """Labels to keep under a name, and optionally the prompts to ask with."""

    model_config = ConfigDict(json_schema_extra=examples.KEEP_LABELS)

    labels: list[LabelOrText] = Field(min_length=1)
    templates: list[Label] | Label = Field(
        [], description="prompts with {} for the label, of which several are averaged; or the name of a set of them"
    )
    mode: Mode = Field("single", description="single: one of the labels; multi: each on its own")
    abstains: bool = Field(False, description=ABSTAIN_HELP)
    forget_learned: bool = Field(False, description="whether to forget what was learned of the same labels")


class KeptLabel(Schema):
    """A label with all that there is to it, however long `glimpse labels` took it."""

    name: str
    synonyms: list[str]
    prompts: list[str]


class LearnedAnswer(Schema):
    """What was learned of a label set by one model. Vectors of examples are kept, and not told."""

    fingerprint: str = Field(description="of the model; with another the set is refused")
    model: str
    calibrated: bool
    temperature: float | None
    thresholds: dict[str, float] = Field(description="the least score with which each label is given")
    precision: float | None = Field(description="that the thresholds were chosen for")
    examples: dict[str, int] = Field(description="images of each label that it learned from")


class LabelSetAnswer(Schema):
    """A label set as it is kept."""

    name: str
    labels: list[str | KeptLabel]
    templates: list[str]
    mode: Mode = "single"
    abstains: bool = Field(False, description=ABSTAIN_HELP)
    learned: LearnedAnswer | None = None
    warnings: list[str] = Field([], description="labels that were left out; what went with what was replaced")

    @classmethod
    def of(cls, name: str, kept: LabelSet, warnings: Sequence[str] = ()) -> LabelSetAnswer:
        """Of a kept set."""
        labels = [one if isinstance(one, str) else KeptLabel(**one) for one in kept.to_json()["labels"]]
        return cls(
            name=name,
            labels=labels,
            templates=list(kept.templates),
            mode=kept.mode,
            abstains=kept.abstains,
            learned=kept.learned and _told(kept.learned, kept.names),
            warnings=list(warnings),
        )

    model_config = ConfigDict(json_schema_extra=examples.LABEL_SET)


def _told(learned: Learned, names: Sequence[str]) -> LearnedAnswer:
    counts = learned.targets.sum(axis=0).astype(int).tolist() if len(learned.examples) else []
    return LearnedAnswer(
        fingerprint=learned.fingerprint,
        model=learned.model,
        calibrated=learned.is_calibrated,
        temperature=learned.temperature,
        thresholds=dict(zip(names, learned.thresholds, strict=False)),
        precision=learned.measured and learned.measured.precision,
        examples=dict(zip(names, counts, strict=False)),
    )


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
    model: ModelName = Field(None, description="default: the default model")


class ZeroShotAnswer(RootModel[list[LabelScore]]):
    """Each label with its probability, the likeliest first."""

    model_config = ConfigDict(json_schema_extra=examples.ZERO_SHOT_SCORES)
