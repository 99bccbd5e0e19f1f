"""Bodies that FastAPI does not read for us: of several media types, or of none. What is wrong with one is a 422."""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from service.errors import Refusal
from service.http.headers import media_type
from service.http.json_bodies import beside, no_json, read_json

T = TypeVar("T", bound=BaseModel)
MAX_FIELDS = 1000  # of a form, beside its files; a label may be one
CUT_OFF = "the form ends before its last boundary: it was cut off"
IMAGES = ("file", "image")  # what the parts with images are called

FILES = {  # the files of a form, as OpenAPI describes them
    "type": "array",
    "items": {"type": "string", "format": "binary"},
    "description": "one or more image files; the part may also be called image",
}


def check_json(request: Request) -> None:
    """415 unless the body says that it is JSON; so no foreign page can post here without the browser asking first."""
    if media_type(request) != "application/json":
        raise Refusal(415, "send JSON, with Content-Type: application/json", code="unsupported_media_type")


async def json_of(kind: type[T], request: Request) -> T:
    """What the JSON body of a request says, whatever it says of its type, as FastAPI would read it."""

    def read(body: bytes) -> T:
        try:
            fields = read_json(body)
        except (ValueError, RecursionError):
            raise no_json() from None
        try:
            return kind.model_validate(fields, from_attributes=True)  # FastAPI's way
        except ValidationError as error:
            raise _invalid(error, fields) from None

    body = await request.body()
    if not body:
        raise RequestValidationError([{"type": "missing", "loc": ("body",), "msg": "Field required"}])
    return await beside(read, body)


def as_utf8(body: bytes) -> bytes:
    """JSON, or lines of it, in UTF-8 without a mark of its byte order, as it may have come in UTF-16 or UTF-32."""
    coding = json.detect_encoding(body)
    try:
        return body.removeprefix(BOM_UTF8) if coding.startswith("utf-8") else body.decode(coding).encode()
    except UnicodeDecodeError:
        raise no_json() from None


def from_fields(kind: type[T], fields: Any) -> T:
    """What the fields of a form say."""
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        raise _invalid(error) from None


class _Form(MultiPartParser):
    """starlette's parser, which takes a form that was cut off for a whole one."""

    def __init__(self, request: Request, max_files: int) -> None:
        super().__init__(request.headers, self._read(request), max_files=max_files, max_fields=MAX_FIELDS)
        self._is_whole = False

    def on_end(self) -> None:
        self._is_whole = True

    async def _read(self, request: Request) -> AsyncGenerator[bytes, None]:
        is_empty = True
        async for chunk in request.stream():
            is_empty &= not chunk
            yield chunk
        if not (self._is_whole or is_empty):
            raise MultiPartException(CUT_OFF)


@asynccontextmanager
async def form_of(request: Request, max_files: int) -> AsyncIterator[FormData]:
    """The form in a body, its files open during the block.

    Raises:
        Refusal: 422 for more than `max_files`, or a form that was cut off; 400 for what is none.
    """
    try:
        form = await _Form(request, max_files).parse()
    except MultiPartException as error:
        raise _no_form(error.message, max_files) from None
    try:
        yield form
    finally:
        await form.close()


def images_of(form: FormData, fields: Collection[str]) -> list[UploadFile]:
    """The images in a form that has these fields beside them. Refusal: another field or file, or no image."""
    parts = form.multi_items()
    for name, part in parts:
        if isinstance(part, UploadFile) and name not in IMAGES:
            message = f"the part {name} is a file; images are sent as parts called file, the rest as plain fields"
            raise Refusal(422, message, code="invalid_request", param=name)
        if isinstance(part, str) and name in IMAGES:
            message = f"the part {name} has no filename, so it is no file; send one as curl -F {name}=@pet.jpg does"
            raise Refusal(422, message, code="invalid_request", param=name)
        if isinstance(part, str) and name not in fields:
            raise Refusal(422, f"{name}: is no field here", code="invalid_request", param=name)
    files = [part for _, part in parts if isinstance(part, UploadFile)]
    if not files:
        raise Refusal(422, "the form has no part called file with an image", code="invalid_request", param="file")
    return files


def _no_form(said: str, max_files: int) -> Refusal:
    """In our words what the parser says."""
    if said.startswith("Too many files"):
        message = f"more than {max_files} images in one request (GLIMPSE_MAX_BATCH): send fewer at a time"
        if max_files == 1:
            message = "an entry has one image: give one file"
        return Refusal(422, message, code="too_many", param="file")
    if said == CUT_OFF:
        return Refusal(422, CUT_OFF, code="invalid_form")
    if said.startswith("Missing boundary"):
        message = "the Content-Type of the form names no boundary; leave it to the client, which knows it"
    elif said.startswith("Too many fields"):
        message = f"the form has more than {MAX_FIELDS} fields"
    elif said.startswith("Part exceeded"):
        message = "a field of the form has more than 1 MiB; a part with a file has a filename"
    elif said.startswith("The Content-Disposition"):
        message = "a part of the form has no name"
    else:
        message = "the form is not as its boundary in the Content-Type says"
    return Refusal(400, message, code="invalid_form")


def _invalid(error: ValidationError, given: Any = None) -> RequestValidationError:
    problems = error.errors(include_input=False, include_url=False)
    return RequestValidationError([{**each, "loc": ("body", *each["loc"])} for each in problems], body=given)
