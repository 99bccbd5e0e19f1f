"""Service: all that the routes of one application share, and how it begins and ends."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable
from pathlib import Path

from fastapi import Request
from starlette.types import Scope

from base.read_ahead import READERS
from encoder.model.dual_encoder import DualEncoder
from index.collection import LOCAL, sweep_deleted
from index.milvus.address import Address
from service.backup.placing import finish
from service.collections.maps import Maps
from service.collections.opened import OpenCollections
from service.collections.rejection import Rejections
from service.collections.thumbnails import DAY, Thumbnails
from service.disk import DataDisk
from service.errors import Refusal
from service.http.paths import Paths
from service.inference.models import Models
from service.inference.pool import Pool
from service.inference.single_flight import SingleFlight
from service.jobs.runner import Jobs
from service.keys import sees_places
from service.settings import Settings
from service.signing import Signer

log = logging.getLogger(__name__)

LOADING = "the model is being loaded; GET /health/ready says when it is there"
DATA = "DATA"  # in place of the data folder
STORE = "STORE"  # in place of the address of a server of collections
FAILED = "the service could not start; its log says why"


class Service:
    """The state of one application, at `app.state.service`.

    Attributes:
        settings: what the operator set.
        paths: the API's paths.
        disk: that of the data folder.
        signer: of addresses that need no key.
        collections, decoders, jobs: there from the beginning.
        models: those that may be asked for, once the service is ready.
        maps: of collections.
        rejections: what measures the rejection thresholds of collections.
        thumbnails: those that are kept; `flights` are those that are made just now.
        waiting: requests that wait for changes just now.
        is_ready: whether the default model was loaded and warm, and the collections open.
        failure: why that never will be.
        is_stopping: whether the server is on its way out.
        on_failure: called once when the service cannot start.
    """

    def __init__(
        self, settings: Settings, paths: Paths, disk: DataDisk, signer: Signer, encoder: DualEncoder | None = None
    ) -> None:
        self.settings = settings
        self.paths = paths
        self.disk = disk
        self.signer = signer
        self.collections = OpenCollections(settings.data, read_only=settings.read_only)
        self.decoders = Pool(READERS, settings.queue_size)
        self.models = Models(settings, self.decoders, encoder)
        self.maps = Maps()
        self.rejections = Rejections(self.collections, self.models)
        self.jobs = Jobs(settings, self.collections, self.models)
        self.thumbnails = Thumbnails(settings.data, settings.thumbnail_bytes, read_only=settings.read_only)
        self.flights: SingleFlight[bytes] = SingleFlight()
        self.waiting = 0
        self._cleaning: asyncio.Task[None] | None = None
        self.is_ready = False
        self.failure: Exception | None = None
        self.is_stopping: Callable[[], bool] = lambda: False
        self.on_failure: Callable[[], object] = lambda: None

    def ready(self) -> Models:
        """The models. 503 until the default one is loaded."""
        if not self.is_ready:
            raise Refusal(503, LOADING if self.failure is None else FAILED, code="not_ready")
        return self.models

    def told(self, scope: Scope, text: str) -> str:
        """A message as who sent a request may see it: who may only read learns no folder of this machine."""
        if sees_places(scope):
            return text
        data = self.settings.data
        places = {model.ref: model.name for model in self.models.all()}
        places |= {str(folder): DATA for folder in (data.absolute(), data) if folder != Path()}
        if self.settings.store != LOCAL:
            places[str(Address.of(self.settings.store))] = STORE
        named = "|".join(map(_as_named, sorted(places, key=len, reverse=True)))
        return _without_folders(re.sub(named, lambda found: places[found[0]], text))

    async def load(self) -> None:
        """Load the default model, unless it was given, open the collections and let jobs run.

        A restore of the data folder that was killed at its last step is finished first.
        """
        started = time.perf_counter()
        try:
            await self.models.start()
            if not self.settings.read_only:
                await asyncio.to_thread(finish, self.settings.data)
            await asyncio.to_thread(self.collections.open_all)
            self.models.meet(await asyncio.to_thread(self.collections.made_by))
            if not self.settings.read_only:
                self.jobs.start()
            self._cleaning = asyncio.create_task(self._clean())
        except Exception as error:
            log.error("the service cannot start: %s", error)
            self.failure = error
            self.on_failure()
            return
        self.is_ready = True
        default = self.models.default
        log.info("ready after %.1f s with %s on %s", time.perf_counter() - started, default.ref, default.device)

    async def close(self) -> None:
        """Close what was opened, jobs first, while there are models to end with."""
        if self._cleaning is not None:
            self._cleaning.cancel()
        await asyncio.to_thread(self.jobs.stop)
        await self.rejections.close()
        await self.models.close()
        self.decoders.close()
        self.collections.close()
        self.disk.close()

    async def _clean(self) -> None:
        """Once a day let go of what killed deletions left, and of thumbnails that no collection has an image of."""
        while True:
            if not self.settings.read_only:
                await asyncio.to_thread(sweep_deleted, self.settings.data)
            await asyncio.to_thread(self.thumbnails.forget_unless, self.collections.has_image)
            await asyncio.sleep(DAY)


def _as_named(place: str) -> str:
    """A pattern of a folder, or what else a model is loaded from: `data` is not the word by itself, nor in metadata."""
    if place.startswith("/"):
        return re.escape(place)
    end = "(?=/)" if place == "data" else r"(?![\w-])"  # by itself it is a word of messages, and tells nobody anything
    return rf"(?<![\w/.-]){re.escape(place)}{end}"


def _without_folders(text: str) -> str:
    """The last name of each path of this machine in place of it: where links lead, or a cache lies, say.

    What begins with a name at the root of its disk is one; what begins otherwise, as /v1/..., is one of the API.
    """
    roots = "|".join(re.escape(each.name) for each in Path("/").iterdir())
    folder = r"(?:[^\s/'\"]+|[^\s/'\":]+(?: [^\s/'\":]+)+)/"  # a name may have spaces; what ends in a colon ends a path
    return re.sub(rf"(?<![\w./~-])/(?:{roots})/(?:{folder})*([^\s/'\"]+)", r"\1", text)


def service_of(request: Request) -> Service:
    """The state of the application that a request is for."""
    service: Service = request.app.state.service
    return service
