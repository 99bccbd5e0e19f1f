"""Many entries put by one request, JSON or JSON Lines: what became of each. A bad one costs the others nothing."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from base.errors import CollectionLocked, GlimpseError, InputError, Overloaded
from base.read_ahead import batches
from service.collections.metadata import merge_patch
from service.deps import SettingsDep
from service.errors import Refusal, detail_of, documented, is_of_what_was_sent
from service.http.bodies import from_fields
from service.http.headers import media_type
from service.http.idempotency import may_go_on
from service.http.json_bodies import as_utf8, beside, check_values, read_json
from service.putting import Asked, Done, Putting, PuttingDep
from service.schemas import examples
from service.schemas.collections.catalogue import ManifestAnswer, PutItem, PutResult

router = APIRouter(prefix="/v1/collections/{collection}/entries", tags=["catalogue"])

TOGETHER = 16  # entries that are read, encoded and committed at a time: so many images are in memory
TRIES = 30  # at a part while the queue is full or others write, when parts before it are done
LINES = ("application/x-ndjson", "application/jsonl", "application/x-jsonlines")

BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["entries"],
                "additionalProperties": False,
                "properties": {"entries": {"type": "array", "minItems": 1, "items": PutItem.model_json_schema()}},
                **examples.MANIFEST,
            }
        },
        LINES[0]: {
            "schema": {"type": "string", "description": "an entry a line"},
            "example": "".join(f"{json.dumps(each)}\n" for each in examples.MANIFEST["examples"][0]["entries"]),
        },
    },
}


@dataclass(frozen=True, slots=True)
class Unusable:
    """An entry of a manifest that cannot be used: its external id, as far as it is known, and why."""

    external_id: str | None
    error: Exception


@router.put(
    "",
    summary="Put many entries",
    responses=documented(404, 408, 409, 413, 415, 422, 429, 503),
    openapi_extra={"requestBody": BODY},
)
async def put_all(request: Request, putting: PuttingDep, settings: SettingsDep) -> ManifestAnswer:
    """Put the entries of a manifest, some at a time, each as a `PUT` of it alone would; and say what became of each.

    One that cannot be put has `failed` and its error, and costs the others nothing. JSON, or JSON Lines with an entry a
    line. Sent again, what is there already is `unchanged`, so a manifest that broke off goes on where it was; with an
    Idempotency-Key too, unless all that failed did so by itself (422).
    """
    started = time.perf_counter()
    given = await _given(request, settings.max_entries)
    results: list[PutResult] = []
    texts: list[str] = []
    stop: Exception | None = None
    for some in batches(await run_in_threadpool(_checked, given), TOGETHER):
        good = [one for one in some if isinstance(one, Asked)]
        done: Sequence[Done | Exception] = []
        if good and stop is None:
            begun = any(result.id for result in results)
            try:
                done = await _put_in_time(putting, good, TRIES if begun else 0)
            except (GlimpseError, HTTPException) as error:
                if not begun:
                    raise
                stop = error
        answers = iter(done if stop is None else [stop] * len(good))
        for one in some:
            answer = next(answers) if isinstance(one, Asked) else one.error
            results.append(_result(one.external_id, answer))
            if isinstance(answer, Exception) and not _is_of_itself(one, answer):
                may_go_on(request)
        texts += [one.text for one in good if one.text is not None]
    counts = Counter(result.status for result in results)
    if counts["created"] + counts["replaced"]:
        putting.measure_soon()
    told = ManifestAnswer.told(await putting.cut_texts(texts))
    return ManifestAnswer(
        results=results,
        created=counts["created"],
        replaced=counts["replaced"],
        unchanged=counts["unchanged"],
        failed=counts["failed"],
        seconds=round(time.perf_counter() - started, 6),
        **told,
    )


async def _given(request: Request, most: int) -> list[Any]:
    """The entries of a manifest as JSON has them, so many at most; for a line that is no JSON, the refusal of it."""
    kind = media_type(request)
    if kind != "application/json" and kind not in LINES:
        message = f"send application/json, or JSON Lines as {LINES[0]}"
        raise Refusal(415, message, code="unsupported_media_type")
    body = await request.body()
    if kind in LINES:
        return await run_in_threadpool(_lines, body, most)
    said = await beside(read_json, body)
    if not isinstance(said, dict) or said.keys() != {"entries"} or not isinstance(said["entries"], list):
        message = 'entries: a manifest is {"entries": [...]} and nothing else'
        raise Refusal(422, message, code="invalid_request", param="entries")
    found: list[Any] = said["entries"]
    _check_number(len(found), most)
    return found


def _lines(body: bytes, most: int) -> list[Any]:
    check_values(body := as_utf8(body), b",[{\n\r")
    lines = [line for line in body.splitlines() if line.strip()]
    _check_number(len(lines), most)  # before any is read: what is said of a bad one takes far more than the line
    return [_line(line) for line in lines]


def _check_number(entries: int, most: int) -> None:
    if not 1 <= entries <= most:
        message = f"{entries} entries in one request, 1 to {most} may be (GLIMPSE_MAX_ENTRIES)"
        raise Refusal(422, message, code="too_many", param="entries")


def _line(line: bytes) -> Any:
    try:
        return read_json(line, "this line")
    except Refusal as refusal:
        return refusal


def _checked(given: Sequence[Any]) -> list[Asked | Unusable]:
    """Each entry of a manifest, checked by itself."""
    seen: set[str] = set()
    items: list[Asked | Unusable] = []
    for one in given:
        named = one.get("external_id") if isinstance(one, dict) else None
        try:
            if isinstance(one, Refusal):
                raise one
            item = from_fields(PutItem, one)
            if item.external_id in seen:
                message = "external_id: stands in this manifest before; that one was taken"
                raise Refusal(422, message, code="invalid_request", param="external_id")
            seen.add(item.external_id)
            metadata = merge_patch({}, item.patch())
            items.append(Asked(item.external_id, metadata, item.text, item.image, item.image_url))
        except (RequestValidationError, Refusal, InputError) as error:
            items.append(Unusable(named if isinstance(named, str) else None, error))
    return items


async def _put_in_time(putting: Putting, some: Sequence[Asked], tries: int) -> Sequence[Done | Exception]:
    """Put some, with further `tries` where the queue is full or others write."""
    while True:
        try:
            return await putting(some)
        except (Overloaded, Refusal) as error:
            tries -= 1
            if tries < 0 or error.code not in (Overloaded.code, CollectionLocked.code):
                raise
            await asyncio.sleep(getattr(error, "seconds", 1))


def _is_of_itself(one: Asked | Unusable, error: Exception) -> bool:
    """Whether it fails however often it is sent; a host that did not send an image may do so later."""
    fetched = isinstance(one, Asked) and one.image_url is not None
    return is_of_what_was_sent(error) and not fetched


def _result(external_id: str | None, done: Done | Exception) -> PutResult:
    if isinstance(done, Exception):
        sayable = external_id and external_id.encode("utf-8", "replace").decode()  # half a character is not
        return PutResult(external_id=sayable, status="failed", error=detail_of(done))
    written = done.written
    return PutResult(external_id=external_id, status=written.status, id=written.id, cut_off=done.cut_off)
