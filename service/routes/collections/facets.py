"""Facets: how many entries have which values of a key, under a filter; which keys there are; how many a folder has."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.concurrency import run_in_threadpool

from base.errors import InputError
from index.collection import Collection, FacetValue, Modality
from index.local.layout import uploads_folder
from index.search.patience import Patience
from service.deps import CollectionDep, PatienceDep, SettingsDep
from service.errors import Refusal, documented
from service.http.json_bodies import JsonRoute
from service.schemas.base import Absent
from service.schemas.collections.facets import (
    Counted,
    FacetAnswer,
    FacetRequest,
    FacetsAnswer,
    FacetsRequest,
    FolderAnswer,
    HitsOfKey,
    KeysAnswer,
)

router = APIRouter(prefix="/v1/collections/{collection}", tags=["facets"], route_class=JsonRoute)

STATUSES = documented(404, 408, 413, 415, 422)


@router.get("/facets", summary="The keys of the metadata", responses=documented(404, 422))
async def keys(
    collection: CollectionDep,
    patience: PatienceDep,
    modality: Annotated[Modality, Query(description="of the entries"), Absent] = "image",
) -> KeysAnswer:
    """Every key by name: how many entries have it, how many different values it has, and the range of its numbers."""
    started = time.perf_counter()
    with patience:
        found = await run_in_threadpool(collection.facet_keys, modality, patience)
    return KeysAnswer.of(found, round(time.perf_counter() - started, 6))


@router.get("/folders", summary="A folder, and those right below it", responses=documented(404, 408, 422))
async def folders(
    collection: CollectionDep,
    settings: SettingsDep,
    patience: PatienceDep,
    path: Annotated[
        str | None,
        Query(alias="in", max_length=4096, description="a folder; default: the lowest that all lie in"),
        Absent,
    ] = None,
) -> FolderAnswer:
    """How many entries have their file in a folder and in each right below it; uploaded files lie in none."""
    started = time.perf_counter()
    with patience:
        own = str(uploads_folder(settings.data, collection.name))
        found = await run_in_threadpool(collection.folder_of, path, own, patience)
    return FolderAnswer.of(found, round(time.perf_counter() - started, 6))


@router.post("/facet", summary="Count the values of a key", responses=STATUSES)
async def facet(collection: CollectionDep, asked: FacetRequest, patience: PatienceDep) -> FacetAnswer:
    """The most frequent values of a key, each with how many entries have it, of all or of those that pass a filter.

    Of a list each value counts once an entry. A text that is a JSON number counts as that number: a count is what a
    filter with that value lets through.
    """
    started = time.perf_counter()
    [values] = await _counted(collection, [(asked.key, "key")], asked, patience)
    return FacetAnswer(hits=HitsOfKey.of(asked.key, values).hits, seconds=round(time.perf_counter() - started, 6))


@router.post("/facets", summary="Count the values of several keys", responses=STATUSES)
async def facets(collection: CollectionDep, asked: FacetsRequest, patience: PatienceDep) -> FacetsAnswer:
    """The same for several keys under one filter, which is looked up once."""
    started = time.perf_counter()
    places = [(key, f"keys.{i}") for i, key in enumerate(asked.keys)]
    found = await _counted(collection, places, asked, patience)
    hits = [HitsOfKey.of(key, values) for key, values in zip(asked.keys, found, strict=True)]
    return FacetsAnswer(facets=hits, seconds=round(time.perf_counter() - started, 6))


async def _counted(
    collection: Collection, keys: Sequence[tuple[str, str]], asked: Counted, patience: Patience
) -> list[list[FacetValue]]:
    """The values of each key, named with its place in the request."""
    found = []
    with patience:
        for key, place in keys:
            count = partial(collection.facet, key, asked.limit, asked.filter, asked.modality, patience)
            try:
                found.append(await run_in_threadpool(count))
            except InputError as error:
                where = str(error).partition(": ")[0]
                param = place if where == "key" else where if where.startswith("filter") else None
                raise Refusal(422, str(error), code=error.code, param=param) from error
    return found
