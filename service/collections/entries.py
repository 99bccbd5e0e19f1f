"""What the routes for images and those for texts have in common: pages of entries, changing one, deleting one.

Functions of a collection, called in threads. Knows no HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from base.errors import EntryNotFound
from index.collection import Collection, Modality, Record
from index.search.patience import Patience
from service.collections.metadata import merge_patch
from service.collections.uploads import Uploads


def find(collection: Collection, entry_id: int, modality: Modality) -> Record:
    """The record of that id. EntryNotFound if there is none, or it is of the other modality."""
    record = collection.get(entry_id)
    if record.modality != modality:
        raise EntryNotFound(f"entry {entry_id} of collection {collection.name!r} is no {modality}")
    return record


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


def change(collection: Collection, entry_id: int, modality: Modality, patch: Mapping[str, Any]) -> Record:
    """Merge `patch` into the metadata of an entry.

    Raises:
        EntryNotFound: see `find`.
        InputError: its metadata would be too large.
    """
    metadata = merge_patch(find(collection, entry_id, modality).metadata, patch)
    collection.update({entry_id: {"metadata": metadata}})
    return collection.get(entry_id)


def delete(collection: Collection, uploads: Uploads, entry_id: int, modality: Modality) -> Record:
    """Delete an entry, what is kept of its bytes and path, and its file if uploaded; what it was.

    Raises:
        EntryNotFound: see `find`.
    """
    record = find(collection, entry_id, modality)
    collection.keepsakes.forget_entries([entry_id])
    collection.delete([entry_id])
    if record.path is not None:
        uploads.remove(Path(record.path))
    return record
