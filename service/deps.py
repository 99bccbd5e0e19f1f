"""What routes ask for, as `Annotated` aliases: settings, a model, a collection open to read or write."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Annotated, TypeVar

from fastapi import Depends, Header, Path, Request
from starlette.concurrency import run_in_threadpool

from base.errors import CollectionLocked, RunBusy
from index.collection import Collection, Record
from index.search.patience import Patience
from service.collections.opened import OpenCollections
from service.collections.rejection import Rejections
from service.errors import Refusal
from service.http.gateway import prefix_of
from service.inference.inference import Inference
from service.inference.known_models import Loaded, ServedModel
from service.inference.models import Models
from service.inference.pool import Pool
from service.jobs.runner import Jobs
from service.schemas.base import MAX_ID, Whole
from service.settings import Settings
from service.state import Service, service_of
from service.told import Told

R = TypeVar("R")
T = TypeVar("T")

RETRY_AFTER = "5"  # seconds


def settings(request: Request) -> Settings:
    """The service's settings."""
    return service_of(request).settings


def collections(request: Request) -> OpenCollections:
    """The collections of the data folder."""
    return service_of(request).collections


def patience(request: Request) -> Patience:
    """How long this request's filter may take."""
    return Patience(settings(request).filter_seconds, " (the operator: raise GLIMPSE_FILTER_SECONDS)")


def decoders(request: Request) -> Pool:
    """The threads that decode images."""
    return service_of(request).decoders


def models(request: Request) -> Models:
    """The models that may be asked for. 503 while the service is not ready."""
    return service_of(request).ready()


async def in_use(request: Request, model: ServedModel) -> Loaded:
    """A model, loaded if it is not, in use until the answer begins.

    Raises:
        Busy, ModelUnavailable, ModelMismatch: see `Models.use`.
    """
    known = models(request)
    held: dict[ServedModel, Loaded] = request.scope["state"].setdefault("models", {})
    if model not in held:
        held[model] = await known.use(model)

        def let_go() -> None:  # servers keep a connection's last request until the next: it must keep no model
            del held[model]
            known.release(model)

        request.scope["state"]["at_answer"].append(let_go)
    return held[model]


async def in_use_for(request: Request, collection: Collection) -> Loaded:
    """The model that made a collection, likewise; the same to the end of the request. ModelMismatch: it is not here."""
    made_by: dict[Collection, ServedModel] = request.scope["state"].setdefault("made_by", {})
    if collection not in made_by:
        ref, fingerprint = await told_by(collection, collection.made_by)
        model = models(request).of(ref, fingerprint)
        found = await in_use(request, model)
        if found.inference.encoder.fingerprint != fingerprint:  # its files were changed, or it gets another model now
            await told_by(collection, partial(collection.check_model, found.inference.encoder.fingerprint))
        made_by[collection] = model
    return await in_use(request, made_by[collection])


async def told_by(collection: Collection, look: Callable[[], R]) -> R:
    """What an open collection says of itself. One that is near is asked here: that takes 20 µs, by a thread 140."""
    return look() if collection.is_near else await run_in_threadpool(look)


async def inference(request: Request) -> Inference:
    """Of the model of the collection that the path names, else of the default one; in use until the answer begins."""
    if (name := request.path_params.get("collection")) is None:
        return (await in_use(request, models(request).default)).inference
    return (await in_use_for(request, await collection(name, request))).inference


def rejections(request: Request) -> Rejections:
    """What measures the rejection thresholds of collections."""
    return service_of(request).rejections


def jobs(request: Request) -> Jobs:
    """The jobs of the data folder."""
    return service_of(request).jobs


async def collection(collection: str, request: Request) -> Collection:
    """The collection that the path names. One that is open is at hand; to open one takes a thread."""
    known = collections(request)
    found = known.at_hand(collection)
    return await run_in_threadpool(known.get, collection) if found is None else found


def record(
    collection: Annotated[Collection, Depends(collection)],
    id: Annotated[Whole, Path(ge=1, le=MAX_ID)],  # noqa: A002
) -> Record:
    """The entry that the path names."""
    return collection.get(id)


def signs(request: Request, seconds: int | None = None) -> Callable[[str], str]:
    """What makes addresses out of paths as they are asked for: below the proxy's prefix, signed for so many seconds."""
    prefix, signer = prefix_of(request), service_of(request).signer
    if seconds is None:
        return lambda path: prefix + path
    return lambda path: prefix + signer.signed(path, seconds)


def check_texts(number: int, settings: Settings, param: str) -> None:
    """422 for more texts than one request may have, with what to set in the clients that people have."""
    if number > settings.max_texts:
        message = (
            f"{number} texts in one request, {settings.max_texts} may be (GLIMPSE_MAX_TEXTS): send fewer at a time "
            "(LangChain: chunk_size, LlamaIndex: embed_batch_size)"
        )
        raise Refusal(422, message, code="too_many", param=param)


def check_images(number: int, settings: Settings, param: str) -> None:
    """422 for more images than one request may have."""
    if number > settings.max_batch:
        message = (
            f"{number} images in one request, {settings.max_batch} may be (GLIMPSE_MAX_BATCH): send fewer at a time"
        )
        raise Refusal(422, message, code="too_many", param=param)


def at_once(look_up: Callable[[Request], T]) -> Callable[[Request], Awaitable[T]]:
    """The same for FastAPI to call on the event loop: it gives what is not async to a thread, which costs far more."""

    async def on_the_loop(request: Request) -> T:
        return look_up(request)

    return on_the_loop


ServiceDep = Annotated[Service, Depends(at_once(service_of))]
OnlyNew = Annotated[
    str | None, Header(alias="If-None-Match", pattern=r"^\*$", description="only if there is none, else 412")
]
SettingsDep = Annotated[Settings, Depends(at_once(settings))]
CollectionsDep = Annotated[OpenCollections, Depends(at_once(collections))]
PatienceDep = Annotated[Patience, Depends(at_once(patience))]
DecodersDep = Annotated[Pool, Depends(at_once(decoders))]
ModelsDep = Annotated[Models, Depends(at_once(models))]
InferenceDep = Annotated[Inference, Depends(inference)]
RejectionsDep = Annotated[Rejections, Depends(at_once(rejections))]
ToldDep = Annotated[Told, Depends(at_once(Told))]
JobsDep = Annotated[Jobs, Depends(at_once(jobs))]
CollectionDep = Annotated[Collection, Depends(collection)]
RecordDep = Annotated[Record, Depends(record)]


class Writer:
    """Writes to the collection that the path names."""

    def __init__(self, collection: CollectionDep, collections: CollectionsDep) -> None:
        self._name = collection.name
        self._writers = collections.writers

    async def __call__(self, work: Callable[[Collection], R]) -> R:
        """Call `work` with the collection open for writing, in its turn. 409 if that does not come in time."""
        with retried():
            return await self._writers.write(self._name, work)


@contextmanager
def retried() -> Iterator[None]:
    """Answer a locked collection, or a busy run, with the time after which to try again."""
    try:
        yield
    except (CollectionLocked, RunBusy) as error:
        refusal = Refusal(409, str(error), code=error.code)
        refusal.headers = {"Retry-After": RETRY_AFTER}
        raise refusal from None


WriterDep = Annotated[Writer, Depends()]
