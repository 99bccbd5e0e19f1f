"""What this machine is, as far as the choice of a model goes by it: memory, device, precision, and measured speeds.

The speed with images is that of a ViT-B/32 image tower with random weights; other models take as much longer as they
have more to compute. Large models and GPUs compute more a second than this one, so theirs are bounds rather than
promises; `encoder.measure` measures one model.
"""

from __future__ import annotations

import io
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from base.machine.cpus import threads
from base.machine.memory import memory
from encoder.image import Preprocess, read_picture
from encoder.measure import images_per_second
from encoder.model.device import choose_device, choose_precision, device_memory
from encoder.model.load import build_clip, make_encoder

_TOWER_GFLOPS = 8.82  # of the image tower below, as of every ViT-B/32 at 224 pixels
_TOWER = {
    "embed_dim": 512,
    "vision_cfg": {"image_size": 224, "layers": 12, "width": 768, "patch_size": 32},
    "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1},
}
_PHOTO = (4000, 3000)  # pixels of a photo as a telephone takes them
_SMALL = 48  # its picture, before it is made large: smooth, as photos mostly are
_READS = 3


@dataclass(frozen=True)
class Machine:
    """One machine.

    Attributes:
        memory: bytes that this process may take.
        device: where a model runs by itself: "cpu", "cuda", "mps".
        device_memory: bytes of its own; None: it takes the machine's.
        precision: "fp32", or "bf16" where the device multiplies in it natively.
        threads: that decode and, on a processor, encode.
        gflops: 10^9 operations a second with images, as measured.
        seconds_a_photo: for one thread to decode a photo of 12 megapixels, as measured.
    """

    memory: int
    device: str
    device_memory: int | None
    precision: str
    threads: int
    gflops: float
    seconds_a_photo: float


def this_machine() -> Machine:
    """Measure this one; takes some seconds, the import of torch with it.

    Raises:
        ModelError: no tower can be built, as where memory runs out.
    """
    device = choose_device("auto")
    precision = choose_precision("auto", device)
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "tower.json"
        config.write_text(json.dumps(_TOWER))
        encoder = make_encoder(build_clip(config), "measured", device, precision, "measured")
    speed = images_per_second(encoder)
    return Machine(
        memory(),
        device.type,
        device_memory(device),
        precision,
        threads(),
        round(speed * _TOWER_GFLOPS, 1),
        round(_seconds_a_photo(encoder.preprocess), 4),
    )


def _seconds_a_photo(preprocess: Preprocess) -> float:
    coarse = np.random.default_rng(0).integers(0, 256, (_SMALL, _SMALL, 3), np.uint8)
    photo = io.BytesIO()
    Image.fromarray(coarse).resize(_PHOTO, Image.Resampling.BICUBIC).save(photo, "JPEG", quality=90)
    took = []
    for _ in range(_READS):
        started = time.perf_counter()
        read_picture(photo.getvalue(), preprocess)
        took.append(time.perf_counter() - started)
    return min(took)
