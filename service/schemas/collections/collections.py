"""Collections over REST."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, FiniteFloat, StringConstraints, model_validator

from base.names import MAX_TITLE, check_title
from index.collection import CollectionInfo
from index.config import IndexConfig, IndexKind, Quota
from service.schemas import examples
from service.schemas.base import MAX_ID, CollectionName, ModelName, RequestModel, Schema


class QuotaFields(RequestModel):
    """How much a collection may hold; null: no bound. What is not named stays as it is."""

    entries: int | None = Field(None, ge=1, le=MAX_ID, description="images and texts, whatever writes them")
    upload_bytes: int | None = Field(None, ge=1, le=MAX_ID, description="of uploaded files; not of indexed folders")

    def over(self, quota: Quota) -> Quota:
        """A quota with these fields in the place of its own."""
        return replace(quota, **{name: getattr(self, name) for name in self.model_fields_set})


Title = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TITLE), AfterValidator(check_title)]


class CollectionPatch(RequestModel):
    """What of a collection is to change; what is not named stays."""

    name: CollectionName | None = Field(None, description="what leads to it from now on; links of before lead nowhere")
    title: Title | None = Field(None, description="what it is called where people read; null: by its name")
    expected_title: Title | None = Field(
        None, description="what it is called now: 409, `changed_meanwhile`, if it is not; null: by its name"
    )
    quota: QuotaFields | None = None

    model_config = ConfigDict(json_schema_extra=examples.PATCH_COLLECTION)

    @model_validator(mode="after")
    def _check_something(self) -> Self:
        if "title" not in self.model_fields_set and self.quota is None and self.name is None:
            raise ValueError("say what is to change: name, title, or quota")
        return self


class CollectionRequest(RequestModel):
    """What it is called, which model makes its vectors, what its index is to be, and how much it may hold.

    Without it, what suits the number of rows.
    """

    model_config = ConfigDict(json_schema_extra=examples.MAKE)

    kind: Literal["auto", IndexKind] = Field("auto", description="auto: exact up to 100,000 rows, then ivf-rabitq")
    recall: FiniteFloat = Field(0.98, ge=0.5, le=1, description="share of the exact first ten that it is tuned to find")

    model: ModelName = Field(None, description="default: of one that is there its own, else the default model")
    title: Title | None = Field(None, description="what it is called where people read; null: by its name")
    quota: QuotaFields | None = None

    @model_validator(mode="before")
    @classmethod
    def _as_none(cls, given: Any) -> Any:
        """Null is as no body. It is not in the document: makers of clients stumble over it."""
        return {} if given is None else given

    def config(self) -> IndexConfig | None:
        """As the index takes it; None: nothing was said of it."""
        return IndexConfig(self.kind, self.recall) if self.model_fields_set & {"kind", "recall"} else None


class QuotaAnswer(Schema):
    """How much a collection may hold; null: no bound."""

    entries: int | None = None
    upload_bytes: int | None = None


class CollectionAnswer(Schema):
    """A collection."""

    name: str
    title: str | None = Field(None, description="what it is called where people read; null: by its name")
    model: str = Field(description="the name of the model that made its vectors")
    ref: str | None = Field(None, description="what that was loaded from; null for keys that may only read")
    fingerprint: str
    dim: int
    counts: dict[str, int]
    created_at: str
    bytes: int
    index: dict[str, dict[str, Any]] = Field(
        {}, description="for each modality the state of its index: kind, parameters, recall, rows, fresh rows"
    )
    quota: QuotaAnswer = Field(QuotaAnswer(), description="how much it may hold")
    problem: str | None = Field(None, description="why it cannot be opened")

    model_config = ConfigDict(json_schema_extra=examples.COLLECTION)

    @classmethod
    def of(cls, info: CollectionInfo, *, model: str, ref: str | None, problem: str | None) -> CollectionAnswer:
        """Of what the index says, and what is told of its places."""
        return cls(
            name=info.name,
            title=info.title,
            model=model,
            ref=ref,
            fingerprint=info.fingerprint,
            dim=info.dim,
            counts={str(modality): count for modality, count in info.counts.items()},
            created_at=info.created_at,
            bytes=info.bytes,
            index=info.index,
            quota=QuotaAnswer(entries=info.quota.entries, upload_bytes=info.quota.upload_bytes),
            problem=problem,
        )


class CollectionsAnswer(Schema):
    """All collections, by name."""

    collections: list[CollectionAnswer]

    model_config = ConfigDict(json_schema_extra=examples.COLLECTIONS)
