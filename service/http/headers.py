"""Headers as ASGI has them: pairs of bytes, names in lower case. An object of them takes longer than a look."""

from __future__ import annotations

from starlette.requests import Request
from starlette.types import Message, Scope


def header_of(scope: Scope, name: bytes) -> str | None:
    """A header of a request, the first of its name, if there is one."""
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), None)


def headers_of(scope: Scope, name: bytes) -> list[str]:
    """All headers of a request that have this name, in their order."""
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def add_headers(message: Message, headers: list[tuple[bytes, bytes]]) -> None:
    """Give the start of an answer those headers that it does not have."""
    own = list(message.get("headers", ()))
    names = {name for name, _ in own}
    message["headers"] = own + [(name, value) for name, value in headers if name not in names]


def media_type(request: Request) -> str:
    """The body's content type without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()
