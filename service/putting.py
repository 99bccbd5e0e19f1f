"""Putting entries by their owner's own ids, as routes ask for it: read, encoded in batches with others', written."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends
from starlette.concurrency import run_in_threadpool

from base.errors import ImageError, InputError
from encoder.cut import CutTexts
from index.collection import Collection
from service.collections import puts
from service.collections.puts import Put, Written
from service.collections.uploads import Uploads
from service.deps import CollectionDep, InferenceDep, ServiceDep, WriterDep
from service.errors import Refusal
from service.inference.images import decode, image_bytes


@dataclass(frozen=True, slots=True)
class Asked:
    """What one entry is to be: a text, an image file or its base64, or the address of one; and what is said of it."""

    external_id: str
    metadata: dict[str, Any]
    text: str | None = None
    image: bytes | str | None = None
    image_url: str | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """What became of one entry."""

    written: Written
    text: str | None = None
    cut_off: str | None = None  # in words, of a file that ends before its picture does


class Putting:
    """Puts some entries together."""

    def __init__(
        self, collection: CollectionDep, writer: WriterDep, inference: InferenceDep, service: ServiceDep
    ) -> None:
        self.collection = collection
        self._writer = writer
        self._inference = inference
        self._service = service
        self._files = Uploads(service.settings.data, collection.name)

    async def __call__(self, asked: Sequence[Asked]) -> list[Done | Refusal | InputError]:
        """Put entries, each external id once; of one that cannot be put, why.

        Raises:
            ModelMismatch, Overloaded, QuotaExceeded: nothing was begun.
            Refusal: others write to the collection; none of these was written.
        """
        fingerprint = self._inference.encoder.fingerprint
        await run_in_threadpool(self.collection.check_model, fingerprint)
        self._service.decoders.check_room()
        if any(one.image_url is not None for one in asked):
            self._inference.check_room_to_fetch()
        made = await asyncio.gather(*map(self._read, asked))
        ready = [put for put in made if isinstance(put, Put)]
        await run_in_threadpool(self.collection.check_room, sum(put.is_new for put in ready))  # before the model works
        await self._encode([put for put in ready if put.vector is None])
        written = iter(await self._write(ready, fingerprint))
        return [_done(one, next(written)) if isinstance(one, Put) else one for one in made]

    async def cut_texts(self, texts: Sequence[str]) -> CutTexts:
        """Those of the texts that are longer than the model reads."""
        return await self._inference.cut_texts(texts)

    def measure_soon(self) -> None:
        """See to it that what texts must reach is measured, where it is due."""
        self._service.rejections.measure_soon(self.collection.name)

    async def _read(self, asked: Asked) -> Put | Refusal | InputError:
        put = Put(asked.external_id, asked.metadata, asked.text)
        try:
            data = asked.image if asked.image_url is None else await self._inference.fetched(asked.image_url)
            await self._service.decoders.run(self._look, put, data)
        except ImageError as error:
            param = "image" if asked.image_url is None else "image_url"
            return Refusal(422, error.reason, code=error.code, param=param)
        except InputError as error:
            return error
        return put

    def _look(self, put: Put, data: bytes | str | None) -> None:
        put.data = image_bytes(data) if isinstance(data, str) else data
        preprocess, max_pixels = self._inference.encoder.preprocess, self._service.settings.max_pixels
        puts.read(self.collection, self._files, put, lambda image: decode(image, preprocess, max_pixels))

    async def _encode(self, new: Sequence[Put]) -> None:
        """Give those their vectors that have none."""
        images = {put: put.picture.pixels for put in new if put.picture is not None}
        texts = {put: put.text for put in new if put.text is not None}
        if images:
            for put, vector in zip(images, await self._inference.pixels(list(images.values())), strict=True):
                put.vector = vector
        if texts:
            for put, vector in zip(texts, await self._inference.texts(list(texts.values())), strict=True):
                put.vector = vector

    async def _write(self, ready: Sequence[Put], fingerprint: str) -> list[Written | InputError]:
        """Commit entries; where one of them cannot be stored, one by one."""

        def write(writable: Collection) -> list[Written]:
            return puts.write(writable, self._files, ready, fingerprint)

        if not ready:
            return []
        try:
            written = await self._writer(write)
        except InputError as error:
            if len(ready) == 1:
                return [error]
            return [one for put in ready for one in await self._write([put], fingerprint)]
        await run_in_threadpool(self._service.thumbnails.forget_all, {one.stale for one in written if one.stale})
        return list(written)


def _done(put: Put, written: Written | InputError) -> Done | InputError:
    if isinstance(written, InputError):
        return written
    return Done(written, put.text, (put.picture.cut_off or None) if put.picture else None)


PuttingDep = Annotated[Putting, Depends()]
