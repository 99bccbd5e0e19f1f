"""JSON bodies, read so that others have their turn.

One call of `json.loads` holds the interpreter to its end, whichever thread it is in: for 32 MiB of small values some
seconds. So large bodies are read and looked at in a thread, those of many values by the part of `json` that is written
in Python, and of more values than anybody needs none. `json_of` does it; FastAPI, which would read a body on the event
loop, is handed what it made by `JsonRoute`.
"""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from collections.abc import Callable, Coroutine, Iterator
from json import scanner
from typing import Any, TypeVar

import numpy as np
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool

from base.sources.texts import why_no_json
from service.errors import Refusal
from service.http.headers import media_type

R = TypeVar("R")
T = TypeVar("T", bound=BaseModel)

SMALL = 128 << 10  # bytes that are read at once: 10 ms of the worst of them
AT_ONCE = 250_000  # values that one call may read: 20 ms of numbers
MOST = 2_000_000  # values of a body: some seconds of a thread, and 200 MB
TOGETHER = 1 << 20  # bytes whose values are counted at a time


async def json_of(kind: type[T], request: Request) -> T:
    """What the JSON body of a request says, whatever it says of its type.

    Raises:
        RequestValidationError: it is missing, or of another shape.
        Refusal: 422, it is no JSON; 413, it has too many values.
    """

    def read(body: bytes) -> T:
        fields = read_json(body)
        try:
            return kind.model_validate(fields)
        except ValidationError as error:
            raise not_as(error, fields) from None

    body = await request.body()
    if not body:
        raise RequestValidationError([{"type": "missing", "loc": ("body",), "msg": "Field required"}])
    return await beside(read, body)


def check_json(request: Request) -> None:
    """415 unless the body says that it is JSON; so no foreign page can post here without the browser asking first."""
    if media_type(request) != "application/json":
        raise Refusal(415, "send JSON, with Content-Type: application/json", code="unsupported_media_type")


def read_json(body: bytes, what: str = "the body") -> Any:
    """What a body, or a line of one, says, in any coding that `json.loads` takes. May take seconds.

    Raises:
        Refusal: 422, it is no JSON that can be read; 413, it has too many values.
    """
    try:
        if len(body) <= AT_ONCE or check_values(body := as_utf8(body)) <= AT_ONCE:
            return json.loads(body)
        reader = json.JSONDecoder()
        reader.scan_once = scanner.py_make_scanner(reader)  # type: ignore[attr-defined]
        return reader.decode(body.decode(errors="surrogatepass"))
    except (ValueError, RecursionError) as error:
        raise _no_json(error, what) from None


def as_utf8(body: bytes) -> bytes:
    """JSON, or lines of it, in UTF-8 without a mark of its byte order, as it may have come in UTF-16 or UTF-32.

    Raises:
        Refusal: 422, it is in none of them.
    """
    coding = json.detect_encoding(body)
    if coding.startswith("utf-8"):
        return body.removeprefix(BOM_UTF8)
    try:
        return body.decode(coding, "surrogatepass").encode(errors="surrogatepass")
    except UnicodeDecodeError as error:
        raise _no_json(error) from None


def check_values(body: bytes, before: bytes = b",[{") -> int:
    """How many values JSON in UTF-8, or lines of it, has at most: by the signs that may stand before one.

    Raises:
        Refusal: 413, there are too many.
    """
    values = sum(body.count(sign) for sign in before)
    if values > AT_ONCE:  # some may stand in texts
        values = sum(some.count(sign) for some in _outside_of_texts(body) for sign in before)
    if values > MOST:
        message = f"the body has {values} values, {MOST} may be in one request: send fewer at a time"
        raise Refusal(413, message, code="too_large")
    return values


def _outside_of_texts(body: bytes) -> Iterator[bytes]:
    """The bytes of JSON that stand in no text, some at a time. No text goes on behind its line: then it was none."""
    escape, in_text = b"", 0
    for begin in range(0, len(body), TOGETHER):
        plain = (escape + body[begin : begin + TOGETHER]).replace(rb"\\", b"").replace(rb"\"", b"")
        escape = plain[len(plain.removesuffix(b"\\")) :]  # of what is next
        some = np.frombuffer(plain.removesuffix(b"\\"), np.uint8)
        quotes = np.cumsum(some == ord('"'), dtype=np.int32) + np.int32(in_text)
        before_line = np.maximum.accumulate(np.where((some == ord("\n")) | (some == ord("\r")), quotes, 0))
        is_inside = (quotes - before_line) & 1
        yield some[is_inside == 0].tobytes()
        in_text = int(is_inside[-1]) if len(some) else in_text


async def beside(read: Callable[[bytes], R], body: bytes) -> R:
    """Call what reads a body, in a thread if that may take long."""
    return read(body) if len(body) <= SMALL else await run_in_threadpool(read, body)


def not_as(error: ValidationError, given: Any = None) -> RequestValidationError:
    """What a body is answered that says something else than it is to."""
    problems = error.errors(include_input=False, include_url=False)
    return RequestValidationError([{**each, "loc": ("body", *each["loc"])} for each in problems], body=given)


def _no_json(error: ValueError | RecursionError, what: str = "the body") -> Refusal:
    return Refusal(422, f"{what} cannot be read as JSON ({why_no_json(error)})", code="invalid_json")


class JsonRoute(APIRoute):
    """A route whose JSON body is read by `json_of`. FastAPI takes what that made for the model that it is."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What is called with each request."""
        handle, field = super().get_route_handler(), self.body_field
        if field is None:
            return handle
        kind: Any = field.field_info.annotation
        may_be_missing = not field.field_info.is_required()

        async def handle_read(request: Request) -> Response:
            if may_be_missing and not await request.body():
                return await handle(request)
            check_json(request)
            read = _Read(request.scope, request.receive)
            read.said = await json_of(kind, request)
            return await handle(read)

        return handle_read


class _Read(Request):
    """A request whose body has been read."""

    said: Any = None

    async def body(self) -> bytes:
        """Something: FastAPI asks whether there is a body."""
        return b"{}"

    async def json(self) -> Any:
        """What it says."""
        return self.said
