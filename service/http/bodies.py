"""Bodies that FastAPI does not read for us: of several media types, or of none. What is wrong with one is a 422."""

from __future__ import annotations

from typing import Any, TypeVar

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

T = TypeVar("T", bound=BaseModel)

FILES = {  # the files of a form, as OpenAPI describes them
    "type": "array",
    "items": {"type": "string", "format": "binary"},
    "description": "one or more image files; the part may also be called image",
}


def from_json(kind: type[T], body: bytes) -> T:
    """What a JSON body says."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise _invalid(error) from None


def from_fields(kind: type[T], fields: dict[str, Any]) -> T:
    """What the fields of a form say."""
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        raise _invalid(error) from None


def _invalid(error: ValidationError) -> RequestValidationError:
    return RequestValidationError(error.errors(include_input=False, include_context=False, include_url=False))
