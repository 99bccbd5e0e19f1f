"""Facets of a service's collections: the values of metadata keys with their counts, and which keys there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from glimpse.client.answers import Modality, listed, part, read
from glimpse.client.connection import Connection, given, in_path


@dataclass(frozen=True, slots=True)
class FacetValue:
    """A value of a key, and how many entries have it."""

    value: str | int | float | bool
    count: int


@dataclass(frozen=True, slots=True)
class FacetKey:
    """A key: how many entries have it, how many different values it has, and the range of its numbers."""

    key: str
    entries: int
    values: int
    min: int | float | None = None
    max: int | float | None = None


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder that files of entries lie in: how many in it and all below it, and in each right below, by name."""

    path: str
    entries: int
    below: dict[str, int]


class Facets(Connection):
    """The calls of `Client` that count."""

    def facets(
        self,
        collection: str,
        keys: Sequence[str],
        *,
        filter: Mapping[str, Any] | None = None,  # noqa: A002
        limit: int = 10,
        modality: Modality = "image",
    ) -> dict[str, list[FacetValue]]:
        """Of each key the `limit` most frequent values, of all entries or of those that pass a filter."""
        body = {"keys": list(keys), "limit": limit, "modality": modality} | given(filter=filter)
        said = self.ask("POST", f"/v1/collections/{in_path(collection)}/facets", json=body)
        return {
            part(each, "key"): [read(FacetValue, value) for value in listed(each, "hits")]
            for each in listed(said, "facets")
        }

    def facet_keys(self, collection: str, modality: Modality = "image") -> list[FacetKey]:
        """Every key of the metadata, by name."""
        path = f"/v1/collections/{in_path(collection)}/facets"
        return [read(FacetKey, each) for each in listed(self.ask("GET", path, params={"modality": modality}), "keys")]

    def folder(self, collection: str, path: str | None = None) -> Folder:
        """A folder with what lies in it; default: the lowest that all entries with files lie in. Not uploaded ones."""
        said = self.ask("GET", f"/v1/collections/{in_path(collection)}/folders", params=given(**{"in": path}))
        below = {part(each, "name"): part(each, "entries") for each in listed(said, "folders")}
        return Folder(part(said, "path"), part(said, "entries"), below)
