"""How fast a model is on this machine, and how near its precisions are to each other.

Each precision is measured in a process of its own, for what memory one took at most counts for the next as well; and
exported towers beside torch, where they are kept and images go by them here.
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
from encoder.known import recall
from encoder.processor import runs_exported_images
from encoder.towers.folder import towers_of

if TYPE_CHECKING:
    from encoder.encoder import Encoder

SECONDS = 2.0  # of each measurement, at least one batch or query
_PICTURES = 16  # whose vectors are compared


@dataclass(frozen=True)
class Measured:
    """What was measured of one precision.

    Attributes:
        precision: "fp32" or "bf16".
        exported: by the towers that are kept, and not by torch; as `index` encodes images in this precision here.
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
    exported: bool
    native: bool
    device: str
    load_seconds: float
    images_per_second: float
    query_ms: float
    peak_mb: float
    least_cosine: float
    is_auto: bool


def measure(ref: str) -> list[Measured]:
    """Measure a model in fp32 and in bf16, a process each, and by exported towers where `index` takes those.

    Takes some seconds and what loading takes.

    Raises:
        ModelError, ModelUnavailable: as `encoder.model.load.load_encoder`, or there is not the memory for it.
    """
    runs: list[tuple[Measured, Vectors]] = []
    for precision, exported in (("fp32", False), ("fp32", True), ("bf16", False)):
        if exported and not _goes_by_towers(ref):
            continue
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
            try:
                runs.append(alone.submit(_measure, ref, precision, exported, SECONDS).result())
            except BrokenProcessPool as error:
                raise ModelError(
                    f"{ref}: measuring it in {precision} ended early, as it does where memory runs out"
                ) from error
    exact = runs[0][1]
    return [replace(row, least_cosine=round(float((x * exact).sum(axis=1).min()), 5)) for row, x in runs]


def _goes_by_towers(ref: str) -> bool:
    """Whether images in fp32 go by towers that are kept, as `encoder.lazy.LazyEncoder` has it."""
    known = recall(ref) if runs_exported_images("auto", "fp32") else None
    kept = towers_of(known.fingerprint) if known else None
    return bool(kept and kept.text and kept.visual)


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


def _measure(ref: str, precision: str, exported: bool, seconds: float) -> tuple[Measured, Vectors]:
    """In a process of its own: the row, as if it agreed, and the vectors of the pictures."""
    started = time.perf_counter()
    encoder: Encoder
    if exported:
        from encoder.lazy import open_encoder

        encoder = open_encoder(ref, precision=precision)
        encoder.encode_texts(["both"])
        encoder.encode_pixels(_pictures(1, encoder.preprocess))
    else:
        from encoder.model.load import load_encoder

        encoder = load_encoder(ref, precision=precision)
    loaded = time.perf_counter() - started
    vectors = encoder.encode_pixels(_pictures(_PICTURES, encoder.preprocess))
    images = images_per_second(encoder, seconds)
    query = float(np.median(_timed(lambda i: encoder.encode_texts([f"a red shirt on chair {i}"]), seconds)))
    peak = _peak_mb()
    from encoder.model.device import choose_device, choose_precision, has_fast_bf16  # towers need no torch

    device = choose_device("auto")
    row = Measured(
        precision,
        exported,
        precision == "fp32" or has_fast_bf16(device),
        str(device),
        round(loaded, 2),
        round(images, 1),
        round(query * 1e3, 1),
        round(peak, 0),
        1.0,
        choose_precision("auto", device) == precision and exported == (precision == "fp32" and _goes_by_towers(ref)),
    )
    return row, vectors


def images_per_second(encoder: Encoder, seconds: float = SECONDS) -> float:
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
