"""When a picture was taken, as its file says: in EXIF, XMP or IPTC, each in a place of its own. Decodes nothing."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice

from PIL import ExifTags, Image, IptcImagePlugin

_TAG = ExifTags.Base
_DATE = re.compile(r"\s*(\d{4})[:/.-]?(\d\d)[:/.-]?(\d\d)", re.ASCII)
_TIME = re.compile(r"[ T]?(\d\d):?(\d\d):?(\d\d)?(?:[.,]\d+)?", re.ASCII)
_OFFSET = re.compile(r"[+-](0\d|1[0-4]):?[0-5]\d|Z", re.ASCII)
MAX_PREFIXES, MAX_TIMES = 10, 100  # of XMP that are looked at
_FIRST_PHOTOGRAPH = 1826  # cameras write the year 0 or 1 where they know none
_DAY = 86_400  # seconds
_IPTC_DATE, _IPTC_TIME = (2, 55), (2, 60)
_SPACES = {  # of XMP; the prefix is whatever the packet binds to it
    "exif": "http://ns.adobe.com/exif/1.0/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
}


def taken_of(image: Image.Image, *outer: Image.Exif) -> str | None:
    """When a loaded picture was taken: ISO 8601, on the clock of that place where it names no offset.

    The shutter's time in EXIF, XMP or IPTC comes first, then when it became digital, then that of its place by GPS,
    then when the file was changed.
    `outer` is what the raw file around a preview says. None: no date, or one before photography.
    """
    exifs = [*outer]
    with contextlib.suppress(Exception):  # a broken block must cost no picture, nor what another says
        exifs.insert(0, image.getexif())
    return next(filter(None, _moments(image, exifs)), None)


def _moments(image: Image.Image, exifs: list[Image.Exif]) -> Iterator[str | None]:
    packet = _xmp(image)
    yield from _in_exif(exifs, _TAG.DateTimeOriginal, _TAG.OffsetTimeOriginal)
    yield from _in_xmp(packet, "exif:DateTimeOriginal", "photoshop:DateCreated")
    yield _in_iptc(image)
    yield from _in_exif(exifs, _TAG.DateTimeDigitized, _TAG.OffsetTimeDigitized)
    yield from _in_xmp(packet, "exif:DateTimeDigitized", "xmp:CreateDate")
    yield from _of_place(exifs)
    yield from _in_xmp(packet, "exif:GPSTimeStamp")
    yield from _in_exif(exifs, _TAG.DateTime, _TAG.OffsetTime)


def _in_exif(exifs: list[Image.Exif], time: int, offset: int) -> Iterator[str | None]:
    for exif in exifs:
        with contextlib.suppress(Exception):
            inner = exif.get_ifd(ExifTags.IFD.Exif)
            zone = _OFFSET.match(str(inner.get(offset)))
            yield _iso(str(exif.get(time) if time == _TAG.DateTime else inner.get(time)), zone[0] if zone else "")


def _of_place(exifs: list[Image.Exif]) -> Iterator[str | None]:
    """By the satellites: a day, and hours, minutes and seconds of UTC, of which any may have a fraction."""
    for exif in exifs:
        with contextlib.suppress(Exception):
            place = exif.get_ifd(ExifTags.IFD.GPSInfo)
            hour, minute, second = map(float, place[ExifTags.GPS.GPSTimeStamp])
            if 0 <= (seconds := 3600 * hour + 60 * minute + second) <= _DAY:
                clock = timedelta(seconds=min(int(seconds), _DAY - 1))
                yield _iso(f"{place[ExifTags.GPS.GPSDateStamp]} {clock!s:0>8}", "+00:00")


def _xmp(image: Image.Image) -> str:
    packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or ""
    if isinstance(packet, bytes):
        wide = {b"\0<": "utf-16-be", b"<\0": "utf-16-le", b"\xfe\xff": "utf-16", b"\xff\xfe": "utf-16"}
        return packet.decode(wide.get(packet[:2], "utf-8"), "replace")
    return str(packet)


def _in_xmp(packet: str, *names: str) -> Iterator[str | None]:
    for name in names if packet else ():
        space, _, own = name.partition(":")
        bound = re.finditer(rf"""xmlns:([\w.-]+)\s*=\s*["']{re.escape(_SPACES[space])}["']""", packet)
        prefixes = "|".join({re.escape(one[1]) for one in islice(bound, MAX_PREFIXES)} or {space})
        said = rf"""\b(?:{prefixes}):{own}(?:\s{{0,99}}=\s{{0,99}}["']|(?:\s[^<>]{{0,999}})?>)([^"'<]*)"""
        yield from (_iso(found[1]) for found in islice(re.finditer(said, packet), MAX_TIMES))


def _in_iptc(image: Image.Image) -> str | None:
    with contextlib.suppress(Exception):
        found = IptcImagePlugin.getiptcinfo(image) or {}  # type: ignore[arg-type]
        date, time = (found.get(name, b"") for name in (_IPTC_DATE, _IPTC_TIME))
        return _iso((date + time).decode("ascii")) if isinstance(date, bytes) and isinstance(time, bytes) else None
    return None


def _iso(said: str, zone: str = "") -> str | None:
    """A time as EXIF writes it, "2021:07:04 12:34:56", or its like, in ISO 8601; a day alone begins at midnight."""
    date = _DATE.match(said)
    if not date or int(date[1]) < _FIRST_PHOTOGRAPH:
        return None
    time = _TIME.match(said, date.end())
    if time and not zone and (found := _OFFSET.match(said, time.end())):
        zone = found[0].replace("Z", "+00:00")
    hour, minute, second = ((each or "00") for each in time.groups()) if time else ("00", "00", "00")
    hour, second = hour.replace("24", "00"), second.replace("60", "59")  # phones counted 1 to 24; a second put in
    try:
        return datetime.fromisoformat(f"{date[1]}-{date[2]}-{date[3]}T{hour}:{minute}:{second}{zone}").isoformat()
    except ValueError:
        return None
