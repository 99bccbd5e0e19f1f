"""What goes wrong when a service is asked. An error is of the class that the same mistake has on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from base.errors import GlimpseError, ImageError, InputError

INPUT_STATUSES = (400, 413, 415, 422)  # whatever their code
NO_REASON = "error"  # the code of an answer that is none of glimpse's: a proxy's


class NoService(GlimpseError):
    """Nobody answers at the URL, or nobody that speaks glimpse's API."""

    code = "no_service"


class ServiceError(GlimpseError):
    """The service refused. Of a kind that `base.errors` knows (CollectionNotFound, ...) it is that as well.

    Attributes:
        status: of HTTP.
        code: the kind, as in docs/api.md.
        param: the field of the request that is wrong, if the service names one.
        retry_after: seconds after which it may be asked again; what it refuses so, it has not begun.
    """

    def __init__(
        self, message: str, *, status: int, code: str, param: str | None = None, retry_after: float | None = None
    ) -> None:
        Exception.__init__(self, message)  # not by way of ImageError, which wants a path
        self.status = status
        self.code = code
        self.param = param
        self.retry_after = retry_after


def error_of(url: str, status: int, said: Any, retry_after: str | None = None) -> ServiceError:
    """The exception for an answer with this status and JSON (None: it was not JSON)."""
    found = said.get("error") if isinstance(said, dict) else None
    detail = found if isinstance(found, dict) else {}
    code = str(detail.get("code") or NO_REASON)
    kind = KINDS.get(code) or (BAD_INPUT if status in INPUT_STATUSES else ServiceError)
    message = str(detail.get("message") or f"{url} answers {status} and no reason: is it glimpse, and is it up?")
    if status == 401:
        message += " (glimpse takes it from GLIMPSE_KEY)"
    elif code == "not_found":  # what the service says of a path that it does not have
        message = f"{url} has no such route: give the URL without a path, unless a proxy wants one"
    return kind(
        message,
        status=status,
        code=code,
        param=detail.get("param"),
        retry_after=_seconds(retry_after),
    )


def _both(local: type[GlimpseError]) -> type[ServiceError]:
    """A ServiceError that is `local` as well."""
    own = {"path": None, "reason": property(str)} if local is ImageError else {}
    return type(local.__name__, (ServiceError, local), {"__doc__": local.__doc__, **own})


def _below(kind: type[GlimpseError]) -> Iterator[type[GlimpseError]]:
    for each in kind.__subclasses__():
        if each.__module__ == GlimpseError.__module__:
            yield each
            yield from _below(each)


KINDS = {kind.code: _both(kind) for kind in _below(GlimpseError)}
BAD_INPUT = KINDS[InputError.code]


def _seconds(header: str | None) -> float | None:
    try:
        return None if header is None else max(0.0, float(header))
    except ValueError:  # a date; the service sends none
        return None
