"""Collections: which there are, what each is, making and deleting one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Body, Path, Response
from starlette.concurrency import run_in_threadpool

from base.errors import CollectionLocked, CollectionNotFound
from base.names import NAME, check_still_called
from index.collection import Collection
from service.deps import (
    CollectionDep,
    CollectionsDep,
    ModelsDep,
    OnlyNew,
    ServiceDep,
    SettingsDep,
    ToldDep,
    WriterDep,
    retried,
)
from service.errors import Refusal, documented
from service.http.json_bodies import JsonRoute
from service.renaming import check, rename
from service.schemas.collections.collections import (
    CollectionAnswer,
    CollectionPatch,
    CollectionRequest,
    CollectionsAnswer,
)

router = APIRouter(prefix="/v1/collections", tags=["collections"], route_class=JsonRoute)

NameDep = Annotated[str, Path(alias="collection", pattern=f"^{NAME.pattern}$")]
AskedDep = Annotated[CollectionRequest, Body(default_factory=CollectionRequest)]


@router.get("", summary="All collections")
def list_all(collections: CollectionsDep, told: ToldDep) -> CollectionsAnswer:
    """Every collection by name; one that cannot be opened is listed with its `problem`."""
    return CollectionsAnswer(collections=[told.collection(info) for info in collections.infos()])


@router.get("/{collection}", summary="One collection", responses=documented(404, 422))
def get_one(collection: CollectionDep, told: ToldDep) -> CollectionAnswer:
    """Its model, counts and size."""
    return told.collection(collection.info())


@router.put(
    "/{collection}",
    summary="Make a collection",
    responses=documented(404, 408, 409, 412, 413, 415, 422, 503)
    | {201: {"model": CollectionAnswer, "description": "it was made"}},
)
async def put(
    name: NameDep,
    collections: CollectionsDep,
    models: ModelsDep,
    told: ToldDep,
    response: Response,
    asked: AskedDep,
    only_new: OnlyNew = None,
) -> CollectionAnswer:
    """Make it, empty, for the model that is named, else the default one. Of one that is there already nothing
    is changed but what is named; with `If-None-Match: *` nothing at all.

    409 if a model is named and one that is there is another model's. With `kind` or `recall` the index is to be so. Of
    a collection that is there and has another, it is built anew before the answer comes, which takes a while for many
    rows. A title is what it is called from then on. A quota bounds what it may hold: a write that would exceed it is
    answered with 413, `quota_exceeded`.
    """
    model = models.named(asked.model)
    card = await run_in_threadpool(models.card, model)
    config = asked.config()
    with retried(), _not_deleted_meanwhile(name):
        if await collections.create(name, model=model.ref, fingerprint=card.fingerprint, dim=card.dim, config=config):
            response.status_code = 201
        elif only_new is not None:
            raise Refusal(412, f"there is a collection {name!r} already", code="collection_exists")
        collection = await run_in_threadpool(collections.get, name)
        if asked.model:
            await run_in_threadpool(collection.check_model, card.fingerprint)
        if config is not None and config != await run_in_threadpool(lambda: collection.index_config):
            await collections.writers.write(name, lambda writer: writer.compact(config))
        if asked.quota is not None or "title" in asked.model_fields_set:
            await collections.writers.write(name, partial(_change, asked))
        return told.collection(await run_in_threadpool(collection.info))


@router.patch(
    "/{collection}",
    summary="Change a collection",
    responses=documented(404, 408, 409, 413, 415, 422),
)
async def patch(
    asked: CollectionPatch,
    collection: CollectionDep,
    writer: WriterDep,
    told: ToldDep,
    collections: CollectionsDep,
    settings: SettingsDep,
) -> CollectionAnswer:
    """Change its title, quota or name: what is not named stays, null takes a title or a bound away. What it holds
    stays, in any case. Who names the title that they saw (`expected_title`) overwrites nobody's.

    Another name is what leads to it from then on; its labelling runs go with it. 409 if there is one that is called so,
    or while a job of it waits or runs; nothing is changed then.
    """
    data, name = settings.data, collection.name
    if asked.name is not None:
        with retried():
            await run_in_threadpool(check, data, name, asked.name)  # the end of a job is not waited for
    await writer(partial(_change, asked))
    if asked.name is not None:
        with retried():
            await collections.writers.alone(name, partial(rename, data, name, asked.name))
        collection = await run_in_threadpool(collections.get, asked.name)
    return told.collection(await run_in_threadpool(collection.info))


def _change(asked: CollectionPatch | CollectionRequest, collection: Collection) -> None:
    if isinstance(asked, CollectionPatch) and "expected_title" in asked.model_fields_set:
        check_still_called(collection.name, collection.title, asked.expected_title)
    if "title" in asked.model_fields_set:
        collection.set_title(asked.title)
    if asked.quota is not None:
        collection.set_quota(asked.quota.over(collection.quota))


@contextmanager
def _not_deleted_meanwhile(name: str) -> Iterator[None]:
    try:
        yield
    except CollectionNotFound:
        raise CollectionLocked(f"collection {name!r} was deleted by others at the same time; try again") from None


@router.delete("/{collection}", summary="Delete a collection", status_code=204, responses=documented(404, 409, 422))
async def delete(name: NameDep, service: ServiceDep, afterwards: BackgroundTasks) -> None:
    """Delete all its entries, and the files that were uploaded to it. Files of folders that were indexed stay."""
    with retried():
        await service.collections.delete(name)
    afterwards.add_task(service.thumbnails.forget_unless, service.collections.has_image)
