"""Bodies that are forms, with images in them. What is wrong with one is a 422."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from service.errors import Refusal
from service.http.json_bodies import not_as

T = TypeVar("T", bound=BaseModel)
MAX_FIELDS = 1000  # of a form, beside its files; a label may be one
CUT_OFF = "the form ends before its last boundary: it was cut off"
IMAGES = ("file", "image")  # what the parts with images are called

FILES = {  # the files of a form, as OpenAPI describes them
    "type": "array",
    "items": {"type": "string", "format": "binary"},
    "description": "one or more image files; the part may also be called image",
}


def from_fields(kind: type[T], fields: Any) -> T:
    """What the fields of a form say."""
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        raise not_as(error) from None


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
