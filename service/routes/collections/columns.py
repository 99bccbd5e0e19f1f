"""The pictures of a collection as columns, once for all that a page does with them; filters as bitmaps over them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Response
from starlette.concurrency import run_in_threadpool

from base.errors import InputError
from service.deps import CollectionDep, PatienceDep, ServiceDep
from service.errors import Refusal, documented
from service.http.conditions import names
from service.http.json_bodies import JsonRoute
from service.schemas.base import binary
from service.schemas.collections.overview import BitmapRequest, as_bytes, bitmap

router = APIRouter(prefix="/v1/collections/{collection}", tags=["overview"], route_class=JsonRoute)

TAG = {"ETag": {"description": "of the columns", "schema": {"type": "string"}}}


def _binary(what: str) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": binary("application/octet-stream"), "description": what, "headers": TAG}}


@router.get(
    "/columns",
    summary="All pictures as columns",
    response_class=Response,
    responses=documented(404, 422)
    | _binary("the columns")
    | {304: {"description": "as you have them", "headers": TAG}},
)
async def get_columns(
    collection: CollectionDep, service: ServiceDep, if_none_match: Annotated[str | None, Header()] = None
) -> Response:
    """Id, day and shape of every image, the newest first, and its place in the map where there is one: 7 or 12 bytes
    each, as docs/api.md tells under Columns.

    The day is that on which a picture was taken, as its file says, else that of its file's last change, in UTC. What is
    not known is 0, and stands last. Texts are left out. Any change of the collection is another ETag.
    """
    kept = service.maps.of(collection)

    def read() -> tuple[bytes | None, str]:
        if if_none_match is not None:
            tag = _tag(collection.columns_state(), kept.mark())
            if names(if_none_match, tag):
                return None, tag
        columns = collection.columns()
        placed = kept.placed(columns.ids)
        return as_bytes(columns, placed), _tag(columns.state, placed.mark if placed else None)

    content, tag = await run_in_threadpool(read)
    if content is None:
        return Response(status_code=304, headers={"ETag": tag})
    return Response(content, media_type="application/octet-stream", headers={"ETag": tag})


@router.post(
    "/columns/bitmap",
    summary="A filter as a bitmap over the columns",
    response_class=Response,
    responses=documented(404, 408, 413, 415, 422) | _binary("a bit a picture"),
)
async def get_bitmap(
    collection: CollectionDep, asked: BitmapRequest, patience: PatienceDep, service: ServiceDep
) -> Response:
    """Which of the columns' pictures pass a filter: of picture i bit i % 8, from the least, of byte i // 8.

    With another ETag than that of your columns it is of a later state: fetch those again.
    """

    def read() -> tuple[bytes, str]:
        columns, mask = collection.columns_among(asked.filter, patience)
        return bitmap(mask), _tag(columns.state, service.maps.of(collection).mark())

    try:
        with patience:
            content, tag = await run_in_threadpool(read)
    except InputError as error:
        raise Refusal(422, str(error), code=error.code, param=str(error).partition(": ")[0]) from error
    return Response(content, media_type="application/octet-stream", headers={"ETag": tag})


def _tag(state: str, mark: str | None) -> str:
    return f'"{state}"' if mark is None else f'"{state}.{mark}"'
