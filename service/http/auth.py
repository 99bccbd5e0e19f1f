"""Who may ask what: bearer keys before every route but the page and the health checks; for image files and reports a
signed address. Closed unless named open here.

It stands before the body is read, so that a stranger's upload costs nothing.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from urllib.parse import parse_qs

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from base.errors import DiskUnavailable, InputError
from base.reading import SAFE, only_reads
from service.disk import DataDisk
from service.errors import refuse_to_answer
from service.http.headers import add_headers, header_of
from service.http.rates import Rates, Taken
from service.keys import Key, Keyring, given_keys
from service.settings import Settings
from service.signing import Signer

OPEN = re.compile(r"/?|/docs|/health/(live|ready)|/static/.*")  # our own files; they hold nothing of the user's
FILES = re.compile(  # what addresses are signed of
    r"/v1/(collections/[^/]+/images/\d+/(content|thumbnail)|training-runs/[^/]+/report)"
)


class RequireKey:
    """Answers 401 to who has no key, 403 to a read key that wants to change something, 429 to one that asks too often.

    An image file is also given to who asks by a signed address without a key; 403 if that is wrong or its time is over.

    Where there are no keys a page on the web might use the browser of someone who reaches the service. So only the
    page's own origin and `origins` may post, and, unless `anonymous`, only names that no foreign site can point here
    are answered to (DNS rebinding).
    """

    def __init__(
        self,
        app: ASGIApp,
        keys: Keyring,
        disk: DataDisk,
        signer: Signer,
        *,
        anonymous: bool,
        origins: Sequence[str],
    ) -> None:
        self._app = app
        self._keys = keys
        self._disk = disk
        self._signer = signer
        self._anonymous = anonymous
        self._origins = origins
        self._rates = Rates()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        answer = await self._answer(scope) if scope["type"] == "http" else None
        told = scope.get("state", {}).get("rate") if scope["type"] == "http" else None
        await (answer or self._app)(scope, receive, _telling(send, told) if told and answer is None else send)

    async def _answer(self, scope: Scope) -> Response | None:
        if OPEN.fullmatch(scope["path"]):
            scope.setdefault("state", {})["scope"] = "read"  # who has no key is told no more than that
            return None
        try:
            await self._disk.looked()  # the keys as they are now; and what asks for more would hang with the disk
        except DiskUnavailable as error:
            return refuse_to_answer(503, str(error), code=error.code)
        return self._refusal(scope)

    def _refusal(self, scope: Scope) -> Response | None:
        signature = _signature(scope)
        if signature is not None:
            if problem := self._signer.problem_of(scope["path"], signature):
                return refuse_to_answer(403, problem[1], code=problem[0])
            scope.setdefault("state", {}).update(signed=True, scope="read")
        if not self._keys.required:
            scope.setdefault("state", {})["holds"] = partial(self._keys.holds, None)
            return self._of_foreign_site(scope)
        if signature is not None:
            scope["state"]["key"] = "signed address"
            return None
        kind, _, secret = (header_of(scope, b"authorization") or "").partition(" ")
        if kind.lower() != "bearer" or not secret.strip():
            message = "this needs a key: send it as Authorization: Bearer KEY"
            return refuse_to_answer(401, message, code="missing_key", headers={"WWW-Authenticate": "Bearer"})
        key = self._keys.find(secret.strip())
        if key is None:
            challenge = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
            return refuse_to_answer(401, "this key is not valid here", code="invalid_key", headers=challenge)
        scope.setdefault("state", {}).update(key=key.name, scope=key.scope, holds=partial(self._keys.holds, key))
        if (taken := self._rates.take(key)) is not None:
            if taken.wait:
                return _too_often(key, taken)
            scope["state"]["rate"] = taken.headers
        if key.scope == "read" and not only_reads(scope["method"], scope["path"]):
            challenge = {"WWW-Authenticate": 'Bearer error="insufficient_scope", scope="admin"'}
            message = "this key may only read; changes need one with the scope admin"
            return refuse_to_answer(403, message, code="insufficient_scope", headers=challenge)
        return None

    def _of_foreign_site(self, scope: Scope) -> Response | None:
        host = header_of(scope, b"host") or ""
        if not (self._anonymous or _is_ours(host)):
            name = _name_of(host)
            message = (
                f"without keys this service answers on this machine's own names only, not as {name}: "
                "add a key with `glimpse keys add NAME`, or set GLIMPSE_ALLOW_ANONYMOUS=1"
            )
            return refuse_to_answer(421, message, code="unknown_host")
        if scope["method"] not in SAFE and is_foreign(scope, self._origins):
            message = "pages of other sites may not do this; the operator can allow them (GLIMPSE_CORS_ORIGINS)"
            return refuse_to_answer(403, message, code="foreign_origin")
        return None


def _too_often(key: Key, taken: Taken) -> Response:
    seconds = math.ceil(taken.wait)
    message = (
        f"this key may ask {key.limit}, {key.burst} at once: wait {seconds} s; the operator can let it ask more often "
        f"(glimpse keys limit {key.name} --rate ...)"
    )
    return refuse_to_answer(429, message, code="rate_limited", headers={"Retry-After": str(seconds), **taken.headers})


def _telling(send: Send, headers: Mapping[str, str]) -> Send:
    """Add what is left of the key's rate to an answer."""

    async def send_with_rate(message: Message) -> None:
        if message["type"] == "http.response.start":
            add_headers(message, [(name.encode(), value.encode()) for name, value in headers.items()])
        await send(message)

    return send_with_rate


class ReadOnly:
    """Answers 403 to whatever would change something: for a service that changes nothing, whoever asks."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and not only_reads(scope["method"], scope["path"]):
            message = (
                "this service only reads (GLIMPSE_READ_ONLY): send changes to the one that writes to its data folder, "
                "or start it without that"
            )
            await refuse_to_answer(403, message, code="read_only")(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def keyring_of(settings: Settings) -> Keyring:
    """The keys that a service with these settings takes."""
    return Keyring(settings.data, given_keys(settings.api_keys.get_secret_value()))


def check_exposure(settings: Settings) -> None:
    """InputError if others than this machine can reach a service that asks for no key."""
    if not (keyring_of(settings).required or settings.allow_anonymous or settings.is_local):
        where = settings.publish or settings.host
        raise InputError(f"{where} can be reached by other machines and there is no key: make one with "
                         "`glimpse keys add NAME`, or set GLIMPSE_ALLOW_ANONYMOUS=1 if anybody may ask")  # fmt: skip


def _signature(scope: Scope) -> dict[str, list[str]] | None:
    """The query of a request by a signed address; None if it is none, or comes with a key."""
    if scope["method"] not in SAFE or b"signature=" not in scope["query_string"]:
        return None
    if not FILES.fullmatch(scope["path"]) or header_of(scope, b"authorization") is not None:
        return None
    return parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)


def is_foreign(scope: Scope, origins: Sequence[str]) -> bool:
    """Whether a browser sends this for another site's page, none of the allowed `origins` ("*": all).

    Browsers say so; what else asks has neither Origin nor Sec-Fetch-Site.
    """
    origin, site = header_of(scope, b"origin"), header_of(scope, b"sec-fetch-site")
    if site in ("same-origin", "none") or not {"*", origin}.isdisjoint(origins):
        return False
    return site is not None or (origin is not None and origin.partition("://")[2] != header_of(scope, b"host"))


def _name_of(host: str) -> str:
    """What stands in the header Host, without the port."""
    return re.sub(r":\d+$", "", host).rstrip(".").lower()


@lru_cache(maxsize=16)
def _is_ours(host: str) -> bool:
    """Whether no foreign site can have this name: it is an address, or none that the public DNS has."""
    name = _name_of(host)
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return "." not in name or name.endswith(".localhost")
    return True
