"""Idempotency-Key: a request that changes something, sent again with its key, is answered again and not done again.

As the IETF's draft-ietf-httpapi-idempotency-key-header names and means it. Answers of 2xx are kept (kept_answers); of
a request that was refused nothing is, so it may be mended and sent with its key, nor of one that was done in part and
may be done further (`may_go_on`). A request with a key is done to its end though its client has left, for that one will
come back for the answer.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections.abc import MutableMapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from base.errors import DiskError, IdempotencyKeyReused, OutcomeUnknown, RequestUnderWay
from base.files import disk_error
from base.reading import only_reads
from service.errors import documented, refuse_to_answer
from service.http.headers import header_of
from service.http.kept_answers import KeptAnswer, KeptAnswers, Place

log = logging.getLogger(__name__)

HEADER = "Idempotency-Key"
LONGEST = 255  # characters
ONCE = re.compile(r"/v1/(jobs|collections/[^/]+/texts|label-runs/[^/]+/review/undo)")  # POSTs that do more each time
UNFINISHED = "unfinished"
TOLD = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST},
    "description": "sent again with the same key within a day, the request is not done again: its answer comes again, "
    "with Idempotency-Replayed. With another body it is 422; while the first is under way, 409 with Retry-After.",
}


class Idempotent:
    """Answers requests that bear the key of one that was done with that one's answer."""

    def __init__(self, app: ASGIApp, data: Path) -> None:
        self._app = app
        self._answers = KeptAnswers(data)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        key = header_of(scope, HEADER.lower().encode()) if scope["type"] == "http" else None
        app = self._app if key is None or not _changes(scope) else await self._answer(scope, receive, key)
        await app(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, key: str) -> Response:
        if not 1 <= len(key) <= LONGEST:
            message = f"{HEADER}: must have 1 to {LONGEST} characters"
            return refuse_to_answer(422, message, code="invalid_request", param=HEADER)
        try:
            body = await _body(receive)
        except HTTPException as error:
            return refuse_to_answer(error.status_code, str(error.detail), code=getattr(error, "code", None))
        asked = await run_in_threadpool(_hash_of, scope, body)
        with ExitStack() as held:
            place = self._answers.place(scope.get("state", {}).get("key"), key)
            try:
                there = await run_in_threadpool(held.enter_context, place)
                known = await self._known(scope, asked, there)
            except RequestUnderWay as error:
                return refuse_to_answer(409, str(error), code=error.code, headers={"Retry-After": "1"})
            except OSError as error:
                problem = disk_error(error) or DiskError(f"no answer can be kept: {error.strerror}")
                log.error("no answer to a request with an %s can be kept: %s", HEADER, error)
                told = scope["app"].state.service.told(scope, str(problem))
                return refuse_to_answer(500, told, code=problem.code)
            return known or await self._made(scope, body, asked, there)

    async def _known(self, scope: Scope, asked: str, there: Place) -> Response | None:
        """What is answered without doing it; None: it is noted that it begins now."""
        if there.asked not in (None, asked):
            reused = IdempotencyKeyReused(f"this {HEADER} was used with another request: give each one its own")
            return refuse_to_answer(422, str(reused), code=reused.code, param=HEADER)
        if there.kept is not None:
            answer = _response(there.kept)
            answer.headers["Idempotency-Replayed"] = "true"
            return answer
        repeatable = not (scope["method"] == "POST" and ONCE.fullmatch(scope["path"]))
        try:
            await run_in_threadpool(self._answers.begin, there, asked, repeatable=repeatable)
        except OutcomeUnknown as error:
            return refuse_to_answer(409, str(error), code=error.code)
        return None

    async def _made(self, scope: Scope, body: bytes, asked: str, there: Place) -> Response:
        """What the application answers, kept."""
        state = scope.setdefault("state", {})
        made = await _run(self._app, scope, body)
        try:
            if 200 <= made.status < 300 and UNFINISHED not in state:
                await run_in_threadpool(self._answers.keep, there, asked, made)
            else:
                await run_in_threadpool(self._answers.forget, there)
        except OSError as error:  # it is done, whatever becomes of its answer
            log.error("the answer to a request with an %s is not kept: %s", HEADER, error)
        return _response(made)


def may_go_on(request: Request) -> None:
    """Say that a request, which is answered with 200, was done in part for a reason of the moment.

    Sent again with its key it is done again, which a route that calls this is made for, and not answered so for a day.
    """
    request.scope.setdefault("state", {})[UNFINISHED] = True


def tell_of_keys(app: FastAPI) -> None:
    """Have the OpenAPI document name the header, and what it may be answered with, where something is changed."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            errors = {str(status): answer for status, answer in documented(409, 422).items()}
            for path, methods in made()["paths"].items():
                for method, operation in methods.items():
                    if not only_reads(method.upper(), re.sub(r"\{\w+\}", "x", path)):
                        operation.setdefault("parameters", []).append(TOLD)
                        operation["responses"] = errors | operation["responses"]
        return made()

    app.openapi = openapi  # type: ignore[method-assign]


def _changes(scope: Scope) -> bool:
    """Whether a request is for a route that changes something; one for no route is refused by others."""
    method, path = scope["method"], scope["path"]
    return not only_reads(method, path) and scope["app"].state.service.paths.has(method, path)


async def _body(receive: Receive) -> bytes:
    """All of a body. HTTPException if it is too large or too slow, or does not come to its end."""
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise HTTPException(400, "the client left in the midst of the body")
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def _hash_of(scope: Scope, body: bytes) -> str:
    """Of what is asked, and on what condition. A form's boundary is another each time, so it does not count."""
    kind = header_of(scope, b"content-type") or ""
    if boundary := re.search(r'boundary="?([^";,]+)', kind):
        body, kind = body.replace(boundary[1].encode("latin-1"), b""), kind.replace(boundary[1], "")
    parts = [scope["method"].encode(), scope["path"].encode(), scope["query_string"], kind.encode("latin-1"), body]
    parts += [name + value for name, value in scope["headers"] if name in (b"if-match", b"if-none-match")]
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


async def _run(app: ASGIApp, scope: Scope, body: bytes) -> KeptAnswer:
    """What the application answers, to a client that waits whatever happens."""
    sent = False
    status, headers, parts = 500, list[tuple[str, str]](), list[bytes]()

    async def receive() -> Message:
        nonlocal sent
        if sent:
            await asyncio.Event().wait()  # it never leaves
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
            headers.extend((name.decode("latin-1"), value.decode("latin-1")) for name, value in message["headers"])
        else:
            parts.append(message.get("body", b""))

    await app(scope, receive, send)
    return KeptAnswer(status, headers, b"".join(parts))


def _response(kept: KeptAnswer) -> Response:
    response = Response(kept.body, kept.status)
    response.raw_headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in kept.headers]
    return response
