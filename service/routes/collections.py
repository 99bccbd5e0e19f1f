"""Collections: which there are, what each is."""

from __future__ import annotations

from fastapi import APIRouter

from service.deps import CollectionDep, CollectionsDep
from service.errors import documented
from service.schemas import CollectionAnswer, CollectionsAnswer

router = APIRouter(prefix="/v1/collections", tags=["collections"])


@router.get("", summary="All collections")
def list_all(collections: CollectionsDep) -> CollectionsAnswer:
    """Every collection by name; one that cannot be opened is listed with its `problem`."""
    return CollectionsAnswer(collections=[CollectionAnswer.of(info) for info in collections.infos()])


@router.get("/{collection}", summary="One collection", responses=documented(404, 422))
def get_one(collection: CollectionDep) -> CollectionAnswer:
    """Its model, counts and size."""
    return CollectionAnswer.of(collection.info())
