"""Bodies that come packed (Content-Encoding): unpacked piece by piece as they are read, up to the limit of bodies; and
answers that go packed, where they are what somebody reads (GET).
"""

from __future__ import annotations

import asyncio
import re
import zlib

from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import Refusal, refuse_to_answer
from service.http.conditions import Unmodified
from service.http.headers import headers_of

ZLIB, GZIP = 15, 31  # zlib's wbits: a window of 32 KiB, and which head is expected
CODINGS = {"gzip": GZIP, "x-gzip": GZIP, "deflate": ZLIB}  # RFC 9110, 8.4.1: deflate is zlib's format
ACCEPTED = "gzip, deflate"
PIECE = 262_144  # bytes that are unpacked at a time; others have their turn in between
AS_IT_IS = (b"content-encoding", b"content-length")  # headers that are no longer true of what was unpacked

# answers: at the first level a million columns take 30 ms and a fifth of their bytes, at the sixth 270 ms for no fewer
LEVEL = 1
LEAST = 1024  # bytes that are worth it
PACKED_ALREADY = (*DEFAULT_EXCLUDED_CONTENT_TYPES, "image/*")
WEIGHT = re.compile(r"0(\.\d{0,3})?|1(\.0{0,3})?")


class Packed:
    """Packs answers to GET for who takes gzip: lists, columns, the page's files; nothing of what the client has.

    Answers to POST go as they are: searches and vectors are asked for hundreds of times a second, mostly from near by.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._packing = GZipMiddleware(Unmodified(app), LEAST, LEVEL, exclude_content_types=PACKED_ALREADY)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        # the middleware looks for the word gzip alone, whatever is said of it: it is told what is meant
        meant = b"gzip" if _takes_gzip(",".join(headers_of(scope, b"accept-encoding"))) else b"identity"
        others = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
        scope["headers"] = [*others, (b"accept-encoding", meant)]
        await self._packing(scope, receive, send)


def _takes_gzip(accepted: str) -> bool:
    """Whether an Accept-Encoding asks for gzip, and not rather for what is not packed (RFC 9110, 12.5.3)."""
    weights: dict[str, float] = {}
    for each in accepted.lower().split(","):
        coding, _, weight = (part.strip() for part in each.partition(";"))
        weights[coding] = _weight(weight)
    gzip = weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0)))
    return gzip > 0 and gzip >= weights.get("identity", 0.0)


def _weight(said: str) -> float:
    """What `q=0.5` says: 1 where nothing is said, 0 where it says no number, for then nothing is known to be wanted."""
    if not said:
        return 1.0
    name, _, value = (part.strip() for part in said.partition("="))
    return float(value) if name == "q" and WEIGHT.fullmatch(value) else 0.0


class Unpacked:
    """Gives routes the body as it was before it was packed.

    Answers 415 to a coding that is none of `CODINGS`, 413 as soon as more than `limit` bytes come out, and 422 to
    what is not of the coding that it claims, ends too early, or goes on behind its end.
    """

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        coding = ",".join(headers_of(scope, b"content-encoding")).strip().lower()
        if coding in ("", "identity"):
            await self._app(scope, receive, send)
            return
        if coding not in CODINGS:
            message = f"bodies are taken as they are, or packed by one of {ACCEPTED}, not by {coding[:40]}"
            answer = refuse_to_answer(415, message, code="packed_body", headers={"Accept-Encoding": ACCEPTED})
            await answer(scope, receive, send)
            return
        scope["headers"] = [(name, value) for name, value in scope["headers"] if name not in AS_IT_IS]
        await self._app(scope, _Unpacking(receive, coding, self._limit).receive, send)


class _Unpacking:
    """The body of one request."""

    def __init__(self, receive: Receive, coding: str, limit: int) -> None:
        self._receive = receive
        self._coding = coding
        self._limit = limit
        self._unpacker = zlib.decompressobj(CODINGS[coding])
        self._packed = b""  # what came and is not unpacked yet
        self._made = 0  # bytes that came out
        self._began = False
        self._more = True  # may come
        self._ended = False

    async def receive(self) -> Message:
        """The next piece, as a server would give it."""
        while not self._ended:
            if piece := self._unpack():
                await asyncio.sleep(0)
                return {"type": "http.request", "body": piece, "more_body": True}
            if not self._more:
                if self._began and not self._unpacker.eof:
                    raise self._refusal("ends before it is whole")
                self._ended = True
                return {"type": "http.request", "body": b"", "more_body": False}
            message = await self._receive()
            if message["type"] != "http.request":
                return message
            self._packed, self._more = message.get("body", b""), message.get("more_body", False)
        return await self._receive()  # that the client has gone

    def _unpack(self) -> bytes:
        self._began = self._began or bool(self._packed)
        if self._unpacker.eof and self._packed:
            raise self._refusal("goes on behind its end")
        try:
            piece = self._unpacker.decompress(self._packed, PIECE)
        except zlib.error:
            raise self._refusal("cannot be unpacked") from None
        self._packed = self._unpacker.unused_data or self._unpacker.unconsumed_tail
        self._made += len(piece)
        if self._made > self._limit:
            message = f"the body of a request may have {self._limit} bytes at most, as it is before it is packed"
            raise Refusal(413, message, code="too_large")
        return piece

    def _refusal(self, what: str) -> Refusal:
        return Refusal(422, f"the body says that it is {self._coding}, and {what}", code="invalid_body")
