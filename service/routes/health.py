"""Is it alive, is it ready? Open to all: they say nothing else."""

from __future__ import annotations

from fastapi import APIRouter

from service.deps import ServiceDep
from service.errors import documented
from service.schemas.info import Health, Ready

SOON = 2.0  # seconds that the data folder's disk may take: who asks for health waits four or five

router = APIRouter(prefix="/health", tags=["service"])


@router.get("/live", summary="Is the process alive?")
async def live() -> Health:
    """Answers as soon as the server listens, long before the model is loaded."""
    return Health()


@router.get("/ready", summary="Can it answer searches?", responses=documented(503))
async def ready(service: ServiceDep) -> Ready:
    """503 until the default model is loaded and the collections are open, and while the data folder's disk hangs."""
    service.ready()
    await service.disk.looked(SOON)
    return Ready(read_only=service.settings.read_only)
