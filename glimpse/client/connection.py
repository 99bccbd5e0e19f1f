"""The connection to a service: its URL and key, requests that are tried again where that is safe, errors as exceptions.

Knows HTTP and nothing of what is asked. The only import of httpx outside of the service.
"""

from __future__ import annotations

import json
import os
import ssl
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self
from urllib.parse import quote

import httpx

from base.errors import InputError
from base.reading import only_reads
from glimpse import __version__
from glimpse.client.answers import listed, part
from glimpse.client.errors import NO_REASON, NoService, ServiceError, error_of

URL, KEY = "GLIMPSE_URL", "GLIMPSE_KEY"
DEFAULT_URL = "http://127.0.0.1:8000"
ONCE = "Idempotency-Key"
CONDITIONS = frozenset(("If-Match", "If-None-Match"))
TOO_OFTEN = "rate_limited"  # the code of a 429 that is not of a full queue
AGAIN = (409, 429, 503)  # with Retry-After: somebody else writes, the queue is full, the model is being loaded
GONE = (502, 503, 504)  # with no reason: a proxy's, for the service behind it is gone or being started
TRIES, PAUSE = 4, 0.2  # of a request that broke off; seconds before the next, doubled each time
# The service closes connections that were silent for 5 s; one that it closes just now must not be asked on.
KEEPALIVE = 2.0
SILENCE = 40.0  # seconds; a stream that has nothing to say says so every 15
PAGE = 100  # entries or jobs asked for at once


class BrokeOff(NoService):
    """The connection ended in the midst of a request, which may have been done."""


class Connection:
    """One service, over connections that are kept. Threads may share it.

    Args:
        url: of the service. Default: GLIMPSE_URL, else http://127.0.0.1:8000.
        key: if it wants one. Default: GLIMPSE_KEY. It goes to this URL alone: redirects are not followed.
        timeout: seconds that the service may be silent, and for which a busy one is asked again.

    Raises:
        InputError: the URL is none of http or https, or carries a password; the key, or what the environment says of
            proxies and certificates, cannot be used.
    """

    def __init__(self, url: str | None = None, key: str | None = None, timeout: float = 60.0) -> None:
        self.url = checked_url(url or os.environ.get(URL) or DEFAULT_URL)
        self.timeout = timeout
        key = os.environ.get(KEY) if key is None else key
        headers = {"User-Agent": f"glimpse/{__version__}"}
        if key:
            if not key.isascii() or not key.isprintable() or " " in key:
                raise InputError(f"the key ({KEY}) has characters that no key has")
            headers["Authorization"] = f"Bearer {key}"
        try:
            # Reading the system's certificates takes longer than a search. Plain HTTP needs none, and gets a context
            # that trusts nobody.
            verify = True if self.url.startswith("https:") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self._http = httpx.Client(
                base_url=self.url,
                headers=headers,
                timeout=httpx.Timeout(timeout, connect=min(timeout, 10.0)),
                verify=verify,
                limits=httpx.Limits(keepalive_expiry=KEEPALIVE),
                follow_redirects=False,
            )
        except (ImportError, OSError, ValueError, httpx.InvalidURL) as error:
            raise InputError(
                f"what the environment says of proxies or certificates cannot be used ({_reason(error)}): correct "
                "ALL_PROXY, HTTP_PROXY, HTTPS_PROXY, SSL_CERT_FILE, or name the host in NO_PROXY"
            ) from None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End its connections."""
        self._http.close()

    def ask(self, method: str, path: str, *, patient: bool = True, **request: Any) -> Any:
        """The JSON of an answer; None of an empty one. `patient` as in `send`, `request` as httpx takes it.

        Raises:
            ServiceError: it refused.
            NoService: it cannot be reached, does not answer in time, or answers no JSON.
        """
        return self.ask_with_tag(method, path, patient=patient, **request)[0]

    def ask_with_tag(self, method: str, path: str, *, patient: bool = True, **request: Any) -> tuple[Any, str]:
        """The same with the ETag of what was asked for; "" where it has none."""
        response = self.send(method, path, patient=patient, **request)
        if not response.content:
            return None, ""
        try:
            return response.json(), response.headers.get("etag", "")
        except ValueError:
            raise NoService(f"{self.url} answers, but not in JSON: is it a glimpse service?") from None

    def send(self, method: str, path: str, *, patient: bool = True, **request: Any) -> httpx.Response:
        """The answer, which is a good one. A refusal with Retry-After is asked again until the time is over.

        What broke off, or found no service behind its proxy, is sent again a few times, and done once: if it changes
        something, and to do it twice is not the same, it bears an Idempotency-Key.

        One that is not `patient` takes the refusal of a full queue (429) at once; that its key asks too often it waits
        for all the same, since to ask for less would not help.

        Raises:
            ServiceError, NoService: as `ask`.
        """
        end, broken = time.monotonic() + self.timeout, 0
        headers = dict(request.get("headers") or {})
        is_same_twice = method == "PUT" and CONDITIONS.isdisjoint(headers)  # a condition holds no more once it is put
        if not is_same_twice and not only_reads(method, path):
            request["headers"] = {ONCE: uuid.uuid4().hex} | headers
        while True:
            try:
                return self.once(method, path, **request)
            except (ServiceError, BrokeOff) as error:
                if isinstance(error, BrokeOff) or (error.status in GONE and error.code == NO_REASON):
                    broken += 1
                    pause = PAUSE * 2 ** (broken - 1)
                else:
                    pause = max(error.retry_after or 0.0, 0.1)
                    if error.retry_after is None or error.status not in AGAIN:
                        raise
                    if error.status == 429 and error.code != TOO_OFTEN and not patient:
                        raise
                if broken == TRIES or time.monotonic() + pause > end:
                    raise
            time.sleep(pause)

    def once(self, method: str, path: str, *, silence: float = 0.0, **request: Any) -> httpx.Response:
        """The same, and no second time. `silence`: seconds for which the service is asked to wait before it answers."""
        if silence:
            request["timeout"] = httpx.Timeout(self.timeout, read=self.timeout + silence)
        if (said := request.pop("json", None)) is not None:
            headers = {"Content-Type": "application/json"} | dict(request.get("headers") or {})
            request |= {"content": as_json(said), "headers": headers}
        with self._named():
            try:
                built = self._http.build_request(method, path, **request)
            except ValueError as error:  # half a character
                raise InputError(f"what is asked cannot be said ({_reason(error)})") from None
            response = self._http.send(built)
        if response.is_success or response.status_code == 304:  # what was asked for is as the asker has it
            return response
        raise self._error(response)

    def pages(self, path: str, field: str, **params: Any) -> Iterator[Any]:
        """What the list `field` holds on every page of a listing; pages are fetched as they are needed."""
        following = params.pop("after", None)
        while True:
            page = self.ask("GET", path, params=given(**params, limit=PAGE, after=following))
            yield from listed(page, field)
            following = part(page, "next")
            if following is None:
                return

    @contextmanager
    def stream(self, method: str, path: str, **request: Any) -> Iterator[Iterator[str]]:
        """The lines of an answer, as they come.

        Raises:
            ServiceError, NoService: as `ask`.
        """
        lasting = httpx.Timeout(self.timeout, read=max(self.timeout, SILENCE))
        with self._named(), self._http.stream(method, path, timeout=lasting, **request) as response:
            if not response.is_success:
                response.read()
                raise self._error(response)
            yield response.iter_lines()

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Make one line of what goes wrong between here and there."""
        try:
            yield
        except httpx.TimeoutException:
            raise NoService(f"{self.url} does not answer in {self.timeout:g} s: is it overloaded?") from None
        except httpx.ConnectError as error:
            raise NoService(
                f"nobody answers at {self.url} ({_reason(error)}): start `glimpse serve` there, or correct the URL"
            ) from None
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise BrokeOff(f"the connection to {self.url} broke off ({_reason(error)}); try again") from None
        except httpx.InvalidURL as error:
            raise InputError(f"{self.url}: {error}") from None

    def _error(self, response: httpx.Response) -> ServiceError:
        if response.is_redirect:
            where = response.headers.get("location", "elsewhere")
            return ServiceError(
                f"{self.url} redirects to {where}: give the service's own URL", status=response.status_code,
                code="redirected",
            )  # fmt: skip
        try:
            said = response.json()
        except ValueError:
            said = None
        return error_of(self.url, response.status_code, said, response.headers.get("retry-after"))


def checked_url(url: str) -> str:
    """The URL without a slash at its end."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise InputError(f"this is no URL ({error}): give one as http://localhost:8000") from None
    if parsed.userinfo:
        raise InputError(f"a URL may carry no password, since it stands in error messages: give the key in {KEY}")
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise InputError(f"{url} is no URL of a service: give one as http://localhost:8000")
    return str(parsed.copy_with(query=None, fragment=None)).rstrip("/")


def in_path(name: str) -> str:
    """A name as a part of a path. InputError if it would lead to another path."""
    if name in ("", ".", "..") or "/" in name:
        raise InputError(f"{name!r} is no name: names have letters, digits, '.', '_' and '-'")
    return quote(name, safe="")


def as_json(said: Any) -> bytes:
    """JSON, of numpy's numbers and arrays too. InputError: a type that it lacks, half a character, NaN."""
    try:
        text = json.dumps(said, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_plain)
        return text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"what is asked cannot be said in JSON ({_reason(error)})") from None


def given(**fields: Any) -> dict[str, Any]:
    """The fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no type of it")


def _reason(error: Exception) -> str:
    """One line of an error that may have none."""
    return " ".join(str(error).split()) or type(error).__name__
