"""The ICC profile that says what a picture's numbers mean: the one in its file, or one made of what the file says else.

Each container keeps colour in a place of its own: an ICC profile, code points of primaries and transfer (ITU-T H.273,
in AVIF, HEIF and PNG's cICP), PNG's gAMA and cHRM, or a camera's word that it meant Adobe RGB. All become an ICC
profile here, so that one thing converts them. Converts nothing itself.
"""

from __future__ import annotations

import contextlib
import struct
import zlib
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

Floats = npt.NDArray[np.float64]
Chromaticities = tuple[float, ...]  # x and y of red, green, blue and white

MAX_PROFILE_BYTES = 8 * 2**20  # of CMYK tables the largest have three

_GIF_PROFILE = b"!\xff\x0bICCRGBG1012"  # the extension of an application that has one
_D65 = (0.3127, 0.3290)
_BT709: Chromaticities = (0.640, 0.330, 0.300, 0.600, 0.150, 0.060, *_D65)
_ADOBE: Chromaticities = (0.640, 0.330, 0.210, 0.710, 0.150, 0.060, *_D65)
_PRIMARIES: dict[int, Chromaticities] = {  # ITU-T H.273, table 2
    1: _BT709,
    4: (0.67, 0.33, 0.21, 0.71, 0.14, 0.08, 0.310, 0.316),
    5: (0.64, 0.33, 0.29, 0.60, 0.15, 0.06, *_D65),
    6: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *_D65),
    7: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *_D65),
    9: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, *_D65),
    11: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.314, 0.351),
    12: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, *_D65),
    22: (0.630, 0.340, 0.295, 0.605, 0.155, 0.077, *_D65),
}
_GAMMA = {4: 2.2, 5: 2.8, 8: 1.0}  # table 3; what is not here or below is shown as sRGB is
_PQ, _HLG = 16, 18
_UNSPECIFIED = 2
_ADOBE_GAMMA = 563 / 256
_COLOUR_SPACE_ADOBE = 2  # in EXIF, whose own word for it is 65535
_D50 = np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def profile_of(image: Image.Image, data: bytes, *outer: Image.Exif) -> bytes | None:
    """The ICC profile of an opened picture, `data` the bytes of its file; None where it is sRGB or says nothing.

    `outer` is what the raw file around a preview says.
    """
    with contextlib.suppress(Exception):  # a broken word on colour must not cost the picture
        if code := _code_points(image, data):
            return _coded(*code)
        embedded = image.info.get("icc_profile") or _icc_in(image.format, data)
        if embedded:
            return bytes(embedded) if len(embedded) <= MAX_PROFILE_BYTES else None
        if code := _nclx(image.format, data):
            return _coded(*code)
        if image.format == "PNG" and "srgb" not in image.info:
            return _of_png(image)
        if image.format in ("JPEG", "MPO", "TIFF") and any(map(_is_adobe_rgb, (image.getexif(), *outer))):
            return rgb_profile(_ADOBE, _gamma(_ADOBE_GAMMA))
    return None


def rgb_profile(chromaticities: Chromaticities, curve: bytes) -> bytes:
    """An ICC profile of matrix and curve (ICC.1:2022, 8.4.3), the white point adapted to D50 by Bradford.

    Args:
        chromaticities: x and y of red, green, blue and white.
        curve: the data of a TRC tag.
    """
    columns = _to_d50(chromaticities)
    tags = {name: _xyz(columns[:, i]) for i, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    return _icc(b"RGB ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve))


def _code_points(image: Image.Image, data: bytes) -> tuple[int, int] | None:
    """Primaries and transfer of PNG's cICP chunk, which goes before all else."""
    at = data.find(b"cICP", 8, 4096) if image.format == "PNG" else -1
    return (data[at + 4], data[at + 5]) if at > 0 else None


def _nclx(kind: str | None, data: bytes) -> tuple[int, int] | None:
    """Primaries and transfer of the colour box of a HEIF or AVIF file."""
    at = data.find(b"colrnclx", 0, 2**16) if kind in ("HEIF", "AVIF") else -1
    return struct.unpack(">HH", data[at + 8 : at + 12]) if at > 0 else None


def _icc_in(kind: str | None, data: bytes) -> bytes | None:
    """A profile that Pillow leaves in the file."""
    if kind == "JPEG2000" and (at := data.find(b"colr", 0, 2**16)) > 0 and data[at + 4] in (2, 3):
        return data[at + 7 : at - 4 + int.from_bytes(data[at - 4 : at])]
    if kind == "BMP" and data[14:18] == b"\x7c\0\0\0" and data[70:74] == b"DEBM":
        start, size = struct.unpack("<II", data[126:134])
        return data[14 + start : 14 + start + size]
    if kind == "GIF" and (at := data.find(_GIF_PROFILE)) > 0:
        return _sub_blocks(data, at + len(_GIF_PROFILE))
    if kind == "PNG" and (at := data.find(b"iCCP", 8, 2**16)) > 0:  # larger than Pillow unpacks
        packed = data[data.index(b"\0", at + 4) + 2 : at + 4 + int.from_bytes(data[at - 4 : at])]
        return zlib.decompressobj().decompress(packed, MAX_PROFILE_BYTES)
    return None


def _sub_blocks(data: bytes, at: int) -> bytes:
    """What stands in the sub-blocks of a GIF from there on: each begins with its length, the last is empty."""
    found = bytearray()
    while at < len(data) and (size := data[at]) and len(found) <= MAX_PROFILE_BYTES:
        found += data[at + 1 : at + 1 + size]
        at += 1 + size
    return bytes(found)


def _of_png(image: Image.Image) -> bytes | None:
    """What gAMA and cHRM say."""
    gamma, chromaticities = image.info.get("gamma"), image.info.get("chromaticity")
    if not gamma and not chromaticities:
        return None
    curve = _gamma(1 / gamma) if gamma and abs(gamma - 1 / 2.2) > 0.005 else _SRGB_CURVE
    if image.mode in ("1", "L", "LA") or image.mode.startswith("I"):
        return None if curve == _SRGB_CURVE else _icc(b"GRAY", {b"kTRC": curve})
    if chromaticities:
        white, primaries = tuple(chromaticities[:2]), tuple(chromaticities[2:])
        return rgb_profile((*primaries, *white), curve)
    return None if curve == _SRGB_CURVE else rgb_profile(_BT709, curve)


def _is_adobe_rgb(exif: Image.Exif) -> bool:
    """Whether a camera says so: as DCF has it, by interoperability "R03", or by a colour space of 2, as some do."""
    inner = exif.get_ifd(ExifTags.IFD.Exif)
    if inner.get(ExifTags.Base.ColorSpace) == _COLOUR_SPACE_ADOBE:
        return True
    has_more = ExifTags.IFD.Interop in inner
    return has_more and str(exif.get_ifd(ExifTags.IFD.Interop).get(1, "")).startswith("R03")


@lru_cache(maxsize=64)
def _coded(primaries: int, transfer: int) -> bytes | None:
    chromaticities = _PRIMARIES.get(primaries, _BT709)
    if transfer in _GAMMA:
        curve = _gamma(_GAMMA[transfer])
    elif transfer in (_PQ, _HLG):
        curve = _table(_pq() if transfer == _PQ else _hlg())
    else:
        curve = _SRGB_CURVE
    if primaries in (1, _UNSPECIFIED) and curve == _SRGB_CURVE:
        return None
    return rgb_profile(chromaticities, curve)


def _to_d50(chromaticities: Chromaticities) -> Floats:
    """(3, 3): columns are the XYZ of red, green and blue, seen under D50."""
    xy = np.array(chromaticities, np.float64).reshape(4, 2)
    xyz = np.column_stack([xy[:, 0] / xy[:, 1], np.ones(4), (1 - xy.sum(1)) / xy[:, 1]])
    primaries, white = xyz[:3].T, xyz[3]
    scaled = primaries * np.linalg.solve(primaries, white)
    cones = np.diag((_BRADFORD @ _D50) / (_BRADFORD @ white))
    adapted: Floats = np.linalg.inv(_BRADFORD) @ cones @ _BRADFORD @ scaled
    return adapted


def _pq() -> Floats:
    """SMPTE ST 2084, 1,024 values to linear light, white at the 203 cd/m2 of ITU-R BT.2408."""
    root = np.linspace(0, 1, 1024) ** (1 / 78.84375)
    light = (np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (1 / 0.1593017578125)
    return np.minimum(light * 10_000 / 203, 1)


def _hlg() -> Floats:
    """Hybrid log-gamma (ITU-R BT.2100), 1,024 values to linear light, white at its signal of 0.75."""
    signal = np.linspace(0, 1, 1024)
    high = (np.exp((signal - 0.55991073) / 0.17883277) + 0.28466892) / 12
    light = np.where(signal <= 0.5, signal**2 / 3, high)
    return np.minimum(light / 0.2649, 1) ** 1.2


def _gamma(exponent: float) -> bytes:
    return b"para" + bytes(8) + _fixed(exponent)


def _table(values: Floats) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">I", len(values)) + (values * 65535).astype(">u2").tobytes()


def _xyz(values: Floats) -> bytes:
    return b"XYZ " + bytes(4) + _fixed(*values.tolist())


def _fixed(*values: float) -> bytes:
    """s15Fixed16Number, of ICC."""
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


_SRGB_CURVE = b"para" + bytes(4) + b"\0\3\0\0" + _fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def _icc(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    """The bytes of a display profile, version 4.2."""
    start = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, value in tags.items():
        table += name + struct.pack(">II", start + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    header = struct.pack(">I4xI4s4s4s", start + len(body), 0x04200000, b"mntr", space, b"XYZ ") + bytes(12) + b"acsp"
    return header.ljust(68, b"\0") + _fixed(*_D50.tolist()) + bytes(48) + table + body
