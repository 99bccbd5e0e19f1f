"""OpenTelemetry spans of requests and their stages, if the environment says where to send them; else nothing.

All else is set by OpenTelemetry's own variables too (OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER, ...). What a batch does
for several requests at once has no span. The only import of opentelemetry.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from base.extras import install

log = logging.getLogger(__name__)

EXPORTERS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_tracer: Any = None  # of this process, once tracing was started


def start_tracing() -> bool:
    """Send spans over OTLP/HTTP if one of `EXPORTERS` is set, and say so; a warning if `otel` is not installed."""
    if not any(os.environ.get(name) for name in EXPORTERS):
        return False
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        log.warning("an OpenTelemetry exporter is set, but nothing is sent: %s", install("otel"))
        return False
    global _tracer
    os.environ.setdefault("OTEL_SERVICE_NAME", "glimpse")
    provider = TracerProvider()  # sends what is left when the process ends
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _tracer = provider.get_tracer("glimpse")
    return True


@contextmanager
def span(name: str) -> Iterator[None]:
    """A span below that of the request that runs here, if one does."""
    if _tracer is None or not _current().is_recording():
        yield
        return
    with _tracer.start_as_current_span(name, record_exception=False):
        yield


class Traced:
    """A span for each request, below the caller's (`traceparent`), with the route's template and never the path."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        from opentelemetry.propagate import extract
        from opentelemetry.trace import SpanKind, StatusCode

        status = 0

        async def send_noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        parent = extract(dict(Headers(scope=scope)))
        # an exception's message may hold what was asked for
        with _tracer.start_as_current_span(scope["method"], parent, SpanKind.SERVER, record_exception=False) as own:
            try:
                await self._app(scope, receive, send_noting)
            finally:
                route = getattr(scope.get("route"), "path", "unknown")
                own.update_name(f"{scope['method']} {route}")
                own.set_attribute("http.request.method", scope["method"])
                own.set_attribute("http.route", route)
                own.set_attribute("glimpse.request_id", scope.get("state", {}).get("request_id", ""))
                own.set_attribute("http.response.status_code", status)
                if status >= 500:
                    own.set_status(StatusCode.ERROR)


def _current() -> Any:
    from opentelemetry.trace import get_current_span

    return get_current_span()
