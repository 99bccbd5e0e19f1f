"""Pictures whose file ends before they do, or is damaged beside them: which those are, and what there is of them.

Most come out of downloads and disks that broke off, and viewers show what there is.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from base.errors import ImageError
from encoder.picture.bounds import MAX_CHUNKS

MOST_MISSING = 0.5  # of a picture's rows
JPEG, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
_SGI = b"\x01\xda"
_SGI_HEAD = 512  # bytes
_SGI_COLOURS = 4  # that a picture has at most, whatever its head says
_MORE_ZEROS = 2**16  # bytes
_LAST = 1024  # bytes
_BOXES = ("WEBP", "HEIF", "AVIF")  # say how long they are, and are decoded with nothing in place of what is missing
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


def is_taken_as_far(data: bytes) -> bool:
    """Whether `mended` takes a file of this kind as far as it goes."""
    return data.startswith((JPEG, _SGI)) or _is_boxes(data)


def mended(data: bytes) -> Iterator[bytes]:
    """A JPEG with the end that it lacks, an SGI picture with empty rows for those that it lacks, a WebP or HEIF with
    zeros for the bytes that it lacks; a PNG without what stands beside the picture, and without all but the picture.

    Text and profiles may be too large, any chunk damaged, and the picture sound.
    """
    if data.startswith(JPEG):
        yield data + _JPEG_END
    elif data.startswith(_SGI) and len(data) < _length(data) < 2 * len(data):
        yield _with_rows(data)
    elif _is_boxes(data) and len(data) < _length(data) < len(data) / (1 - MOST_MISSING):
        yield _with_zeros(data) if data.startswith(b"RIFF") else data.ljust(_length(data), b"\0")
        if not data.startswith(b"RIFF"):  # the last bytes of AV1 say whether those before were read right
            yield data[: -min(_LAST, len(data) // 10)].ljust(_length(data), b"\0")
    elif data.startswith(_PNG):
        yield _only(data, _PNG_CHUNKS)
        yield _only(data, _PNG_CHUNKS - _PNG_WORDS)


def missing_of(image: Image.Image, data: bytes) -> float:
    """The share of rows that a picture lacks whose file `data` was cut off: the decoder left them empty, or filled
    them. Of a format whose decoder goes on with what it takes for rows it is the share of the file.

    Raises:
        CutOff: most are missing.
    """
    if image.format in _BOXES:
        return max(0.0, 1 - len(data) / _length(data))
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


def _is_boxes(data: bytes) -> bool:
    return data[4:8] == b"ftyp" or (data.startswith(b"RIFF") and data[8:12] == b"WEBP")


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
    if data.startswith(_SGI):
        packed, depth, width, rows = _sgi(data)
        if not packed:
            return _SGI_HEAD + width * rows * depth
        return int(_rows_of(data, rows).sum(axis=0, dtype=np.int64).max(initial=0))
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


def _sgi(data: bytes) -> tuple[int, int, int, int]:
    """Of an SGI picture: whether it is packed, bytes a value, width, and rows of all its colours."""
    packed, depth, _, width, height, colours = struct.unpack_from(">2B4H", data.ljust(_SGI_HEAD, b"\0"), 2)
    return packed, depth, width, height * min(colours, _SGI_COLOURS)


def _rows_of(data: bytes, rows: int) -> NDArray[np.uint32]:
    """Where the rows of a packed SGI picture begin, and how long they are: (2, rows)."""
    tables = data[_SGI_HEAD : _SGI_HEAD + 8 * rows].ljust(8 * rows, b"\xff")
    return np.frombuffer(tables, ">u4").reshape(2, rows)


def _with_rows(data: bytes) -> bytes:
    """An SGI picture that was cut off, with rows of zeros for those behind its end."""
    packed, depth, width, rows = _sgi(data)
    if not packed:
        return data.ljust(_length(data), b"\0")
    runs = [127] * (width // 127) + [width % 127, 0]  # of zeros; the last is the end of a row
    row = b"".join(run.to_bytes(depth) + bytes(depth) for run in runs)
    tables = _rows_of(data, rows).copy()
    tables[:, tables.sum(axis=0, dtype=np.int64) > len(data)] = [[len(data)], [len(row)]]
    return data[:_SGI_HEAD] + tables.tobytes() + data[_SGI_HEAD + tables.nbytes :] + row


def _with_zeros(data: bytes) -> bytes:
    """A WebP that was cut off, with zeros at the end of its last chunk: more than it lacks, for of those take fewer
    bits than of what was there.
    """
    at = 12
    for _ in range(MAX_CHUNKS):
        end = at + 8 + int.from_bytes(data[at + 4 : at + 8], "little")
        if end > len(data) - 8:
            break
        at = end + end % 2
    longer = bytearray(data.ljust(_length(data), b"\0")) + bytes(_MORE_ZEROS)
    longer[4:8] = (len(longer) - 8).to_bytes(4, "little")
    longer[at + 4 : at + 8] = (len(longer) - 8 - at).to_bytes(4, "little")
    return bytes(longer)


def _only(data: bytes, kinds: frozenset[bytes]) -> bytes:
    """A PNG with such chunks alone."""
    at, kept = len(_PNG), [_PNG]
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4])
        if data[at + 4 : at + 8] in kinds:
            kept.append(data[at:end])
        at = end
    return b"".join(kept)
