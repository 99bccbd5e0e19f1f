"""The XMP packet in a HEIC, HEIF or AVIF file, found by their decoders without decoding the picture."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

import encoder.picture.decode  # noqa: F401  it registers HEIF


def xmp_packet(path: Path) -> bytes | None:
    """The packet as it stands in the file; None if there is none, or the file cannot be read."""
    try:
        with Image.open(path, formats=("HEIF", "AVIF")) as image:
            packet = image.info.get("xmp")
    except Exception:  # a decoder may raise anything
        return None
    return packet if isinstance(packet, bytes) else None
