"""Search: texts, images, entries and vectors, weighted, to the entries that fit; one search at a time, or many."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool

from encoder.cut import CutTexts
from encoder.unread import UnreadWords
from index.collection import Collection, Hit
from index.search.together import Together
from service.deps import CollectionDep, CollectionsDep, PatienceDep, check_images, check_texts, settings, signs, told_by
from service.errors import Refusal, documented
from service.http.direct_route import DirectRoute
from service.queries import Failed, Place, Wanted, find_each, model_of, queries_of
from service.schemas.search import (
    MAX_HITS,
    AnswerOfOne,
    BatchAnswer,
    BatchRequest,
    HitAnswer,
    Misspelt,
    OfQueries,
    PlacedHit,
    SearchAnswer,
    SearchRequest,
    TogetherAnswer,
    TogetherRequest,
)
from service.telemetry.metrics import MeasuredReads
from service.told import Told

router = APIRouter(prefix="/v1", tags=["search"], route_class=DirectRoute)


@router.post(
    "/collections/{collection}/search",
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
    or it takes long. 409: the service does not have that model; searching by `id`, `external_id` and `vector` alone
    works even then.
    """
    started = time.perf_counter()
    wanted = Wanted.of(asked, patience=patience)
    with patience:
        [hits], unread = await found(collection, [wanted], request)
    if not isinstance(hits, list):
        raise hits
    sign = signs(request, asked.signed_urls)
    answers = [HitAnswer.of(hit, collection.name, sign) for hit in hits]
    told = await told_of(wanted, unread, collection, request)
    return SearchAnswer(hits=answers, seconds=round(time.perf_counter() - started, 6), **told)


@router.post(
    "/collections/{collection}/search/batch",
    summary="Many searches at once",
    responses=documented(404, 408, 413, 415, 422, 429, 503),
)
async def search_batch(
    collection: CollectionDep, asked: BatchRequest, patience: PatienceDep, request: Request
) -> BatchAnswer:
    """What each of `searches` finds, in their order; each is as the body of a single search, and finds what that finds.

    All are of the same moment, texts and images are encoded together, and queries with the same filter are searched for
    in one pass. One that is wrong, or cannot be answered, has an `error`, and costs the others nothing. Their filters
    share the time that one search's may take.
    """
    started = time.perf_counter()
    searches: Sequence[SearchRequest | Misspelt] = asked.searches  # the field names those alone that OpenAPI is to
    sound = {i: each for i, each in enumerate(searches) if isinstance(each, SearchRequest)}
    wanted = {i: Wanted.of(each, f"searches.{i}.", patience=patience) for i, each in sound.items()}
    check_texts(sum(len(each.values("text")) for each in wanted.values()), settings(request), "searches")
    check_images(sum(len(each.values("image")) for each in wanted.values()), settings(request), "searches")
    if (limits := sum(each.limit for each in sound.values())) > MAX_HITS:
        message = f"the limits of all searches come to {limits} hits, {MAX_HITS} may be asked for: send fewer at a time"
        raise Refusal(422, message, code="too_many", param="searches")
    with patience:
        found_of_each, unread = await found(collection, list(wanted.values()), request)
    answers = dict(zip(wanted, found_of_each, strict=True))
    results, tell = [], Told(request).error
    for i, each in enumerate(searches):
        if not isinstance(each, SearchRequest):
            problems = [{**problem, "loc": ("body", "searches", i, *problem["loc"])} for problem in each.problems]
            results.append(AnswerOfOne(error=tell(RequestValidationError(problems))))
            continue
        hits = answers[i]
        if not isinstance(hits, list):
            results.append(AnswerOfOne(error=tell(hits)))
            continue
        sign = signs(request, each.signed_urls)
        told = await told_of(wanted[i], unread, collection, request)
        results.append(AnswerOfOne(hits=[HitAnswer.of(hit, collection.name, sign) for hit in hits], **told))
    return BatchAnswer(results=results, seconds=round(time.perf_counter() - started, 6))


@router.post(
    "/search",
    summary="Search several collections",
    responses=documented(404, 408, 409, 413, 415, 422, 429, 503),
)
async def search_together(
    asked: TogetherRequest, known: CollectionsDep, patience: PatienceDep, request: Request
) -> TogetherAnswer:
    """Find in several collections of one model as if they were one; each hit names its `collection`.

    Scores are cosines of one model, so the best come first wherever they are. `z`, `relevance` and the `cutoff` are
    told against a background of all of them; groups, near-duplicates, variety and pages are of the one list.

    409: one of them is of another model than the one that runs, or for `vector` alone, of another than the others.
    """
    started = time.perf_counter()
    opened = {name: await run_in_threadpool(known.get, name) for name in dict.fromkeys(asked.collections)}
    together = Together({name: MeasuredReads(collection) for name, collection in opened.items()})
    view = await run_in_threadpool(together.read_view)
    first = next(iter(opened.values()))
    wanted = Wanted.of(asked, patience=patience)
    with patience:
        place = Place(view.dim, partial(model_of, first, request), check_model=view.check_model)
        [query], unread = await queries_of([wanted], place)
        [hits] = await run_in_threadpool(find_each, together, [query], [""])
    if not isinstance(hits, list):
        raise hits
    sign = signs(request, asked.signed_urls)
    answers = [PlacedHit.of_placed(hit, sign) for hit in hits]
    told = await told_of(wanted, unread, first, request)
    return TogetherAnswer(hits=answers, seconds=round(time.perf_counter() - started, 6), **told)


async def found(
    collection: Collection, wanted: Sequence[Wanted], request: Request
) -> tuple[list[list[Hit] | Failed], UnreadWords]:
    """What a collection has for each, or why that cannot be told; and the words that its model has never read."""
    dim = await told_by(collection, lambda: collection.dim)
    place = Place(dim, partial(model_of, collection, request), collection.vectors, partial(_ids_of, collection))
    queries, unread = await queries_of(wanted, place)
    look = partial(find_each, MeasuredReads(collection), queries, [each.place for each in wanted])
    return await run_in_threadpool(look), unread


def _ids_of(collection: Collection, external_ids: list[str]) -> dict[str, int]:
    return {own: record.id for own, record in collection.find_external(external_ids).items()}


async def told_of(wanted: Wanted, unread: UnreadWords, collection: Collection, request: Request) -> dict[str, Any]:
    """What there is to say of its texts: which are longer than the model reads, and which words it has never read."""
    texts: list[Any] = wanted.values("text")
    if not texts:
        return OfQueries.told_of(CutTexts(), UnreadWords())
    model = await model_of(collection, request)
    return OfQueries.told_of(await model.cut_texts(texts), unread.of(texts))
