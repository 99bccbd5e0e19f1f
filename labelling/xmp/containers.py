"""Where image files keep their XMP, and IPTC: JPEG, PNG, WebP, and to read TIFF and what camera files have of it.

Only the parts' headers are read to find it. `with_packet` changes the one part that holds the XMP, and what lengths say
of it: pixels and every other part stay as they are. Knows no keyword.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal

from labelling.xmp import multi_picture
from labelling.xmp.iptc import PHOTOSHOP, iptc_in_resources
from labelling.xmp.packet import MOST_BYTES
from labelling.xmp.words import XmpError

Kind = Literal["JPEG", "PNG", "WebP", "TIFF", "other"]

JPEG_XMP = b"http://ns.adobe.com/xap/1.0/\0"
JPEG_EXTENSION = b"http://ns.adobe.com/xmp/extension/\0"
JPEG_MOST = 65535 - 2 - len(JPEG_XMP)  # bytes of a packet in one segment
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_XMP = b"XML:com.adobe.xmp\0"
_TIFFS = (b"II*\0", b"MM\0*", b"IIRO", b"IIRS", b"IIU\0")  # TIFF, Olympus, Panasonic
_CANON_XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")  # a box of CR3
_XMP_TAG, _IPTC_TAG, _RESOURCES_TAG = 700, 33723, 34377
_XMP_FLAG = 0x04  # in a WebP's VP8X


@dataclass(frozen=True, slots=True)
class Part:
    """A segment, chunk or box.

    Attributes:
        name: its kind.
        start: where it begins, with its header.
        content: where its content does.
        size: bytes of its content.
        end: where the next begins.
    """

    name: bytes
    start: int
    content: int
    size: int
    end: int


@dataclass(slots=True)
class Metadata:
    """What a file holds of keywords.

    Attributes:
        xmp: the packet.
        extended: what of it did not fit into a JPEG's segment, a packet again; after a careless program several.
        iptc: IIM records.
    """

    xmp: bytes | None = None
    extended: list[bytes] = field(default_factory=list)
    iptc: bytes = b""


def kind_of(head: bytes) -> Kind:
    """What a file is, by its first 16 bytes."""
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(_PNG):
        return "PNG"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WebP"
    return "TIFF" if head.startswith(_TIFFS) else "other"


def metadata_of(path: Path) -> Metadata:
    """What a file holds, as far as it can be read. OSError."""
    found = Metadata()
    with path.open("rb") as file:
        head = file.read(16)
        kind = kind_of(head)
        try:
            if kind == "JPEG":
                _read_jpeg(file, found)
            elif kind in ("PNG", "WebP"):
                found.xmp = _packet_of(file, kind)
            elif kind == "TIFF":
                _read_tiff(file, found, "little" if head[:1] == b"I" else "big")
            elif head[4:12] == b"ftypcrx ":
                _read_canon(file, found)
        except (XmpError, zlib.error):
            pass
    return found


def packet_in(data: bytes) -> bytes | None:
    """The XMP packet in the bytes of a JPEG, PNG or WebP; None if there is none. XmpError: it is broken, or another."""
    kind = kind_of(data[:16])
    if kind == "JPEG":
        parts = [part for part in _jpeg(io.BytesIO(data)) if _is_jpeg_xmp(data, part)]
        return data[parts[0].content + len(JPEG_XMP) : parts[0].end] if parts else None
    if kind in ("PNG", "WebP"):
        *_, last = _png(io.BytesIO(data)) if kind == "PNG" else _webp(io.BytesIO(data))
        if last.end > len(data) + (kind == "WebP"):  # where the byte that makes a size even may be left out
            raise XmpError(None, f"is a {kind} that ends before its picture does")
        return _packet_of(io.BytesIO(data), kind)
    raise XmpError(None, "XMP is written into JPEG, PNG and WebP alone; write a sidecar")


def with_packet(data: bytes, packet: bytes | None) -> bytes:
    """A JPEG, PNG or WebP with that packet in place of the one it has; None: with none. XmpError as `packet_in`."""
    packet_in(data)
    kind = kind_of(data[:16])
    if kind == "JPEG":
        return _jpeg_with(data, packet)
    return _png_with(data, packet) if kind == "PNG" else _webp_with(data, packet)


# --- JPEG ---


def _jpeg(file: BinaryIO) -> Iterator[Part]:
    """The segments before the picture's own bytes."""
    place = 2
    while True:
        file.seek(place)
        head = file.read(4)
        while head[:2] == b"\xff\xff":  # fill bytes
            place += 1
            head = head[1:] + file.read(1)
        if len(head) < 4 or head[0] != 0xFF:
            raise XmpError(None, "is a broken JPEG")
        if head[1] in (0xDA, 0xD9):  # the picture begins, or the file ends
            return
        size = int.from_bytes(head[2:])
        if size < 2:
            raise XmpError(None, "is a broken JPEG")
        yield Part(head[1:2], place, place + 4, size - 2, place + 2 + size)
        place += 2 + size


def _is_jpeg_xmp(data: bytes, part: Part) -> bool:
    return part.name == b"\xe1" and data.startswith(JPEG_XMP, part.content)


def _read_jpeg(file: BinaryIO, found: Metadata) -> None:
    extended: dict[bytes, dict[int, bytes]] = {}
    resources = b""
    for part in _jpeg(file):
        if part.name not in (b"\xe1", b"\xed"):
            continue
        file.seek(part.content)
        content = file.read(part.size)
        if content.startswith(JPEG_XMP):
            found.xmp = found.xmp or content[len(JPEG_XMP) :]
        elif content.startswith(JPEG_EXTENSION):
            rest = content[len(JPEG_EXTENSION) :]  # its hash, the whole size, this piece's place
            extended.setdefault(rest[:32], {})[int.from_bytes(rest[36:40])] = rest[40:]
        elif content.startswith(PHOTOSHOP):
            resources += content[len(PHOTOSHOP) :]
    found.extended = [b"".join(piece for _, piece in sorted(pieces.items())) for pieces in extended.values()]
    found.iptc = iptc_in_resources(resources)


def _jpeg_with(data: bytes, packet: bytes | None) -> bytes:
    parts = list(_jpeg(io.BytesIO(data)))
    new = b""
    if packet is not None:
        if len(packet) > JPEG_MOST:
            raise XmpError(None, f"a JPEG holds {JPEG_MOST} bytes of XMP, and this would be more; write a sidecar")
        new = b"\xff\xe1" + (2 + len(JPEG_XMP) + len(packet)).to_bytes(2) + JPEG_XMP + packet
    old = next((part for part in parts if _is_jpeg_xmp(data, part)), None)
    start = end = 2
    if old:
        start, end = old.start, old.end
    else:
        for part in parts:  # behind JFIF's and Exif's segments, which come first
            if part.name != b"\xe0" and not data.startswith(b"Exif\0", part.content):
                break
            start = end = part.end
    further = next((each for each in parts if each.name == b"\xe2" and data.startswith(b"MPF\0", each.content)), None)
    if further and (grown := len(new) - (end - start)):
        data = multi_picture.moved(data, further.content + 4, further.size - 4, grown, moves=start >= further.end)
    return data[:start] + new + data[end:]


# --- PNG ---


def _png(file: BinaryIO) -> Iterator[Part]:
    place = len(_PNG)
    while True:
        file.seek(place)
        head = file.read(8)
        if len(head) < 8:
            raise XmpError(None, "is a PNG that ends before its picture does")
        size = int.from_bytes(head[:4])
        yield Part(head[4:], place, place + 8, size, place + 12 + size)
        if head[4:] == b"IEND":
            return
        place += 12 + size


def _png_packet(content: bytes) -> bytes:
    """The text of an iTXt chunk."""
    is_compressed = content[len(_PNG_XMP)] == 1
    *_, text = content[len(_PNG_XMP) + 2 :].split(b"\0", 2)  # behind a language and a translated keyword
    if not is_compressed:
        return text
    inflate = zlib.decompressobj()
    text = inflate.decompress(text, MOST_BYTES)
    if not inflate.eof:
        raise XmpError(None, f"the XMP is larger than {MOST_BYTES >> 20} MiB, or broken")
    return text


def _png_with(data: bytes, packet: bytes | None) -> bytes:
    parts = list(_png(io.BytesIO(data)))
    new = b""
    if packet is not None:
        content = b"iTXt" + _PNG_XMP + bytes(4) + packet
        new = (len(content) - 4).to_bytes(4) + content + zlib.crc32(content).to_bytes(4)
    old = next((part for part in parts if part.name == b"iTXt" and data.startswith(_PNG_XMP, part.content)), None)
    if old:
        return data[: old.start] + new + data[old.end :]
    place = next(part.end for part in parts if part.name == b"IHDR")
    return data[:place] + new + data[place:]


# --- WebP ---


def _webp(file: BinaryIO) -> Iterator[Part]:
    file.seek(4)
    whole = 8 + int.from_bytes(file.read(4), "little")
    place = 12
    while place < whole or place == 12:
        file.seek(place)
        head = file.read(8)
        size = int.from_bytes(head[4:], "little")
        end = place + 8 + size + size % 2
        if len(head) < 8 or end > whole + 1:
            raise XmpError(None, "is a broken WebP")
        yield Part(head[:4], place, place + 8, size, end)
        place = end


def _webp_with(data: bytes, packet: bytes | None) -> bytes:
    parts = list(_webp(io.BytesIO(data)))
    chunks = [(part.name, data[part.content : part.content + part.size]) for part in parts if part.name != b"XMP "]
    behind = data[parts[-1].end :]
    if chunks[0][0] != b"VP8X":
        if packet is None:
            return data
        chunks.insert(0, (b"VP8X", _vp8x(*chunks[0])))
    flags = chunks[0][1][0] & ~_XMP_FLAG
    if packet is not None:
        flags |= _XMP_FLAG
        chunks.append((b"XMP ", packet))
    chunks[0] = (b"VP8X", bytes([flags]) + chunks[0][1][1:])
    if len(chunks) == 2 and chunks[1][0] in (b"VP8 ", b"VP8L") and chunks[0][1] == _vp8x(*chunks[1]):
        del chunks[0]  # nothing but a picture: a plain one, as it was before
    body = b"WEBP" + b"".join(
        name + len(content).to_bytes(4, "little") + content + bytes(len(content) % 2) for name, content in chunks
    )
    return b"RIFF" + len(body).to_bytes(4, "little") + body + behind


def _vp8x(name: bytes, content: bytes) -> bytes:
    """The header of an extended WebP, for a plain one: flags, and the size that its picture says."""
    if name == b"VP8L" and content[:1] == b"\x2f":
        bits = int.from_bytes(content[1:5], "little")
        width, height, has_alpha = bits & 0x3FFF, bits >> 14 & 0x3FFF, bits >> 28 & 1
    elif name == b"VP8 " and content[3:6] == b"\x9d\x01\x2a":
        width, height = (int.from_bytes(content[i : i + 2], "little") & 0x3FFF for i in (6, 8))
        width, height, has_alpha = width - 1, height - 1, 0
    else:
        raise XmpError(None, "is a broken WebP")
    return bytes([has_alpha << 4, 0, 0, 0]) + width.to_bytes(3, "little") + height.to_bytes(3, "little")


def _packet_of(file: BinaryIO, kind: Kind) -> bytes | None:
    for part in _png(file) if kind == "PNG" else _webp(file):
        if part.name in (b"iTXt", b"XMP ") and part.size <= MOST_BYTES:
            file.seek(part.content)
            content = file.read(part.size)
            if part.name == b"XMP ":
                return content
            if content.startswith(_PNG_XMP):
                return _png_packet(content)
    return None


# --- read alone ---


def _read_tiff(file: BinaryIO, found: Metadata, order: Literal["little", "big"]) -> None:
    """The tags of a TIFF's first directory."""

    def number(at: int, size: int) -> int:
        file.seek(at)
        return int.from_bytes(file.read(size), order)

    directory = number(4, 4)
    values: dict[int, bytes] = {}
    for i in range(number(directory, 2)):
        at = directory + 2 + 12 * i
        if (tag := number(at, 2)) in (_XMP_TAG, _IPTC_TAG, _RESOURCES_TAG):
            size = number(at + 4, 4) * (4 if number(at + 2, 2) == 4 else 1)  # IPTC is often said to be longs
            if 4 < size <= MOST_BYTES:
                file.seek(number(at + 8, 4))
                values[tag] = file.read(size)
    found.xmp = values.get(_XMP_TAG)
    found.iptc = values.get(_IPTC_TAG) or iptc_in_resources(values.get(_RESOURCES_TAG, b""))


def _read_canon(file: BinaryIO, found: Metadata) -> None:
    """The XMP box of a CR3."""
    place = 0
    while True:
        file.seek(place)
        head = file.read(24)
        size = int.from_bytes(head[:4])
        if len(head) < 24 or size < 8:
            return
        if head[4:8] == b"uuid" and head[8:] == _CANON_XMP and size <= MOST_BYTES:
            found.xmp = file.read(size - 24)
            return
        place += size
