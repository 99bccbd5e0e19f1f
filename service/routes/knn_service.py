"""Search in the shape of clip-retrieval's knn-service, so that its ClipClient works unchanged."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.concurrency import run_in_threadpool

from base.errors import CollectionNotFound
from index.collection import Collection, Hit
from service.collections.opened import OpenCollections
from service.deps import CollectionsDep, signs
from service.errors import Refusal, documented
from service.http.headers import media_type
from service.http.json_bodies import json_of
from service.queries import QueryPart, Wanted
from service.routes.search import found
from service.schemas.collections.entries import KnnAnswer, KnnRequest
from service.schemas.search import RecordAnswer, Sign

router = APIRouter(tags=["search"])

SAME = 0.94  # cosine from which clip-retrieval takes two results for the same
KINDS = {"text": "text", "image": "image", "image_url": "image", "embedding_input": "vector"}
BODY = {"required": True, "content": {"application/json": {"schema": KnnRequest.model_json_schema()}}}


async def knn_request(request: Request) -> KnnRequest:
    """The body. The client names no content type."""
    if media_type(request) not in ("", "application/json"):
        raise Refusal(415, "send JSON, with Content-Type: application/json", code="unsupported_media_type")
    return await json_of(KnnRequest, request)


@router.post(
    "/knn-service",
    summary="Search in the shape of clip-retrieval",
    responses=documented(404, 408, 409, 413, 415, 422, 429, 503),
    openapi_extra={"requestBody": BODY},
)
async def knn_service(
    asked: Annotated[KnnRequest, Depends(knn_request)], collections: CollectionsDep, request: Request
) -> KnnAnswer:
    """The nearest entries of the collection `indice_name`. `url` is the metadata's, else that of the file here."""
    given = [name for name in KINDS if getattr(asked, name) is not None]
    if len(given) != 1:
        raise Refusal(422, f"give exactly one of {', '.join(KINDS)}", code="invalid_request")
    part = QueryPart(given[0], KINDS[given[0]], getattr(asked, given[0]), 1.0)
    collection = await run_in_threadpool(_named, collections, asked.indice_name)
    limit = asked.num_images if asked.num_result_ids is None else asked.num_result_ids
    collapse = SAME if asked.deduplicate else None
    choices = {"modality": asked.modality, "limit": limit, "collapse": collapse}
    [hits], _ = await found(collection, [Wanted([part], choices)], request)
    if not isinstance(hits, list):
        raise hits
    host, address = str(request.base_url).rstrip("/"), signs(request)
    described = [
        _described(hit, collection.name, lambda path: host + address(path)) for hit in hits[: asked.num_images]
    ]
    ids = [{"id": hit.id, "similarity": hit.score} for hit in hits]
    return KnnAnswer([own | rest for own, rest in zip(ids, [*described, *[{}] * len(ids)], strict=False)])


def _named(collections: OpenCollections, name: str | None) -> Collection:
    if name is not None:
        return collections.get(name)
    infos = collections.infos()
    if not infos:
        raise CollectionNotFound("there is no collection yet; PUT /v1/collections/NAME makes one")
    return collections.get(infos[0].name)


def _described(hit: Hit, collection: str, address: Sign) -> dict[str, Any]:
    record = RecordAnswer.of_record(hit.record, collection, address)
    return {
        "caption": record.metadata.get("caption", record.text),
        "url": record.metadata.get("url", record.content_url),
        "image_path": record.path,
    }
