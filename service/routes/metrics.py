"""What the service measures, for Prometheus."""

from __future__ import annotations

from contextlib import suppress

from fastapi import APIRouter, Request, Response

from base.errors import CollectionError
from index.local.layout import collection_names
from service.deps import CollectionsDep, DecodersDep, SettingsDep
from service.inference.towers import Towers
from service.telemetry.metrics import CONTENT_TYPE, exposition

router = APIRouter(tags=["service"])


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "in Prometheus's text format"}},
)
def metrics(request: Request, settings: SettingsDep, collections: CollectionsDep, decoders: DecodersDep) -> Response:
    """Requests, queues, batches, stages of this process; the collections and jobs of its data folder."""
    towers: Towers | None = request.app.state.towers
    infos = []
    for name in collection_names(settings.data):
        with suppress(CollectionError):  # deleted in this moment, or damaged: /v1/collections says so
            infos.append(collections.get(name).info())
    waiting = {"decode": decoders.waiting} | (towers.waiting if towers else {})
    jobs = request.app.state.jobs.store.counts()
    return Response(exposition(towers is not None, waiting, jobs, infos), media_type=CONTENT_TYPE)
