"""The routes that images and texts have in common: listing, reading, changing and deleting entries."""

from __future__ import annotations

import json
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.concurrency import run_in_threadpool

from base.errors import InputError
from base.sources.texts import why_no_json
from index.collection import Modality
from index.search.query import MAX_LIMIT
from service.collections import entries
from service.collections.uploads import Uploads
from service.deps import CollectionDep, PatienceDep, ServiceDep, WriterDep, signs
from service.errors import Refusal, documented
from service.http.json_bodies import JsonRoute
from service.schemas.base import MAX_ID, Absent, SignedSeconds, Whole
from service.schemas.collections.entries import PageAnswer, PatchRequest
from service.schemas.search import RecordAnswer, Sign

EXAMPLE = '{"must": [{"key": "tags", "match": {"value": "sea"}}]}'

IdPath = Annotated[Whole, Path(ge=1, le=MAX_ID)]
FilterQuery = Annotated[
    str | None,
    Query(max_length=8_192, description="as in a search, in JSON", examples=[EXAMPLE], alias="filter"),
    Absent,
]


def parsed_filter(text: FilterQuery = None) -> dict[str, Any] | None:
    """The filter in the query string."""
    if text is None:
        return None
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError) as error:
        message = f"filter: cannot be read as JSON ({why_no_json(error)})"
        raise Refusal(422, message, code="invalid_json", param="filter") from None
    if parsed is not None and not isinstance(parsed, dict):
        raise Refusal(422, "filter: must be a JSON object", code="invalid_request", param="filter")
    return parsed


def signing(request: Request, signed_urls: Annotated[SignedSeconds | None, Query(), Absent] = None) -> Sign:
    """What makes the addresses of an answer, by the query string."""
    return signs(request, signed_urls)


SignDep = Annotated[Sign, Depends(signing)]


def entry_routes(modality: Modality) -> APIRouter:
    """A router at /v1/collections/{collection}/images or /texts, with the routes that both have."""
    router = APIRouter(
        prefix=f"/v1/collections/{{collection}}/{modality}s", tags=[f"{modality}s"], route_class=JsonRoute
    )

    @router.get("", summary=f"List {modality}s", responses=documented(400, 404, 422))  # 400: too long a filter
    async def list_all(
        collection: CollectionDep,
        patience: PatienceDep,
        wanted: Annotated[dict[str, Any] | None, Depends(parsed_filter)],
        sign: SignDep,
        limit: Annotated[Whole, Query(ge=1, le=MAX_LIMIT), Absent] = 100,
        after: Annotated[Whole, Query(ge=0, le=MAX_ID, description="the `next` of the page before"), Absent] = 0,
    ) -> PageAnswer:
        """In the order of ids. What comes while you page is at the end; nothing is passed over or comes twice."""
        try:
            with patience:
                look = partial(entries.page, collection, modality, limit, after, wanted, patience)
                records, following = await run_in_threadpool(look)
        except InputError as error:
            raise Refusal(422, str(error), code=error.code, param=str(error).partition(": ")[0]) from error
        answers = [RecordAnswer.of_record(record, collection.name, sign) for record in records]
        return PageAnswer(entries=answers, next=following)

    @router.get("/{id}", summary="An entry's record", responses=documented(404, 422))
    def get_record(id: IdPath, collection: CollectionDep, sign: SignDep) -> RecordAnswer:  # noqa: A002
        """Path or text, and metadata."""
        return RecordAnswer.of_record(entries.find(collection, id, modality), collection.name, sign)

    @router.patch(
        "/{id}",
        summary="Change an entry's metadata",
        responses=documented(404, 408, 409, 413, 415, 422),
    )
    async def change(
        id: IdPath,  # noqa: A002
        asked: PatchRequest,
        collection: CollectionDep,
        writer: WriterDep,
        request: Request,
    ) -> RecordAnswer:
        """Merge into its metadata. What is searched by, the image or text itself, stays."""
        record = await writer(lambda writable: entries.change(writable, id, modality, asked.change()))
        return RecordAnswer.of_record(record, collection.name, signs(request))

    @router.delete("/{id}", summary="Delete an entry", status_code=204, responses=documented(404, 409, 422))
    async def delete(id: IdPath, collection: CollectionDep, writer: WriterDep, service: ServiceDep) -> None:  # noqa: A002
        """Searches no longer find it, and what was said of it is forgotten, its thumbnails too; its file if it was
        uploaded.

        A file of an indexed folder stays, and the next job or `glimpse index` over that folder takes it for a new one.
        """
        uploads = Uploads(service.settings.data, collection.name)
        record = await writer(lambda writable: entries.delete(writable, uploads, id, modality))
        if record.sha256:
            await run_in_threadpool(service.thumbnails.forget, record.sha256)

    return router
