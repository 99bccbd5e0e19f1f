"""Puts the service together: `create_app` for tests and servers, `serve` for the command line."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import uvicorn
from fastapi import APIRouter, Depends, FastAPI
from fastapi.middleware import Middleware
from fastapi.middleware.cors import CORSMiddleware
from fastapi.security import HTTPBearer
from starlette.routing import BaseRoute

from base.extras import product_version
from base.machine.cpus import fewer_taken
from encoder.model.dual_encoder import DualEncoder
from index.collection import use_store
from service.disk import DataDisk
from service.errors import ErrorAnswer, add_handlers, documented
from service.http.auth import ReadOnly, RequireKey, check_exposure, keyring_of
from service.http.conditions import only_known
from service.http.connections import PatientHttp, take_descriptors
from service.http.gateway import BehindProxy
from service.http.idempotency import Idempotent, tell_of_keys
from service.http.middleware import AtAnswer, BodyLimit, CancelWhenGone, HeadAsGet, Observed, SafeHeaders
from service.http.packed import Packed, Unpacked
from service.http.paths import Paths
from service.http.server import REQUESTS_END, TimelyServer
from service.keys import Keyring
from service.preflight import check_address
from service.routes import embeddings, health, info, jobs, knn_service, labs, metrics, page, search, training_runs
from service.routes.collections import catalogue, changes, collections, columns, facets, images, manifest, texts
from service.routes.collections import map as overview_map
from service.routes.labelling import classify, label_runs, label_sets, zero_shot
from service.settings import Settings, unknown_variables
from service.signing import Signer
from service.state import Service
from service.telemetry import logs
from service.telemetry.tracing import Traced, start_tracing

log = logging.getLogger(__name__)

# Names the scheme in the OpenAPI page; RequireKey is what checks keys.
KEY = HTTPBearer(
    scheme_name="key", auto_error=False, description="a key of `glimpse keys`; not needed where the service has none"
)

# routes are tried one after the other: first those that are asked hundreds of times a second
API = (
    embeddings, search, classify, info, metrics, collections, facets, columns, overview_map,
    changes, zero_shot, label_sets, images, texts, manifest, catalogue, jobs, label_runs,
    training_runs, labs, knn_service,
)  # fmt: skip
OPEN = (health, page)  # to all

DESCRIPTION = """Images and texts in one space: search a collection by words or by an image, classify images by labels
you choose, and get the vectors themselves.

Every error has one shape: `{"error": {"message", "type", "param", "code"}}`."""


def _routes() -> list[BaseRoute]:
    """All but the page's files. FastAPI makes them ready, in a tenth of a second, at the first request that it gets."""
    api = APIRouter(responses={500: {"model": ErrorAnswer, "description": "Internal Server Error"}})
    for resource in API:
        api.include_router(
            resource.router,
            dependencies=[Depends(KEY), Depends(only_known)],
            responses=documented(401, 403, 421, 429, 501, 503),
        )
    for resource in OPEN:
        api.include_router(resource.router)
    return api.routes


ROUTES = _routes()  # one list: of several applications in a process only the first has to


def create_app(settings: Settings, encoder: DualEncoder | None = None) -> FastAPI:
    """The application. It loads `settings.model` when it starts, unless its encoder is given."""
    use_store(settings.store)
    signer = Signer(settings.data, read_only=settings.read_only)
    keys = keyring_of(settings)
    disk = DataDisk(keys.refresh)
    app = FastAPI(
        title="glimpse",
        version=product_version(),
        description=DESCRIPTION,
        openapi_url=None,  # service.routes.page's says where we are
        docs_url=None,
        redoc_url=None,
        lifespan=_run,
        routes=ROUTES,
        middleware=_middleware(settings, keys, disk, signer),
        telemetry={"tracing": False, "metrics": False, "logs": False},  # service.telemetry's own say less of the user's
    )
    paths = Paths(app, (resource.router for resource in (*API, *OPEN)))
    app.state.service = Service(settings, paths, disk, signer, encoder)
    page.mount_static(app)
    tell_of_keys(app)
    add_handlers(app)
    return app


def _middleware(settings: Settings, keys: Keyring, disk: DataDisk, signer: Signer) -> list[Middleware]:
    """What every request passes, the outermost first."""
    cors = Middleware(
        CORSMiddleware,
        allow_origins=settings.cors_origins,
        allow_methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
        allow_headers=["*"],  # those of OpenAI's client are many; what guards is the origin
        allow_private_network=True,  # browsers ask where a public page asks a private address; likewise
        expose_headers=["ETag", "RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-Id", "Idempotency-Replayed"],
    )
    key = Middleware(
        RequireKey,
        keys=keys,
        disk=disk,
        signer=signer,
        anonymous=settings.allow_anonymous,
        origins=settings.cors_origins,
    )
    return [
        Middleware(BehindProxy, trusted=settings.trusted_proxies, root_path=settings.root_path),
        Middleware(Observed),
        *([Middleware(Traced)] if start_tracing() else []),
        Middleware(SafeHeaders),
        *([cors] if settings.cors_origins else []),
        key,
        *([Middleware(ReadOnly)] if settings.read_only else []),
        Middleware(BodyLimit, limit=settings.max_upload_bytes),
        Middleware(Unpacked, limit=settings.max_upload_bytes),
        Middleware(Idempotent, data=settings.data),
        Middleware(AtAnswer),
        Middleware(CancelWhenGone),
        Middleware(HeadAsGet),
        Middleware(Packed),
    ]


def serve(settings: Settings) -> None:
    """Run until stopped.

    Raises:
        InputError: others could reach it without a key, its address is taken, or two models have one name.
        ModelError, ModelUnavailable: the model cannot be loaded.
    """
    check_address(settings)  # before the model is loaded
    check_exposure(settings)
    logs.configure(settings)
    for warning in unknown_variables(os.environ):
        log.warning(warning)
    if fewer := fewer_taken():
        log.info("%s; GLIMPSE_THREADS sets another number of threads", fewer)
    take_descriptors()
    app = create_app(settings)
    server = server_of(app)
    service: Service = app.state.service
    service.on_failure = lambda: setattr(server, "should_exit", True)
    service.is_stopping = lambda: server.should_exit
    server.on_stop = service.jobs.end_soon
    # uvicorn finishes what it accepted and then sends itself the signal again, to die of it: a stop is no failure.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server.run()
    if service.failure is not None:
        raise service.failure


def server_of(app: FastAPI) -> TimelyServer:
    """The server for an application of `create_app`, at the host and port of its settings."""
    settings: Settings = app.state.service.settings
    return TimelyServer(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            loop="asyncio",  # uvloop gains nothing here
            http=PatientHttp,
            ws="none",
            timeout_graceful_shutdown=REQUESTS_END,
            timeout_keep_alive=settings.keep_alive_seconds,
            log_config=None,  # service.telemetry.logs
            access_log=False,  # service.http.middleware.Observed
            proxy_headers=False,  # service.http.gateway.BehindProxy
            server_header=False,
        )
    )


@asynccontextmanager
async def _run(app: FastAPI) -> AsyncIterator[None]:
    """Load in the background, so that the server answers from its first moment; close what was opened at the end."""
    service: Service = app.state.service
    loading = asyncio.create_task(service.load())
    try:
        yield
    finally:
        loading.cancel()
        with suppress(asyncio.CancelledError):
            await loading
        await service.close()
