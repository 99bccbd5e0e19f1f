"""Embeddings over REST, in OpenAI's names."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from service.schemas import examples
from service.schemas.base import MAX_TEXT, Image, ImitatingModel, Schema, is_data_uri

TOKENS = "token ids are not taken; send texts (LangChain: check_embedding_ctx_length=False)"


class TextInput(ImitatingModel):
    """A text to embed."""

    text: str


class ImageInput(ImitatingModel):
    """An image to embed."""

    image: Image


class Input(ImitatingModel):
    """A text or an image."""

    text: Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT)] | None = None
    image: Image | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Input:
        if (self.text is None) == (self.image is None):
            raise ValueError("give either text or image")
        return self


def _inputs(given: Any) -> list[Any]:
    """What is to be embedded, as a list of objects: errors then name the one that is wrong, and not all it could be."""
    inputs = []
    for item in given if isinstance(given, list) else [given]:
        if type(item) is int or (isinstance(item, list) and all(type(token) is int for token in item)):
            raise ValueError(TOKENS)
        if not isinstance(item, str | dict):
            raise ValueError("must be a text, or an object with text or image, or a list of those")
        is_image = isinstance(item, str) and is_data_uri(item)
        inputs.append(item if isinstance(item, dict) else {"image" if is_image else "text": item})
    return inputs


_Shown = str | TextInput | ImageInput  # in the documentation


class EmbeddingsRequest(ImitatingModel):
    """OpenAI's request; a string that begins as a data URI does is an image, or refused."""

    model_config = ConfigDict(json_schema_extra=examples.EMBED)

    input: Annotated[list[Input], BeforeValidator(_inputs, json_schema_input_type=_Shown | list[_Shown])]
    model: str = Field("default", description="a name of GET /v1/models, or default")
    encoding_format: Literal["float", "base64"] = Field("float", description="base64: little-endian float32")
    dimensions: int | None = Field(None, ge=1, description="if given, the model's own")
    user: str | None = Field(None, description="taken for compatibility, not used")


class Embedding(Schema):
    """One vector, of unit length."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class Usage(Schema):
    """Tokens of the texts as the model reads them; images count none."""

    prompt_tokens: int
    total_tokens: int
    cut_texts: int = Field(0, description="texts that are longer than the model reads: their ends had no influence")


class EmbeddingsAnswer(Schema):
    """OpenAI's answer."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: Usage

    model_config = ConfigDict(json_schema_extra=examples.EMBEDDED)
