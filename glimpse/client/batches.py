"""Images and texts on their way to the service, in batches that its limits let through. Decodes nothing."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from base.errors import ImageError
from glimpse.client.errors import NoService, ServiceError

# The service takes 64 images and 32 MiB at once, or what its operator sets. These are enough to keep its model busy.
MAX_ITEMS = 32
MAX_BYTES = 8 * 2**20

Image = str | Path | bytes  # a path, or the bytes of an image file
Why = ImageError | ServiceError  # there is no answer
T = TypeVar("T")
R = TypeVar("R")
Ask = Callable[[Sequence[tuple[T, bytes]], bool], Sequence[R]]


def source_of(image: Image) -> Path | bytes:
    """The image as results name it."""
    return image if isinstance(image, bytes) else Path(image)


def read_image(image: Image) -> bytes:
    """The bytes of an image file.

    Raises:
        ImageError: it cannot be read, or is empty.
    """
    try:
        data = image if isinstance(image, bytes) else Path(image).read_bytes()
    except OSError as error:
        raise ImageError(str(image), error.strerror or "it cannot be read") from error
    except ValueError as error:  # a NUL in its name
        raise ImageError(repr(image), str(error)) from error
    if not data:
        raise ImageError("an image" if isinstance(image, bytes) else image, "the file is empty")
    return data


def base64_of(image: Image) -> str:
    """An image as JSON carries it. ImageError if it cannot be read."""
    return base64.b64encode(read_image(image)).decode()


def in_batches(items: Iterable[T], read: Callable[[T], bytes], ask: Ask[T, R]) -> Iterator[tuple[T, R | Why]]:
    """Each item with what the service says of it, in order; of one that cannot be read or is refused alone, why.

    `read` gives an item's bytes, or raises ImageError. `ask` gets items with their bytes, and whether to wait while
    the queue is full; it returns one answer for each.
    """
    batch: list[tuple[T, bytes | Why]] = []
    size = 0
    for item in items:
        try:
            data: bytes | Why = read(item)
        except ImageError as error:
            data = error
        more = len(data) if isinstance(data, bytes) else 0
        if batch and (len(batch) == MAX_ITEMS or size + more > MAX_BYTES):
            yield from _answered(batch, ask)
            batch, size = [], 0
        batch.append((item, data))
        size += more
    yield from _answered(batch, ask)


def why(error: Why) -> str:
    """The reason alone, for a result that names its image."""
    return error.reason if isinstance(error, ImageError) else str(error)


def _answered(batch: Sequence[tuple[T, bytes | Why]], ask: Ask[T, R]) -> Iterator[tuple[T, R | Why]]:
    answers = iter(_in_halves([(item, data) for item, data in batch if isinstance(data, bytes)], ask))
    for item, data in batch:
        yield item, next(answers) if isinstance(data, bytes) else data


def _in_halves(batch: Sequence[tuple[T, bytes]], ask: Ask[T, R]) -> list[R | Why]:
    """The answers, those of a batch that is refused by halves: an operator's limits are kept without knowing them.

    A full queue is waited for with one item alone. A batch that is larger than the whole queue would wait in vain.
    """
    if not batch:
        return []
    alone = len(batch) == 1
    try:
        answers = ask(batch, alone)
    except ServiceError as error:
        is_of_one = _is_too_much(error) or error.code == ImageError.code
        if alone and is_of_one:
            return [error]
        if alone or not (is_of_one or error.status == 429):
            raise
        half = len(batch) // 2
        return _in_halves(batch[:half], ask) + _in_halves(batch[half:], ask)
    if len(answers) != len(batch):
        raise NoService(f"{len(batch)} were sent and {len(answers)} answered: is this a glimpse service?")
    return list(answers)


def _is_too_much(error: ServiceError) -> bool:
    # 400 is a form with too many parts; embeddings name the field
    return error.status in (400, 413) or error.code == "too_many" or error.param == "input"
