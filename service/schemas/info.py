"""The service itself: whether it lives, what it is, and its models as OpenAI lists models."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from service.schemas import examples
from service.schemas.base import Schema
from service.schemas.collections.collections import CollectionAnswer


class Health(Schema):
    """The service is alive."""

    status: Literal["ok"] = "ok"

    model_config = ConfigDict(json_schema_extra=examples.HEALTH)


class Ready(Health):
    """It can answer searches."""

    read_only: bool = Field(description="whether it changes nothing")

    model_config = ConfigDict(json_schema_extra=examples.READY)


class InfoAnswer(Schema):
    """What runs here. What is said of a model is said of the default one; GET /v1/models has all."""

    version: str
    read_only: bool = Field(
        False, description="whether it changes nothing, at all or for the key that it was asked with"
    )
    model: str = Field(description="its name")
    dim: int
    fingerprint: str
    device: str
    precision: str
    threads: int = Field(description="of the model and of each collection's index")
    logit_scale: float
    logit_bias: float | None = None
    collections: list[CollectionAnswer]
    folders: list[str] = Field([], description="of the server, that jobs may read; none for keys that may only read")

    model_config = ConfigDict(json_schema_extra=examples.INFO)


class ModelAnswer(Schema):
    """A model, as OpenAI lists them and more. What is not known, of one that was never loaded here, is null."""

    id: str = Field(description="its name, to be given as `model`")
    object: Literal["model"] = "model"
    created: int = Field(0, description="not known")
    owned_by: str = "glimpse"
    default: bool = Field(description="whether it answers where no model is named")
    loaded: bool = Field(description="whether it is in memory; else it is loaded when it is asked for")
    dim: int | None
    fingerprint: str | None = Field(description="of its weights; a collection has that of the model that made it")
    logit_scale: float | None
    logit_bias: float | None = Field(description="null: it was trained by a softmax")
    device: str | None
    precision: str | None
    bytes: int | None = Field(description="memory of its weights")
    ref: str | None = Field(description="what is loaded; null for keys that may only read")
    problem: str | None = Field(description="why it could not be loaded when it was last tried")

    model_config = ConfigDict(json_schema_extra=examples.MODEL)


class ModelsAnswer(Schema):
    """OpenAI's list of models."""

    object: Literal["list"] = "list"
    data: list[ModelAnswer]

    model_config = ConfigDict(json_schema_extra=examples.MODELS)
