"""What a request asks on condition (RFC 9110, 13): the ETags that it gives back, for all doors.

Tags are compared weakly also where one is to be strong (If-Match): proxies that pack an answer call its tag weak, and
none of ours names two forms of one state.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from email.utils import parsedate_to_datetime

from fastapi import Request
from fastapi.dependencies.models import Dependant
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from base.reading import only_reads
from service.errors import Refusal
from service.http.headers import headers_of

TAG = r'(?:W/)?"[\x21\x23-\x7e]*"'
TAGS = rf"^(\*|[ \t,]*{TAG}([ \t]*,[ \t,]*{TAG})*[ \t,]*)$"  # what a header with tags, or *, is
CONDITIONS = ("if-match", "if-none-match")
KEPT = (b"cache-control", b"content-location", b"etag", b"expires", b"vary")  # headers that a 304 has too


def names(given: str | None, tag: str) -> bool:
    """Whether a header names this tag, quotes and all. A * names none."""
    return given is not None and tag in (each.removeprefix("W/") for each in re.findall(TAG, given))


class Unmodified:
    """Answers 304, without a body, to a GET of what the client has already: by its ETag, or by when it was changed.

    What would be another answer than 200, or a part of it, stays that. A route that makes its answer dearly may look
    for its tag before.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one GET."""
        had = ",".join(headers_of(scope, b"if-none-match"))
        since = "" if had else ",".join(headers_of(scope, b"if-modified-since"))
        if not (had or since):
            await self._app(scope, receive, send)
            return
        is_new = True

        async def send_new(message: Message) -> None:
            nonlocal is_new
            if message["type"] == "http.response.start" and message["status"] in (200, 206):
                is_new = not _has(message, had, since)
                if not is_new:  # what follows of it goes nowhere
                    left = [(name, value) for name, value in message["headers"] if name.lower() in KEPT]
                    await send({**message, "status": 304, "headers": left})
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
            if is_new:
                await send(message)

        await self._app(scope, receive, send_new)


def _has(start: Message, had: str, since: str) -> bool:
    """Whether who has that has what this answer begins."""
    headers = {name.lower(): value.decode("latin-1") for name, value in start["headers"]}
    if had:
        return had.strip() == "*" or names(had, headers.get(b"etag", ""))
    try:
        return parsedate_to_datetime(headers[b"last-modified"]) <= parsedate_to_datetime(since)
    except (KeyError, TypeError, ValueError, OverflowError):  # it has no such time, or the client says none
        return False


async def only_known(request: Request) -> None:
    """422 for a change on a condition that its path does not heed: it would be done whatever is there."""
    given = [name for name in CONDITIONS if name in request.headers]
    if not given or only_reads(request.method, request.scope["path"]):
        return
    heeded = set(_headers_of(request.scope["route"].dependant))
    if unknown := next((name for name in given if name not in heeded), None):
        named = "-".join(part.capitalize() for part in unknown.split("-"))
        message = f"{named}: {request.method} of this path knows no such condition; look first, then send it without"
        raise Refusal(422, message, code="invalid_request", param=named)


def _headers_of(dependant: Dependant) -> Iterator[str]:
    """The headers that a route asks for."""
    yield from (field.alias.lower() for field in dependant.header_params)
    for each in dependant.dependencies:
        yield from _headers_of(each)
