"""Service: all that the routes of one application share, what comes with the model, and how it begins and ends."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from fastapi import Request

from base.read_ahead import READERS
from encoder.model import DualEncoder
from service.collections.opened import OpenCollections
from service.collections.rejection import Rejections
from service.collections.thumbnails import DAY, Thumbnails
from service.errors import Refusal
from service.http.paths import Paths
from service.inference.inference import Inference, model_thread, warm_up
from service.inference.labellers import Labellers
from service.inference.pool import Pool
from service.inference.single_flight import SingleFlight
from service.jobs.runner import Jobs
from service.settings import Settings
from service.signing import Signer

log = logging.getLogger(__name__)

LOADING = "the model is being loaded; GET /health/ready says when it is there"
FAILED = "the service could not start; its log says why"


@dataclass(frozen=True)
class Warm:
    """The parts of a service that need the model, there once it is loaded and warm."""

    inference: Inference
    labellers: Labellers
    rejections: Rejections


class Service:
    """The state of one application, at `app.state.service`.

    Attributes:
        settings: what the operator set.
        paths: the API's paths.
        signer: of addresses that need no key.
        collections, decoders, jobs: there from the beginning.
        thumbnails: those that are kept; `flights` are those that are made just now.
        warm: what needs the model; None until it is loaded and warm.
        failure: why it never will be.
        is_stopping: whether the server is on its way out.
        on_failure: called once when the service cannot start.
    """

    def __init__(self, settings: Settings, paths: Paths, signer: Signer) -> None:
        self.settings = settings
        self.paths = paths
        self.signer = signer
        self.collections = OpenCollections(settings.data)
        self.decoders = Pool(READERS, settings.queue_size)
        self.jobs = Jobs(settings, self.collections)
        self.thumbnails = Thumbnails(settings.data, settings.thumbnail_bytes)
        self.flights: SingleFlight[bytes] = SingleFlight()
        self._cleaning: asyncio.Task[None] | None = None
        self.warm: Warm | None = None
        self.failure: Exception | None = None
        self.is_stopping: Callable[[], bool] = lambda: False
        self.on_failure: Callable[[], object] = lambda: None

    def ready(self) -> Warm:
        """What needs the model. 503 while there is none."""
        if self.warm is None:
            raise Refusal(503, LOADING if self.failure is None else FAILED, code="not_ready")
        return self.warm

    async def load(self, encoder: DualEncoder | None) -> None:
        """Load the model, unless one is given, warm it, open the collections and let jobs run."""
        started = time.perf_counter()
        model = model_thread()
        try:
            encoder = await asyncio.get_running_loop().run_in_executor(model, _warm_encoder, self.settings, encoder)
            await asyncio.to_thread(self.collections.open_all)
            inference = Inference(encoder, model, self.decoders, self.settings)
            self.warm = Warm(inference, Labellers(inference), Rejections(self.collections, inference))
            self.jobs.start(inference)
            self._cleaning = asyncio.create_task(self._clean())
        except Exception as error:
            log.error("the service cannot start: %s", error)
            self.failure = error
            self.on_failure()
            return
        finally:
            if self.warm is None:  # which closes it else
                model.shutdown(wait=False, cancel_futures=True)
        log.info("ready after %.1f s with %s on %s", time.perf_counter() - started, encoder.ref, encoder.device)

    async def close(self) -> None:
        """Close what was opened, jobs first, while there is a model to end with."""
        if self._cleaning is not None:
            self._cleaning.cancel()
        await asyncio.to_thread(self.jobs.stop)
        if self.warm is not None:
            await self.warm.rejections.close()
            await self.warm.labellers.close()
            await self.warm.inference.close()
        self.decoders.close()
        self.collections.close()

    async def _clean(self) -> None:
        """Once a day let go of thumbnails whose images are in no collection any more, whoever deleted them."""
        while True:
            await asyncio.to_thread(self.thumbnails.forget_unless, self.collections.has_image)
            await asyncio.sleep(DAY)


def service_of(request: Request) -> Service:
    """The state of the application that a request is for."""
    service: Service = request.app.state.service
    return service


def _warm_encoder(settings: Settings, encoder: DualEncoder | None) -> DualEncoder:
    if encoder is None:
        from encoder.load import load_encoder  # open_clip takes seconds to import: not before the server answers

        encoder = load_encoder(settings.model, settings.device, settings.precision)
        gc.collect()
        gc.freeze()  # the libraries stay; to look through them again now and then stopped every request for 0.2 s
    warm_up(encoder)
    return encoder
