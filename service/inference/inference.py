"""The encoder as requests use it: images, texts and classifiers of label sets, the model on one thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from typing import NamedTuple, TypeVar

import numpy as np

from base.errors import ImageError
from base.read_ahead import batches
from encoder.cut import CutTexts, may_be_cut
from encoder.encoder import Vectors
from encoder.image import Picture, Pixels
from encoder.model.dual_encoder import DualEncoder
from encoder.unread import UnreadWords
from encoder.zero_shot.classifier import Classifier, check_apart
from labelling.label_sets import LabelSet
from service.inference.batcher import Batcher
from service.inference.fetch import Fetcher, is_web_address
from service.inference.images import decode, image_bytes
from service.inference.once import Once
from service.inference.pool import Pool
from service.settings import Settings
from service.telemetry.metrics import measured

R = TypeVar("R")
T = TypeVar("T")

CLASSIFIERS = 64  # seen label sets; 1,000 labels at 512 dimensions take 2 MB
TEXT_BATCH = 64


class Seen(NamedTuple):
    """An image that was read and encoded."""

    vector: Vectors  # (dim,)
    cut_off: str | None = None  # in words, if its file ends before it does


class Inference:
    """A warm DualEncoder behind two queues, one for texts, one for images. Make it inside the event loop that uses it.

    Args:
        encoder: loaded and warmed up in `model`.
        model: of `model_thread`, shared with other models.
        decoders: where images are decoded.
        fetcher: what fetches them.
        settings: bounds.
    """

    def __init__(
        self, encoder: DualEncoder, model: ThreadPoolExecutor, decoders: Pool, fetcher: Fetcher, settings: Settings
    ) -> None:
        self.encoder = encoder
        self.turn = threading.Lock()  # of a SharedEncoder: a request waits for a piece of one of them
        self._model = model
        self._decoders = decoders
        self._fetcher = fetcher
        self._max_pixels = settings.max_pixels
        self._max_prompts = settings.max_prompts
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
            coming=lambda: not encoder.overlap and decoders.pending > 0,
        )
        self._classifiers = Once(self._build, CLASSIFIERS)

    @property
    def waiting(self) -> dict[str, int]:
        """What waits for the model now, by queue."""
        return {"text": self._texts.waiting, "image": self._images.waiting}

    async def texts(self, texts: Sequence[str]) -> Vectors:
        """Encode texts to (n, dim) unit rows; those that were all seen lately wait for nobody."""
        if not texts:
            return np.empty((0, self.encoder.dim), np.float32)
        seen = self.encoder.seen_texts(texts)
        return np.stack([text.vector for text in seen]) if seen is not None else await self._texts(texts)

    async def images(self, images: Sequence[bytes | str]) -> list[Vectors | ImageError]:
        """Encode images (files, base64, data URIs, addresses); one that cannot be read gives its error in its place.

        Raises:
            Overloaded: as many wait as may; none of these has been begun.
        """
        return [one if isinstance(one, ImageError) else one.vector for one in await self.seen(images)]

    async def seen(self, images: Sequence[bytes | str]) -> list[Seen | ImageError]:
        """As `images`, with what is to be said of the files beside their vectors."""
        if not images:
            return []
        if any(isinstance(image, str) and is_web_address(image) for image in images):
            self._fetcher.check_room()
        self._decoders.check_room()
        read = await asyncio.gather(*(self._read(image) for image in images))
        good = [picture.pixels for picture in read if not isinstance(picture, ImageError)]
        vectors = iter(await self._images(good) if good else ())
        return [one if isinstance(one, ImageError) else Seen(next(vectors), one.cut_off) for one in read]

    async def both(
        self, texts: Sequence[str], images: Sequence[bytes | str]
    ) -> tuple[Vectors, list[Vectors | ImageError]]:
        """As `texts`, (n, dim), and as `images`, (dim,) each, at the same time."""
        if not texts or not images:  # to do two things at once costs more than most look-ups
            return await self.texts(texts), await self.images(images)
        return await asyncio.gather(self.texts(texts), self.images(images))

    def check_room_to_fetch(self) -> None:
        """Overloaded if as many images wait to be fetched as may."""
        self._fetcher.check_room()

    async def fetched(self, address: str) -> bytes:
        """The image file at an address of an allowed host. Ask `check_room_to_fetch` once for all of a request.

        Raises:
            ImageError: it may not or cannot be fetched.
        """
        async with self._fetcher.get(address) as data:
            return data

    async def pixels(self, pixels: Sequence[Pixels]) -> Vectors:
        """Encode images that are read already to (n, dim) unit rows."""
        return await self._images(pixels)

    async def classifier(self, key: LabelSet) -> Classifier:
        """The classifier for these labels, kept for the next request that asks with the same."""
        kept = self._classifiers.at_hand(key)
        if kept is None:
            self.check_prompts(key)
            kept = await self._classifiers.get(key)
        return kept

    def check_prompts(self, labels: LabelSet) -> None:
        """InputError if they make more prompts than a request may ask with."""
        labels.check_prompts(self._max_prompts)

    async def count_tokens(self, texts: Sequence[str]) -> int:
        """Tokens that the text tower is fed for these texts; of those seen lately it is known."""
        seen = self.encoder.seen_texts(texts)
        if seen is not None:
            return sum(text.tokens for text in seen)
        return sum(await self._in_parts(self._count_tokens, texts))

    async def cut_texts(self, texts: Sequence[str]) -> CutTexts:
        """Those of the texts that are longer than the model reads; of texts that are known to be shorter, at once."""
        length = self.encoder.text.context_length
        unique = list(dict.fromkeys(texts))
        long = [text for text in unique if may_be_cut(text, length)]
        if not long:
            return CutTexts(len(unique), length)
        seen = self.encoder.seen_texts(long)
        if seen is not None:  # one that fills the context may be cut
            long = [text for text, known in zip(long, seen, strict=True) if known.tokens >= length]
        read: dict[str, bytes] = {}
        for found in await self._in_parts(self.encoder.cut_texts, long):
            read |= found.read
        return CutTexts(len(unique), length, read)

    async def unread_words(self, texts: Sequence[str]) -> UnreadWords:
        """Those words of the texts that the model has never read; of a model of which nobody knows, at once."""
        if self.encoder.read_tokens is None or not texts:
            return UnreadWords()
        return UnreadWords.together(await self._in_parts(self.encoder.unread_words, texts))

    def on_model(self, work: Callable[[T], R], items: T) -> R:
        """Call `work` on the model's thread, in turn with the batches; for threads of our own, not the event loop."""
        return self._model.submit(work, items).result()

    async def close(self) -> None:
        """Stop the queues."""
        await self._texts.close()
        await self._images.close()

    async def _build(self, key: LabelSet) -> Classifier:
        each = key.prompts()
        prompts, sizes = [prompt for of_label in each for prompt in of_label], [len(of_label) for of_label in each]
        vectors = await self.texts(prompts)  # first, for this is where a full queue refuses
        as_read = [read for part in await self._in_parts(self.encoder.as_read, prompts) for read in part]
        cut = await self.cut_texts(prompts)
        check_apart(key.names, sizes, as_read, cut)
        made = Classifier.of_prompts(key.names, sizes, vectors, self.encoder.logit_scale, self.encoder.logit_bias)
        asked = [label.asked for label in key.labels]
        unread = (await self.unread_words(asked)).counted(asked, "labels")
        return replace(made, cut=cut, unread=tuple(unread))

    async def _in_parts(self, work: Callable[[Sequence[str]], R], texts: Sequence[str]) -> list[R]:
        """What `work` gives for some texts at a time, with other work in between.

        On the model's thread: Hugging Face tokenizers cannot be borrowed twice.
        """
        run = asyncio.get_running_loop().run_in_executor
        return [await run(self._model, work, part) for part in batches(texts, TEXT_BATCH)]

    async def _read(self, image: bytes | str) -> Picture | ImageError:
        try:
            if isinstance(image, str) and is_web_address(image):
                async with self._fetcher.get(image) as data:
                    return await self._decoders.run(self._decode, data)
            return await self._decoders.run(self._decode, image)
        except ImageError as error:
            return error

    def _decode(self, image: bytes | str) -> Picture:
        data = image_bytes(image) if isinstance(image, str) else image
        return decode(data, self.encoder.preprocess, self._max_pixels)

    def _encode_images(self, pixels: list[Pixels]) -> Vectors:
        with nullcontext() if self.encoder.overlap else self._decoders.held():
            return self.encoder.encode_pixels(np.stack(pixels))

    def _count_tokens(self, texts: Sequence[str]) -> int:
        return int(self.encoder.text.lengths(self.encoder.text.tokenize(texts)).sum())


def model_thread() -> ThreadPoolExecutor:
    """The one thread that runs models, in turn.

    torch uses all cores for one call, two at once only get in each other's way. And each thread that has called torch
    keeps helpers of its own for good: once they are more than the cores, OpenMP lets them all sleep between any two
    steps of a call, which made a batch half as slow again.
    """
    return ThreadPoolExecutor(1, thread_name_prefix="model")


def warm_up(encoder: DualEncoder) -> None:
    """Run both towers once, so that the first request does not pay for what torch sets up."""
    height, width = encoder.preprocess.height_width
    encoder.encode_pixels(np.zeros((1, height, width, 3), np.uint8))
    encoder.encode_texts(["a photo"])
