"""Puts the service together: `create_app` for tests and servers, `serve` for the command line."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import uvicorn
from fastapi import Depends, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.security import HTTPBearer

from base.read_ahead import READERS
from encoder.model import DualEncoder
from service.collections.opened import OpenCollections
from service.collections.rejection import Bars
from service.errors import add_handlers, documented
from service.http.auth import RequireKey, check_exposure, keyring_of
from service.http.connections import HEAD_BYTES, PatientHttp, take_descriptors
from service.http.middleware import BodyLimit, CancelWhenGone, Observed, SafeHeaders
from service.http.paths import Paths
from service.inference.pool import Pool
from service.inference.towers import Towers, model_thread, warm_up
from service.jobs.runner import Jobs
from service.preflight import check_address
from service.routes import (
    classify,
    collections,
    embeddings,
    health,
    images,
    info,
    jobs,
    knn_service,
    label_sets,
    metrics,
    page,
    search,
    texts,
    zero_shot,
)
from service.settings import Settings, unknown_variables
from service.telemetry import logs
from service.telemetry.tracing import start_tracing

log = logging.getLogger(__name__)

# Names the scheme in the OpenAPI page; RequireKey is what checks keys.
KEY = HTTPBearer(auto_error=False, description="a key of `glimpse keys`; not needed where the service has none")

DESCRIPTION = """Images and texts in one space: search a collection by words or by an image, classify images by labels
you choose, and get the vectors themselves.

Every error has one shape: `{"error": {"message", "type", "param", "code"}}`."""


def create_app(settings: Settings, encoder: DualEncoder | None = None) -> FastAPI:
    """The application. It loads `settings.model` when it starts, unless an encoder is given."""
    app = FastAPI(
        title="glimpse",
        version=info.product_version(),
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan,
        responses=documented(500),
    )
    app.state.settings = settings
    app.state.encoder = encoder
    app.state.collections = OpenCollections(settings.data)
    app.state.decoders = Pool(READERS, settings.queue_size)
    app.state.jobs = Jobs(settings, app.state.collections)
    app.state.is_stopping = lambda: False
    app.state.towers = None  # until the model is warm
    app.state.not_ready = "the model is being loaded; GET /health/ready says when it is there"
    app.state.failure = None
    app.state.paths = Paths(app)
    for resource in (health, page):  # open to all
        app.include_router(resource.router)
    for resource in (info, metrics, collections, search, classify, zero_shot, label_sets, embeddings, images, texts,
                     jobs, knn_service):  # fmt: skip
        app.include_router(resource.router, dependencies=[Depends(KEY)], responses=documented(401, 403, 421))
    page.mount_static(app)
    add_handlers(app)
    app.add_middleware(CancelWhenGone)
    app.add_middleware(BodyLimit, limit=settings.max_upload_bytes)
    app.add_middleware(
        RequireKey, keys=keyring_of(settings), anonymous=settings.allow_anonymous, origins=settings.cors_origins
    )
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "X-Request-Id"],
            expose_headers=["Retry-After", "X-Request-Id"],
        )
    app.add_middleware(SafeHeaders)
    start_tracing(app)
    app.add_middleware(Observed)  # the last one added is the first one passed
    return app


def serve(settings: Settings) -> None:
    """Run until stopped.

    Raises:
        InputError: others could reach it without a key, or its address is taken.
        ModelError, ModelUnavailable: the model cannot be loaded.
    """
    check_address(settings)  # before the model is loaded
    check_exposure(settings)
    logs.configure(settings)
    for warning in unknown_variables(os.environ):
        log.warning(warning)
    take_descriptors()
    app = create_app(settings)
    server = server_of(app)
    app.state.on_failure = lambda: setattr(server, "should_exit", True)
    app.state.is_stopping = lambda: server.should_exit
    # uvicorn finishes what it accepted and then sends itself the signal again, to die of it: a stop is no failure.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server.run()
    if app.state.failure is not None:
        raise app.state.failure


def server_of(app: FastAPI) -> uvicorn.Server:
    """The server for an application of `create_app`, at the host and port of its settings."""
    settings: Settings = app.state.settings
    return uvicorn.Server(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            http=PatientHttp,
            h11_max_incomplete_event_size=HEAD_BYTES,
            ws="none",
            timeout_graceful_shutdown=30,
            log_config=None,  # service.telemetry.logs
            access_log=False,  # service.http.middleware.Observed
            server_header=False,
        )
    )


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Load in the background, so that the server answers from its first moment; close what was opened at the end."""
    loading = asyncio.create_task(_load(app))
    try:
        yield
    finally:
        loading.cancel()
        with suppress(asyncio.CancelledError):
            await loading
        await asyncio.to_thread(app.state.jobs.stop)  # while there is a model to end with
        if app.state.towers is not None:
            await app.state.bars.close()
            await app.state.towers.close()
        app.state.decoders.close()
        app.state.collections.close()


async def _load(app: FastAPI) -> None:
    started = time.perf_counter()
    state = app.state
    model = model_thread()
    try:
        encoder = await asyncio.get_running_loop().run_in_executor(model, _warm_encoder, state.settings, state.encoder)
        await asyncio.to_thread(state.collections.open_all)
        state.towers = Towers(encoder, model, state.decoders, state.settings)
        state.bars = Bars(state.collections, state.towers)
        state.jobs.start(state.towers)
    except Exception as error:
        log.error("the service cannot start: %s", error)
        state.failure = error
        state.not_ready = "the service could not start; its log says why"
        if on_failure := getattr(state, "on_failure", None):
            on_failure()
        return
    finally:
        if state.towers is None:  # which closes it else
            model.shutdown(wait=False, cancel_futures=True)
    log.info("ready after %.1f s with %s on %s", time.perf_counter() - started, encoder.ref, encoder.device)


def _warm_encoder(settings: Settings, encoder: DualEncoder | None) -> DualEncoder:
    if encoder is None:
        from encoder.load import load_encoder  # open_clip takes seconds to import: not before the server answers

        encoder = load_encoder(settings.model, settings.device, settings.precision)
        gc.collect()
        gc.freeze()  # the libraries stay; to look through them again now and then stopped every request for 0.2 s
    warm_up(encoder)
    return encoder
