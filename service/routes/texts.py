"""Texts as entries of a collection."""

from __future__ import annotations

import time

from fastapi import Depends

from index.collection import Collection, Entry
from service.collections.metadata import merge_patch
from service.deps import CollectionDep, InferenceDep, SettingsDep, WriterDep, json_body
from service.errors import Refusal, documented
from service.routes.entries import entry_routes
from service.schemas.entries import TextEntry, TextsAnswer, TextsRequest

router = entry_routes("text")


@router.post(
    "",
    summary="Add texts",
    dependencies=[Depends(json_body)],
    responses=documented(404, 408, 409, 413, 415, 422, 429, 503),
)
async def add(
    asked: TextsRequest, collection: CollectionDep, writer: WriterDep, inference: InferenceDep, settings: SettingsDep
) -> TextsAnswer:
    """Each text becomes a new entry, all of them or none; searches with the modality `text` find them at once.

    409: the collection was built by another model; or others write to it, and Retry-After says when to try again.
    """
    started = time.perf_counter()
    if len(asked.texts) > settings.max_batch:
        raise Refusal(422, f"{settings.max_batch} texts at most in one request", code="too_many", param="texts")
    fingerprint = inference.encoder.fingerprint
    collection.check_model(fingerprint)
    texts = [TextEntry(text=text) if isinstance(text, str) else text for text in asked.texts]
    metadata = [merge_patch(merge_patch({}, asked.patch()), text.patch()) for text in texts]
    vectors = await inference.texts([text.text for text in texts])
    new = [
        Entry(vector, "text", text=text.text, metadata=described)
        for text, vector, described in zip(texts, vectors, metadata, strict=True)
    ]

    def write(writable: Collection) -> list[int]:
        writable.check_model(fingerprint)  # another model may have been put in place since
        return writable.upsert(new)

    ids = await writer(write)
    return TextsAnswer(ids=ids, seconds=round(time.perf_counter() - started, 6))
