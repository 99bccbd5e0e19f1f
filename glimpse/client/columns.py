"""All pictures of a service's collection as columns, filters as bitmaps over them, its map. Needs no numpy."""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from glimpse.client.answers import listed, read
from glimpse.client.connection import Connection, in_path
from glimpse.client.errors import NoService

EPOCH = date(1899, 12, 31)
PLACES, WIDE = 1, 2  # flags of the columns' head
HEAD = 16  # bytes


@dataclass(frozen=True, slots=True)
class Columns:
    """The pictures of a collection, the newest first; picture i is at i of each column. docs/api.md tells their values.

    Attributes:
        etag: of the collection's state; `Client.columns` takes it to ask whether there is a newer one.
        ids: of the entries.
        days: when they were taken; 0: not known. `day` makes dates of them.
        aspects: codes of width by height; 0: not known. `aspect` makes numbers of them.
        places: x and y of each in the map, one after the other, 0 to 65534; 65535 of what has none. Empty: no map.
        clusters: the map's cluster of each, from 1; 0: none. Empty: no map.
    """

    etag: str
    ids: Sequence[int]
    days: Sequence[int]
    aspects: Sequence[int]
    places: Sequence[int]
    clusters: Sequence[int]

    def day(self, i: int) -> date | None:
        """The day of picture i, when it was taken or else its file last changed."""
        return EPOCH + timedelta(self.days[i]) if self.days[i] else None

    def aspect(self, i: int) -> float | None:
        """Width by height of picture i."""
        return float(2 ** ((self.aspects[i] - 128) / 32)) if self.aspects[i] else None


@dataclass(frozen=True, slots=True)
class Cluster:
    """Images that lie together in a map: amidst them x and y, 0 to 1, and words nearest to what sets them apart."""

    number: int
    size: int
    x: float
    y: float
    words: list[str]


@dataclass(frozen=True, slots=True)
class Map:
    """What is known of a collection's map; where each image lies is told by its columns."""

    method: str
    made_at: str
    placed: int
    unplaced: int
    clusters: list[Cluster]


class Overview(Connection):
    """The calls of `Client` that look at all of a collection."""

    def columns(self, collection: str, etag: str | None = None) -> Columns | None:
        """All images as columns; None if they are still those with that `etag`.

        Raises:
            CollectionNotFound: there is none of that name.
        """
        headers = {} if etag is None else {"If-None-Match": etag}
        answer = self.send("GET", f"/v1/collections/{in_path(collection)}/columns", headers=headers)
        if answer.status_code == 304:
            return None
        try:
            return _columns(answer.headers["etag"], answer.content)
        except (struct.error, KeyError, TypeError, ValueError):
            raise NoService(f"{self.url} answers, but not in columns: is it a glimpse service?") from None

    def map(self, collection: str) -> Map:
        """The map of a collection. ServiceError (404, `no_map`) where none was made: `start_job("map", ...)` does."""
        said = self.ask("GET", f"/v1/collections/{in_path(collection)}/map")
        return read(Map, said, clusters=[read(Cluster, one) for one in listed(said, "clusters")])

    def forget_map(self, collection: str) -> None:
        """Forget the map of a collection."""
        self.ask("DELETE", f"/v1/collections/{in_path(collection)}/map")

    def passing(self, collection: str, filter: Mapping[str, Any]) -> tuple[str, list[int]]:  # noqa: A002
        """The ETag of the columns that it is of, and at which places in them the pictures stand that pass a filter.

        Raises:
            CollectionNotFound: there is none of that name.
            InputError: it is no filter.
        """
        path = f"/v1/collections/{in_path(collection)}/columns/bitmap"
        answer = self.send("POST", path, json={"filter": filter})
        places = [8 * i + bit for i, byte in enumerate(answer.content) if byte for bit in range(8) if byte >> bit & 1]
        return answer.headers.get("etag", ""), places


def _columns(etag: str, content: bytes) -> Columns:
    """What an answer holds. struct.error, TypeError, ValueError: it is none."""
    magic, n, flags, _ = struct.unpack_from("<4sIII", content)
    if magic != b"glc1":
        raise ValueError(magic)
    mapped = n if flags & PLACES else 0
    at = HEAD

    def column(kind: str, size: int) -> Sequence[int]:
        nonlocal at
        values = array(kind, content[at : at + size * array(kind).itemsize])
        if len(values) != size:
            raise ValueError(f"{len(values)} of {size} values")
        at += size * values.itemsize
        if sys.byteorder == "big":
            values.byteswap()
        return values

    ids = column("d", n) if flags & WIDE else column("I", n)
    places = column("H", 2 * mapped)
    days, aspects, clusters = column("H", n), column("B", n), column("B", mapped)
    return Columns(etag, ids, days, aspects, places, clusters)
