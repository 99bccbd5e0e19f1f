"""What every request passes: a line in the log, safe headers, a bound on the body, an end when the client leaves.

Plain ASGI: starlette's BaseHTTPMiddleware would stand between a request and its disconnect.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import Refusal, refuse_to_answer
from service.http.headers import add_headers, header_of
from service.telemetry.logs import request_id
from service.telemetry.metrics import note_request

log = logging.getLogger("service.access")

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
HEADERS = [
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-cache"),  # routes that can be cached say so themselves
]
REQUEST_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)
QUIET = ("/health/", "/metrics")  # asked every few seconds: their lines are of the level debug
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
BODY_SECONDS = 30.0  # for the body of a request, and longer by a second for each
BODY_RATE = 16_384  # bytes of it
SLOW = f"the body of a request may take {BODY_SECONDS:g} s, and a second more for each {BODY_RATE >> 10} KiB"
CLIENT_GONE = 499  # as nginx counts it; nothing was answered


class Observed:
    """Gives each request an id, the client's own if it sent X-Request-Id, counts it, and logs one line at its end.

    The line has the route's template and never the path: names and ids are the user's.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        started = time.perf_counter()
        sent = header_of(scope, b"x-request-id") or ""
        own = sent if REQUEST_ID.fullmatch(sent) else os.urandom(16).hex()
        status = CLIENT_GONE
        request_id.set(own)
        scope.setdefault("state", {})["request_id"] = own

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                add_headers(message, [(b"x-request-id", own.encode())])
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception:
            status = 500  # answered outside of here
            raise
        finally:
            self._note(scope, status, time.perf_counter() - started)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        # what was answered before any route has none, and is counted with the one that it was for
        route = getattr(scope.get("route"), "path_format", None) or scope["app"].state.service.paths.template(
            scope["path"]
        )
        route = route or "unknown"
        method = scope["method"] if scope["method"] in METHODS else "other"
        note_request(method, route, status, seconds)
        level = logging.DEBUG if route.startswith(QUIET) else logging.INFO
        if not log.isEnabledFor(level):
            return
        fields = {
            "method": method,
            "route": route,
            "status": status,
            "seconds": round(seconds, 6),
            "key": scope["state"].get("key"),
            "client": (scope.get("client") or (None,))[0],
        }
        log.log(level, "%s %s %d %.3f s", method, route, status, seconds, extra={"fields": fields})


class SafeHeaders:
    """Adds `HEADERS` to every response that does not set them itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                add_headers(message, HEADERS)
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)


class BodyLimit:
    """Answers 413 to a body longer than `limit` bytes, whatever its Content-Length claims, and 408 to a slow one."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit
        self._message = f"the body of a request may have {limit} bytes at most"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        claimed = header_of(scope, b"content-length") or ""
        if claimed.isdecimal() and int(claimed) > self._limit:
            return await refuse_to_answer(413, self._message, code="too_large")(scope, receive, send)
        received = 0
        more = True
        started = asyncio.get_running_loop().time()

        async def receive_some() -> Message:
            nonlocal received, more
            if not more:  # what comes now is that the client has gone
                return await receive()
            end = started + BODY_SECONDS + received / BODY_RATE
            try:
                async with asyncio.timeout_at(end):
                    message = await receive()
            except TimeoutError:
                raise Refusal(408, SLOW, code="too_slow") from None
            received += len(message.get("body", b""))
            more = message.get("more_body", False)
            if received > self._limit:
                raise Refusal(413, self._message, code="too_large")
            return message

        return await self._app(scope, receive_some, send)


class AtAnswer:
    """Does what a request has left for the moment its answer begins, or it ends without one: `at_answer` of its state.

    So what it took is free again before a slow client has taken the answer.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        left = scope.setdefault("state", {}).setdefault("at_answer", [])

        async def send_answer(message: Message) -> None:
            while left:
                left.pop()()
            await send(message)

        try:
            await self._app(scope, receive, send_answer)
        finally:
            while left:
                left.pop()()


class CancelWhenGone:
    """Cancels a request whose client has gone before its answer began, so that what it queued never runs."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        request = _Watched(receive, send)
        try:
            await self._app(scope, request.receive, request.send)
        except asyncio.CancelledError:
            if not request.gone:
                raise
            request.task.uncancel()
        except ClientDisconnect:  # in the midst of its body
            pass
        finally:
            request.stop_watching()


class HeadAsGet:
    """Answers a HEAD as the GET of its path, without the body: monitors ask so, and FastAPI's routes know none."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            return await self._app(scope, receive, send)
        ended = False

        async def send_head(message: Message) -> None:
            nonlocal ended
            if message["type"] == "http.response.start":
                await send(message)
            elif not ended:  # at its first piece: what is followed has no last one
                ended = True
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        asked = {**scope, "method": "GET"}
        try:
            await self._app(asked, receive, send_head)
        finally:
            scope.update({name: asked[name] for name in ("route", "path_params") if name in asked})


class _Watched:
    """One request: once its body is in, the next thing to receive is that its client has gone."""

    def __init__(self, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.task = task
        self.gone = False
        self._receive = receive
        self._send = send
        self._watcher: asyncio.Task[None] | None = None

    async def receive(self) -> Message:
        self.stop_watching()  # who asks for more after the end of the body watches for himself
        message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body", False):
            self._watcher = asyncio.create_task(self._watch())
        return message

    async def send(self, message: Message) -> None:
        self.stop_watching()  # an answer that has begun is finished; servers call a sent answer a disconnect too
        await self._send(message)

    def stop_watching(self) -> None:
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.cancel()  # whatever it learns from now on: it goes no further than where it waits

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        self.task.cancel()
