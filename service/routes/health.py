"""Is it alive, is it ready, what is it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from fastapi import APIRouter

from service.deps import CollectionsDep, TowersDep
from service.errors import documented
from service.schemas import CollectionAnswer, Health, InfoAnswer

router = APIRouter(tags=["service"])


@router.get("/health/live", summary="Is the process alive?")
async def live() -> Health:
    """Answers as soon as the server listens, long before the model is loaded."""
    return Health()


@router.get("/health/ready", summary="Can it answer searches?", responses=documented(503))
async def ready(towers: TowersDep) -> Health:
    """503 until the model is loaded and warm and the collections are open."""
    return Health()


@router.get("/v1/info", summary="Model, version and collections", responses=documented(503))
def info(towers: TowersDep, collections: CollectionsDep) -> InfoAnswer:
    """What runs here. A collection can be searched by text and image if its `fingerprint` is the model's."""
    encoder = towers.encoder
    return InfoAnswer(
        version=product_version(),
        model=encoder.ref,
        dim=encoder.dim,
        fingerprint=encoder.fingerprint,
        device=str(encoder.device),
        precision=encoder.precision,
        logit_scale=encoder.logit_scale,
        collections=[CollectionAnswer.of(info) for info in collections.infos()],
    )


def product_version() -> str:
    """The installed version; run from a checkout without an install there is none."""
    try:
        return version("glimpse")
    except PackageNotFoundError:
        return "0+source"
