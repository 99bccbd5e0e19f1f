"""The answers that an agent gets, as a program reads them; their schemas go with the tools."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


class Hit(BaseModel):
    """An entry that was found."""

    id: int
    external_id: str | None
    score: float
    relevance: float | None
    path: str | None
    text: str | None
    taken: str | None
    metadata: dict[str, Any]


class Hits(BaseModel):
    """What was found, best first."""

    collection: str
    hits: list[Hit]
    warnings: list[str]


class Labels(BaseModel):
    """The likeliest label, all that are given, and the probability of each; null: none of them fits."""

    label: str | None
    score: float | None
    labels: dict[str, float]
    scores: dict[str, float]
    warnings: list[str]


class CollectionLine(BaseModel):
    """A collection."""

    name: str
    images: int
    texts: int
    model: str
    problem: str | None


class Collections(BaseModel):
    """All collections."""

    collections: list[CollectionLine]


class FacetKey(BaseModel):
    """A key of the metadata: how many entries have it, how many different values, and the range of its numbers."""

    key: str
    entries: int
    values: int
    min: float | None
    max: float | None


class FacetValue(BaseModel):
    """A value, and how many entries have it."""

    value: str | int | float | bool
    count: int


class Facets(BaseModel):
    """Keys; or of each key that was asked for its most frequent values."""

    collection: str
    keys: list[FacetKey]
    values: dict[str, list[FacetValue]]


class Change(BaseModel):
    """What happened to an entry last. `metadata` is as it is now; null: it was deleted."""

    event: str
    id: int
    external_id: str | None
    modality: str
    path: str | None
    metadata: dict[str, Any] | None


class Changes(BaseModel):
    """Changes in their order; `cursor` is where to go on, now if there are more, or later."""

    collection: str
    changes: list[Change]
    cursor: str
    has_more: bool
