"""The encoder as requests use it: images, texts and classifiers, each through its queue, the model on one thread."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from encoder.errors import ImageError, InputError
from encoder.image import Pixels, read_picture
from encoder.model import DualEncoder, Vectors
from encoder.prompts import check_labels, check_templates, fill_templates
from encoder.zero_shot import Classifier, build_classifier
from service.batcher import Batcher
from service.fetch import Fetcher, is_web_address
from service.images import image_bytes
from service.metrics import measured
from service.pool import Pool
from service.settings import Settings

R = TypeVar("R")

CLASSIFIERS = 64  # seen label sets; 1,000 labels at 512 dimensions take 2 MB
TEXT_BATCH = 64


class Towers:
    """A warm DualEncoder behind two queues. Make it inside the event loop that uses it."""

    def __init__(self, encoder: DualEncoder, decoders: Pool, settings: Settings) -> None:
        self.encoder = encoder
        self._decoders = decoders
        self._fetcher = Fetcher(
            settings.fetch_hosts,
            max_bytes=settings.fetch_bytes,
            seconds=settings.fetch_seconds,
            queue_size=settings.queue_size,
        )
        self._max_pixels = settings.max_pixels
        self._max_prompts = settings.max_prompts
        # one thread: torch uses all cores for one call, two at once only get in each other's way
        self._model = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._texts = Batcher(
            measured("text", encoder.encode_texts),
            self._model,
            max_batch=max(TEXT_BATCH, encoder.batch_size),
            queue_size=settings.queue_size,
            name="text",
        )
        self._images = Batcher(
            measured("image", self._encode_images),
            self._model,
            max_batch=encoder.batch_size,
            queue_size=settings.queue_size,
            name="image",
        )
        self._classifiers: OrderedDict[tuple[tuple[str, ...], tuple[str, ...]], Classifier] = OrderedDict()

    @property
    def waiting(self) -> dict[str, int]:
        """What waits now, by queue: texts and images for the model, addresses to be fetched."""
        return {"text": self._texts.waiting, "image": self._images.waiting, "fetch": self._fetcher.waiting}

    async def texts(self, texts: Sequence[str]) -> Vectors:
        """Encode texts to (n, dim) unit rows."""
        return await self._texts(texts) if texts else np.empty((0, self.encoder.dim), np.float32)

    async def images(self, images: Sequence[bytes | str]) -> list[Vectors | ImageError]:
        """Encode images (files, base64, data URIs, addresses); one that cannot be read gives its error in its place."""
        read = await asyncio.gather(*(self._read(image) for image in images))
        good = [pixels for pixels in read if not isinstance(pixels, ImageError)]
        vectors = iter(await self._images(good)) if good else iter(())
        return [pixels if isinstance(pixels, ImageError) else next(vectors) for pixels in read]

    async def pixels(self, pixels: Sequence[Pixels]) -> Vectors:
        """Encode images that are read already to (n, dim) unit rows."""
        return await self._images(pixels)

    async def classifier(self, labels: Sequence[str], templates: Sequence[str]) -> Classifier:
        """The classifier for these labels, kept for the next request that asks with the same."""
        key = check_labels(labels), check_templates(templates)
        if key in self._classifiers:
            self._classifiers.move_to_end(key)
            return self._classifiers[key]
        n = len(key[0]) * len(key[1])
        if n > self._max_prompts:
            raise InputError(f"{len(key[0])} labels times {len(key[1])} templates make {n} prompts; "
                             f"the limit is {self._max_prompts}")  # fmt: skip
        # through the queue, so that many labels let others by; build_classifier then finds them in the encoder's cache
        await self._texts([prompt for label in key[0] for prompt in fill_templates(label, key[1])])
        self._classifiers[key] = classifier = await self._on_model(build_classifier, self.encoder, *key)
        while len(self._classifiers) > CLASSIFIERS:
            self._classifiers.popitem(last=False)
        return classifier

    async def count_tokens(self, texts: Sequence[str]) -> int:
        """Tokens that the text tower is fed for these texts."""
        return await self._on_model(self._count_tokens, texts) if texts else 0

    async def close(self) -> None:
        """Stop the queues and the model's thread."""
        await self._texts.close()
        await self._images.close()
        await self._fetcher.close()
        self._model.shutdown(wait=True, cancel_futures=True)

    async def _on_model(self, work: Callable[..., R], *args: object) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._model, work, *args)

    async def _read(self, image: bytes | str) -> Pixels | ImageError:
        try:
            if isinstance(image, str) and is_web_address(image):
                async with self._fetcher.get(image) as data:
                    return await self._decoders.run(self._decode, data)
            return await self._decoders.run(self._decode, image)
        except ImageError as error:
            return error

    def _decode(self, image: bytes | str) -> Pixels:
        data = image_bytes(image) if isinstance(image, str) else image
        return read_picture(data, self.encoder.preprocess, max_pixels=self._max_pixels).pixels

    def _encode_images(self, pixels: list[Pixels]) -> Vectors:
        return self.encoder.encode_pixels(np.stack(pixels))

    def _count_tokens(self, texts: Sequence[str]) -> int:
        # not on another thread: Hugging Face tokenizers cannot be borrowed twice
        return int(self.encoder.text.lengths(self.encoder.text.tokenize(texts)).sum())


def warm_up(encoder: DualEncoder) -> None:
    """Run both towers once, so that the first request does not pay for what torch sets up."""
    height, width = encoder.preprocess.height_width
    encoder.encode_pixels(np.zeros((1, height, width, 3), np.uint8))
    encoder.encode_texts(["a photo"])
