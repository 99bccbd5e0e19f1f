"""What requests and answers over REST have in common: how fields are taken, and texts, labels and images as fields."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticUseDefault, core_schema

from base.names import MAX_EXTERNAL_ID, NAME, check_external_id
from encoder.cut import CutTexts

MAX_ID = 2**63 - 1
MAX_SIGNED = 7 * 86_400  # seconds, a week
MAX_FIELDS = 1000  # of an object that has some of ours
MAX_TEXT = 10_000  # characters; a model reads some 77 tokens of them
_DATA_URI = re.compile(r"[\s\ufeff\u200b\0\"']*data\s*:(?:[;,]|[\w.+-]+/|[\s\w/.+;=-]{0,80}base64,)", re.IGNORECASE)


def is_data_uri(text: str) -> bool:
    """Whether a text is meant as a file: data: and a media type, ";", "," or base64 behind it, whatever is around."""
    return _DATA_URI.match(text) is not None


def _words(text: str) -> str:
    if is_data_uri(text):
        raise ValueError("begins with data: as an image does; send that as an image")
    return text


Text = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT), AfterValidator(_words)]
Label = Annotated[str, StringConstraints(max_length=1_000)]
RULE = (
    "your own id of the entry: as it is, without control characters, line breaks, spaces at its ends, and parts "
    "between slashes that are '.' or '..'"
)
ExternalId = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MAX_EXTERNAL_ID),
    AfterValidator(check_external_id),
    Field(description=RULE),
]
CollectionName = Annotated[str, StringConstraints(pattern=f"^{NAME.pattern}$")]
Image = Annotated[str, Field(min_length=1, description="an image file in base64, bare or as data:image/...;base64,...")]


def _written(given: Any) -> Any:
    if isinstance(given, str) and "_" in given:
        raise ValueError("must be a number, without _ in it")
    return given


Written = BeforeValidator(_written)  # of a number in a path or a query, where it is text: Python reads 1_0 as 10
Whole = Annotated[int, Written]
ModelName = Annotated[
    str | None, Field(max_length=200, description="a name of GET /v1/models; default: what is told at the route")
]
SignedSeconds = Annotated[
    Whole,
    Field(
        ge=1,
        le=MAX_SIGNED,
        description="sign `content_url` and `thumbnail_url`: for so long, and up to an eighth longer, they need no key",
    ),
]


def binary(kind: str) -> dict[str, Any]:
    """The content of an answer that is a file of a media type."""
    return {kind: {"schema": {"type": "string", "format": "binary"}}}


def _default_of_null(given: Any) -> Any:
    if given in ("", "null"):
        raise PydanticUseDefault
    return given


class _Absent:
    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(_default_of_null, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [handler(core), {"type": "null"}, {"type": "string", "enum": ["", "null"]}]}


# Of a parameter in a query: empty or null counts as absent, as in JSON. Not of one that may well be called null.
Absent = _Absent()


class Schema(BaseModel):
    """Base of all: `model` is a word of ours, so pydantic must not reserve it."""

    model_config = ConfigDict(protected_namespaces=())


def _fail_fast(schema: Any) -> None:
    if isinstance(schema, dict):
        if schema.get("type") == "list":
            schema["fail_fast"] = True
        _fail_fast([*schema.values()])
    elif isinstance(schema, list):
        for each in schema:
            _fail_fast(each)


class RequestModel(Schema):
    """Base of what a client sends: a misspelt field is refused, not ignored, and one that is null counts as absent.

    Null is what clients made of models send for what nobody set. Strict: a number is a number, no text and no truth;
    some programs write a whole one as 10.0.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _as_meant(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        if len(given) > MAX_FIELDS:
            raise ValueError(f"has {len(given)} fields")
        if None in given.values():
            absent = {name for name, field in cls.model_fields.items() if field.default is not None}
            given = {name: value for name, value in given.items() if value is not None or name not in absent}
        whole = {name: int(each) for name, each in given.items() if type(each) is float and each.is_integer()}
        return given | whole if whole else given

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """The schema, in which no list is looked at beyond its first item that is wrong: there may be a million."""
        schema = handler(source)
        _fail_fast(schema)
        return schema

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The schema, in which every field that may be absent may be null.

        A default {} is left out: it says no more, and makers of clients stumble over it.
        """
        schema = handler(core)
        fields = handler.resolve_ref_schema(schema).get("properties", {})
        for name, field in cls.model_fields.items():
            if name in fields and not field.is_required() and field.default is not None:
                told = {
                    key: fields[name].pop(key) for key in ("title", "description", "default") if key in fields[name]
                }
                if told.get("default") == {}:
                    del told["default"]
                fields[name] = {"anyOf": [fields[name], {"type": "null"}], **told}
        return schema


class OfTexts(Schema):
    """Base of answers to texts: whether the model read them to their ends."""

    cut_texts: int = Field(0, description="texts that are longer than the model reads: their ends had no influence")
    warnings: list[str] = Field([], description="what a person should know of this answer, a line each")

    @staticmethod
    def told(cut: CutTexts) -> dict[str, Any]:
        """Those fields."""
        return {"cut_texts": len(cut.read), "warnings": cut.warnings()}


class ImitatingModel(RequestModel):
    """The same in the shape of another service: what else its clients send is passed over."""

    model_config = ConfigDict(extra="ignore")
