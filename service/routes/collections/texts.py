"""Texts as entries of a collection."""

from __future__ import annotations

import time

from starlette.concurrency import run_in_threadpool

from index.collection import Collection, Entry
from service.collections.metadata import merge_patch
from service.deps import CollectionDep, InferenceDep, SettingsDep, WriterDep, check_texts
from service.errors import documented
from service.routes.collections.entries import entry_routes
from service.schemas.collections.entries import TextsAnswer, TextsRequest

router = entry_routes("text")


@router.post(
    "",
    summary="Add texts",
    responses=documented(404, 408, 409, 413, 415, 422, 429, 503),
)
async def add(
    asked: TextsRequest, collection: CollectionDep, writer: WriterDep, inference: InferenceDep, settings: SettingsDep
) -> TextsAnswer:
    """Each text becomes a new entry, all of them or none; searches with the modality `text` find them at once.

    409: the collection was built by another model; or others write to it, and Retry-After says when to try again.
    """
    started = time.perf_counter()
    check_texts(len(asked.texts), settings, "texts")
    fingerprint = inference.encoder.fingerprint
    await run_in_threadpool(collection.check_model, fingerprint)
    await run_in_threadpool(collection.check_room, len(asked.texts))
    metadata = [merge_patch(merge_patch({}, asked.patch()), text.patch()) for text in asked.texts]
    vectors = await inference.texts([text.text for text in asked.texts])
    new = [
        Entry(vector, "text", text=text.text, metadata=described)
        for text, vector, described in zip(asked.texts, vectors, metadata, strict=True)
    ]

    def write(writable: Collection) -> list[int]:
        return writable.upsert(new, fingerprint)

    ids = await writer(write)
    cut = await inference.cut_texts([text.text for text in asked.texts])
    return TextsAnswer(ids=ids, seconds=round(time.perf_counter() - started, 6), **TextsAnswer.told(cut))
