"""The map of a collection: what is known of it, and forgetting it. A job of the kind map makes one."""

from __future__ import annotations

from fastapi import APIRouter

from index.map.kept import forget_map
from service.deps import CollectionDep, ServiceDep
from service.errors import Refusal, documented
from service.schemas.collections.overview import MapAnswer

router = APIRouter(prefix="/v1/collections/{collection}/map", tags=["overview"])

NONE = "collection {} has no map: POST /v1/jobs with kind map makes one"


@router.get("", summary="The map of a collection", responses=documented(404, 422))
def get_map(collection: CollectionDep, service: ServiceDep) -> MapAnswer:
    """How and when it was made, how many images have a place in it, and its clusters with their names.

    Where each image lies is told by the columns. What came since the map was made has a place too, found by what is
    near; 404 `no_map` where there is none, or none of the collection's present model.
    """
    kept = service.maps.of(collection)
    found = kept.get()
    if found is None:
        collection.columns_state()  # where no map can be, that is what is to be said
        raise Refusal(404, NONE.format(repr(collection.name)), code="no_map")
    return MapAnswer.of(found, collection.count("image"))


@router.delete("", summary="Forget the map", status_code=204, responses=documented(404, 422))
def forget(collection: CollectionDep, service: ServiceDep) -> None:
    """Remove it; no image and no entry is touched."""
    if service.maps.of(collection).get() is None:
        raise Refusal(404, NONE.format(repr(collection.name)), code="no_map")
    forget_map(collection)
