"""What a HEIF or AVIF codes, whatever its container says of it: boxes (ISO 14496-12), items, AV1's sequence headers.

The size that a container gives is one that a decoder of AV1 does not ask for: it decodes the frame and scales it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

MAX_PARTS = 100_000  # boxes, sizes, items, extents, chunks and parts of AV1 in one file
MAX_HEADER = 512  # bytes of a sequence header
_HOLDS_BOXES = {b"moov": 0, b"trak": 0, b"mdia": 0, b"minf": 0, b"stbl": 0, b"meta": 4}  # bytes before those
_SEQUENCE_HEADER = 1
_HAS_SIZE, _HAS_EXTENSION = 2, 4


@dataclass(frozen=True, slots=True)
class Heif:
    """What a HEIF or AVIF codes.

    Attributes:
        pixels: of the largest picture, whatever a crop shows of it; 0 of another file.
        is_film: whether it has a track of pictures that is shown.
        is_in_crumbs: it has more parts than are looked at, or they overlap; the rest is not known then.
    """

    pixels: int = 0
    is_film: bool = False
    is_in_crumbs: bool = False


def heif_of(data: bytes) -> Heif:
    """What is in a file that may be a HEIF or AVIF."""
    if data[4:8] != b"ftyp":
        return Heif()
    try:
        return _Look(data).found()
    except _TooMany:
        return Heif(is_in_crumbs=True)


class _TooMany(Exception):
    pass


class _Look:
    """One look into a file, which ends with `_TooMany` rather than take long."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._left = MAX_PARTS
        self._bytes_left = 3 * len(data)  # to be searched or put together; neither boxes nor extents need overlap
        self._seen: set[int] = set()  # parts of AV1 in tracks

    def found(self) -> Heif:
        most, boxes = 0, list(self._boxes())
        brands = self._data[8 : max(8, int.from_bytes(self._data[:4]))]
        has_av1, is_film = b"avif" in brands or b"avis" in brands, b"avis" in brands
        stored = next((start for kind, start, _ in boxes if kind == b"idat"), 0)
        for kind, start, end in boxes:
            if kind == b"meta":
                most = max(most, self._said(start, end))
            elif kind == b"iloc" and has_av1:
                for extents in _items(self._data[start:end], stored):
                    self._count()
                    most = max(most, self._of_item(extents))
            elif kind in (b"stco", b"co64") and is_film:  # of other files it may be a film behind a photo
                for at in _chunks(self._data[start:end], 4 if kind == b"stco" else 8):
                    self._count()
                    most = max(most, self._av1_pixels(self._data, at, self._seen))
        return Heif(most, is_film and any(kind == b"moov" for kind, _, _ in boxes))

    def _boxes(self) -> Iterator[tuple[bytes, int, int]]:
        """All boxes, those in others too: kind, where its content begins and ends."""
        data, places = self._data, [(0, len(self._data))]
        while places:
            at, end = places.pop()
            while at + 8 <= end:
                self._count()
                size, kind, start = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8], at + 8
                if size == 1:
                    size, start = int.from_bytes(data[at + 8 : at + 16]), at + 16
                after = min(at + size, end) if size >= start - at else end
                yield kind, start, after
                if kind in _HOLDS_BOXES:
                    places.append((start + _HOLDS_BOXES[kind], after))
                at = after

    def _said(self, start: int, end: int) -> int:
        """The largest size that a box of properties gives, wherever in it."""
        self._count(end - start)
        most, found = 0, self._data.find(b"ispe", start, end)
        while found >= 0:
            self._count()
            width, height = (int.from_bytes(self._data[i : i + 4]) for i in (found + 8, found + 12))
            most = max(most, width * height)
            found = self._data.find(b"ispe", found + 4, end)
        return most

    def _of_item(self, extents: list[tuple[int, int]]) -> int:
        parts = []
        for at, size in extents:
            parts.append(self._data[at : at + size] if size else self._data[at:])
            self._count(len(parts[-1]))
        return self._av1_pixels(b"".join(parts), 0, set())

    def _av1_pixels(self, data: bytes, at: int, seen: set[int]) -> int:
        """The pixels of the largest frame that the sequence headers in some AV1 allow; 0 for what is none."""
        most = 0
        while at < len(data) and at not in seen:
            self._count()
            seen.add(at)
            head = data[at]
            if head & 0x81:  # no part of AV1 begins so
                break
            at += 2 if head & _HAS_EXTENSION else 1
            size, at = _leb128(data, at) if head & _HAS_SIZE else (len(data) - at, at)
            if head >> 3 == _SEQUENCE_HEADER:
                most = max(most, _most_pixels(_Bits(data[at : at + min(size, MAX_HEADER)])))
            at += size
        return most

    def _count(self, size: int = 0) -> None:
        self._left -= 1
        self._bytes_left -= size
        if self._left < 0 or self._bytes_left < 0:
            raise _TooMany


def _items(box: bytes, stored: int) -> Iterator[list[tuple[int, int]]]:
    """Where the items of an `iloc` lie: the extents of each, as (place in the file, bytes; 0: to the end)."""
    numbers = _Numbers(box)
    version = numbers.next(1)
    numbers.next(3)
    sizes = numbers.next(2)
    of_offset, of_length, of_base, of_index = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    for _ in range(numbers.next(2 if version < 2 else 4)):
        numbers.next(2 if version < 2 else 4)
        method = numbers.next(2) & 15 if version else 0
        numbers.next(2)
        base = numbers.next(of_base) + (stored if method == 1 else 0)
        extents = []
        for _ in range(numbers.next(2)):
            numbers.next(of_index if version else 0)
            offset, length = numbers.next(of_offset), numbers.next(of_length)
            extents.append((base + offset, length))
        yield extents
        if numbers.is_over:
            return


def _chunks(box: bytes, width: int) -> Iterator[int]:
    """Where the chunks of a track begin; how far one goes the parts of AV1 in it say."""
    numbers = _Numbers(box)
    numbers.next(4)
    for _ in range(numbers.next(4)):
        yield numbers.next(width)
        if numbers.is_over:
            return


class _Numbers:
    """Big-endian numbers of a box, one after the other; 0 behind its end."""

    def __init__(self, box: bytes) -> None:
        self._box = box
        self._at = 0

    @property
    def is_over(self) -> bool:
        return self._at > len(self._box)

    def next(self, width: int) -> int:
        self._at += width
        return int.from_bytes(self._box[self._at - width : self._at])


def _leb128(data: bytes, at: int) -> tuple[int, int]:
    """A number of AV1's, and where it ends."""
    value = 0
    for i in range(8):
        byte = int.from_bytes(data[at + i : at + i + 1])
        value |= (byte & 0x7F) << 7 * i
        if not byte & 0x80:
            return value, at + i + 1
    return value, at + 8


class _Bits:
    """The bits of a part, the highest of each byte first; 0 behind its end."""

    def __init__(self, part: bytes) -> None:
        self._bits = int.from_bytes(part)
        self._left = 8 * len(part)

    def next(self, count: int) -> int:
        self._left -= count
        bits = self._bits >> self._left if self._left >= 0 else self._bits << -self._left
        return bits & ((1 << count) - 1)

    def skip_uvlc(self) -> None:
        zeros = 0
        while zeros < 32 and self._left > 0 and not self.next(1):
            zeros += 1
        self.next(zeros if zeros < 32 else 0)


def _most_pixels(bits: _Bits) -> int:
    """Of a sequence header: its largest frame (AV1 specification, 5.5.1)."""
    bits.next(3 + 1)  # profile, still picture
    if bits.next(1):  # reduced
        bits.next(5)
    else:
        delays = 0
        if bits.next(1):  # timing
            bits.next(32 + 32)
            if bits.next(1):
                bits.skip_uvlc()
            if bits.next(1):  # a model of decoders
                delays = 2 * (bits.next(5) + 1) + 1
                bits.next(32 + 5 + 5)
        has_first_delay = bits.next(1)
        for _ in range(bits.next(5) + 1):
            bits.next(12)
            if bits.next(5) > 7:
                bits.next(1)
            if delays and bits.next(1):
                bits.next(delays)
            if has_first_delay and bits.next(1):
                bits.next(4)
    of_width, of_height = bits.next(4) + 1, bits.next(4) + 1
    return (bits.next(of_width) + 1) * (bits.next(of_height) + 1)
