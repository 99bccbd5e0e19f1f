"""Search: texts, images, entries and vectors, weighted, to the entries of a collection that fit."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool

from base.errors import ImageError, InputError
from encoder.cut import CutTexts
from encoder.encoder import Vectors
from index.collection import Collection, Hit
from index.search.query import Query, mix, run
from service.deps import CollectionDep, PatienceDep, in_use_for, signs
from service.errors import Refusal, documented
from service.http.direct_route import DirectRoute
from service.schemas.search import HitAnswer, QueryInputs, SearchAnswer, SearchRequest
from service.telemetry.metrics import MeasuredReads

router = APIRouter(prefix="/v1/collections/{collection}", tags=["search"], route_class=DirectRoute)

KINDS = tuple(QueryInputs.model_fields)


@router.post(
    "/search",
    summary="Find images or texts",
    responses=documented(404, 408, 409, 413, 415, 422, 429, 503),
)
async def search(
    collection: CollectionDep, asked: SearchRequest, patience: PatienceDep, request: Request
) -> SearchAnswer:
    """Find by words, images, entries of the collection and vectors, or by a weighted mix of them.

    In this order: `filter` and `modality` choose among the entries; the list ends at `score_threshold` and at the
    `cutoff`; `collapse`, `group_by` and `diversity` shape it; `offset` and `limit` cut out a page. Pages of one search
    neither overlap nor leave gaps.

    The model is that which made the collection, loaded if it is not: 503 with Retry-After while there is no room for it
    or it takes long. 409: the service does not have that model; searching by `id` and `vector` alone works even then.
    """
    started = time.perf_counter()
    # what is left of the request are the fields of a Query, by their names
    choices = asked.model_dump(exclude={*KINDS, "query", "signed_urls"})
    parts = parts_of(asked)
    query = await query_of(parts, collection, request, patience=patience, **choices)
    with patience:
        hits = await run_in_threadpool(find, collection, query)
    sign = signs(request, asked.signed_urls)
    answers = [HitAnswer.of(hit, collection.name, sign) for hit in hits]
    texts = [part.value for part in parts if part.kind == "text"]
    model = (await in_use_for(request, collection)).inference if texts else None
    cut = await model.cut_texts(texts) if model else CutTexts()
    seconds = round(time.perf_counter() - started, 6)
    return SearchAnswer(hits=answers, seconds=seconds, **SearchAnswer.told(cut))


class QueryPart(NamedTuple):
    """One part of a query: a text, an image, an entry or a vector, and its weight."""

    place: str  # in the request
    kind: str  # text, image, id or vector
    value: Any
    weight: float


def parts_of(asked: SearchRequest) -> list[QueryPart]:
    """The parts of either form of a request."""
    if asked.query is None:
        return [QueryPart(kind, kind, value, 1.0) for kind, value in asked.given().items()]
    return [
        QueryPart(f"query.{i}.{kind}", kind, value, part.weight)
        for i, part in enumerate(asked.query)
        for kind, value in part.given().items()
    ]


async def query_of(parts: Sequence[QueryPart], collection: Collection, request: Request, **choices: Any) -> Query:
    """The query for these parts; `choices` are more of its fields."""
    vector = await mixed(parts, collection, request)
    model = (await in_use_for(request, collection)).inference if _are_encoded(parts) else None
    return Query(
        vector,
        text=all(part.kind == "text" and part.weight > 0 for part in parts),
        # the collection may get another model before the search begins
        fingerprint=model.encoder.fingerprint if model else None,
        exclude=[part.value for part in parts if part.kind == "id"],
        **choices,
    )


def _are_encoded(parts: Sequence[QueryPart]) -> bool:
    return any(part.kind in ("text", "image") for part in parts)


async def mixed(parts: Sequence[QueryPart], collection: Collection, request: Request) -> Vectors:
    """The unit vector (dim,) of a query: the weighted sum of the vectors of its parts, scaled to length one."""
    values: dict[str, list[Any]] = {kind: [part.value for part in parts if part.kind == kind] for kind in KINDS}
    made: dict[str, Iterator[Any]] = {"vector": iter(values["vector"])}
    if values["text"] or values["image"]:
        model = (await in_use_for(request, collection)).inference
        texts, images = await model.both(values["text"], values["image"])
        made |= {"text": iter(texts), "image": iter(images)}
    if values["id"]:
        made["id"] = iter(await run_in_threadpool(collection.vectors, values["id"]))
    vectors = []
    for part in parts:
        vector = next(made[part.kind])
        if isinstance(vector, ImageError):
            raise Refusal(422, vector.reason, code=vector.code, param=part.place)
        if len(vector) != collection.dim:
            message = f"{part.place}: must have the collection's {collection.dim} values, not {len(vector)}"
            raise Refusal(422, message, code=InputError.code, param=part.place)
        vectors.append(vector)
    return mix(vectors, [part.weight for part in parts])


def find(collection: Collection, query: Query) -> list[Hit]:
    """The hits. A filter that cannot be read is refused with the place of its error."""
    try:
        return run(MeasuredReads(collection), query)
    except InputError as error:
        place = str(error).partition(": ")[0]
        raise Refusal(422, str(error), code=error.code, param=place if place.startswith("filter") else None) from error
