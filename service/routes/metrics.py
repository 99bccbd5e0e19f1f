"""What the service measures, for Prometheus."""

from __future__ import annotations

from contextlib import suppress

from fastapi import APIRouter, Response

from base.errors import GlimpseError
from index.collection import collection_names
from service.deps import ServiceDep
from service.telemetry.metrics import CONTENT_TYPE, exposition

router = APIRouter(tags=["service"])


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "in Prometheus's text format"}},
)
def metrics(service: ServiceDep) -> Response:
    """Requests, queues, batches, stages of this process; the collections and jobs of its data folder."""
    infos = []
    for name in collection_names(service.settings.data):
        with suppress(GlimpseError):  # deleted in this moment, or damaged: /v1/collections says so
            infos.append(service.collections.get(name).info())
    waiting = {"decode": service.decoders.waiting}
    models = {}
    if service.is_ready:
        waiting |= service.models.waiting()
        models = {model.name: model.bytes or 0 if model.loaded else 0 for model in service.models.all()}
    jobs = service.jobs.store.counts()
    return Response(exposition(service.is_ready, waiting, jobs, infos, models), media_type=CONTENT_TYPE)
