"""What tests are made of that need little: plain pictures, a model that is small and real, and where the code lies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from encoder.encoder import Encoder, Vectors
from encoder.image import Pixels

ROOT = Path(__file__).parents[1]
TINY = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 180, 40),
    "blue": (30, 60, 220),
    "yellow": (240, 220, 30),
    "black": (10, 10, 10),
    "white": (250, 250, 250),
    "purple": (140, 40, 170),
    "orange": (250, 140, 20),
}


def plain_picture(colour: str, shade: int = 0, size: tuple[int, int] = (48, 40)) -> Image.Image:
    """A picture of one colour; `shade` makes it another picture of the same colour."""
    rgb = tuple(min(255, max(0, channel + shade)) for channel in COLOURS[colour])
    image = Image.new("RGB", size, rgb)
    image.putpixel((0, 0), (shade % 256, 0, 0))
    return image


class SmallBatches(Encoder):
    """An encoder in batches of four."""

    batch_size = 4

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    def encode_pixels(self, pixels: Pixels) -> Vectors:
        return self._encoder.encode_pixels(pixels)

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        return self._encoder.encode_texts(texts)
