"""How fast a model is on this machine, and how near its precisions are to each other.

Each precision is measured in a process of its own, for what memory one took at most counts for the next as well.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing import get_context
from typing import TYPE_CHECKING

import numpy as np

from base.errors import ModelError
from encoder.encoder import Vectors
from encoder.image import Pixels, Preprocess, resize_by_pillow

if TYPE_CHECKING:
    from encoder.model.dual_encoder import DualEncoder

SECONDS = 2.0  # of each measurement, at least one batch or query
_PICTURES = 16  # whose vectors are compared


@dataclass(frozen=True)
class Measured:
    """What was measured of one precision.

    Attributes:
        precision: "fp32" or "bf16".
        native: whether the device multiplies in it natively; else it works, and slower than fp32.
        device: where it ran.
        load_seconds: imports of torch and open_clip included, files in the page cache or not.
        images_per_second: of the model alone, from pixels in memory, in batches as for a folder.
        query_ms: a text of some words alone, warm, the median.
        peak_mb: resident memory of the process at most.
        least_cosine: of its vectors of some drawn pictures to those in fp32.
        is_auto: whether it is what `--precision auto` takes here.
    """

    precision: str
    native: bool
    device: str
    load_seconds: float
    images_per_second: float
    query_ms: float
    peak_mb: float
    least_cosine: float
    is_auto: bool


def measure(ref: str) -> list[Measured]:
    """Measure a model in fp32 and in bf16, a process each; takes some seconds and what loading takes.

    Raises:
        ModelError, ModelUnavailable: as `encoder.model.load.load_encoder`, or there is not the memory for it.
    """
    runs = []
    for precision in ("fp32", "bf16"):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
            try:
                runs.append(alone.submit(_measure, ref, precision, SECONDS).result())
            except BrokenProcessPool as error:
                raise ModelError(
                    f"{ref}: measuring it in {precision} ended early, as it does where memory runs out"
                ) from error
    exact = runs[0][1]
    return [replace(row, least_cosine=round(float((x * exact).sum(axis=1).min()), 5)) for row, x in runs]


def cold_query_ms(ref: str) -> float | None:
    """The first text of a process that has no torch loaded, by towers that are kept; None: none are."""
    from encoder.query import query_encoder
    from encoder.towers.encoder import TowersEncoder

    started = time.perf_counter()
    encoder = query_encoder(ref, images=False)
    if not isinstance(encoder, TowersEncoder):
        return None
    encoder.encode_texts(["a red shirt on a chair"])
    return round((time.perf_counter() - started) * 1e3, 1)


def _measure(ref: str, precision: str, seconds: float) -> tuple[Measured, Vectors]:
    """In a process of its own: the row, as if it agreed, and the vectors of the pictures."""
    started = time.perf_counter()
    from encoder.model.device import choose_precision, has_fast_bf16
    from encoder.model.load import load_encoder

    encoder = load_encoder(ref, precision=precision)
    loaded = time.perf_counter() - started
    vectors = encoder.encode_pixels(_pictures(_PICTURES, encoder.preprocess))
    images = images_per_second(encoder, seconds)
    query = float(np.median(_timed(lambda i: encoder.encode_texts([f"a red shirt on chair {i}"]), seconds)))
    row = Measured(
        precision,
        precision == "fp32" or has_fast_bf16(encoder.device),
        str(encoder.device),
        round(loaded, 2),
        round(images, 1),
        round(query * 1e3, 1),
        round(_peak_mb(), 0),
        1.0,
        choose_precision("auto", encoder.device) == precision,
    )
    return row, vectors


def images_per_second(encoder: DualEncoder, seconds: float = SECONDS) -> float:
    """Of the model alone, from pixels in memory, in batches as for a folder; takes some seconds."""
    batch = _pictures(encoder.batch_size, encoder.preprocess)
    return len(batch) / float(np.mean(_timed(lambda _: encoder.encode_pixels(batch), seconds)))


def _timed(work: Callable[[int], object], seconds: float) -> list[float]:
    """Seconds of each call for a while, the first one, which warms up, left out; calls are numbered."""
    work(0)
    took: list[float] = []
    while not took or sum(took) < seconds:
        started = time.perf_counter()
        work(len(took) + 1)
        took.append(time.perf_counter() - started)
    return took


def _pictures(n: int, preprocess: Preprocess) -> Pixels:
    """Drawn pictures (n, height, width, 3): smooth shapes, no two alike."""
    height, width = preprocess.height_width
    coarse = np.random.default_rng(0).integers(0, 256, (n, 8, 8, 3), np.uint8)
    return np.stack([resize_by_pillow(each, height, width) for each in coarse])


def _peak_mb() -> float:
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)
