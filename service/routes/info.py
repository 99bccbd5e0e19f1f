"""What runs here: the version, the model, the collections."""

from __future__ import annotations

from fastapi import APIRouter

from base.cpus import threads
from base.extras import product_version
from service.deps import CollectionsDep, InferenceDep
from service.errors import documented
from service.schemas.collections import CollectionAnswer
from service.schemas.info import InfoAnswer, ModelAnswer, ModelsAnswer

router = APIRouter(prefix="/v1", tags=["service"])


@router.get("/info", summary="Model, version and collections", responses=documented(503))
def info(inference: InferenceDep, collections: CollectionsDep) -> InfoAnswer:
    """What runs here. A collection can be searched by text and image if its `fingerprint` is the model's."""
    encoder = inference.encoder
    return InfoAnswer(
        version=product_version(),
        model=encoder.ref,
        dim=encoder.dim,
        fingerprint=encoder.fingerprint,
        device=str(encoder.device),
        precision=encoder.precision,
        threads=threads(),
        logit_scale=encoder.logit_scale,
        logit_bias=encoder.logit_bias,
        collections=[CollectionAnswer.of(info) for info in collections.infos()],
    )


@router.get("/models", summary="The model, in OpenAI's shape", responses=documented(503))
async def models(inference: InferenceDep) -> ModelsAnswer:
    """The one model that runs; its id is the `model` that /v1/embeddings takes, as is `default`."""
    return ModelsAnswer(data=[ModelAnswer(id=inference.encoder.ref)])
