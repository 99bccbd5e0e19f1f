"""The service itself: whether it lives, what it is, and its model as OpenAI lists models."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from service.schemas import examples
from service.schemas.base import Schema
from service.schemas.collections import CollectionAnswer


class Health(Schema):
    """Whether the service is alive, or ready."""

    status: Literal["ok"] = "ok"

    model_config = ConfigDict(json_schema_extra=examples.HEALTH)


class InfoAnswer(Schema):
    """What runs here."""

    version: str
    model: str
    dim: int
    fingerprint: str
    device: str
    precision: str
    threads: int = Field(description="of the model and of each collection's index")
    logit_scale: float
    logit_bias: float | None = None
    collections: list[CollectionAnswer]

    model_config = ConfigDict(json_schema_extra=examples.INFO)


class ModelAnswer(Schema):
    """A model, as OpenAI lists them."""

    id: str
    object: Literal["model"] = "model"
    created: int = Field(0, description="not known")
    owned_by: str = "glimpse"


class ModelsAnswer(Schema):
    """OpenAI's list of models."""

    object: Literal["list"] = "list"
    data: list[ModelAnswer]

    model_config = ConfigDict(json_schema_extra=examples.MODELS)
