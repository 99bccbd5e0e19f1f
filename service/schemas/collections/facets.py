"""Facets over REST: values of a key of the metadata with their counts, in Qdrant's names; and which keys there are."""

from __future__ import annotations

from itertools import islice
from typing import Annotated, Any

from pydantic import ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr

from base.words import readable
from index.collection import FacetKey, FacetValue, Folder, Modality
from service.schemas import examples
from service.schemas.base import MAX_ID, RequestModel, Schema

MAX_VALUES = 1000  # of a key
MAX_KEYS = 32  # in one request
MAX_FOLDERS = 1000  # in an answer

Key = Annotated[str, Field(max_length=1_000, description="of the metadata, inner ones with dots, as in filters")]


class Counted(RequestModel):
    """Which entries are counted, and how many values are given."""

    filter: dict[str, Any] | None = Field(None, description="only entries that pass; as in a search")
    modality: Modality = Field("image", description="of the entries")
    limit: int = Field(10, ge=1, le=MAX_VALUES, description="values, the most frequent first")
    exact: StrictBool = Field(True, description="Qdrant's; counts are always exact here")


class FacetRequest(Counted):
    """A key whose values are counted."""

    model_config = ConfigDict(json_schema_extra=examples.FACET)

    key: Key


class FacetsRequest(Counted):
    """Several keys whose values are counted."""

    model_config = ConfigDict(json_schema_extra=examples.FACETS)

    keys: list[Key] = Field(min_length=1, max_length=MAX_KEYS)


class FacetHit(Schema):
    """A value, and how many entries have it."""

    value: StrictBool | StrictInt | StrictFloat | StrictStr
    count: int = Field(ge=1, le=MAX_ID)


class FacetAnswer(Schema):
    """The values of a key, the most frequent first, equally frequent ones in their order."""

    model_config = ConfigDict(json_schema_extra=examples.FACET_COUNTED)

    hits: list[FacetHit]
    seconds: float


class HitsOfKey(Schema):
    """The values of one of several keys."""

    key: str
    hits: list[FacetHit]

    @classmethod
    def of(cls, key: str, values: list[FacetValue]) -> HitsOfKey:
        """Of what was counted."""
        return cls(key=key, hits=[FacetHit(value=each.value, count=each.count) for each in values])


class FacetsAnswer(Schema):
    """The values of each key, in the order that they were asked for."""

    model_config = ConfigDict(json_schema_extra=examples.FACETS_COUNTED)

    facets: list[HitsOfKey]
    seconds: float


class FolderBelow(Schema):
    """A folder right below another one."""

    name: str
    path: str
    entries: int = Field(description="in it and in all below it")


class FolderAnswer(Schema):
    """A folder that files of entries lie in."""

    model_config = ConfigDict(json_schema_extra=examples.FOLDER)

    path: str
    entries: int = Field(description="in it and in all below it")
    folders: list[FolderBelow] = Field(description=f"right below it, by name; {MAX_FOLDERS} at most")
    seconds: float

    @classmethod
    def of(cls, folder: Folder, seconds: float) -> FolderAnswer:
        """Of what was counted."""
        inside = folder.path.rstrip("/")
        below = [
            FolderBelow(name=readable(name), path=readable(f"{inside}/{name}"), entries=n)
            for name, n in islice(folder.below.items(), MAX_FOLDERS)
        ]
        return cls(path=readable(folder.path), entries=folder.entries, folders=below, seconds=seconds)


class KeyAnswer(Schema):
    """A key of the metadata."""

    key: str
    entries: int = Field(description="that have it")
    values: int = Field(description="different ones")
    min: int | float | None = Field(description="of the numbers among them; null if there are none")
    max: int | float | None


class KeysAnswer(Schema):
    """Every key, by name."""

    model_config = ConfigDict(json_schema_extra=examples.FACET_KEYS)

    keys: list[KeyAnswer]
    seconds: float

    @classmethod
    def of(cls, keys: list[FacetKey], seconds: float) -> KeysAnswer:
        """Of what there is."""
        found = [
            KeyAnswer(key=each.key, entries=each.entries, values=each.values, min=each.min, max=each.max)
            for each in keys
        ]
        return cls(keys=found, seconds=seconds)
