"""A decoded picture as a person sees it: sRGB, 8 bits, upright numbers, on a ground that shows what is transparent.

Profiles are converted by littleCMS. Knows nothing of files; `encoder/picture/profile.py` finds what their numbers mean.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

_BAND_PIXELS = 4_000_000
_WHITE, _DARK = (255, 255, 255), (64, 64, 64)
_FAINT = 40  # of 255: what is visible differs less from white on average, so white would hide it
_SAMPLE = (256, 256)
_SPACES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab ": "LAB"}
_SRGB = ImageCms.createProfile("sRGB")
_DEPTHS = (8, 10, 12, 14, 16)  # bits of grey that scans and cameras keep in 16
_PROFILED = (12, 16)  # where a profile says what the numbers mean, dark ones are meant
_SAME = 3  # of 255: a profile that changes no colour by more is sRGB by another name
_BITS, _SAMPLE_FORMAT = 258, 339  # of a TIFF; 2: numbers with a sign
_WHITE_IS_ZERO = 262  # TIFF's PhotometricInterpretation, where 0 means that


def to_srgb(image: Image.Image, profile: bytes | None, at_least: int | None = None) -> Image.Image:
    """A loaded picture as 8-bit sRGB.

    More than 8 bits are scaled by the range that is used; transparency is laid on white, or on dark grey where all that
    is visible is light; colours are converted by the profile, after a reduction where `at_least` allows one.

    Args:
        image: loaded.
        profile: ICC. None is sRGB; a broken one, or one of another colour space, is passed over.
        at_least: the shorter side, in pixels, that suffices.
    """
    image = _plain(image, profiled=profile is not None)
    if image.mode == "LAB":
        profile = _LAB
    if profile and image.mode != "F":
        with contextlib.suppress(ImageCms.PyCMSError, ValueError):
            image = _convert(image, profile, at_least)
    if image.mode == "I;16":
        image = _eight_bits(image)
    elif image.mode == "F":
        image = _spread(np.asarray(image))
    return image if image.mode == "RGB" else image.convert("RGB")


def contrast(image: Image.Image) -> float:
    """The standard deviation of a loaded picture's grey values, 0 to 128, on a sample."""
    small = image.resize(_SAMPLE, Image.Resampling.NEAREST)
    grey = to_srgb(small, None).convert("L")
    return float(np.asarray(grey, np.float32).std())


def _plain(image: Image.Image, *, profiled: bool) -> Image.Image:
    """The same picture in one of the modes RGB, L, I;16, CMYK, LAB and F, opaque, in the range that is used."""
    if image.mode.startswith("I;16"):
        levels = np.asarray(image).astype(np.uint16)
        most = int(levels.max(initial=0))
        levels <<= 16 - next(bits for bits in (_PROFILED if profiled else _DEPTHS) if most < 1 << bits)
        return Image.fromarray(~levels if _is_inverted(image) else levels)
    if image.mode in ("I", "F") or _is_signed(image):
        values = _numbers(image)
        return Image.fromarray(-values if _is_inverted(image) else values)
    if image.has_transparency_data:
        return _flatten(image)
    if image.mode == "RGB" and image.format == "TIFF":
        return _use_range(image)
    if image.mode in ("RGB", "L", "CMYK", "LAB"):
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def _convert(image: Image.Image, profile: bytes, at_least: int | None) -> Image.Image:
    """To sRGB, as far as the profile changes anything that can be seen."""
    mode = _space(profile)
    if image.mode == "I;16" and mode != "L":
        image = _eight_bits(image)
    if {image.mode, mode} == {"RGB", "L"}:
        image = image.convert(mode)
    if mode == "L":
        return Image.fromarray(_greys(profile, image.mode)[np.asarray(image)])
    transform = _transform(profile, image.mode) if mode else None
    if transform is None:
        return image
    if at_least and (factor := min(image.size) // (2 * at_least)) > 1:
        image = image.reduce(factor)
    return ImageCms.applyTransform(image, transform) or image


@lru_cache(maxsize=32)
def _space(profile: bytes) -> str | None:
    """The mode of the pictures that a profile is for; None if it is for none, or broken."""
    try:
        return _SPACES.get(ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile.xcolor_space)
    except OSError:
        return None


@lru_cache(maxsize=32)
def _greys(profile: bytes, mode: str) -> npt.NDArray[np.uint8]:
    """What each grey of 8 or 16 bits is in sRGB: littleCMS loses shadows where it is left to be quick.

    Raises:
        PyCMSError: the profile is not for grey pictures.
    """
    opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    flags = ImageCms.Flags.NOOPTIMIZE
    transform = ImageCms.buildTransform(opened, _SRGB, mode, "RGB", ImageCms.Intent.PERCEPTUAL, flags)
    numbers = np.arange(256, dtype=np.uint8) if mode == "L" else np.arange(2**16, dtype=np.uint16)
    ramp = ImageCms.applyTransform(Image.fromarray(numbers[None]), transform)
    return np.asarray(ramp)[0, :, 0]


@lru_cache(maxsize=32)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """What converts pictures of a mode to sRGB; None where that changes nothing to see.

    Raises:
        PyCMSError: the profile is not for such pictures.
    """
    opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    transform = ImageCms.buildTransform(opened, _SRGB, mode, "RGB", ImageCms.Intent.PERCEPTUAL)
    if mode == "RGB":
        steps = np.arange(0, 256, 17, dtype=np.uint8)
        grid = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(64, 64, 3)
        after = np.asarray(ImageCms.applyTransform(Image.fromarray(grid), transform), np.int16)
        if np.abs(after - grid).max() <= _SAME:
            return None
    return transform


_LAB = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


def _flatten(image: Image.Image) -> Image.Image:
    """Lay a picture on its ground, in bands, so that a large one takes little memory."""
    flat = Image.new("RGB", image.size)
    ground = (*_ground(image), 255)
    for top, bottom in _bands(image.width, image.height):
        layer = image.crop((0, top, image.width, bottom)).convert("RGBA")
        below = Image.new("RGBA", layer.size, ground)
        flat.paste(Image.alpha_composite(below, layer).convert("RGB"), (0, top))
    return flat


def _ground(image: Image.Image) -> tuple[int, int, int]:
    small = image.resize(_SAMPLE, Image.Resampling.NEAREST) if image.width * image.height > 2**16 else image
    rgba = np.asarray(small.convert("RGBA"), np.float32)
    alpha = rgba[..., 3]
    light = rgba[..., :3] @ np.array([0.299, 0.587, 0.114], np.float32)
    seen = float(alpha.sum())
    return _DARK if seen and float((alpha * (255 - light)).sum()) / seen < _FAINT else _WHITE


def _use_range(image: Image.Image) -> Image.Image:
    """A TIFF of three times 16 bits, of which 12 are used, comes from Pillow nearly black."""
    tags = getattr(image, "tag_v2", {})
    if set(tags.get(258, ())) != {16}:
        return image
    most = max(high for _, high in image.getextrema())  # type: ignore[misc]
    factor = 255 / (2 ** max(1, most.bit_length()) - 1)
    return image.point(lambda value: value * factor) if factor > 1 else image


def _eight_bits(image: Image.Image) -> Image.Image:
    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))


def _numbers(image: Image.Image) -> npt.NDArray[np.float32]:
    """Grey of 32 bits or with a sign, as its TIFF means it: Pillow gives any the kind that its mode has."""
    values = np.asarray(image)
    if image.mode == "I" and getattr(image, "tag_v2", {}).get(_BITS) == (32,) and not _is_signed(image):
        values = values.view(np.uint32)
    return (values.view(np.int8) if image.mode == "L" else values).astype(np.float32)


def _is_signed(image: Image.Image) -> bool:
    return image.mode in ("I", "L") and getattr(image, "tag_v2", {}).get(_SAMPLE_FORMAT) == (2,)


def _is_inverted(image: Image.Image) -> bool:
    """Whether black is the largest number, which Pillow turns round for 8 bits alone."""
    return getattr(image, "tag_v2", {}).get(_WHITE_IS_ZERO) == 0


def _spread(values: npt.NDArray[Any]) -> Image.Image:
    """Grey from black at the least of (h, w) numbers to white at the largest; what is no number is black."""
    finite = np.isfinite(values)
    if not finite.any():
        return Image.new("L", values.shape[::-1])
    low = float(values.min(where=finite, initial=np.inf))
    high = float(values.max(where=finite, initial=-np.inf))
    scale = 255 / (high - low) if high > low else 0.0
    grey = np.zeros(values.shape, np.uint8)
    for top, bottom in _bands(values.shape[1], values.shape[0]):
        band = np.where(finite[top:bottom], values[top:bottom], low).astype(np.float64)
        grey[top:bottom] = (band - low) * scale
    return Image.fromarray(grey)


def _bands(width: int, height: int) -> Iterator[tuple[int, int]]:
    """Rows (from, to) to do at a time, so that what is made on the way takes little memory of a large image."""
    rows = max(1, _BAND_PIXELS // width)
    for top in range(0, height, rows):
        yield top, min(height, top + rows)
