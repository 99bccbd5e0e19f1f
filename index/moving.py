"""A collection to another store and back: its entries with their ids, vectors bit for bit, title, quota and settings.

It is copied page by page while its writer's lock is held, compared by count and by a sample of vectors, and only then
deleted where it was. A run that was interrupted goes on with the next: what is there and the same is left alone. What
one store alone keeps (files that went, the feed of changes) does not go along; uploaded files stay where they are.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from base.errors import CollectionError, CollectionExists, CollectionNotFound, InputError
from base.progress import Progress
from index.collection import Collection, store_at
from index.config import IndexConfig
from index.entry import Entry, Record
from index.stored import Store

PAGE = 1000  # entries copied at a time
SAMPLE = 2000  # vectors compared at the end
MOVING = "moving"  # in what the new one remembers: it is not whole yet
FIELDS = [field.name for field in fields(Record) if field.name not in ("id", "modality")]


@dataclass(slots=True)
class Moved:
    """What a run did, in entries."""

    entries: int = 0  # there are now
    copied: int = 0  # by this run
    compared: int = 0  # vectors of the sample


def move(data: Path, name: str, source: str, target: str, *, progress: Progress | None = None) -> Moved:
    """Move the collection `name` of a data folder from one store to another; addresses as GLIMPSE_STORE has them.

    Raises:
        InputError: both are the same store, or another model is being gathered.
        CollectionNotFound, CollectionLocked, StoreUnavailable: see `base.errors`.
        CollectionExists: the other store has one of that name, which is no unfinished move of this one.
        CollectionError: after copying they are not the same; the old one is left as it is.
    """
    here, there = store_at(data, source), store_at(data, target)
    if here.place == there.place:
        raise InputError(f"collection {name!r} lies in {here.place} already")
    with ExitStack() as held:
        with here.open(name) as old:
            held.callback(os.close, here.lock(name))  # until it is gone: nobody writes between comparing and deleting
            if begun := old.next.info():
                raise InputError(
                    f"a change to {begun.model} has begun: finish it first, or forget it (glimpse reindex --collection "
                    f"{name} --abandon)"
                )
            mark = {MOVING: f"{old.info().created_at} in {here.place}"}
            new = held.enter_context(_begun(there, name, old, mark))
            moved = _copy(old, new, progress)
            _reserve(new, old.last_id())
            moved.compared = _compare(old, new)
            wanted = old.index_config
            new.compact(wanted if wanted.kind in ("auto", "exact") else IndexConfig(recall=wanted.recall))
            new.set_quota(old.quota)  # last, for it may have more than that
            new.set_title(old.title)
            places = {key: value for key, value in old.places().items() if key != MOVING}
            new.set_places(places | mark)
        here.delete(name, keep_uploads=True, is_locked=True)
        new.set_places(places)  # only now: what was cut off before goes on with the next run
    return moved


def _begun(there: Store, name: str, old: Collection, mark: dict[str, str]) -> Collection:
    """The new one, open for writing: made, or left unfinished by a run before."""
    model, fingerprint = old.made_by()
    try:
        new = there.open(name, writable=True)
    except CollectionNotFound:
        new = there.create(name, model=model, fingerprint=fingerprint, dim=old.dim)
        new.set_places(mark)
        new.compact(IndexConfig("exact"))  # until all is there: an index of a part would be built in vain
    try:
        if new.places().get(MOVING) != mark[MOVING] or new.fingerprint != fingerprint:
            raise CollectionExists(
                f"collection {name!r} exists in {there.place}, and is no unfinished move of this one: delete it first"
            )
        if (measured := old.rejection()) is not None:
            new.set_rejection(measured)
    except BaseException:
        new.close()
        raise
    return new


def _copy(old: Collection, new: Collection, progress: Progress | None) -> Moved:
    """Write what is missing or another, and delete what is no longer in the old one."""
    moved, total, records = Moved(), old.count(), old.records()
    last, goes_on = 0, new.count() > 0
    while page := list(islice(records, PAGE)):
        if goes_on:  # first, for another entry may have its path by now
            ours = {record.id for record in page}
            new.delete([record.id for record in _between(new, last, page[-1].id) if record.id not in ours])
        x = old.vectors([record.id for record in page])
        known = new.records_of([record.id for record in page])
        kept = dict(zip(known, new.vectors(list(known)), strict=True)) if known else {}
        fresh = [
            Entry(vector=vector, modality=record.modality, id=record.id, **_said(record))
            for record, vector in zip(page, x, strict=True)
            if record.id not in known or not np.array_equal(vector, kept[record.id])
        ]
        if stale := [entry.id for entry in fresh if entry.id in known]:
            raise CollectionError(
                f"entries of {new.name!r} were written anew since the move began, the first {stale[0]}: delete the "
                f"unfinished collection in the other store, and move again"
            )
        new.upsert(fresh)
        new.update({record.id: _said(record) for record in page if known.get(record.id, record) != record})
        last = page[-1].id
        moved.copied += len(fresh)
        moved.entries += len(page)
        if progress:
            progress(moved.entries, total)
    new.delete([record.id for record in new.records(after_id=last)])
    return moved


def _reserve(new: Collection, last: int) -> None:
    """Have the new one give no id up to `last`: some may have been those of entries that are gone."""
    if last > new.last_id():
        new.upsert([Entry(np.eye(1, new.dim)[0], "text", text="-", id=last)])
        new.delete([last])


def _between(new: Collection, after: int, last: int) -> Iterator[Record]:
    for record in new.records(after_id=after):
        if record.id > last:
            return
        yield record


def _said(record: Record) -> dict[str, Any]:
    return {name: getattr(record, name) for name in FIELDS}


def _compare(old: Collection, new: Collection) -> int:
    """How many vectors were compared. CollectionError if the two are not the same."""
    counts = old.info().counts, new.info().counts
    compared, lost = 0, ""
    for modality in old.info().counts:
        ids, _ = old.read_view().sample(modality, SAMPLE)
        some = ids.tolist()
        if some and not np.array_equal(old.vectors(some), new.vectors(some)):
            lost = "vectors"
        if old.records_of(some) != new.records_of(some):
            lost = "what is said of entries"
        compared += len(some)
    if counts[0] != counts[1]:
        lost = f"{counts[0]} entries and {counts[1]}"
    if lost:
        raise CollectionError(f"collection {old.name!r} is not the same in the other store ({lost}): it stays here")
    return compared
