"""How long a connection may do nothing, and how many there may be. uvicorn waits without end and takes all.

What nobody asked for costs a descriptor and no more; a service that has none left can open neither a file nor a
connection. Knows no request: a body that comes too slowly is service.http.middleware's.
"""

from __future__ import annotations

import asyncio
import fcntl
import re
import resource
import sys
import termios
from collections.abc import Sequence

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.errors import refuse_to_answer

PATIENCE = 10.0  # seconds in which something must come of a connection; it is dropped within twice that
HEAD_BYTES = 131_072  # of a request; a filter stands in it. The parser has no bound of its own
OF_DESCRIPTORS = 0.5  # the share that connections may take; the rest is for files
FRAMING = (b"content-length", b"transfer-encoding")  # headers that say where a body ends
NO_HTTP = "Invalid HTTP request received."
HOST = re.compile(rb"(\[[\w.:%]+\]|[\w.~!$&'()*+,;=%-]*)(:\d*)?")  # RFC 3986, 3.2.2


class PatientHttp(HttpToolsProtocol):
    """uvicorn's HTTP/1.1, which drops a connection that neither finishes the head of a request nor takes its answer.

    Both are looked at every `PATIENCE` seconds: no request has begun since the last time and none is under way; or
    bytes wait to be sent and none has gone. One that waits for its next request is closed by uvicorn
    (GLIMPSE_KEEP_ALIVE_SECONDS).
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, unless there are too many."""
        super().connection_made(transport)
        self._seen: tuple[object, int, int] = (None, 0, 0)
        self._resumed = 0
        self._head = 0  # bytes that came since the last head or part of a body
        self._is_told_again = False  # a head that we know
        self._problem = NO_HTTP  # of what the parser gave up on
        self._timer: asyncio.TimerHandle | None = None
        if len(self.connections) > most_connections():
            transport.abort()
        else:
            self._timer = self.loop.call_later(PATIENCE, self._look)

    def data_received(self, data: bytes) -> None:
        """Take some bytes, unless the head that they belong to has grown too large."""
        self._head += len(data)
        self._unset_keepalive_if_required()
        try:
            self._parse(data)
        except httptools.HttpParserError:
            self.logger.warning(self._problem)
            self.send_400_response(self._problem)
        if self._head > HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("the head of the request is too large")

    def _parse(self, data: bytes) -> None:
        """Go on with a request that offers another protocol as if it did not (RFC 9110, 7.8).

        Java's client offers HTTP/2 with whatever it asks first. httptools takes what follows such a head for that
        protocol, the body too, so a second parser is told where the body ends and gets the rest.
        """
        while True:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as offer:
                data = data[offer.args[0] :]
            framing = b"".join(name + b": " + value + b"\r\n" for name, value in self.headers if name in FRAMING)
            self.parser = httptools.HttpRequestParser(self)
            self._is_told_again = True
            self.parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + b"\r\n")
            self._is_told_again = False

    def on_message_begin(self) -> None:
        """Begin with a head."""
        if not self._is_told_again:
            super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Take a part of the address."""
        if not self._is_told_again:
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        if not self._is_told_again:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin with the request; of its head all has come. HttpParserError if others might read another one in it."""
        if self._is_told_again:
            return
        if problem := _problem_of(self.parser.get_http_version(), self.headers):
            self._problem = problem
            raise httptools.HttpParserError(problem)
        super().on_headers_complete()
        self._head = 0
        if not isinstance(self.cycle.transport, WholeAnswers):
            self.cycle.transport = WholeAnswers(self.transport, self.loop)  # type: ignore[assignment]

    def on_body(self, body: bytes) -> None:
        """Take a part of the body, which service.http.middleware bounds."""
        super().on_body(body)
        self._head = 0

    def on_message_complete(self) -> None:
        """The request has come to its end, unless its parser only gave up on it."""
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of it at once."""
        super().connection_lost(exc)
        if self._timer is not None:
            self._timer.cancel()

    def resume_writing(self) -> None:
        """Enough has gone for more to be written: as many bytes may wait then as did before."""
        super().resume_writing()
        self._resumed += 1

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, or has a head that is too large, in the shape of every error.

        So is answered a request whose body is none, as where its length is wrong; requests that came before get their
        own answers, and what begins behind them none.
        """
        cycle = self.cycle
        if cycle is not None and not (cycle.more_body or cycle.response_complete):
            cycle.keep_alive = False  # its connection is closed behind its answer
            self.flow.pause_reading()
            return
        if cycle is None or not (cycle.more_body and (cycle.response_started or self.pipeline)):
            body = bytes(refuse_to_answer(400, msg, code="invalid_http").body)
            head = "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: "
            self.transport.write(head.encode() + str(len(body)).encode() + b"\r\n\r\n" + body)
            if cycle is not None:
                cycle.disconnected = True  # this was its answer
        self.transport.close()

    def _look(self) -> None:
        # also once it is closed: that waits, without end, for what has not gone
        unsent = self._unsent()
        idle = self.cycle is None or self.cycle.response_complete
        now = (self.cycle, unsent, self._resumed)
        # between two requests uvicorn's own timer waits, for as long as a connection is kept
        kept = self.timeout_keep_alive_task is not None and not self.cycle.more_body and not unsent
        if now == self._seen and (idle or unsent) and not kept:
            self.transport.abort()
            return
        self._seen = now
        self._timer = self.loop.call_later(PATIENCE, self._look)

    def _unsent(self) -> int:
        """Bytes that the other side has not taken: ours, and those in the system's queue, which may be megabytes."""
        ours = self.transport.get_write_buffer_size()
        if not ours:
            return 0
        try:
            queued = fcntl.ioctl(self.transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
        except (OSError, AttributeError):  # a system that does not tell
            return ours
        return ours + int.from_bytes(queued, sys.byteorder)


def _problem_of(version: str, headers: Sequence[tuple[bytes, bytes]]) -> str | None:
    """What is wrong with a head that the parser takes, and a proxy may take for something else; None: nothing."""
    if version not in ("1.0", "1.1"):
        return f"HTTP/1.1 is spoken here, not HTTP/{version}"
    hosts = [value for name, value in headers if name == b"host"]
    if not (len(hosts) == 1 and HOST.fullmatch(hosts[0])) and (hosts or version == "1.1"):  # RFC 9112, 3.2
        return "a request of HTTP/1.1 names the host that it is for, in one header Host"
    coded = [value for name, value in headers if name == b"transfer-encoding"]
    if coded and (version == "1.0" or [value.strip().lower() for value in coded] != [b"chunked"]):  # and 6.1
        return "bodies come whole or chunked (Transfer-Encoding: chunked), and chunked by HTTP/1.1 alone"
    return None


class WholeAnswers:
    """What an answer is written to: its head waits for a body that follows at once, so that both go in one call."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head = b""

    def write(self, data: bytes) -> None:
        """Write a part of the answer, or of several that follow each other."""
        if not self._head and data.startswith(b"HTTP/"):
            self._head = data
            self._loop.call_soon(self._flush)
        else:
            head, self._head = self._head, b""
            self._transport.write(head + data if head else data)

    def close(self) -> None:
        """Close the connection once all is written."""
        self._flush()
        self._transport.close()

    def is_closing(self) -> bool:
        """Whether it is closed, or about to be."""
        return self._transport.is_closing()

    def _flush(self) -> None:
        if self._head:
            self.write(b"")


def most_connections() -> int:
    """How many connections this process takes."""
    return int(resource.getrlimit(resource.RLIMIT_NOFILE)[0] * OF_DESCRIPTORS)


def take_descriptors() -> None:
    """Let this process have as many descriptors as the system allows it; 1,024 is a common start."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
