"""Pictures whose file ends before they do, or is damaged beside them: which those are, and what there is of them.

Most come out of downloads and disks that broke off, and viewers show what there is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
from PIL import Image

from base.errors import ImageError

MOST_MISSING = 0.5  # of a picture's rows
JPEG, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_CHUNKS = frozenset(b"IHDR PLTE IDAT IEND tRNS gAMA cHRM sRGB cICP acTL fcTL fdAT eXIf".split())
_PNG_WORDS = frozenset(b"tRNS gAMA cHRM sRGB cICP eXIf".split())
_PLANAR = ("SGI", "PSD")  # one colour after the other
_ENDS = {_PNG: b"IEND", b"GIF8": b";", b"\xff\x4f\xff\x51": b"\xff\xd9", b"\0\0\0\x0cjP  ": b"\xff\xd9"}
_SAID = re.compile(r"truncated|not enough image data|unexpected end", re.IGNORECASE)


class CutOff(ImageError):
    """A picture whose file ends before it does."""

    def __init__(self, path: str | None) -> None:
        super().__init__(path, "cannot be decoded: the file is cut off, and what there is of it is not enough")


def is_cut_off(data: bytes, said: str) -> bool:
    """Whether a file that cannot be decoded ends before its picture does: by what it says of itself, or its decoder."""
    return _length(data) > len(data) or _SAID.search(said) is not None


def mended(data: bytes) -> Iterator[bytes]:
    """A JPEG with the end that it lacks; a PNG without what stands beside the picture, and without all but the picture.

    Text and profiles may be too large, any chunk damaged, and the picture sound.
    """
    if data.startswith(JPEG):
        yield data + _JPEG_END
    elif data.startswith(_PNG):
        yield _only(data, _PNG_CHUNKS)
        yield _only(data, _PNG_CHUNKS - _PNG_WORDS)


def missing_of(image: Image.Image) -> float:
    """The share of rows that a picture lacks whose file was cut off: the decoder left them empty, or filled them.

    Raises:
        CutOff: most are missing.
    """
    if image.format in ("JPEG", "MPO"):  # filled with one grey, from some place on
        rows = np.asarray(image.convert("RGB"))
        filled = (rows == rows[-1, -1]).all(axis=(1, 2))
        missing = len(rows) if filled.all() else int(np.argmin(filled[::-1]))
    else:  # some are stored from below, or every second row last
        rows = np.asarray(image)
        empty = image.info.get("transparency", 0) if image.format == "GIF" else 0
        lacks = (rows.reshape(*rows.shape[:2], -1) == empty).all(axis=1)
        missing = int((lacks.any(axis=1) if image.format in _PLANAR else lacks.all(axis=1)).sum())
    if missing > MOST_MISSING * len(rows):
        raise CutOff(None)
    return missing / len(rows)


def _length(data: bytes) -> int:
    """How many bytes a file has at least, by its own word; one more than there are for an end that is not there."""
    if data.startswith(b"RIFF"):
        return 8 + int.from_bytes(data[4:8], "little")
    if data.startswith(b"BM"):
        return int.from_bytes(data[2:6], "little")
    if data.startswith((b"II*\0", b"MM\0*")):
        return int.from_bytes(data[4:8], "little" if data.startswith(b"I") else "big")
    if data[4:8] == b"ftyp":
        return _boxes(data)
    lacks = [start for start, end in _ENDS.items() if data.startswith(start) and end not in data[-64:]]
    return len(data) + len(lacks)


def _boxes(data: bytes) -> int:
    """Where the last box ends of an ISO file (HEIF, AVIF), by its size."""
    at = 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4])
        size = int.from_bytes(data[at + 8 : at + 16]) if size == 1 else size
        if size < 8:  # 0: to the end
            return at
        at += size
    return at


def _only(data: bytes, kinds: frozenset[bytes]) -> bytes:
    """A PNG with such chunks alone."""
    at, kept = len(_PNG), [_PNG]
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4])
        if data[at + 4 : at + 8] in kinds:
            kept.append(data[at:end])
        at = end
    return b"".join(kept)
