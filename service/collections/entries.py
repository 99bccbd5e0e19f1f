"""What the routes of entries have in common: pages of them, changing and deleting one or many, by id or external id.

Functions of a collection, called in threads. Knows no HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from base.errors import EntryNotFound, InputError
from index.collection import MODALITIES, Collection, Modality, Record
from index.search.patience import Patience
from service.collections.metadata import Patch
from service.collections.uploads import Uploads


def find(collection: Collection, entry_id: int, modality: Modality) -> Record:
    """The record of that id. EntryNotFound if there is none, or it is of the other modality."""
    record = collection.get(entry_id)
    if record.modality != modality:
        raise EntryNotFound(f"entry {entry_id} of collection {collection.name!r} is no {modality}")
    return record


def find_external(collection: Collection, external_id: str) -> Record:
    """The record of that external id. EntryNotFound."""
    if record := collection.find_external([external_id]).get(external_id):
        return record
    raise EntryNotFound(f"collection {collection.name!r} has no entry with external_id {external_id!r}")


@dataclass(frozen=True, slots=True)
class Selection:
    """Entries that are meant, of one modality or of both: those that pass a filter, or those of external ids."""

    filter: Mapping[str, Any] | None = None
    external_ids: Sequence[str] | None = None
    modality: Modality | None = None

    def ids(self, collection: Collection, patience: Patience) -> list[int]:
        """Their ids, ascending, as of now; of external ids that are not there none.

        Raises:
            InputError: `filter` is none; the message names the place.
            FilterTooSlow, GivenUp: the `patience` is over.
        """
        modalities = MODALITIES if self.modality is None else (self.modality,)
        if self.external_ids is not None:
            found = collection.find_external(self.external_ids).values()
            return sorted(record.id for record in found if record.modality in modalities)
        wanted = self.filter or {}
        return sorted(key for each in modalities for key in collection.filter_ids(wanted, each, patience).tolist())


def page(
    collection: Collection,
    modality: Modality,
    limit: int,
    after: int,
    wanted: Mapping[str, Any] | None,
    patience: Patience,
) -> tuple[list[Record], int | None]:
    """Up to `limit` records above the id `after`, in the order of ids, and the id to go on from; None at the end.

    Raises:
        InputError: `wanted` is no filter; the message names the place.
        FilterTooSlow, GivenUp: the `patience` is over.
    """
    if wanted is None:
        records = list(collection.records(modality, after_id=after, limit=limit + 1))
    else:
        ids = collection.filter_ids(wanted, modality, patience)
        first = int(np.searchsorted(ids, after, side="right"))
        found = collection.records_of(ids[first : first + limit + 1].tolist())
        records = [found[key] for key in sorted(found)]
    more = len(records) > limit
    records = records[:limit]
    return records, records[-1].id if more else None


def change(collection: Collection, entry_id: int, modality: Modality, patch: Patch) -> Record:
    """Change the metadata of an entry.

    Raises:
        EntryNotFound: see `find`.
        InputError: its metadata would be too large.
    """
    record = find(collection, entry_id, modality)
    metadata = patch.of(record.metadata)
    if metadata == record.metadata:  # nothing that others follow or keep is of yesterday then
        return record
    collection.update({entry_id: {"metadata": metadata}})
    return collection.get(entry_id)


@dataclass
class Changed:
    """What a patch of many did: the ids of those that it changed, and of the others how many it left as they were.

    `refused` are those that it cannot be merged into, and why.
    """

    changed: list[int] = field(default_factory=list)
    unchanged: int = 0
    refused: list[tuple[Record, InputError]] = field(default_factory=list)


def change_all(collection: Collection, ids: Sequence[int], patch: Patch) -> Changed:
    """The same with those of these entries that are there."""
    done, changes = Changed(), {}
    for key, record in collection.records_of(ids).items():
        try:
            metadata = patch.of(record.metadata)
        except InputError as error:
            done.refused.append((record, error))
            continue
        if metadata == record.metadata:
            done.unchanged += 1
        else:
            changes[key] = {"metadata": metadata}
    if changes:
        collection.update(changes)
    done.changed = list(changes)
    return done


def delete(collection: Collection, uploads: Uploads, entry_id: int, modality: Modality) -> Record:
    """Delete an entry, what is kept of its bytes and path, and its file if uploaded; what it was.

    Raises:
        EntryNotFound: see `find`.
    """
    find(collection, entry_id, modality)
    return delete_all(collection, uploads, [entry_id])[0]


def delete_all(collection: Collection, uploads: Uploads, ids: Sequence[int]) -> list[Record]:
    """The same with those of these entries that are there."""
    records = collection.records_of(ids)
    if records:
        collection.keepsakes.forget_entries(list(records))
        collection.delete(records)
    for record in records.values():
        if record.path is not None:
            uploads.remove(Path(record.path))
    return list(records.values())
