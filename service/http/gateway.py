"""What proxies in front of the service say of a request, if they are trusted: who asks, how, and below which path.

Behind this there is no prefix: paths are the service's own, whether the proxy took it away or not, and `prefix_of` is
what addresses in answers begin with. Reads X-Forwarded-For and -Proto as uvicorn does, and -Prefix; the header Host
is what a proxy passes on.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from urllib.parse import urlsplit

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from service.http.headers import header_of, headers_of
from service.settings import problem_of_prefix

log = logging.getLogger(__name__)


class BehindProxy:
    """Takes the prefix off the path, and believes of trusted proxies who asks and how.

    Args:
        trusted: addresses and networks of proxies; "*": all.
        root_path: the prefix; "": what a trusted proxy says.
    """

    def __init__(self, app: ASGIApp, trusted: Sequence[str], root_path: str) -> None:
        self._app = ProxyHeadersMiddleware(app, list(trusted))  # type: ignore[arg-type]
        self._root_path = root_path
        self._has_warned = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)  # type: ignore[arg-type]
            return
        prefix = self._prefix(scope)
        scope.setdefault("state", {})["prefix"] = prefix
        if f"{scope['path']}/".startswith(f"{prefix}/"):  # of the prefix alone "" is left, which is sent on to "/"
            scope["path"] = scope["path"].removeprefix(prefix)

        async def send_below(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    (name, _below(prefix, value) if name == b"location" else value)
                    for name, value in message["headers"]
                ]
            await send(message)

        await self._app(scope, receive, send_below)  # type: ignore[arg-type]

    def _prefix(self, scope: Scope) -> str:
        peer = (scope.get("client") or (None,))[0]
        if peer not in self._app.trusted_hosts:
            self._warn(scope, peer)
            return self._root_path
        if self._root_path:
            return self._root_path
        parts = (part.strip() for each in headers_of(scope, b"x-forwarded-prefix") for part in each.split(","))
        named = "".join(part.rstrip("/") for part in parts)  # each proxy adds its own behind those before it
        return named if problem_of_prefix(named) is None else ""

    def _warn(self, scope: Scope, peer: str | None) -> None:
        """Say once that somebody, most likely the operator's own proxy, is not believed."""
        if not self._has_warned and header_of(scope, b"x-forwarded-for") is not None:
            self._has_warned = True
            log.warning(
                "%s says for whom it asks, and is not believed: GLIMPSE_TRUSTED_PROXIES names no such proxy", peer
            )


def prefix_of(request: Request) -> str:
    """What addresses in the answer to a request begin with: "", or a path as /photos."""
    prefix: str = request.state.prefix
    return prefix


def _below(prefix: str, location: bytes) -> bytes:
    """Where an answer sends its client: a path of ours is one below the prefix, whatever host the client calls us."""
    _, _, path, query, _ = urlsplit(location.decode("latin-1"))
    return f"{prefix}{path}{'?' * bool(query)}{query}".encode("latin-1")
