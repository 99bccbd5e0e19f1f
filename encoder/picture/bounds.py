"""What decoding a file would take, read off its bytes before anything is decoded: pixels inside, sides, scans.

A header may say less than the decoder then does: icons hold whole PNG and JPEG 2000 files, a progressive JPEG may
repeat its scans without end, and a lossless WebP takes far more than another. Knows no decoder.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MAX_SIDE = 100_000  # pixels; decoders take a row, or a column, at a time
MAX_CHUNKS = 100  # of a WebP before its first picture
MAX_SCANS = 100  # of a progressive JPEG; encoders make some ten
ICON_PIXELS = 16_000_000  # of each picture in an ICO or ICNS; 1,024 x 1,024 is the largest that systems show
WEBP_PIXELS = 50_000_000  # of a lossless one, whose decoder takes 17 bytes and 50 nanoseconds for each
JPEG2000_PIXELS = 16_000_000  # decoded; the decoder lets no other thread run, at some 24 million pixels a second

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG2000 = b"\xff\x4f\xff\x51"  # start of codestream, size
_SLOW = (_JPEG2000, b"\0\0\0\x0cjP  ", b"icns", b"DDS ", b"qoif", b"P1", b"P2", b"P3")
_CODING_STYLE = b"\xff\x52"
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # in a scan; neither a stuffed byte, a restart nor padding
_PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)
_SCAN, _END = 0xDA, 0xD9


def problem_of(data: bytes) -> str | None:
    """Why a file should not be decoded, whatever its header says; None if nothing speaks against it."""
    if data[:4] in (b"\x00\x00\x01\x00", b"\x00\x00\x02\x00", b"icns"):
        for width, height in _inside(data):
            if width * height > ICON_PIXELS:
                return f"the icon holds a picture of {width} x {height}; the limit is {ICON_PIXELS // 10**6} million"
    if data[:2] == b"\xff\xd8" and (scans := _scans(data)) > MAX_SCANS:
        return f"the JPEG has {scans} scans or more; the limit is {MAX_SCANS}"
    if (pixels := _lossless_webp(data)) > WEBP_PIXELS:
        return f"the lossless WebP has {pixels / 1e6:,.0f} million pixels; the limit is {WEBP_PIXELS // 10**6} million"
    return None


def is_slow(data: bytes) -> bool:
    """Whether its decoder holds the interpreter (JPEG 2000, and icons that may hold one), or is written in Python."""
    return data.startswith(_SLOW)


def jpeg2000_levels(data: bytes) -> int:
    """How many times a JPEG 2000 can be halved while it is decoded; 0 where it does not say."""
    start = data.find(_JPEG2000)
    at = data.find(_CODING_STYLE, start + 4) if start >= 0 else -1
    return min(data[at + 9], 32) if 0 <= at < len(data) - 9 else 0


def _inside(data: bytes) -> Iterator[tuple[int, int]]:
    """The sizes of what is in an icon, wherever it lies: each PNG, JPEG 2000 and, in an ICO, bitmap."""
    for mark, to_width, to_height in ((_PNG, 16, 20), (_JPEG2000, 8, 12)):
        at = data.find(mark)
        while at >= 0:
            width, height = (int.from_bytes(data[i : i + 4]) for i in (at + to_width, at + to_height))
            yield width, height
            at = data.find(mark, at + 1)
    if data[:4] != b"icns":
        for entry in range(6, 6 + 16 * int.from_bytes(data[4:6], "little"), 16):
            at = int.from_bytes(data[entry + 12 : entry + 16], "little")
            if data[at : at + 8] != _PNG:
                width, height = (int.from_bytes(data[i : i + 4], "little", signed=True) for i in (at + 4, at + 8))
                yield abs(width), abs(height) // 2  # a mask of as many rows is counted in


def _lossless_webp(data: bytes) -> int:
    """The pixels of a WebP that is lossless, or whose first frame is; 0 of another file."""
    at, pixels = 12, 0
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        return 0
    for _ in range(MAX_CHUNKS):
        kind, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        body = data[at + 8 : at + 24]
        if kind == b"VP8X":  # the canvas of all frames
            pixels = (int.from_bytes(body[4:7], "little") + 1) * (int.from_bytes(body[7:10], "little") + 1)
        if kind == b"VP8L":
            bits = int.from_bytes(body[1:5], "little")
            return pixels or ((bits & 0x3FFF) + 1) * ((bits >> 14 & 0x3FFF) + 1)
        if kind == b"VP8 ":
            return 0
        at += 24 if kind == b"ANMF" else 8 + size + size % 2  # a frame's own parts lie in it
    return 0


def _scans(data: bytes) -> int:
    """The scans of a progressive JPEG, up to one more than `MAX_SCANS`; 0 of another kind, which has a few."""
    at, scans, progressive = 2, 0, False
    while found := _MARKER.search(data, at):
        kind, at = data[found.start() + 1], found.end()
        if kind == _END:
            break
        if kind == _SCAN:
            if not progressive:
                return 0
            scans += 1
            if scans > MAX_SCANS:
                break
        progressive |= kind in _PROGRESSIVE
        at += int.from_bytes(data[at : at + 2])  # the segment; what follows a scan's is its data
    return scans
