"""Reads image files into the pixels that a model wants: upright, RGB, resized and cropped, uint8.

The geometry is open_clip's (`image_transform`: shortest, longest and squash), with four differences on purpose: EXIF
orientation is applied; transparency is laid on white and 16-bit data is scaled before resizing; a JPEG is decoded at
1/2, 1/4 or 1/8 where that still leaves `DRAFT_MARGIN` times the pixels the model sees; and whatever a decoder raises
becomes one `ImageError`. Normalising to mean and std happens on the model's device (encoder/model.py).
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import io
import logging
import math
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL
import pillow_heif
import torch
import torch.nn.functional as F
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile

from base.errors import ImageError
from encoder.bounds import JPEG2000_PIXELS, MAX_SIDE, jpeg2000_levels, problem_of

Pixels = npt.NDArray[np.uint8]

pillow_heif.register_heif_opener()
# What the decoders think of odd metadata would drown a folder's report; what they cannot read becomes an ImageError.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").setLevel(logging.CRITICAL)
for _libtiff in (Path(PIL.__file__).parents[1] / "pillow.libs").glob("libtiff-*.so*"):  # it prints to stderr by itself
    ctypes.CDLL(str(_libtiff)).TIFFSetWarningHandler(None)
    ctypes.CDLL(str(_libtiff)).TIFFSetErrorHandler(None)

MAX_PIXELS = 120_000_000  # decoded size; a larger image is refused, a larger JPEG is first decoded at a fraction
Image.MAX_IMAGE_PIXELS = 2**30  # Pillow would refuse a large JPEG before it can be decoded at a fraction
MAX_FILE_BYTES = 512 * 2**20
DRAFT_MARGIN = 1.5  # of the model's side; docs/benchmarks.md says what it costs in cosine

# EPS would start Ghostscript, and the rest are documents, meteorology and fonts rather than photos.
FORMATS = (
    "JPEG", "PNG", "WEBP", "HEIF", "AVIF", "GIF", "BMP", "DDS", "DIB", "ICNS", "ICO", "JPEG2000", "PCX", "PPM", "PSD",
    "QOI", "SGI", "TGA", "TIFF",
)  # fmt: skip
_EXIF_TIME = re.compile(r"\s*(\d{4})[:-](\d\d)[:-](\d\d)[ T](\d\d:\d\d:\d\d)", re.ASCII)
_EXIF_OFFSET = re.compile(r"[+-](0\d|1[0-4]):[0-5]\d", re.ASCII)
_FIRST_PHOTOGRAPH = 1826  # cameras write the year 0 or 1 where they know none
_BAND_PIXELS = 4_000_000
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
    taken: str | None = None  # when, by its EXIF: ISO 8601, in the camera's local time where that names no offset


def read_picture(source: str | Path | bytes, preprocess: Preprocess, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read one image file, or the bytes of one, ready for the model.

    Raises:
        ImageError: the file cannot be read or decoded, or is larger than the limits; carries the reason.
    """
    if isinstance(source, bytes):
        return decode_picture(source, preprocess, max_pixels=max_pixels)
    return decode_picture(read_bytes(source), preprocess, name=str(source), max_pixels=max_pixels)


def decode_picture(
    data: bytes, preprocess: Preprocess, *, name: str | None = None, max_pixels: int = MAX_PIXELS
) -> Picture:
    """Decode the bytes of an image file, ready for the model; `name` is what an error calls it.

    Raises:
        ImageError: as `read_picture`.
    """
    image, (width, height), taken = _decode(data, name, preprocess.height_width, max_pixels)
    try:
        return Picture(to_pixels(image, preprocess), width, height, taken)
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
        return _decode(source, None, at_least, max_pixels)[0]
    return _decode(read_bytes(source), str(source), at_least, max_pixels)[0]


def upright_rgb(image: Image.Image) -> Image.Image:
    """A Pillow image as `open_image` would give it: loaded, turned upright, RGB.

    Raises:
        ImageError: its data cannot be decoded.
    """
    try:
        image.load()
        upright = image.copy()  # the caller's own stays as it is
        _turn_upright(upright)
        return _to_rgb(upright)
    except Exception as error:
        raise ImageError(None, f"cannot be decoded: {error}") from error


def to_pixels(image: Image.Image, preprocess: Preprocess) -> Pixels:
    """Resize and crop an RGB image as the model was trained: (height, width, 3) uint8.

    The antialiased uint8 resize of torch gives Pillow's result to within 2 of 255 in half its time.
    """
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
    resized = resize(array, new_h, new_w, preprocess.interpolation)
    return _crop_or_pad(resized, target_h, target_w, preprocess.fill_color)


def resize(array: Pixels, height: int, width: int, interpolation: str = "bicubic") -> Pixels:
    """Resize (h, w, 3) uint8 to (height, width, 3) with antialiasing."""
    if not array.flags.writeable:  # Pillow's own buffer, which torch would warn of
        array = array.copy()
    if array.shape[:2] == (height, width):
        return array
    mode = "bilinear" if interpolation == "bilinear" else "bicubic"
    planes = torch.from_numpy(array).permute(2, 0, 1)[None]
    resized = F.interpolate(planes, size=(height, width), mode=mode, antialias=True)[0].permute(1, 2, 0)
    return resized.numpy()


def read_bytes(path: str | Path) -> bytes:
    """The bytes of a file.

    Raises:
        ImageError: it cannot be read, is empty, or is larger than `MAX_FILE_BYTES`.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size == 0:
            raise ImageError(path, "the file is empty")
        if size > MAX_FILE_BYTES:
            raise ImageError(path, f"the file has {size / 2**20:,.0f} MiB; the limit is {MAX_FILE_BYTES >> 20} MiB")
        return path.read_bytes()
    except OSError as error:
        raise ImageError(path, error.strerror or str(error)) from error


def sha256_of(data: bytes) -> str:
    """SHA-256 of a file's bytes, 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def _decode(
    data: bytes, name: str | None, at_least: tuple[int, int] | None, max_pixels: int
) -> tuple[Image.Image, tuple[int, int], str | None]:
    """Decode to upright RGB; also the upright original's (width, height), and when it was taken."""
    if problem := problem_of(data):
        raise ImageError(name, problem)
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            original = image.size
            side = None if at_least is None else max(at_least) * DRAFT_MARGIN
            if side is not None and image.format in ("JPEG", "MPO"):
                scale = min(1.0, side / min(image.size))
                image.draft("RGB", (round(image.width * scale), round(image.height * scale)))
            halvings = _halve(image, data, side) if isinstance(image, Jpeg2KImageFile) else 0
            _check_size(image, name, halvings, max_pixels)
            image.load()
            taken = _taken(image)
            before = image.size
            _turn_upright(image)
            return _to_rgb(image), original if image.size == before else original[::-1], taken
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError(name, "not an image, or not in a format that glimpse reads") from None
    except Exception as error:  # decoders raise whatever they meet: SyntaxError, struct.error, IndexError, MemoryError
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(name, f"cannot be decoded: {reason}") from error


def _halve(image: Jpeg2KImageFile, data: bytes, side: float | None) -> int:
    """Have a JPEG 2000 decoded at a fraction, if `side` pixels suffice; how often it is halved."""
    most = 0 if side is None else int(math.log2(max(1.0, min(image.size) / side)))
    image.reduce = halvings = min(most, jpeg2000_levels(data))
    return halvings


def _check_size(image: Image.Image, name: str | None, halvings: int, max_pixels: int) -> None:
    """ImageError if what is decoded now would be too much."""
    pixels = image.width * image.height >> 2 * halvings
    limit = min(max_pixels, JPEG2000_PIXELS) if isinstance(image, Jpeg2KImageFile) else max_pixels
    if pixels > limit:
        raise ImageError(
            name, f"the image has {pixels / 1e6:,.0f} million pixels; the limit is {limit / 1e6:,.0f} million"
        )
    if max(image.size) > MAX_SIDE:
        raise ImageError(name, f"the image has a side of {max(image.size):,} pixels; the limit is {MAX_SIDE:,}")


def _turn_upright(image: Image.Image) -> None:
    """Apply the EXIF orientation, in place: it is there only in some; a broken EXIF block must not cost the picture."""
    with contextlib.suppress(Exception):
        ImageOps.exif_transpose(image, in_place=True)


def _taken(image: Image.Image) -> str | None:
    """When a loaded picture was taken: EXIF's DateTimeOriginal, or DateTime where that says nothing."""
    with contextlib.suppress(Exception):
        exif = image.getexif()
        original = exif.get_ifd(ExifTags.IFD.Exif) if ExifTags.IFD.Exif in exif else {}
        tag = ExifTags.Base
        return _iso_time(original.get(tag.DateTimeOriginal), original.get(tag.OffsetTimeOriginal)) or _iso_time(
            exif.get(tag.DateTime), original.get(tag.OffsetTime)
        )
    return None


def _iso_time(time: object, offset: object) -> str | None:
    """EXIF's "2021:07:04 12:34:56" and "+02:00" in ISO 8601; None for what is no date, or before photography."""
    found = _EXIF_TIME.match(str(time))
    if not found or int(found[1]) < _FIRST_PHOTOGRAPH:
        return None
    zone = str(offset)[:6] if _EXIF_OFFSET.match(str(offset)) else ""
    try:
        return datetime.fromisoformat(f"{found[1]}-{found[2]}-{found[3]}T{found[4]}{zone}").isoformat()
    except ValueError:
        return None


def _to_rgb(image: Image.Image) -> Image.Image:
    """RGB as a person sees it: transparency on white, more than 8 bits scaled down instead of clipped."""
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        return _spread(np.asarray(image))
    if image.has_transparency_data:
        flat = Image.new("RGB", image.size)
        for top, bottom in _bands(image.width, image.height):
            layer = image.crop((0, top, image.width, bottom)).convert("RGBA")
            white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
            flat.paste(Image.alpha_composite(white, layer).convert("RGB"), (0, top))
        return flat
    return image.convert("RGB")


def _spread(values: npt.NDArray[Any]) -> Image.Image:
    """Grey from black at the least of (h, w) numbers to white at the largest."""

    def numbers() -> Iterator[npt.NDArray[np.float64]]:
        for top, bottom in _bands(values.shape[1], values.shape[0]):
            yield np.nan_to_num(values[top:bottom].astype(np.float64))

    ends = [(float(band.min()), float(band.max())) for band in numbers()]
    low, high = min(end[0] for end in ends), max(end[1] for end in ends)
    scale = 255 / (high - low) if high > low else 0.0
    grey = np.concatenate([((band - low) * scale).astype(np.uint8) for band in numbers()])
    return Image.fromarray(grey).convert("RGB")


def _bands(width: int, height: int) -> Iterator[tuple[int, int]]:
    """Rows (from, to) to do at a time, so that what is made on the way takes little memory of a large image."""
    rows = max(1, _BAND_PIXELS // width)
    for top in range(0, height, rows):
        yield top, min(height, top + rows)


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
