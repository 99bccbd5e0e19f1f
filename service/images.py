"""Images on their way in (base64, data URIs) and out (content types, thumbnails). Fetches nothing from anywhere."""

from __future__ import annotations

import base64
import binascii
import io
import re
from pathlib import Path

from encoder.errors import ImageError
from encoder.image import open_image

# Raster images only: an SVG is a program, and a browser must never be told that a stored file is HTML.
CONTENT_TYPES = {
    ".apng": "image/apng", ".avif": "image/avif", ".bmp": "image/bmp", ".dib": "image/bmp", ".gif": "image/gif",
    ".heic": "image/heic", ".heif": "image/heif", ".hif": "image/heif", ".ico": "image/x-icon", ".jfif": "image/jpeg",
    ".jp2": "image/jp2", ".jpe": "image/jpeg", ".jpeg": "image/jpeg", ".jpg": "image/jpeg", ".mpo": "image/jpeg",
    ".png": "image/png", ".tif": "image/tiff", ".tiff": "image/tiff", ".webp": "image/webp",
}  # fmt: skip
_DATA_URI = re.compile(r"data:image/[\w.+-]+;base64,", re.IGNORECASE)


def image_bytes(image: str) -> bytes:
    """The file in a data URI or in bare base64 (standard or URL-safe, padded or not).

    Raises:
        ImageError: it is neither.
    """
    if image[:8].lower().startswith(("http://", "https://", "file:/")):
        raise ImageError(None, "addresses are not fetched; send the image itself as base64 or as a data URI")
    if match := _DATA_URI.match(image):
        image = image[match.end() :]
    elif image[:5].lower() == "data:":
        raise ImageError(None, "a data URI must begin with data:image/...;base64,")
    code = "".join(image.split()).rstrip("=").translate(str.maketrans("-_", "+/"))
    try:
        data = base64.b64decode(code + "=" * (-len(code) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ImageError(None, "not base64, and not a data URI") from None
    if not data:
        raise ImageError(None, "the image is empty")
    return data


def thumbnail(path: Path, size: int, max_pixels: int) -> bytes:
    """A JPEG of the image, upright, no side longer than `size`.

    Raises:
        ImageError: the file cannot be read.
    """
    image = open_image(path, at_least=(size, size), max_pixels=max_pixels)
    image.thumbnail((size, size))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
