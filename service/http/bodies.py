"""Bodies that FastAPI does not read for us: of several media types, or of none. What is wrong with one is a 422."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from service.errors import Refusal

T = TypeVar("T", bound=BaseModel)

FILES = {  # the files of a form, as OpenAPI describes them
    "type": "array",
    "items": {"type": "string", "format": "binary"},
    "description": "one or more image files; the part may also be called image",
}


def media_type(request: Request) -> str:
    """The body's content type without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def check_json(request: Request) -> None:
    """415 unless the body says that it is JSON; so no foreign page can post here without the browser asking first."""
    if media_type(request) != "application/json":
        raise Refusal(415, "send JSON, with Content-Type: application/json", code="unsupported_media_type")


async def json_of(kind: type[T], request: Request) -> T:
    """What the JSON body of a request says, as FastAPI would read it."""
    check_json(request)
    body = await request.body()
    if not body:
        raise RequestValidationError([{"type": "missing", "loc": ("body",), "msg": "Field required"}])
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        raise RequestValidationError([{"type": "json_invalid", "loc": ("body",), "msg": "no JSON"}]) from None
    try:
        return kind.model_validate(fields, from_attributes=True)  # FastAPI's way
    except ValidationError as error:
        raise _invalid(error, fields) from None


def from_json(kind: type[T], body: bytes) -> T:
    """What a JSON body says."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise _invalid(error) from None


def from_fields(kind: type[T], fields: Any) -> T:
    """What the fields of a form say."""
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        raise _invalid(error) from None


def _invalid(error: ValidationError, given: Any = None) -> RequestValidationError:
    problems = error.errors(include_input=False, include_url=False)
    return RequestValidationError([{**each, "loc": ("body", *each["loc"])} for each in problems], body=given)
