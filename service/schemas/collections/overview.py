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
from index.map.kept import Placed
from index.map.projection import Method, Projection
from service.schemas import examples
from service.schemas.base import RequestModel, Schema

MAGIC = b"glc1"
PLACES, WIDE = 1, 2  # flags
LAST = 65_534  # of a place; one more: there is none


class BitmapRequest(RequestModel):
    """Which pictures are meant."""

    model_config = ConfigDict(json_schema_extra=examples.BITMAP)

    filter: dict[str, Any] = Field(description="pictures that pass; as in a search")


class ClusterAnswer(Schema):
    """Images that lie together."""

    number: int = Field(ge=1, description="as the columns have it")
    size: int = Field(description="images, when the map was made")
    x: float = Field(description="0 to 1, amidst them; the columns' places are 65534 times this")
    y: float
    words: list[str] = Field(description="nearest to what sets them apart; empty: the map was made without names")


class MapAnswer(Schema):
    """What is known of a collection's map."""

    model_config = ConfigDict(json_schema_extra=examples.MAP)

    method: Method
    made_at: str = Field(description="ISO 8601, UTC")
    placed: int = Field(description="images that have a place")
    unplaced: int = Field(description="images that came since, too many to be placed: make the map anew")
    clusters: list[ClusterAnswer] = Field(description="the largest first")

    @classmethod
    def of(cls, made: Projection, images: int) -> MapAnswer:
        """Of a map of a collection that has so many images."""
        clusters = [
            ClusterAnswer(number=i, size=one.size, x=one.place[0], y=one.place[1], words=list(one.words))
            for i, one in enumerate(made.known, start=1)
        ]
        placed = min(len(made.ids), images)
        return cls(method=made.method, made_at=made.made_at, placed=placed, unplaced=images - placed, clusters=clusters)


def as_bytes(columns: Columns, placed: Placed | None) -> bytes:
    """Columns as they are sent, with the places of a map."""
    n = len(columns.ids)
    wide = bool(n) and int(columns.ids.max()) >= 2**32
    flags = (WIDE if wide else 0) | (PLACES if placed else 0)
    parts: list[bytes | NDArray[Any]] = [
        struct.pack("<4sIII", MAGIC, n, flags, 0),
        columns.ids.astype("<f8" if wide else "<u4"),
        *([_places(placed)] if placed else []),
        columns.days.astype("<u2"),
        columns.aspects,
        *([placed.clusters] if placed else []),
    ]
    return b"".join(part if isinstance(part, bytes) else part.tobytes() for part in parts)


def _places(placed: Placed) -> NDArray[np.uint16]:
    """(n, 2)"""
    known = ~np.isnan(placed.places[:, :1])
    return np.where(known, np.rint(placed.places * LAST), LAST + 1).astype("<u2")


def bitmap(mask: NDArray[np.bool_]) -> bytes:
    """One bit a picture, in the order of the columns: of picture i bit i % 8, from the least, of byte i // 8."""
    return np.packbits(mask, bitorder="little").tobytes()
