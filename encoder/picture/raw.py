"""The picture inside a camera's raw file: the largest JPEG that the camera put there, for whoever cannot develop it.

All makers embed one (DNG, CR2, CR3, NEF, ARW, RAF, ORF, RW2, PEF ...), each in a place of its own, so it is looked for
by its bytes. Develops nothing and decodes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from PIL import ExifTags, Image

from encoder.picture.signature import tiff_directory

_TIFF = (b"II*\0", b"MM\0*")
_NEARLY_TIFF = (b"IIRO", b"IIRS", b"MMOR", b"IIU\0")  # Olympus, Panasonic
_OTHERS = (b"FUJIFILMCCD-RAW", b"FOVb", b"\0MRM")
_CFA = (32803, 34892)  # PhotometricInterpretation of a sensor's data
_SUBFILE, _PHOTOMETRIC, _MAKE, _DNG = 254, 262, 271, 50706
_SIZES = (0xC0, 0xC1, 0xC2)  # frames of a JPEG that anyone reads; sensor data are in lossless ones (C3)
_NO_SEGMENT = (0xD8, 0xD9, 0xDA)
_MOST_SEGMENTS = 64


def is_raw(data: bytes) -> bool:
    """Whether a file is a camera's raw file, which Pillow takes for a TIFF of a thumbnail's size, or for nothing."""
    if data.startswith((*_NEARLY_TIFF, *_OTHERS)) or data[4:12] == b"ftypcrx ":
        return True
    if not data.startswith(_TIFF):
        return False
    if data[8:10] == b"CR":
        return True
    try:
        directory = tiff_directory(data)
        reduced = directory.get(_SUBFILE, 0) & 1 and _MAKE in directory
        return bool(_DNG in directory or reduced or directory.get(_PHOTOMETRIC) in _CFA)
    except Exception:
        return False


def preview_of(data: bytes) -> bytes | None:
    """The bytes of a file from its largest JPEG on; None if it holds none."""
    found = max(_jpegs(data), default=None)
    return data[found[1] :] if found else None


def exif_of(data: bytes) -> Image.Exif:
    """What the camera noted in a raw file beside the preview: orientation, time. Empty where that cannot be read."""
    if data[4:12] == b"ftypcrx ":  # a directory each for the picture and for how it was taken
        exif, inner = (_directory(data, data.find(box, 0, 2**16) + 4) for box in (b"CMT1", b"CMT2"))
        exif.get_ifd(ExifTags.IFD.Exif).update(inner)
        return exif
    return _directory(data, 0)


def _directory(data: bytes, start: int) -> Image.Exif:
    exif = Image.Exif()
    directory = data[start : start + 2**20]
    if directory[:4] in _NEARLY_TIFF:
        directory = directory[:2] + (b"*\0" if directory[:2] == b"II" else b"\0*") + directory[4:]
    try:
        exif.load(directory)
    except Exception:  # as `tiff_directory`
        return Image.Exif()
    return exif


def _jpegs(data: bytes) -> Iterator[tuple[int, int]]:
    """(pixels, offset) of each JPEG in a file that its header lets anyone read."""
    at = data.find(b"\xff\xd8\xff")
    while at >= 0:
        if pixels := _pixels(data, at + 2):
            yield pixels, at
        at = data.find(b"\xff\xd8\xff", at + 3)


def _pixels(data: bytes, at: int) -> int:
    for _ in range(_MOST_SEGMENTS):
        if at + 9 > len(data) or data[at] != 0xFF or data[at + 1] in _NO_SEGMENT:
            return 0
        if data[at + 1] in _SIZES:
            return int.from_bytes(data[at + 5 : at + 7]) * int.from_bytes(data[at + 7 : at + 9])
        if 0xC0 <= data[at + 1] <= 0xCF and data[at + 1] not in (0xC4, 0xC8, 0xCC):
            return 0
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
    return 0
