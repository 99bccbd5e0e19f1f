"""Keywords in IPTC's old form, IIM records: in Photoshop's resources of a JPEG, or in a TIFF's tag. Reads alone."""

from __future__ import annotations

from collections.abc import Iterator

PHOTOSHOP = b"Photoshop 3.0\0"  # before the resources in a JPEG's APP13
_IPTC_RESOURCE = 0x0404
_UTF8 = b"\x1b%G"


def iptc_in_resources(resources: bytes) -> bytes:
    """The IIM records in Photoshop's resources; empty for none."""
    place = 0
    while resources[place : place + 4] == b"8BIM" and place + 12 <= len(resources):
        number = int.from_bytes(resources[place + 4 : place + 6])
        place += 6 + (resources[place + 6] // 2 + 1) * 2  # a name, its length before it, made even
        size = int.from_bytes(resources[place : place + 4])
        if number == _IPTC_RESOURCE:
            return resources[place + 4 : place + 4 + size]
        place += 4 + size + size % 2
    return b""


def keywords(records: bytes) -> list[str]:
    """The keywords, data set 2:25, in the charset that 1:90 names; else UTF-8 where they are that, or Windows-1252."""
    charset, found = b"", []
    for number, value in _data_sets(records):
        if number == (1, 90):
            charset = value
        elif number == (2, 25):
            found.append(value)
    return [_text(value, is_utf8=charset.startswith(_UTF8)) for value in found]


def _data_sets(records: bytes) -> Iterator[tuple[tuple[int, int], bytes]]:
    place = 0
    while records[place : place + 1] == b"\x1c" and place + 5 <= len(records):
        number = (records[place + 1], records[place + 2])
        size = int.from_bytes(records[place + 3 : place + 5])
        place += 5
        if size & 0x8000:  # so many bytes hold the size
            width = size & 0x7FFF
            size = int.from_bytes(records[place : place + min(width, 8)])
            place += width
        yield number, records[place : place + size]
        place += size


def _text(value: bytes, *, is_utf8: bool) -> str:
    if is_utf8:
        return value.decode(errors="replace")
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("cp1252", errors="replace")
