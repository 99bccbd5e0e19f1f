"""What a file is that is no picture glimpse reads, by its first bytes: so that a person knows what to do with it."""

from __future__ import annotations

import io
from typing import Literal

from PIL import TiffImagePlugin

from base.words import counted

_HEAD = 1024
_KINDS: tuple[tuple[tuple[bytes, ...], str], ...] = (
    ((b"\xff\x0a", b"\0\0\0\x0cJXL "), "a JPEG XL; convert it to JPEG or PNG"),
    ((b"II\xbc\1",), "a JPEG XR; convert it to JPEG or PNG"),
    ((b"%!PS", b"\xc5\xd0\xd3\xc6"), "PostScript; save it as PNG"),
    ((b"%PDF",), "a PDF; save its pages as PNG"),
    ((b"8BPB", b"8BPS\0\x02"), "a large Photoshop file (PSB); save it as PNG or TIFF"),
    ((b"gimp xcf",), "a file of GIMP; export it as PNG"),
    ((b"AT&TFORM",), "a DjVu document"),
    ((b"SIMPLE  =",), "a FITS file of measurements"),
    ((b"v/1\x01",), "an OpenEXR file; convert it to PNG"),
    ((b"#?RADIANCE", b"#?RGBE"), "a Radiance HDR file; convert it to PNG"),
    ((b"\xd7\xcd\xc6\x9a", b"\x01\0\x09\0", b"\x01\0\0\0\x6c\0\0\0"), "a Windows metafile; save it as PNG"),
    ((b"PK\x03\x04",), "a ZIP archive"),
    ((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"(\xb5/\xfd", b"7z\xbc\xaf", b"Rar!"), "compressed; unpack it first"),
    ((b"\x1aE\xdf\xa3", b"RIFF", b"OggS", b"\0\0\x01\xba", b"ID3", b"fLaC"), "a film or sound"),
    ((b"version https://git-lfs",), "a pointer of Git LFS; git lfs pull brings the picture"),
    ((b"/annex/objects/", b"../.git/annex/"), "a pointer of git-annex; git annex get brings the picture"),
    ((b"\0\x05\x16\x07",), "what macOS keeps beside a file; the picture is the other file of that name"),
    ((b"bplist00", b"[InternetShortcut]", b"L\0\0\0\x01\x14\x02\0"), "a shortcut, and not what it leads to"),
    (
        (b"__CLOUDSYNC_ENC__", b"Salted__", b"AES\x02", b"-----BEGIN PGP", b"age-encryption.org"),
        "encrypted; decrypt it first",
    ),
    ((b"data:image/", b"/9j/", b"iVBORw0KGgo", b"UklGR", b"R0lGOD"), "a picture as base64 text; decode that first"),
    (
        (b"\x89PNG\n\x1a\n", b"\x89PNG\r\r\n"),
        "a PNG whose ends of lines were changed on its way; copy it anew, as binary",
    ),
    ((b"HTTP/1.", b"--"), "the answer of a server with its head, or a form; the picture is behind that"),
)
_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a")
_MOVIES = (b"ftypisom", b"ftypmp4", b"ftypM4V", b"ftypqt  ", b"ftyp3g", b"ftypavc", b"ftypMSNV", b"moov", b"mdat")
_JPEG_LS, _NO_FRAME = 0xF7, (0xC4, 0xC8, 0xCC)  # markers
_CLASSIC = 42  # the number of a TIFF
_SAMPLES, _BITS, _COMPRESSION, _SAMPLE_FORMAT = 277, 258, 259, 339
_NUMBERS = {2: "signed ", 3: "floating point "}  # by their sample format


def what_it_is(data: bytes) -> str | None:
    """A few words for the kind of a file, as in "a PDF; save its pages as PNG"; None if it is none that is known."""
    head = data[:_HEAD]
    for starts, name in _KINDS:
        if head.startswith(starts) and not (starts[0] == b"\x1aE\xdf\xa3" and head[8:12] == b"WEBP"):
            return name
    if is_tiff(data):
        return _tiff(data)
    if head.startswith(b"\xff\xd8\xff"):
        return _jpeg(data)
    if head[4:12].startswith(_MOVIES):
        return "a film"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<svg", b"<?xml")) and b"<svg" in data[:4096].lower():
        return "a drawing in SVG; save it as PNG"
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<script")):
        return "a web page, as servers send in place of a picture"
    if text.startswith((b"<?xml", b"<error", b"{", b'[{"')):
        return "XML or JSON, as servers send in place of a picture"
    if not data.strip(b"\0"):
        return "nothing but zeros, as of a copy that broke off or a file in a cloud alone; copy or download it again"
    if (at := min((at for start in _STARTS if (at := head.find(start)) > 0), default=0)) > 0:
        return f"a picture behind {counted(at, 'other byte')}; cut them off"
    return None


def is_tiff(data: bytes) -> bool:
    """Whether a file is a TIFF, whatever is in it."""
    return data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"))


def tiff_directory(data: bytes) -> TiffImagePlugin.ImageFileDirectory_v2:
    """The tags of a TIFF's first picture; whatever a broken directory makes Pillow raise."""
    directory = TiffImagePlugin.ImageFileDirectory_v2(data[:8])
    file = io.BytesIO(data)
    file.seek(directory.next)
    directory.load(file)
    return directory


def _jpeg(data: bytes) -> str | None:
    """Why it is none of the JPEGs that everything reads."""
    at = 2
    while data[at : at + 1] == b"\xff" and at + 5 < len(data):
        kind, bits = data[at + 1], data[at + 4]
        if kind == _JPEG_LS:
            return "a JPEG-LS; save it as PNG"
        if 0xC0 <= kind <= 0xCF and kind not in _NO_FRAME:
            return f"a JPEG of {bits} bits; save it as PNG" if bits != 8 else None
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
    return None


def _tiff(data: bytes) -> str:
    """Its channels and bits, which say why it is not read."""
    try:
        if _ends_before_directory(data):
            return "a TIFF that ends before its directory does; copy or download it anew"
        directory = tiff_directory(data)
        bits = directory.get(_BITS, (1,))
        bits = max(bits) if isinstance(bits, tuple) else bits
        channels, packing = directory.get(_SAMPLES, 1), directory.get(_COMPRESSION, 1)
        kind = _NUMBERS.get(directory.get(_SAMPLE_FORMAT, (1,))[0], "")
        return (
            f"a TIFF with {counted(channels, f'{kind}channel')} of {bits} bits, compression {packing}; save it as RGB "
            "or grey of 8 or 16 bits"
        )
    except Exception:
        return "a TIFF whose directory is damaged"


def _ends_before_directory(data: bytes) -> bool:
    """Whether a TIFF of less than 4 GB does; most programs write the directory last."""
    order: Literal["little", "big"] = "little" if data[:1] == b"I" else "big"
    if int.from_bytes(data[2:4], order) != _CLASSIC:
        return False
    start = int.from_bytes(data[4:8], order)
    count = int.from_bytes(data[start : start + 2], order)
    return start + 2 + 12 * count + 4 > len(data)
