"""Search: a text, an image, an entry or several together to the nearest entries of a collection."""

from __future__ import annotations

import asyncio
import time

import numpy as np
from fastapi import APIRouter, Depends, Request
from starlette.concurrency import run_in_threadpool

from encoder.errors import ImageError
from encoder.model import Vectors
from index.collection import Collection, Hit
from service.deps import CollectionDep, json_body, towers
from service.errors import Refusal, documented
from service.schemas import HitAnswer, SearchAnswer, SearchRequest

router = APIRouter(prefix="/v1/collections/{collection}", tags=["search"])


@router.post(
    "/search",
    summary="Find images or texts",
    dependencies=[Depends(json_body)],
    responses=documented(404, 409, 413, 415, 422, 429, 503),
)
async def search(query: SearchRequest, collection: CollectionDep, request: Request) -> SearchAnswer:
    """Find by words, by an image, by an entry of the collection, or by several together.

    409: the collection was built by another model than the one that runs; searching by `id` alone works even then.
    """
    started = time.perf_counter()
    vector = await query_vector(query, collection, request)
    hits = await run_in_threadpool(nearest, collection, vector, query)
    answers = [HitAnswer(score=hit.score, **HitAnswer.fields_of(hit.record, collection.name)) for hit in hits]
    return SearchAnswer(hits=answers, seconds=round(time.perf_counter() - started, 6))


async def query_vector(query: SearchRequest, collection: Collection, request: Request) -> Vectors:
    """The unit vector (dim,) of a query: the mean of the vectors of its parts, scaled to length one."""
    parts: list[Vectors] = []
    if query.text is not None or query.image is not None:
        model = towers(request)
        collection.check_model(model.encoder.fingerprint)
        texts, images = await asyncio.gather(
            model.texts([query.text] if query.text is not None else []),
            model.images([query.image] if query.image is not None else []),
        )
        parts.extend(texts)
        for vector in images:
            if isinstance(vector, ImageError):
                raise Refusal(422, vector.reason, code=vector.code, param="image")
            parts.append(vector)
    if query.id is not None:
        parts.append(await run_in_threadpool(collection.vector, query.id))
    mean = np.mean([part / np.linalg.norm(part) for part in parts], axis=0)
    return mean / max(float(np.linalg.norm(mean)), 1e-12)  # type: ignore[no-any-return]


def nearest(collection: Collection, vector: Vectors, query: SearchRequest) -> list[Hit]:
    """The hits; an entry that is itself part of the query is not among them."""
    hits = collection.search(vector, query.limit + (query.id is not None), query.modality)
    return [hit for hit in hits if hit.id != query.id][: query.limit]
