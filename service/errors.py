"""From error to answer: one table of statuses, one JSON shape. Routes raise; only this file answers.

{"error": {"message": "...", "type": "invalid_request_error", "param": "labels", "code": "invalid_input"}}
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

from base import errors
from base.files import disk_error
from base.words import Wrong, first_wrong
from service.keys import sees_places

log = logging.getLogger(__name__)

STATUS: dict[type[Exception], int] = {  # an error not named here has the status of its nearest base
    errors.GlimpseError: 500,
    errors.InputError: 422,
    errors.LabelSetExists: 412,  # only who wants a new one alone is told so
    errors.ModelError: 503,
    errors.ModelNotFound: 404,
    errors.CollectionError: 500,
    errors.CollectionNotFound: 404,
    errors.CollectionExists: 409,
    errors.CollectionLocked: 409,
    errors.QuotaExceeded: 413,  # no 507: a service that is asked for too much has not failed
    errors.CursorGone: 410,
    errors.NotInStore: 501,
    errors.StoreUnavailable: 503,
    errors.ModelMismatch: 409,
    errors.ChangedMeanwhile: 409,
    errors.EntryNotFound: 404,
    errors.LabelSetNotFound: 404,
    errors.RunNotFound: 404,
    errors.RunBusy: 409,
    errors.RequestUnderWay: 409,
    errors.OutcomeUnknown: 409,
    errors.Overloaded: 429,
    errors.Busy: 503,
}
RETRY_AFTER = {429: "1", 503: "5"}  # seconds

Examples = dict[str, Any]  # as pydantic's json_schema_extra takes them
# fmt: off
ERROR: Examples = {"example": {"error": {
    "message": "limit: must be 1000 at most", "type": "invalid_request_error",
    "param": "limit", "code": "invalid_request",
}}}
# fmt: on


class Refusal(HTTPException):
    """An answer other than 200 that has no error of its own in `base.errors`."""

    def __init__(self, status: int, message: str, *, code: str, param: str | None = None) -> None:
        super().__init__(status, message)
        self.code = code
        self.param = param


class ErrorDetail(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorAnswer(BaseModel):
    """The one shape of every error."""

    error: ErrorDetail

    model_config = ConfigDict(json_schema_extra=ERROR)


def refuse_to_answer(
    status: int,
    message: str,
    *,
    code: str | None = None,
    param: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """The response for an error."""
    kind = _type_of(status)
    code = code or HTTPStatus(status).phrase.lower().replace(" ", "_")
    body = ErrorAnswer(error=ErrorDetail(message=message, type=kind, param=param, code=code))
    retry = {"Retry-After": RETRY_AFTER[status]} if status in RETRY_AFTER else {}
    return JSONResponse(body.model_dump(), status, headers=retry | dict(headers or {}))


def described(error: Exception) -> dict[str, str]:
    """What a job that failed says: message, type and code, as an answer would. What nobody foresaw is not told."""
    status = _status_of(error)
    message = str(error) if isinstance(error, errors.GlimpseError) else "the job failed; the service's log says why"
    return {"message": message, "type": _type_of(status), "code": getattr(error, "code", "internal_error")}


def detail_of(error: Exception) -> ErrorDetail:
    """What is said of one item of a request that cannot be done, while the others are: as an answer would say it."""
    if isinstance(error, RequestValidationError):
        wrong = _first_of(error.errors())
        message = str(wrong) if wrong.place else wrong.words  # an item is not the body
        return ErrorDetail(message=message, type=_type_of(422), param=wrong.place, code="invalid_request")
    message, status = str(error.detail if isinstance(error, HTTPException) else error), _status_of(error)
    code, param = getattr(error, "code", None), getattr(error, "param", None)
    return ErrorDetail(message=message, type=_type_of(status), param=param, code=code)


def _type_of(status: int) -> str:
    kinds = {
        401: "authentication_error",
        403: "permission_error",
        404: "not_found_error",
        409: "conflict_error",
        429: "rate_limit_error",
    }
    return "server_error" if status >= 500 else kinds.get(status, "invalid_request_error")


def is_of_what_was_sent(error: Exception) -> bool:
    """Whether an item of a request fails by itself, however often it is sent; else it is the moment, or the service."""
    return _status_of(error) == 422


def _status_of(error: Exception) -> int:
    if isinstance(error, HTTPException):
        return error.status_code
    if isinstance(error, RequestValidationError):
        return 422
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: these error statuses, each in the one shape."""
    # of a `model` FastAPI makes a validator for each status of each route; the application names it once
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorAnswer"}}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


def add_handlers(app: FastAPI) -> None:
    """Make every error of the application leave it in the one shape."""
    app.add_exception_handler(errors.GlimpseError, _of_glimpse)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(OSError, _of_disk)
    app.add_exception_handler(Exception, _of_nobody)


async def _of_glimpse(request: Request, error: Exception) -> JSONResponse:
    status = _status_of(error)
    code = getattr(error, "code", None)
    if status == 500:
        log.error("%s %s: %s", request.method, request.url.path, error)
    headers = {"Retry-After": str(error.seconds)} if isinstance(error, errors.Overloaded) else {}
    answer = refuse_to_answer(
        status, _told(request, error), code=code, param=getattr(error, "param", None), headers=headers
    )
    if isinstance(error, errors.ModelError) and "Retry-After" in answer.headers:  # it does not mend itself
        del answer.headers["Retry-After"]
    return answer


async def _of_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    message, headers = str(error.detail), error.headers
    if error.status_code == 405:  # starlette names those of the first route that has the path
        allowed = ", ".join(request.app.state.service.paths.methods(request.url.path) or ["GET", "HEAD"])
        message, headers = f"this path takes {allowed}, not {request.method}", {"Allow": allowed}
    elif message == HTTPStatus.NOT_FOUND.phrase:  # of no route of ours
        message = "there is nothing at this path; GET /docs shows what there is"
    code, param = getattr(error, "code", None), getattr(error, "param", None)
    message = _told(request, message)
    return refuse_to_answer(error.status_code, message, code=code, param=param, headers=headers)


def _told(request: Request, what: object) -> str:
    """In words, without what is not for who asks."""
    return str(what) if sees_places(request.scope) else str(request.app.state.service.told(request.scope, str(what)))


async def _of_disk(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, OSError)
    problem = disk_error(error)
    if problem is None:
        raise error
    return await _of_glimpse(request, problem)


async def _of_validation(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return invalid(error.errors(), error.body)


def invalid(problems: Sequence[Any], body: Any = None) -> JSONResponse:
    """The response for what pydantic found in a request, of which `body` is what was sent."""
    wrong = _first_of(problems, body)
    return refuse_to_answer(422, str(wrong), code="invalid_request", param=wrong.place)


def _first_of(problems: Sequence[Any], body: Any = None) -> Wrong:
    """What is wrong first, in words, with how many more there are; and where it is."""
    # a place begins with the part of the request that it is in; only in a body are there values of several kinds
    in_body = problems[0]["loc"][:1] == ("body",)
    sources = ("body", "query", "path", "header")
    inner = [{**each, "loc": each["loc"][each["loc"][0] in sources :]} for each in problems]
    return first_wrong(inner, body if in_body else None)


async def _of_nobody(request: Request, _: Exception) -> JSONResponse:
    # starlette raises it again after this answer, so the server logs its traceback; the client learns nothing of it
    message = "the service failed on this request; its log says why"
    # it leaves from outside of service.http.middleware, and the server closes the connection
    headers = {
        "X-Content-Type-Options": "nosniff",
        "X-Request-Id": getattr(request.state, "request_id", ""),
        "Connection": "close",
    }
    return refuse_to_answer(500, message, code="internal_error", headers=headers)
