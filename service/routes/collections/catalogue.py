"""Entries by their owner's own ids: put, looked at, changed, deleted; many changed or deleted by a filter or their ids.

Many are put by `manifest`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Annotated, Any
from urllib.parse import unquote_to_bytes

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import AfterValidator
from starlette.concurrency import run_in_threadpool

from base.errors import InputError
from base.names import MAX_EXTERNAL_ID, check_external_id
from base.read_ahead import batches
from encoder.zero_shot.prompts import split_labels
from index.collection import Collection, Record
from index.search.filters import has_condition, parse_filter
from service.collections import entries
from service.collections.entries import Changed, Selection
from service.collections.metadata import merge_patch
from service.collections.uploads import Uploads
from service.deps import CollectionDep, PatienceDep, ServiceDep, WriterDep
from service.errors import Refusal, detail_of, documented
from service.http.bodies import FILES, form_of, from_fields, images_of
from service.http.headers import media_type
from service.http.json_bodies import JsonRoute, json_of
from service.putting import Asked, PuttingDep
from service.routes.collections.entries import SignDep
from service.schemas.base import RULE
from service.schemas.collections.catalogue import (
    MAX_REFUSED,
    DeleteAnswer,
    DeleteRequest,
    PatchManyAnswer,
    PatchManyRequest,
    PutAnswer,
    PutRequest,
    RefusedPatch,
    Selecting,
)
from service.schemas.collections.entries import DescribedForm, PatchRequest
from service.schemas.search import RecordAnswer


async def in_utf8(request: Request) -> None:
    """422 for an id in another coding: servers put one and the same sign for all that is no UTF-8, so several ids
    would be one.
    """
    if "\ufffd" not in request.scope["path"]:
        return
    try:
        unquote_to_bytes(request.scope["raw_path"]).decode()
    except UnicodeDecodeError:
        message = "external_id: must be UTF-8, as %C3%A9 for an e with an accent; this address is in another coding"
        raise Refusal(422, message, code="invalid_request", param="external_id") from None


router = APIRouter(
    prefix="/v1/collections/{collection}/entries",
    tags=["catalogue"],
    dependencies=[Depends(in_utf8)],
    route_class=JsonRoute,
)

STEP = 1000  # entries changed or deleted in one turn of the writer; others write in between

IdPath = Annotated[
    str, Path(min_length=1, max_length=MAX_EXTERNAL_ID, description=RULE), AfterValidator(check_external_id)
]

FORM = {
    "type": "object",
    "required": ["file"],
    "properties": {
        "file": {**FILES, "items": {"type": "string", "format": "binary"}, "minItems": 1, "maxItems": 1},
        "metadata": {"type": "string", "description": "a JSON object"},
        "tags": {"type": "array", "items": {"type": "string"}, "description": "one field is split at commas"},
    },
}
PUT_BODY = {
    "required": True,
    "content": {
        "application/json": {"schema": PutRequest.model_json_schema()},
        "multipart/form-data": {
            "schema": FORM,
            "example": {"file": ["4711.jpg"], "metadata": '{"title": "red shoe"}', "tags": ["shoes"]},
        },
    },
}


async def put_body(external_id: IdPath, request: Request) -> Asked:
    """Read the body as its content type says: JSON, or a form with one file."""
    kind = media_type(request)
    if kind == "application/json":
        said = await json_of(PutRequest, request)
        return Asked(external_id, merge_patch({}, said.patch()), said.text, said.image, said.image_url)
    if kind != "multipart/form-data":
        raise Refusal(415, "send application/json or multipart/form-data", code="unsupported_media_type")
    async with form_of(request, max_files=1) as form:
        [image] = [await part.read() for part in images_of(form, DescribedForm.model_fields)]
        fields: dict[str, Any] = {name: value for name, value in form.multi_items() if isinstance(value, str)}
        if tags := [tag for tag in form.getlist("tags") if isinstance(tag, str)]:
            fields["tags"] = split_labels(tags[0]) if len(tags) == 1 else tags
    return Asked(external_id, merge_patch({}, from_fields(DescribedForm, fields).patch()), image=image)


@router.put(
    "/{external_id:path}",
    summary="Put an entry",
    responses=documented(400, 404, 408, 409, 413, 415, 422, 429, 503)
    | {201: {"model": PutAnswer, "description": "it was not there before"}},
    openapi_extra={"requestBody": PUT_BODY},
)
async def put(
    asked: Annotated[Asked, Depends(put_body)], putting: PuttingDep, response: Response, sign: SignDep
) -> PutAnswer:
    """Make it what is sent, or replace what is there: image or text, metadata, vector, thumbnails and file.

    What is there already is not encoded again, and where nothing is new nothing is written (`unchanged`). An image is
    the entry's own, whoever else has the same one. Metadata are replaced, not merged; null counts as absent.
    """
    started = time.perf_counter()
    [done] = await putting([asked])
    if isinstance(done, Exception):
        raise done
    if done.written.status != "unchanged":
        putting.measure_soon()
    response.status_code = 201 if done.written.status == "created" else 200
    cut = await putting.cut_texts([] if done.text is None else [done.text])
    return PutAnswer(
        status=done.written.status,
        entry=RecordAnswer.of_record(done.written.record, putting.collection.name, sign),
        cut_off=done.cut_off,
        seconds=round(time.perf_counter() - started, 6),
        **PutAnswer.told(cut),
    )


@router.get("/{external_id:path}", summary="An entry's record", responses=documented(404, 422))
def get_one(external_id: IdPath, collection: CollectionDep, sign: SignDep) -> RecordAnswer:
    """Path or text, and metadata."""
    return RecordAnswer.of_record(entries.find_external(collection, external_id), collection.name, sign)


@router.patch(
    "/{external_id:path}",
    summary="Change an entry's metadata",
    responses=documented(404, 408, 409, 413, 415, 422),
)
async def patch_one(
    external_id: IdPath, asked: PatchRequest, collection: CollectionDep, writer: WriterDep, sign: SignDep
) -> RecordAnswer:
    """Merge into its metadata. What is searched by, the image or text itself, stays."""

    def change(writable: Collection) -> Record:
        record = entries.find_external(writable, external_id)
        return entries.change(writable, record.id, record.modality, asked.change())

    return RecordAnswer.of_record(await writer(change), collection.name, sign)


@router.delete("/{external_id:path}", summary="Delete an entry", status_code=204, responses=documented(404, 409, 422))
async def delete_one(external_id: IdPath, collection: CollectionDep, writer: WriterDep, service: ServiceDep) -> None:
    """Searches no longer find it; its file goes with it if it was sent, and its thumbnails."""
    uploads = Uploads(service.settings.data, collection.name)

    def delete(writable: Collection) -> list[Record]:
        return entries.delete_all(writable, uploads, [entries.find_external(writable, external_id).id])

    gone = await writer(delete)
    await run_in_threadpool(service.thumbnails.forget_all, {record.sha256 for record in gone if record.sha256})


@router.post(
    "/delete",
    summary="Delete many entries",
    responses=documented(404, 408, 409, 413, 415, 422),
)
async def delete_many(
    asked: DeleteRequest, collection: CollectionDep, writer: WriterDep, patience: PatienceDep, service: ServiceDep
) -> DeleteAnswer:
    """Delete what passes a filter now, or what has these external ids; those that are not there are passed over.

    With `dry_run` it is counted and nothing is done. A filter without a condition is refused unless `all` is said. Some
    are deleted at a time, each time in one commit, and others write in between; one that broke off is asked again.
    """
    started = time.perf_counter()
    uploads = Uploads(service.settings.data, collection.name)
    ids = await _selected(asked, collection, patience)
    deleted = 0
    for some in batches(ids if not asked.dry_run else [], STEP):
        with _telling(f"{deleted} of {len(ids)} entries are deleted", begun=deleted > 0):
            gone = await writer(partial(entries.delete_all, uploads=uploads, ids=some))
        deleted += len(gone)
        await run_in_threadpool(service.thumbnails.forget_all, {record.sha256 for record in gone if record.sha256})
    seconds = round(time.perf_counter() - started, 6)
    return DeleteAnswer(matched=len(ids), deleted=deleted, dry_run=asked.dry_run, seconds=seconds)


@router.patch(
    "",
    summary="Change the metadata of many entries",
    responses=documented(404, 408, 409, 413, 415, 422),
)
async def patch_many(
    asked: PatchManyRequest, collection: CollectionDep, writer: WriterDep, patience: PatienceDep
) -> PatchManyAnswer:
    """Merge into the metadata of what passes a filter now, or of what has these external ids.

    As with deleting many: `dry_run` counts, `all` is for a filter without a condition, some are changed at a time. An
    entry whose metadata would be too large stays as it is and is `refused`.
    """
    started = time.perf_counter()
    ids = await _selected(asked, collection, patience)
    patch = asked.change()
    all_of = Changed()
    for some in batches(ids if not asked.dry_run else [], STEP):
        with _telling(f"{len(all_of.changed)} of {len(ids)} entries are changed", begun=bool(all_of.changed)):
            done = await writer(partial(entries.change_all, ids=some, patch=patch))
        all_of.changed += done.changed
        all_of.unchanged += done.unchanged
        all_of.refused += done.refused
    first = [
        RefusedPatch(id=record.id, external_id=record.external_id, error=detail_of(error))
        for record, error in all_of.refused[:MAX_REFUSED]
    ]
    return PatchManyAnswer(
        matched=len(ids),
        changed=len(all_of.changed),
        changed_ids=all_of.changed if asked.list_changed else [],
        unchanged=all_of.unchanged,
        refused=len(all_of.refused),
        first_refused=first,
        dry_run=asked.dry_run,
        seconds=round(time.perf_counter() - started, 6),
    )


async def _selected(asked: Selecting, collection: Collection, patience: PatienceDep) -> list[int]:
    """The ids of the entries that are meant. 422 for a filter without a condition, unless that was said."""
    try:
        if asked.filter is not None and not asked.all and not has_condition(parse_filter(asked.filter)):
            message = "filter: has no condition, so all entries are meant: say so with all, or give it one"
            raise Refusal(422, message, code="empty_filter", param="filter")
        selection = Selection(asked.filter, asked.external_ids, asked.modality)
        with patience:
            return await run_in_threadpool(selection.ids, collection, patience)
    except InputError as error:
        place = str(error).partition(": ")[0]
        raise Refusal(422, str(error), code=error.code, param=place) from error


@contextmanager
def _telling(done: str, *, begun: bool) -> Iterator[None]:
    """Where others write for too long once something is done, say how much, and not that nothing was begun."""
    try:
        yield
    except Refusal as error:
        if not begun:
            raise
        raise Refusal(409, f"{done}, then: {error.detail}; ask again for the rest", code=error.code) from None
