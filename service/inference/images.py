"""Images on their way in (base64, data URIs) and out (content types, small ones). Fetches nothing from anywhere."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import re
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from base.errors import ImageError
from encoder.image import Picture, Preprocess, decode_picture, sha256_of
from encoder.picture.decode import read_bytes
from encoder.picture.sandbox import decode_bounded

# Raster images only: an SVG is a program, and a browser must never be told that a stored file is HTML.
CONTENT_TYPES = {
    ".apng": "image/apng", ".avif": "image/avif", ".bmp": "image/bmp", ".dib": "image/bmp", ".gif": "image/gif",
    ".heic": "image/heic", ".heif": "image/heif", ".hif": "image/heif", ".ico": "image/x-icon", ".jp2": "image/jp2",
    ".png": "image/png", ".pns": "image/png", ".tif": "image/tiff", ".tiff": "image/tiff", ".webp": "image/webp",
    **dict.fromkeys(".insp .jfi .jfif .jif .jpe .jpeg .jpg .jps .mpo .pjp .pjpeg".split(), "image/jpeg"),
}  # fmt: skip
# Measured on photos at 128 to 1024 pixels: two thirds of the bytes of a JPEG of quality 85 at the same SSIM (0.983 to
# 0.985) and PSNR, for 3 ms more at 256 pixels; the slower methods of the encoder save 4 % more for twice the time.
WEBP = {"quality": 85, "method": 4}
_large = threading.RLock()  # again: a file that was cut off is decoded anew once mended
# Pillow's own blocks of 16 MiB come from the heap, which keeps what one large image took; larger ones are given back.
Image.core.set_block_size(2**26)  # type: ignore[attr-defined]
MAX_HEAD = 1000  # characters of a data URI before its data
# what is not a letter or a digit, as addresses have it; to unquote all that could be takes seconds
_ESCAPED = {code: sign for sign in "+/=-_ \r\n" for code in (f"%{ord(sign):02X}", f"%{ord(sign):02x}")}
# with parameters too; of bytes that say not what they are the decoder knows
_DATA_URI = re.compile(r"data:(image/[\w.+-]+|application/octet-stream)?(;[\w-]+=[^;,]*)*;base64,", re.IGNORECASE)


class FileChanged(Exception):
    """A file is not the one that was indexed."""


def image_bytes(image: str) -> bytes:
    """The file in a data URI or in bare base64 (standard or URL-safe, padded or not).

    Raises:
        ImageError: it is neither.
    """
    image = image.strip().strip("\ufeff\u200b\0\"'").strip()  # a mark of byte order is no space to Python
    if image[:8].lower().startswith(("http://", "https://", "file:/")):
        raise ImageError(None, "addresses are not fetched; send the image itself as base64 or as a data URI")
    if match := _DATA_URI.match(image[:MAX_HEAD]):
        image = image[match.end() :]
    elif image[:5].lower() == "data:":
        raise ImageError(None, "begins with data: as an image does, but not with data:image/...;base64,")
    for escaped, sign in _ESCAPED.items():
        image = image.replace(escaped, sign)
    code = "".join(image.split()).rstrip("=").translate(str.maketrans("-_", "+/"))
    try:
        data = base64.b64decode(code + "=" * (-len(code) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ImageError(None, "not base64, and not a data URI") from None
    if not data:
        raise ImageError(None, "the image is empty")
    return data


def decode(data: bytes, preprocess: Preprocess, max_pixels: int) -> Picture:
    """Decode an image for the model. A small file may have gigabytes of pixels: of the large ones one at a time.

    Raises:
        ImageError: it cannot be read, or is larger than the limits.
    """
    with ExitStack() as turn:
        return decode_picture(data, preprocess, max_pixels=max_pixels, when_large=lambda: turn.enter_context(_large))


def small_picture(data: bytes, size: int, max_pixels: int) -> bytes:
    """A WebP of an image file's picture: upright, sRGB, no side longer than `size`. Of the large ones one at a time.

    Raises:
        ImageError: it cannot be read, or is larger than the limits.
    """
    with ExitStack() as turn:
        found = decode_bounded(
            data, at_least=(size, size), max_pixels=max_pixels, when_large=lambda: turn.enter_context(_large)
        )
        found.image.thumbnail((size, size))
    buffer = io.BytesIO()
    found.image.save(buffer, "WEBP", **WEBP)
    return buffer.getvalue()


def read_indexed(path: Path, sha256: str | None) -> bytes:
    """The bytes of the file, if they are those that were indexed.

    Raises:
        FileChanged: they are others; a file that is empty or too large was never indexed.
        OSError: it cannot be read.
    """
    try:
        data = read_bytes(path)
    except ImageError as error:
        raise error.__cause__ if isinstance(error.__cause__, OSError) else FileChanged from None
    if sha256 not in (None, sha256_of(data)):
        raise FileChanged
    return data


def open_indexed(path: Path, sha256: str | None) -> BinaryIO:
    """The file, if it has the bytes that were indexed: a link put in its place may lead to any file of the server.

    Raises:
        FileChanged: it has others.
        OSError: it cannot be read.
    """
    file = path.open("rb")
    if sha256 not in (None, hashlib.file_digest(file, "sha256").hexdigest()):
        file.close()
        raise FileChanged
    file.seek(0)
    return file
