"""Reads image files into the pixels that a model wants: upright, RGB, resized and cropped, uint8.

The geometry is open_clip's (`image_transform`: shortest, longest and squash). A picture is decoded as a person sees it
(`decode`), a JPEG at 1/2, 1/4 or 1/8 where that leaves `DRAFT_MARGIN` times the pixels that the model sees. Normalising
to mean and std happens on the model's device (encoder/model/dual_encoder.py).
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from base.errors import ImageError
from encoder.picture.decode import MAX_PIXELS, read_bytes
from encoder.picture.sandbox import decode_bounded

Pixels = npt.NDArray[np.uint8]
Resize = Callable[[Pixels, int, int, str], Pixels]  # (h, w, 3), height, width, interpolation -> (height, width, 3)

_MAX_ASPECT = 4  # a 10 x 40,000 strip would be resized to 224 x 896,000 only to be cropped


@dataclass(frozen=True)
class Preprocess:
    """How a model wants its images; the fields are those of open_clip's `preprocess_cfg`."""

    size: int | tuple[int, int] = 224
    mean: tuple[float, ...] = (0.48145466, 0.4578275, 0.40821073)
    std: tuple[float, ...] = (0.26862954, 0.26130258, 0.27577711)
    interpolation: str = "bicubic"
    resize_mode: str = "shortest"
    fill_color: int = 0

    @classmethod
    def from_open_clip(cls, config: Mapping[str, Any]) -> Preprocess:
        """Take the fields that matter from an open_clip `preprocess_cfg`."""
        names = {field.name for field in fields(cls)}
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, (list, tuple)) else value
            for name, value in config.items()
            if name in names and value is not None
        }
        return cls(**values)

    def to_open_clip(self) -> dict[str, Any]:
        """The same as a `preprocess_cfg`, for `open_clip_config.json`."""
        return asdict(self) | {"mode": "RGB"}

    @property
    def height_width(self) -> tuple[int, int]:
        """The model's input, (height, width) in pixels."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size


@dataclass(frozen=True)
class Picture:
    """One image file, read: its pixels for the model and what the file is."""

    pixels: Pixels  # (height, width, 3) of the model
    width: int  # of the upright original, before any reduced decode
    height: int
    taken: str | None = None  # when, by its file: ISO 8601, on the clock of that place where that names no offset
    missing: float | None = None  # the share of its rows that a file lacks which was cut off; None: it is whole

    @property
    def cut_off(self) -> str | None:
        """In words that the file is cut off; None: it is whole."""
        if self.missing is None:
            return None
        return "the file is cut off" + (f", and {self.missing:.0%} of its rows are missing" * (self.missing >= 0.005))


def read_picture(
    source: str | Path | bytes, preprocess: Preprocess, *, max_pixels: int = MAX_PIXELS, resize: Resize | None = None
) -> Picture:
    """Read one image file, or the bytes of one, ready for the model; `resize` as for `to_pixels`.

    Raises:
        ImageError: the file cannot be read or decoded, or is larger than the limits; carries the reason.
    """
    if isinstance(source, bytes):
        return decode_picture(source, preprocess, max_pixels=max_pixels, resize=resize)
    return decode_picture(read_bytes(source), preprocess, name=str(source), max_pixels=max_pixels, resize=resize)


def decode_picture(
    data: bytes,
    preprocess: Preprocess,
    *,
    name: str | None = None,
    max_pixels: int = MAX_PIXELS,
    when_large: Callable[[], object] | None = None,
    resize: Resize | None = None,
) -> Picture:
    """Decode the bytes of an image file, ready for the model; `name` and `when_large` as for `picture.decode.decode`.

    Raises:
        ImageError: as `read_picture`.
    """
    wanted = preprocess.height_width
    found = decode_bounded(data, name, at_least=wanted, max_pixels=max_pixels, when_large=when_large)
    try:
        pixels = to_pixels(found.image, preprocess, resize)
        return Picture(pixels, found.width, found.height, found.taken, found.missing)
    except MemoryError as error:
        raise ImageError(name, "cannot be decoded: it takes more memory than there is") from error


def open_image(
    source: str | Path | bytes, *, at_least: tuple[int, int] | None = None, max_pixels: int = MAX_PIXELS
) -> Image.Image:
    """Decode an image file, or the bytes of one, to an upright RGB image.

    Args:
        source: a path, or the file's bytes.
        at_least: (height, width) that suffice; lets a JPEG be decoded at a fraction of its size.
        max_pixels: the largest decoded image that is accepted.

    Raises:
        ImageError: the file cannot be read or decoded, or is larger than the limits; carries the reason.
    """
    if isinstance(source, bytes):
        return decode_bounded(source, at_least=at_least, max_pixels=max_pixels).image
    return decode_bounded(read_bytes(source), str(source), at_least=at_least, max_pixels=max_pixels).image


def thumbnail_uri(path: str | Path, size: int) -> str | None:
    """A JPEG of an image file, its longer side `size` pixels, as a data URI; None where it cannot be read."""
    try:
        image = open_image(path, at_least=(size, size))
    except ImageError:
        return None
    image.thumbnail((size, size))
    data = io.BytesIO()
    image.save(data, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode()


def to_pixels(image: Image.Image, preprocess: Preprocess, resize: Resize | None = None) -> Pixels:
    """Resize and crop an RGB image as the model was trained, by `resize_by_torch`: (height, width, 3) uint8."""
    target_h, target_w = preprocess.height_width
    array = np.asarray(image)
    if preprocess.resize_mode == "shortest":
        array = _trim(array)
    h, w = array.shape[:2]
    if preprocess.resize_mode == "squash":
        new_h, new_w = target_h, target_w
    elif preprocess.resize_mode == "longest":
        ratio = max(h / target_h, w / target_w)
        new_h, new_w = max(1, round(h / ratio)), max(1, round(w / ratio))
    elif target_h == target_w:  # torchvision's Resize with one number: the longer side is cut down, not rounded
        new_h, new_w = (int(target_h * h / w), target_w) if w <= h else (target_h, int(target_w * w / h))
    else:
        ratio = min(h / target_h, w / target_w)
        new_h, new_w = round(h / ratio), round(w / ratio)
    resized = (resize or resize_by_torch)(array, new_h, new_w, preprocess.interpolation)
    return _crop_or_pad(resized, target_h, target_w, preprocess.fill_color)


def resize_by_torch(array: Pixels, height: int, width: int, interpolation: str = "bicubic") -> Pixels:
    """Resize (h, w, 3) uint8 to (height, width, 3), antialiased: within 2 of 255 of Pillow's, in half the time."""
    if not array.flags.writeable:  # Pillow's own buffer, which torch would warn of
        array = array.copy()
    if array.shape[:2] == (height, width):
        return array
    import torch  # takes a second: not before there is a picture
    import torch.nn.functional as F

    mode = "bilinear" if interpolation == "bilinear" else "bicubic"
    planes = torch.from_numpy(array).permute(2, 0, 1)[None]
    resized = F.interpolate(planes, size=(height, width), mode=mode, antialias=True)[0].permute(1, 2, 0)
    return resized.numpy()


def resize_by_pillow(array: Pixels, height: int, width: int, interpolation: str = "bicubic") -> Pixels:
    """The same where torch is not loaded: for a picture or two, loading it takes longer."""
    how = Image.Resampling.BILINEAR if interpolation == "bilinear" else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(array).resize((width, height), how))


def sha256_of(data: bytes) -> str:
    """SHA-256 of a file's bytes, 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def _trim(array: Pixels) -> Pixels:
    """Cut the far ends of a very long image, which the centre crop would drop anyway."""
    h, w = array.shape[:2]
    if h > _MAX_ASPECT * w:
        top = (h - _MAX_ASPECT * w) // 2
        return array[top : top + _MAX_ASPECT * w]
    if w > _MAX_ASPECT * h:
        left = (w - _MAX_ASPECT * h) // 2
        return array[:, left : left + _MAX_ASPECT * h]
    return array


def _crop_or_pad(array: Pixels, height: int, width: int, fill: int) -> Pixels:
    """Centre (h, w, 3) in (height, width, 3): cropped where larger, padded with `fill` where smaller."""
    h, w = array.shape[:2]
    if h < height or w < width:
        top, left = max(0, (height - h) // 2), max(0, (width - w) // 2)
        padded = np.full((max(h, height), max(w, width), 3), fill, np.uint8)
        padded[top : top + h, left : left + w] = array
        array, (h, w) = padded, padded.shape[:2]
    top, left = round((h - height) / 2), round((w - width) / 2)
    return np.ascontiguousarray(array[top : top + height, left : left + width])
