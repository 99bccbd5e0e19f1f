"""A whole collection over REST: pictures as binary columns, which are told here, and a filter over them as a bitmap.

All numbers are little-endian; nothing stands between the columns. Of n pictures, the newest first:

    offset  type             what
    0       4 bytes          "glc1"
    4       u32              n
    8       u32              flags: 1 there are places and clusters, 2 ids are f64
    12      u32              0
    16      u32 n (f64 n)    id
            u16 2n           place: x, y in 0..65534; 65535, 65535 of one that has none. Only with flag 1
            u16 n            day: days after 1899-12-31; 0: not known
            u8 n             aspect: width / height = 2 ** ((aspect - 128) / 32); 0: not known
            u8 n             cluster: its number from 1; 0: none. Only with flag 1

Columns of 4 and 8 bytes come first, so that each begins where a typed array may.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field

from index.columns import Columns
from service.schemas import examples
from service.schemas.base import RequestModel

MAGIC = b"glc1"
PLACES, WIDE = 1, 2  # flags
BINARY: dict[str, Any] = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}


class BitmapRequest(RequestModel):
    """Which pictures are meant."""

    model_config = ConfigDict(json_schema_extra=examples.BITMAP)

    filter: dict[str, Any] = Field(description="pictures that pass; as in a search")


def as_bytes(columns: Columns) -> bytes:
    """Columns as they are sent."""
    n = len(columns.ids)
    wide = bool(n) and int(columns.ids.max()) >= 2**32
    flags = WIDE if wide else 0
    parts: list[bytes | NDArray[Any]] = [
        struct.pack("<4sIII", MAGIC, n, flags, 0),
        columns.ids.astype("<f8" if wide else "<u4"),
        columns.days.astype("<u2"),
        columns.aspects,
    ]
    return b"".join(part if isinstance(part, bytes) else part.tobytes() for part in parts)


def bitmap(mask: NDArray[np.bool_]) -> bytes:
    """One bit a picture, in the order of the columns: of picture i bit i % 8, from the least, of byte i // 8."""
    return np.packbits(mask, bitorder="little").tobytes()
