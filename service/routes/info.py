"""What runs here: the version, the models, the collections."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from base.extras import product_version
from base.machine.cpus import threads
from service.deps import CollectionsDep, ModelsDep, SettingsDep, ToldDep
from service.errors import documented
from service.schemas.info import InfoAnswer, ModelAnswer, ModelsAnswer

router = APIRouter(prefix="/v1", tags=["service"])


@router.get("/info", summary="Default model, version and collections", responses=documented(503))
def info(models: ModelsDep, collections: CollectionsDep, settings: SettingsDep, told: ToldDep) -> InfoAnswer:
    """What runs here."""
    model = models.default
    card = models.card(model)
    return InfoAnswer(
        version=product_version(),
        read_only=settings.read_only or not told.places,  # who is told of places may change things
        model=model.name,
        dim=card.dim,
        fingerprint=card.fingerprint,
        device=model.device or settings.device,
        precision=model.precision or settings.precision,
        threads=threads(),
        logit_scale=card.logit_scale,
        logit_bias=card.logit_bias,
        collections=[told.collection(info) for info in collections.infos()],
        folders=list(settings.job_roots) if told.places else [],
    )


@router.get("/models", summary="The models, in OpenAI's shape", responses=documented(503))
def list_models(models: ModelsDep, collections: CollectionsDep, told: ToldDep) -> ModelsAnswer:
    """Those that the operator named, the default first, then those that collections were made with.

    What `model` may be wherever a request has one, by `id`. A model that is not loaded is loaded when it is asked for.
    """
    models.meet(collections.made_by())
    return ModelsAnswer(data=[told.model(model) for model in models.all()])


@router.get("/models/{model:path}", summary="One model, in OpenAI's shape", responses=documented(404, 422, 503))
def get_model(
    model: Annotated[str, Path(max_length=200)], models: ModelsDep, collections: CollectionsDep, told: ToldDep
) -> ModelAnswer:
    """That of a name, or the default one by the name `default`. To ask for it loads nothing."""
    models.meet(collections.made_by())
    return told.model(models.named(model))
