"""What decoding a file would take, read off its bytes before anything is decoded: pixels inside, sides, scans.

A header may say less than the decoder then does: icons hold whole PNG and JPEG 2000 files, a progressive JPEG may
repeat its scans without end, a frame of a GIF or a tile of a TIFF may be larger than its picture, a HEIF may show a
crop or code more than it says, and a WebP that is lossless or a film takes far more than another. Knows no decoder.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from encoder.picture.heif import MAX_PARTS, Heif

MAX_SIDE = 100_000  # pixels; decoders take a row, or a column, at a time
MAX_CHUNKS = 100  # of a WebP before its first picture
MAX_SCANS = 100  # of a progressive JPEG; encoders make some ten
MAX_SEGMENTS = 10_000  # of a JPEG before its picture; each becomes an object of Python, and they hold 64 KiB
MAX_CRUMBS = 50_000  # parts of a file that are smaller than `CRUMB`; Python reads each of them
CRUMB = 64  # bytes
MAX_FRAMES = 100  # of a film that are looked at for one that shows something
BEYOND_PIXELS = 16_000_000  # of a frame of a GIF, or a tile of a TIFF, that is larger than its picture
ICON_PIXELS = 16_000_000  # of each picture in an ICO or ICNS; 1,024 x 1,024 is the largest that systems show
HEAVY_PIXELS = 50_000_000  # of a lossless WebP or a film, whose decoders take 15 to 19 bytes for each
LARGE_PIXELS = 16_000_000  # decoding that many takes some 200 MB
JPEG2000_PIXELS = 16_000_000  # decoded; the decoder lets no other thread run, at some 24 million pixels a second

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG2000 = b"\xff\x4f\xff\x51"  # start of codestream, size
_ICO = (b"\0\0\1\0", b"\0\0\2\0")
_SLOW = (_JPEG2000, b"\0\0\0\x0cjP  ", b"icns", *_ICO, b"DDS ", b"qoif", b"P1", b"P2", b"P3")
_NETPBM = (b"P4", b"P5", b"P6")
_PLAIN_HEAD = re.compile(rb"P4\s{1,9}\d{1,9}\s{1,9}\d{1,9}\s|P[56]\s{1,9}\d{1,9}\s{1,9}\d{1,9}\s{1,9}255\s")
_DIB_HEADS = (40, 52, 56, 64, 108, 124)  # bytes; the first says how many
_RUN_LENGTHS = (1, 2)  # compression of a bitmap
_CODING_STYLE = b"\xff\x52"
_GIF_BLOCK = re.compile(rb"[!,;]")  # whatever else stands between two is passed over
_GIF_FULL_PARTS = re.compile(rb"(?:\xff.{255})*+", re.DOTALL)  # most parts of a picture are
_GIF_COMMENT, _GIF_APPLICATION = b"\xfe", b"\xff"
# of a segment, which has a length: neither a stuffed byte, padding nor one of those that stand alone
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
_PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)
_FRAMES = tuple(kind for kind in range(0xC0, 0xD0) if kind not in (0xC4, 0xC8, 0xCC))
_SCAN, _END = 0xDA, 0xD9


def problem_of(data: bytes, heif: Heif, max_pixels: int) -> str | None:
    """Why a file should not be decoded, whatever its header says; None if nothing speaks against it.

    Args:
        data: the file.
        heif: what it codes, by `heif_of`.
        max_pixels: the largest picture that is decoded.
    """
    if data[:4] in (*_ICO, b"icns"):
        for width, height in _inside(data):
            if width * height > ICON_PIXELS:
                return f"the icon holds a picture of {width} x {height}; the limit is {ICON_PIXELS // 10**6} million"
    if data[:2] == b"\xff\xd8":
        jpeg = _jpeg(data)
        if jpeg.scans > MAX_SCANS:
            return f"the JPEG has {jpeg.scans} scans or more; the limit is {MAX_SCANS}"
        if jpeg.segments > MAX_SEGMENTS:
            return f"the JPEG has more than {MAX_SEGMENTS} segments before its picture"
    if data[:4] == b"GIF8":
        screen = int.from_bytes(data[6:8], "little") * int.from_bytes(data[8:10], "little")
        for width, height in _gif(data).frames:
            if width * height > min(max(screen, BEYOND_PIXELS), max_pixels):
                return f"the GIF holds a frame of {width} x {height}, more than its screen or the limit of pixels"
    if heif.is_in_crumbs:
        return f"the file has more than {MAX_PARTS:,} parts, or parts that overlap"
    if heif.pixels > max_pixels:
        coded, most = heif.pixels / 1e6, max_pixels / 1e6
        return f"the file codes a picture of {coded:,.0f} million pixels; the limit is {most:,.0f}"
    what, pixels = "the WebP, which is lossless or a film,", _heavy_webp(data) if data[8:12] == b"WEBP" else 0
    if heif.is_film or _is_png_film(data):
        what, pixels = "the film", heif.pixels or _png_pixels(data)
    if pixels > HEAVY_PIXELS:
        return f"{what} has {pixels / 1e6:,.0f} million pixels; the limit is {HEAVY_PIXELS // 10**6} million"
    return None


def is_slow(data: bytes) -> bool:
    """Whether its decoder holds the interpreter (JPEG 2000, and icons that may hold one), or is written in Python.

    Of Netpbm those are fast that have a head as most write it, and of bitmaps those that are not packed; no file is
    that lies in crumbs.
    """
    if data.startswith(_NETPBM):
        return _PLAIN_HEAD.match(data) is None
    head = data[14:34] if data.startswith(b"BM") else data[:20]
    size, packing = (int.from_bytes(head[i : i + 4], "little") for i in (0, 16))
    if data.startswith(_SLOW) or (size in _DIB_HEADS and packing in _RUN_LENGTHS):
        return True
    if data.startswith(b"GIF8"):
        return _gif(data).crumbs > MAX_CRUMBS
    if data.startswith(_PNG):
        return _png_crumbs(data) > MAX_CRUMBS
    return data.startswith(b"8BPS") and data.count(b"8BIM") > MAX_CRUMBS


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


def _heavy_webp(data: bytes) -> int:
    """The pixels of a WebP that is lossless, or a film; 0 of another file. Behind more chunks it may be either."""
    at, canvas = 12, 0
    for _ in range(MAX_CHUNKS):
        kind, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        body = data[at + 8 : at + 18]
        if kind == b"VP8X":  # the canvas of all frames
            canvas = (int.from_bytes(body[4:7], "little") + 1) * (int.from_bytes(body[7:10], "little") + 1)
        elif kind == b"VP8L":
            bits = int.from_bytes(body[1:5], "little")
            return canvas or ((bits & 0x3FFF) + 1) * ((bits >> 14 & 0x3FFF) + 1)
        elif kind == b"ANMF":
            return canvas
        elif kind == b"VP8 " or len(kind) < 4:
            return 0
        at += 8 + size + size % 2
    return canvas


def is_kept_whole(data: bytes) -> bool:
    """Whether the decoder keeps all of a JPEG's coefficients, so that no fraction of it takes less memory.

    So it is where one scan does not hold a part of the picture with all that there is of it: in progressive ones, and
    where each colour has a scan of its own.
    """
    return data[:2] == b"\xff\xd8" and _jpeg(data).is_kept_whole


@dataclass(frozen=True, slots=True)
class _Jpeg:
    """What the segments of a JPEG say; counts stop where they are one too many."""

    segments: int = 0  # before its first scan
    scans: int = 0  # of a progressive one; of another kind 0, which has a few
    is_kept_whole: bool = False


def _jpeg(data: bytes) -> _Jpeg:
    at, segments, scans, colours, progressive = 2, 0, 0, 0, False
    while found := _MARKER.search(data, at):
        kind, at = data[found.start() + 1], found.end()
        if kind == _END:
            break
        if kind == _SCAN:
            if not progressive:
                return _Jpeg(segments, 0, data[at + 2 : at + 3] < bytes((colours,)))
            scans += 1
            if scans > MAX_SCANS:
                break
        elif not scans:
            segments += 1
            if segments > MAX_SEGMENTS:
                break
        if kind in _FRAMES:
            progressive |= kind in _PROGRESSIVE
            colours = data[at + 7] if len(data) > at + 7 else 0
        at += int.from_bytes(data[at : at + 2])  # the segment; what follows a scan's is its data
    return _Jpeg(segments, scans, progressive)


@dataclass(slots=True)
class _Gif:
    """What is in a GIF up to the last frame that is looked at, or one crumb too many."""

    frames: list[tuple[int, int]] = field(default_factory=list)  # sizes
    crumbs: int = 0


def _gif(data: bytes) -> _Gif:
    """Found as Pillow finds it, oddities included."""
    gif, at = _Gif(), 13 + _palette(data[10:11])
    while len(gif.frames) <= MAX_FRAMES and (found := _GIF_BLOCK.search(data, at)) and found[0] != b";":
        at = found.end()
        if found[0] == b",":
            width, height = (int.from_bytes(data[i : i + 2], "little") for i in (at + 4, at + 6))
            gif.frames.append((width, height))
            at += 10 + _palette(data[at + 8 : at + 9])
        else:
            label, at = data[at : at + 1], at + 1
            first = data[at + 1 : _part_end(data, at)]
            if label != _GIF_COMMENT:  # of the others an empty first part ends nothing
                at = _part_end(data, at)
            if label == _GIF_APPLICATION and first.startswith(b"NETSCAPE2.0") and len(gif.frames) == 0:
                at = _part_end(data, at)
        if full := _GIF_FULL_PARTS.match(data, at):
            at = full.end()
        while gif.crumbs <= MAX_CRUMBS and (end := _part_end(data, at)) > at + 1:
            gif.crumbs += end - at < CRUMB
            at = end
        gif.crumbs += 1
        if gif.crumbs > MAX_CRUMBS:
            break
        at += 1
    return gif


def _is_png_film(data: bytes) -> bool:
    """Whether a PNG says before its picture that it has several frames."""
    return data.startswith(_PNG) and data.find(b"acTL", 0, max(0, data.find(b"IDAT"))) > 0


def _png_pixels(data: bytes) -> int:
    return int.from_bytes(data[16:20]) * int.from_bytes(data[20:24])


def _png_crumbs(data: bytes) -> int:
    at, crumbs = len(_PNG), 0
    while at < len(data) and crumbs <= MAX_CRUMBS:
        size = int.from_bytes(data[at : at + 4])
        crumbs += size < CRUMB
        at += 12 + size
    return crumbs


def _part_end(data: bytes, at: int) -> int:
    """Where the part of a GIF's block ends that begins there; one byte on if it is empty, as the last is."""
    return at + 1 + int.from_bytes(data[at : at + 1])


def _palette(flags: bytes) -> int:
    """The bytes of the palette that a GIF's flags tell of."""
    return 3 << (flags[0] & 7) + 1 if flags and flags[0] & 0x80 else 0
