"""The pictures of a collection as columns, once for all that a page does with them; filters as bitmaps over them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Response
from starlette.concurrency import run_in_threadpool

from base.errors import InputError
from index.collection import Collection
from service.deps import CollectionDep, PatienceDep, json_body
from service.errors import Refusal, documented
from service.schemas.overview import BINARY, BitmapRequest, as_bytes, bitmap

router = APIRouter(prefix="/v1/collections/{collection}", tags=["overview"])

TAG = {"ETag": {"description": "of the columns", "schema": {"type": "string"}}}


def _binary(what: str) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": BINARY, "description": what, "headers": TAG}}


@router.get(
    "/columns",
    summary="All pictures as columns",
    response_class=Response,
    responses=documented(404, 422)
    | _binary("the columns")
    | {304: {"description": "as you have them", "headers": TAG}},
)
async def get_columns(collection: CollectionDep, if_none_match: Annotated[str | None, Header()] = None) -> Response:
    """Id, day and shape of every image, the newest first: 7 bytes each, as docs/api.md tells under Columns.

    The day is that on which a picture was taken, as its file says, else that of its file's last change, in UTC. What is
    not known is 0, and stands last. Texts are left out. Any change of the collection is another ETag.
    """
    if if_none_match is not None:
        tag = _tag(await run_in_threadpool(collection.columns_state))
        if tag in if_none_match:
            return Response(status_code=304, headers={"ETag": tag})

    def read(collection: Collection) -> tuple[bytes, str]:
        columns = collection.columns()
        return as_bytes(columns), columns.state

    content, state = await run_in_threadpool(read, collection)
    return Response(content, media_type="application/octet-stream", headers={"ETag": _tag(state)})


@router.post(
    "/columns/bitmap",
    summary="A filter as a bitmap over the columns",
    response_class=Response,
    dependencies=[Depends(json_body)],
    responses=documented(404, 408, 413, 415, 422) | _binary("a bit a picture"),
)
async def get_bitmap(collection: CollectionDep, asked: BitmapRequest, patience: PatienceDep) -> Response:
    """Which of the columns' pictures pass a filter: of picture i bit i % 8, from the least, of byte i // 8.

    With another ETag than that of your columns it is of a later state: fetch those again.
    """

    def read(collection: Collection) -> tuple[bytes, str]:
        columns, mask = collection.columns_among(asked.filter, patience)
        return bitmap(mask), columns.state

    try:
        with patience:
            content, state = await run_in_threadpool(read, collection)
    except InputError as error:
        raise Refusal(422, str(error), code=error.code, param=str(error).partition(": ")[0]) from error
    return Response(content, media_type="application/octet-stream", headers={"ETag": _tag(state)})


def _tag(state: str) -> str:
    return f'"{state}"'
