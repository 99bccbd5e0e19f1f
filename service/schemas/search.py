"""What goes in and out over REST: the service, collections, search, embeddings.

Entries, labels and jobs have files of their own, on the base classes here. Names are the field's (`limit`, `score`)
and, for embeddings, OpenAI's.
"""

from __future__ import annotations

import os
import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    GetJsonSchemaHandler,
    StringConstraints,
    model_validator,
)
from pydantic_core import CoreSchema

from index.collection import CollectionInfo, Hit, Modality, Record
from index.config import IndexConfig, IndexKind
from index.search.query import MAX_LIMIT, MAX_OFFSET, Cutoff
from service.schemas import examples

MAX_ID = 2**63 - 1
MAX_PARTS = 32

MAX_TEXT = 10_000  # characters; a model reads some 77 tokens of them
TOKENS = "token ids are not taken; send texts (LangChain: check_embedding_ctx_length=False)"


_DATA_URI = re.compile(r"[\s\ufeff\u200b\0\"']*data\s*:(?:[;,]|[\w.+-]+/)", re.IGNORECASE)


def is_data_uri(text: str) -> bool:
    """Whether a text is meant as a file: data: and a media type, ";" or "," behind it, whatever is around that."""
    return _DATA_URI.match(text) is not None


def _words(text: str) -> str:
    if is_data_uri(text):
        raise ValueError("begins with data: as an image does; send that as an image")
    return text


Text = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT), AfterValidator(_words)]
Label = Annotated[str, StringConstraints(max_length=1_000)]
Image = Annotated[str, Field(min_length=1, description="an image file in base64, bare or as data:image/...;base64,...")]


class Schema(BaseModel):
    """Base of all: `model` is a word of ours, so pydantic must not reserve it."""

    model_config = ConfigDict(protected_namespaces=())


class RequestModel(Schema):
    """Base of what a client sends: a misspelt field is refused, not ignored, and one that is null counts as absent.

    Null is what clients made of models send for what nobody set.
    """

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        absent = {name for name, field in cls.model_fields.items() if field.default is not None}
        return {name: value for name, value in given.items() if value is not None or name not in absent}

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The schema, in which every field that may be absent may be null."""
        schema = handler(core)
        fields = handler.resolve_ref_schema(schema).get("properties", {})
        for name, field in cls.model_fields.items():
            if name in fields and not field.is_required() and field.default is not None:
                told = {
                    key: fields[name].pop(key) for key in ("title", "description", "default") if key in fields[name]
                }
                fields[name] = {"anyOf": [fields[name], {"type": "null"}], **told}
        return schema


class ImitatingModel(RequestModel):
    """The same in the shape of another service: what else its clients send is passed over."""

    model_config = ConfigDict(extra="ignore")


class Health(Schema):
    """Whether the service is alive, or ready."""

    status: Literal["ok"] = "ok"

    model_config = ConfigDict(json_schema_extra=examples.HEALTH)


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


class InfoAnswer(Schema):
    """What runs here."""

    version: str
    model: str
    dim: int
    fingerprint: str
    device: str
    precision: str
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


class RecordAnswer(Schema):
    """An image or text of a collection."""

    model_config = ConfigDict(json_schema_extra=examples.RECORD)

    id: int
    modality: Modality
    path: str | None
    text: str | None
    metadata: dict[str, Any]
    width: int | None
    height: int | None
    sha256: str | None = Field(description="of the image file")
    content_url: str | None = Field(description="the image file itself")
    thumbnail_url: str | None

    @classmethod
    def of_record(cls, record: Record, collection: str) -> RecordAnswer:
        """Of a record of `collection`."""
        return RecordAnswer(**cls.fields_of(record, collection))

    @classmethod
    def fields_of(cls, record: Record, collection: str) -> dict[str, Any]:
        """The fields for a record of `collection`."""
        is_image = record.modality == "image"
        base = f"/v1/collections/{collection}/images/{record.id}"
        # the version changes with the file, so browsers may keep what they have without asking
        version = f"?v={record.sha256[:12]}" if record.sha256 else ""
        return {
            "id": record.id,
            "modality": record.modality,
            "path": _readable(record.path),
            "text": record.text,
            "metadata": record.metadata,
            "width": record.width,
            "height": record.height,
            "sha256": record.sha256,
            "content_url": f"{base}/content{version}" if is_image else None,
            "thumbnail_url": f"{base}/thumbnail{version}" if is_image else None,
        }


class HitAnswer(RecordAnswer):
    """One result of a search."""

    model_config = ConfigDict(json_schema_extra=examples.HIT)

    score: float = Field(description="cosine of query and entry, -1 to 1")
    z: float | None = Field(description="standard deviations above what the query scores against anything")
    relevance: float | None = Field(description="estimate, 0 to 1; null, like z, while the collection is small")

    @classmethod
    def of(cls, hit: Hit, collection: str) -> HitAnswer:
        """Of a hit in `collection`."""
        return cls(score=hit.score, z=hit.z, relevance=hit.relevance, **cls.fields_of(hit.record, collection))


class QueryInputs(RequestModel):
    """What can be looked for."""

    text: Text | None = None
    image: Image | None = None
    id: Annotated[int, Field(ge=1, le=MAX_ID)] | None = Field(None, description="an entry; it is left out of the hits")
    vector: list[FiniteFloat] | None = Field(None, min_length=1, description="as /v1/embeddings gives them")

    def given(self) -> dict[str, Any]:
        """The fields of these four that are given."""
        fields = {name: getattr(self, name) for name in QueryInputs.model_fields}
        return {name: value for name, value in fields.items() if value is not None}


class Part(QueryInputs):
    """One part of a query: exactly one of text, image, id and vector."""

    weight: FiniteFloat = Field(1.0, ge=-100, le=100, description="negative leads away from it")

    @model_validator(mode="after")
    def _is_one(self) -> Part:
        if len(self.given()) != 1:
            raise ValueError("give exactly one of text, image, id and vector")
        return self


class SearchRequest(QueryInputs):
    """What to look for, either as text, image, id and vector (of several the mean), or as weighted parts in `query`."""

    model_config = ConfigDict(json_schema_extra=examples.SEARCH)

    query: list[Part] | None = Field(None, min_length=1, max_length=MAX_PARTS)
    modality: Modality = Field("image", description="what to find")
    filter: dict[str, Any] | None = Field(None, description="conditions on metadata and file, in Qdrant's grammar")
    limit: int = Field(10, ge=1, le=MAX_LIMIT)
    offset: int = Field(0, ge=0, le=MAX_OFFSET, description="hits passed over, for the next page")
    score_threshold: FiniteFloat | None = Field(None, ge=-1, le=1, description="the least cosine")
    cutoff: Cutoff | None = Field(None, description="auto: end where relevance ends")
    group_by: str | None = Field(
        None, min_length=1, description="a key of the metadata, as product.id; hits without it are not grouped"
    )
    group_size: int = Field(1, ge=1, le=MAX_LIMIT, description="hits a group")
    collapse: FiniteFloat | None = Field(None, gt=0, le=1, description="the cosine from which two hits are the same")
    diversity: FiniteFloat = Field(
        0.0, ge=0, le=1, description="0: by score alone; 1: each as unlike those before as can be"
    )

    @model_validator(mode="after")
    def _has_query(self) -> SearchRequest:
        if bool(self.given()) == bool(self.query):
            raise ValueError("give either query, or any of text, image, id and vector")
        return self


class SearchAnswer(Schema):
    """The nearest entries, best first."""

    hits: list[HitAnswer]
    seconds: float

    model_config = ConfigDict(json_schema_extra=examples.FOUND)


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
    model: str = Field("default", description="the served model's name, or default")
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


def _readable(path: str | None) -> str | None:
    """A path that is not UTF-8 comes from the index with lone surrogates, which JSON cannot carry."""
    return path if path is None else os.fsencode(path).decode("utf-8", "replace")
