"""JSON bodies, read so that others have their turn.

One call of `json.loads` holds the interpreter to its end, whichever thread it is in: for 32 MiB of small values some
seconds. So large bodies are read in a thread, those of many values by the part of `json` that is written in Python, and
of more values than anybody needs none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from json import scanner
from typing import Any, TypeVar

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from service.errors import Refusal
from service.http.headers import media_type

R = TypeVar("R")

SMALL = 128 << 10  # bytes that are read at once: 10 ms of the worst of them
AT_ONCE = 250_000  # values that one call may read: 20 ms of numbers
MOST = 2_000_000  # values of a body: some seconds of a thread, and 200 MB


def read_json(body: bytes) -> Any:
    """What a body says, in any coding that `json.loads` takes. May take seconds.

    Raises:
        ValueError, RecursionError: it is no JSON.
        Refusal: 413, it has too many values.
    """
    if len(body) <= AT_ONCE or check_values(body) <= AT_ONCE:
        return json.loads(body)
    reader = json.JSONDecoder()
    reader.scan_once = scanner.py_make_scanner(reader)  # type: ignore[attr-defined]
    return reader.decode(body.decode(json.detect_encoding(body), "surrogatepass"))


def check_values(body: bytes, before: bytes = b",[{") -> int:
    """How many values JSON has at most, by the signs that may stand before one. Refusal: 413, there are too many."""
    values = sum(body.count(sign) for sign in before)
    if values > MOST:
        message = f"the body has some {values} values, {MOST} may be in one request: send fewer at a time"
        raise Refusal(413, message, code="too_large")
    return values


async def beside(read: Callable[[bytes], R], body: bytes) -> R:
    """Call what reads a body, in a thread if that may take long."""
    return read(body) if len(body) <= SMALL else await run_in_threadpool(read, body)


def no_json() -> RequestValidationError:
    """What a body is answered that is none."""
    return RequestValidationError([{"type": "json_invalid", "loc": ("body",), "msg": "no JSON"}])


class JsonRoute(APIRoute):
    """A route whose JSON body, where that is large, is read and looked at in a thread, and not on the event loop."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What is called with each request."""
        handle, field = super().get_route_handler(), self.body_field
        if field is None:
            return handle

        def read(body: bytes) -> Any:
            said, problems = field.validate(read_json(body), loc=("body",))
            if problems:
                raise RequestValidationError(problems)
            return said

        async def handle_large(request: Request) -> Response:
            body = await request.body()
            if len(body) <= SMALL or media_type(request) != "application/json":
                return await handle(request)
            large = _Large(request.scope, request.receive)
            try:
                large.said = await run_in_threadpool(read, body)
            except (ValueError, RecursionError):
                raise no_json() from None
            return await handle(large)

        return handle_large


class _Large(Request):
    """A request whose body has been read: FastAPI takes what it says for the model that it is."""

    said: Any = None

    async def body(self) -> bytes:
        """Something: FastAPI asks whether there is a body."""
        return b"{}"

    async def json(self) -> Any:
        """What it says."""
        return self.said
