"""The index of a JPEG that holds further pictures (MPF, CIPA DC-007), as phones write it for a gain map or a depth map.

It says where each of them lies, counted from the index, so it follows when what stands in between changes its size.
"""

from __future__ import annotations

from typing import Literal

from labelling.xmp.words import XmpError

_ENTRIES = 0xB002  # 16 bytes a picture: kind, size, place, what it depends on


def moved(data: bytes, start: int, size: int, grown: int, *, moves: bool) -> bytes:
    """The file with an index that fits once the first picture's own part has grown.

    Args:
        data: the file.
        start: where the index's TIFF header stands, the place that it counts from.
        size: its bytes.
        grown: by how many bytes.
        moves: whether that is behind the index, so that the further pictures move away from it.

    Raises:
        XmpError: it is broken.
    """
    index = data[start : start + size]
    order: Literal["little", "big"] = "little" if index[:2] == b"II" else "big"

    def number(at: int, width: int = 4) -> int:
        return int.from_bytes(index[at : at + width], order)

    directory = number(4)
    for at in range(directory + 2, directory + 2 + 12 * number(directory, 2), 12):
        if number(at, 2) != _ENTRIES:
            continue
        first, count = number(at + 8), number(at + 4) // 16
        if first + 16 * count > size:
            break
        new = bytearray(index)
        for entry in range(first, first + 16 * count, 16):
            place = entry + 4 if number(entry + 8) == 0 else entry + 8  # the first picture's size; another's place
            if place == entry + 4 or moves:
                new[place : place + 4] = (number(place) + grown).to_bytes(4, order)
        return data[:start] + bytes(new) + data[start + size :]
    raise XmpError(None, "holds further pictures in a way that is not understood; write a sidecar")
