"""The page's labs: the losses of a training on a few points, one request a look."""

from __future__ import annotations

from functools import partial

import numpy as np
from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool

from service.collections.opened import OpenCollections
from service.deps import CollectionsDep, ModelsDep
from service.errors import documented
from service.http.json_bodies import JsonRoute
from service.schemas.labs import ForcesAnswer, ForcesRequest, Pictures
from training.loss.forces import OneWayLoss, Points, forces

router = APIRouter(prefix="/v1/labs", tags=["labs"], route_class=JsonRoute)


@router.post(
    "/forces",
    summary="A contrastive loss on points, and its pull",
    responses=documented(404, 408, 413, 415, 422, 429, 503),
)
async def of_points(asked: ForcesRequest, models: ModelsDep, collections: CollectionsDep) -> ForcesAnswer:
    """The loss that `glimpse train` takes, each anchor against all others, and its gradient by each point.

    Points are brought to unit length first, as a model's vectors are, and the gradient goes back through that.
    `pictures` of a collection are looked at by their own vectors; then `cosines` and `pulls` say it all.
    """
    if asked.pictures is not None:
        anchors, others = await run_in_threadpool(_vectors, collections, asked.pictures)
    else:
        anchors, others = np.array(asked.anchors, np.float64), np.array(asked.others, np.float64)
    loss = OneWayLoss(asked.loss, asked.temperature, asked.bias, asked.margin, asked.mining, asked.hardness)
    earlier = [record.model_dump() for record in asked.earlier]
    look = partial(forces, anchors, others, asked.right, loss, earlier=earlier, epoch=asked.epoch)
    return ForcesAnswer.of(await models.on_thread(look), tells_gradients=asked.pictures is None)


def _vectors(collections: OpenCollections, pictures: Pictures) -> tuple[Points, Points]:
    """Those of anchors and others. CollectionNotFound, EntryNotFound."""
    collection = collections.get(pictures.collection)
    rows = collection.vectors([*pictures.anchors, *pictures.others]).astype(np.float64)
    return rows[: len(pictures.anchors)], rows[len(pictures.anchors) :]
