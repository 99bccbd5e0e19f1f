"""Decodes the bytes of an image file to an upright sRGB picture; whatever a decoder raises becomes one `ImageError`.

What a file would take is asked before it is decoded (`bounds`); a camera's raw file gives its preview (`raw`); of pages
and frames the first that shows something is taken; a file that was cut off shows what there is of it. Resizes nothing
but to save time, and imports no torch, so that a process that does but this starts at once (`sandbox`).
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import logging
import math
import os
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import PIL
import pillow_heif
from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.TiffImagePlugin import TiffImageFile

from base.errors import ImageError, InputError
from base.sources.rules import is_in_icloud
from encoder.picture.bounds import (
    BEYOND_PIXELS,
    JPEG2000_PIXELS,
    LARGE_PIXELS,
    MAX_FRAMES,
    MAX_SIDE,
    is_kept_whole,
    jpeg2000_levels,
    problem_of,
)
from encoder.picture.colour import contrast, to_srgb
from encoder.picture.cut_off import CutOff, is_cut_off, is_taken_as_far, mended, missing_of
from encoder.picture.heif import heif_of
from encoder.picture.profile import profile_of
from encoder.picture.raw import exif_of, is_raw, preview_of
from encoder.picture.signature import is_tiff, what_it_is
from encoder.picture.taken import taken_of
from encoder.picture.tiff import have_numbers_read, is_reduced, pass_thumbnails, tile_size

pillow_heif.register_heif_opener()
# What the decoders think of odd metadata would drown a folder's report; what they cannot read becomes an ImageError.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").setLevel(logging.CRITICAL)
for _libtiff in (Path(PIL.__file__).parents[1] / "pillow.libs").glob("libtiff-*.so*"):  # it prints to stderr by itself
    ctypes.CDLL(str(_libtiff)).TIFFSetWarningHandler(None)
    ctypes.CDLL(str(_libtiff)).TIFFSetErrorHandler(None)


def _max_pixels() -> int:
    given = os.environ.get("GLIMPSE_MAX_PIXELS") or "120000000"
    if not given.isdecimal() or int(given) < 1:
        raise InputError(f"GLIMPSE_MAX_PIXELS={given}: give a number of pixels, as 200000000")
    return int(given)


MAX_PIXELS = _max_pixels()  # decoded size; a larger image is refused, a larger JPEG is first decoded at a fraction
MAX_FILE_BYTES = 512 * 2**20
HEADER_PIXELS = 2**30  # Pillow opens twice as many: a large JPEG may yet be decoded at a fraction
Image.MAX_IMAGE_PIXELS = HEADER_PIXELS
DRAFT_MARGIN = 1.5  # of the model's side; docs/benchmarks.md says what it costs in cosine

# EPS would start Ghostscript, and the rest are documents, meteorology and fonts rather than photos.
FORMATS = (
    "JPEG", "PNG", "WEBP", "HEIF", "AVIF", "GIF", "BMP", "DDS", "DIB", "ICNS", "ICO", "JPEG2000", "PCX", "PPM", "PSD",
    "QOI", "SGI", "TGA", "TIFF",
)  # fmt: skip
_PAGED = ("GIF", "WEBP", "PNG", "AVIF", "TIFF")
_CONTENT = 10  # of 128: a page with less contrast shows next to nothing
_DAMAGED = "its data are damaged"
_LIBRARY = re.compile(
    r"decoder error|Corrupt EXIF|overrun|raw mode|when reading image file|Invalid input|\bPIL\b|[Pp]lugin|\b_[a-z]|"
    r"0x[0-9a-f]{6}"
)


@dataclass(frozen=True)
class Decoded:
    """A picture out of its file."""

    image: Image.Image  # RGB, upright, sRGB; a JPEG perhaps at a fraction of its size
    width: int  # of the upright original
    height: int
    taken: str | None = None  # when, by its file: ISO 8601, on the clock of that place where that names no offset
    is_film: bool = False  # it has more pages or frames than this one
    missing: float | None = None  # the share of its rows that a file lacks which was cut off; None: it is whole


def decode(
    data: bytes,
    name: str | None = None,
    *,
    at_least: tuple[int, int] | None = None,
    max_pixels: int = MAX_PIXELS,
    when_large: Callable[[], object] | None = None,
    as_far: bool = False,
) -> Decoded:
    """Decode the bytes of an image file, in this process.

    Args:
        data: the file.
        name: what an error calls it.
        at_least: (height, width) that suffice; formats that can are decoded at a fraction of their size.
        max_pixels: the largest decoded image that is accepted.
        when_large: called, perhaps again, before more than `LARGE_PIXELS` are decoded: to wait for memory.
        as_far: take what there is of a file that was cut off; in a process that decodes nothing else meanwhile.

    Raises:
        CutOff: what there is of the file is not enough, or it is to be taken as far as it goes.
        ImageError: it cannot be decoded, or is larger than the limits; carries the reason.
    """
    if not data:
        raise ImageError(name, "the image is empty")
    outer = None
    if is_raw(data):
        preview = preview_of(data)
        if preview is None:
            raise ImageError(name, "a camera's raw file with no JPEG preview in it; export it as JPEG or TIFF")
        data, outer = preview, exif_of(data)
    heif = heif_of(data)
    if problem := problem_of(data, heif, max_pixels):
        raise ImageError(name, problem)
    side = None if at_least is None else math.ceil(max(at_least) * DRAFT_MARGIN)
    wish = _Wish(data, name, side, max_pixels, outer, heif.pixels, when_large)
    try:
        with _lenient() if as_far else contextlib.nullcontext():
            return _decode(data, wish, cut=as_far)
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        most = 2 * HEADER_PIXELS / 1e6
        raise ImageError(name, f"the image has more than {most:,.0f} million pixels") from error
    except Exception as error:  # decoders raise whatever they meet: SyntaxError, struct.error, IndexError, MemoryError
        for better in mended(data):
            with contextlib.suppress(Exception), _lenient() if as_far else contextlib.nullcontext():
                return _decode(better, wish, cut=as_far or is_taken_as_far(data))
        if is_cut_off(data, str(error)):
            raise CutOff(name) from error
        known = what_it_is(data)
        if not isinstance(error, UnidentifiedImageError):
            reason = _reason(error)
            if known and reason is _DAMAGED and is_tiff(data):  # decoders do not tell the two apart
                reason = f"{reason}, or it is of a kind that is not read: {known}"
            raise ImageError(name, f"cannot be decoded: {reason}") from error
        reason = f"not in a format that glimpse reads: {known}" if known else "not an image that glimpse knows"
        raise ImageError(name, reason) from None


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
        if isinstance(error, FileNotFoundError) and is_in_icloud(path):
            raise ImageError(path, "is in iCloud alone; download it to this machine first") from error
        raise ImageError(path, error.strerror or str(error)) from error


def upright(image: Image.Image) -> Image.Image:
    """A Pillow image as `decode` would give it: loaded, turned upright, sRGB.

    Raises:
        ImageError: its data cannot be decoded.
    """
    try:
        image.load()
        turned = image.copy()  # the caller's own stays as it is
        _turn_upright(turned)
        return to_srgb(turned, image.info.get("icc_profile"))
    except Exception as error:
        raise ImageError(None, f"cannot be decoded: {_reason(error)}") from error


@dataclass(frozen=True)
class _Wish:
    """How a file is to be decoded."""

    data: bytes  # the file as it is; what is decoded may be mended
    name: str | None
    side: int | None  # pixels of the shorter side that suffice
    max_pixels: int
    outer: Image.Exif | None  # of the raw file around it
    coded: int  # pixels that a HEIF or AVIF codes
    when_large: Callable[[], object] | None


def _decode(data: bytes, wish: _Wish, *, cut: bool = False) -> Decoded:
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        pass_thumbnails(image)
        original = image.size
        _reduce(image, data, wish)
        have_numbers_read(image)
        image.load()
        if isinstance(image, TiffImageFile):  # it was turned upright by what XMP says too, and never reduced
            original = image.size
        missing = missing_of(image, wish.data) if cut else None
        is_film = image.format in _PAGED and getattr(image, "is_animated", False)
        page = _page_with_content(image, wish) if is_film else image
        if page is not image:
            original = page.size
        _take_over(page, wish.outer)
        outer = [wish.outer] if wish.outer else []
        taken = taken_of(page, *outer)
        profile = profile_of(page, wish.data, *outer)
        before = page.size
        _turn_upright(page)
        width, height = original if page.size == before else original[::-1]
        if wish.side and page.width * page.height > wish.max_pixels:  # grey, which becomes three times as much
            page = page.convert("L").reduce(max(1, min(page.size) // (2 * wish.side)))
        return Decoded(to_srgb(page, profile, wish.side), width, height, taken, is_film, missing)


def _reduce(image: Image.Image, data: bytes, wish: _Wish) -> None:
    """Have it decoded at a fraction where that suffices and the format can; ImageError if it is too much."""
    side = wish.side
    is_jpeg, is_whole = image.format in ("JPEG", "MPO"), is_kept_whole(data)
    if is_whole:
        _check_size(image, wish)
    is_large = max(math.prod(image.size), wish.coded) > LARGE_PIXELS and (is_whole or not is_jpeg)
    if side is not None and is_jpeg:
        scale = min(1.0, side / min(image.size))
        image.draft("RGB", (round(image.width * scale), round(image.height * scale)))
    halvings = 0
    if isinstance(image, Jpeg2KImageFile):
        most = 0 if side is None else int(math.log2(max(1.0, min(image.size) / side)))
        image.reduce = halvings = min(most, jpeg2000_levels(data))
    _check_size(image, wish, halvings)
    if halvings:
        # the decoder rounds sides up and Pillow to the nearest; where they differ it takes the file for broken
        width, height = (-(-side >> halvings) << halvings for side in image.size)
        image._size = width, height
    if is_large and wish.when_large:
        wish.when_large()


def _check_size(image: Image.Image, wish: _Wish, halvings: int = 0) -> None:
    pixels = image.width * image.height >> 2 * halvings
    limit = min(wish.max_pixels, JPEG2000_PIXELS) if isinstance(image, Jpeg2KImageFile) else wish.max_pixels
    if wish.side and image.mode in ("1", "L"):  # one byte a pixel; the next step makes it smaller
        limit *= 3
    if pixels > limit:
        hint = " (GLIMPSE_MAX_PIXELS)" if limit >= wish.max_pixels else ""
        raise ImageError(
            wish.name,
            f"the image has {pixels / 1e6:,.0f} million pixels; the limit is {limit / 1e6:,.0f} million{hint}",
        )
    tile = tile_size(image)
    if math.prod(tile) > max(BEYOND_PIXELS, pixels):
        raise ImageError(wish.name, f"the TIFF holds tiles of {tile[0]} x {tile[1]}, more than its picture")
    if max(image.size) > MAX_SIDE:
        raise ImageError(wish.name, f"the image has a side of {max(image.size):,} pixels; the limit is {MAX_SIDE:,}")


def _page_with_content(image: Image.Image, wish: _Wish) -> Image.Image:
    """The loaded first page, or if that shows next to nothing the one with the most contrast: films fade in."""
    if (most := contrast(image)) >= _CONTENT:
        return image
    best = image.copy()
    best.format, pixels = image.format, 0
    for number in range(1, MAX_FRAMES):
        try:
            image.seek(number)
            if is_reduced(image):
                continue
            have_numbers_read(image)
            _check_size(image, wish)
            pixels += image.width * image.height
            if pixels > wish.max_pixels:
                break
            image.load()
            shown = contrast(image)
        except Exception:  # the end, or damage: what came before stands
            break
        if shown > most:
            best, most = image.copy(), shown
            best.format = image.format
    return best


def _take_over(image: Image.Image, outer: Image.Exif | None) -> None:
    """Turn a preview as the raw file around it says, where it does not say itself."""
    if outer and ExifTags.Base.Orientation in outer:
        with contextlib.suppress(Exception):
            image.getexif().setdefault(ExifTags.Base.Orientation, outer[ExifTags.Base.Orientation])


def _turn_upright(image: Image.Image) -> None:
    """Apply the EXIF orientation, in place: it is there only in some; a broken EXIF block must not cost the picture."""
    with contextlib.suppress(Exception):
        ImageOps.exif_transpose(image, in_place=True)


@contextlib.contextmanager
def _lenient() -> Iterator[None]:
    """Decoders stop where a file ends, all of this process."""
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = False


def _reason(error: Exception) -> str:
    """What a decoder says, in one line; nothing of its insides."""
    reason = " ".join(str(error).split())
    return _DAMAGED if not reason or _LIBRARY.search(reason) else reason
