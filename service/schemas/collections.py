"""Collections over REST."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field, FiniteFloat

from index.collection import CollectionInfo
from index.config import IndexConfig, IndexKind
from service.schemas import examples
from service.schemas.base import RequestModel, Schema


class CollectionRequest(RequestModel):
    """What the index of a collection is to be. Without it, what suits the number of rows."""

    kind: Literal["auto", IndexKind] = Field("auto", description="auto: exact up to 100,000 rows, then ivf-rabitq")
    recall: FiniteFloat = Field(0.98, ge=0.5, le=1, description="share of the exact first ten that it is tuned to find")

    def config(self) -> IndexConfig:
        """As the index takes it."""
        return IndexConfig(self.kind, self.recall)


class CollectionAnswer(Schema):
    """A collection."""

    name: str
    model: str
    fingerprint: str
    dim: int
    counts: dict[str, int]
    created_at: str
    bytes: int
    index: dict[str, dict[str, Any]] = Field(
        {}, description="for each modality the state of its index: kind, parameters, recall, rows, fresh rows"
    )
    problem: str | None = Field(None, description="why it cannot be opened")

    model_config = ConfigDict(json_schema_extra=examples.COLLECTION)

    @classmethod
    def of(cls, info: CollectionInfo) -> CollectionAnswer:
        """Of what the index says."""
        return cls(
            name=info.name,
            model=info.model,
            fingerprint=info.fingerprint,
            dim=info.dim,
            counts={str(modality): count for modality, count in info.counts.items()},
            created_at=info.created_at,
            bytes=info.bytes,
            index=info.index,
            problem=info.problem,
        )


class CollectionsAnswer(Schema):
    """All collections, by name."""

    collections: list[CollectionAnswer]

    model_config = ConfigDict(json_schema_extra=examples.COLLECTIONS)
