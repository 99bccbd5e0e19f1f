"""The parts of a job into a collection: what is new or changed is written, in bulk; what is the same is left alone.

Nothing is deleted: an entry whose image is in no part any more stays.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from base.errors import CollectionExists, InputError
from base.progress import Progress
from base.read_ahead import one_ahead
from index.batch import Batch
from index.bulk.job import MANIFEST, Manifest
from index.collection import Collection, open_collection, store_of
from index.entry import Record
from index.parquet.rows import ROWS, about_of, batch_of, open_parquet
from index.rows import stored_rows
from index.uploads import check_paths

SAID = ("modality", "text", "metadata", "sha256", "mtime_ns", "size", "width", "height", "taken")


@dataclass
class FolderImported:
    """What an import did, in entries.

    Attributes:
        missing: shards of the job that are not embedded.
        seconds: of writing the entries; building the index of a new collection comes after it.
    """

    collection: str
    entries: int = 0
    added: int = 0
    changed: int = 0
    unchanged: int = 0
    missing: int = 0
    seconds: float = field(default=0.0, compare=False)


def import_folder(
    data: Path, out: Path, name: str | None = None, *, into: str | None = None, progress: Progress | None = None
) -> FolderImported:
    """Make a collection of a job's parts; or, with `into`, bring one that is there up to date with them.

    A new collection appears whole. `into` one that is there rows are committed in blocks, and run again, an import
    that was interrupted goes on. Entries get ids of the collection's own; a row is an entry's whose path it has.

    Args:
        data: folder of the collections.
        out: as `index.bulk.job.run_job` writes it.
        name: of the new collection; default: the name of the folder.
        into: name of a collection of the same model.
        progress: called with rows done and rows in all.

    Raises:
        InputError: it is no such folder, or nothing is embedded yet, or a part is damaged.
        CollectionExists, CollectionNotFound, ModelMismatch, CollectionLocked: see `base.errors`.
    """
    manifest = Manifest.read(out)
    if manifest is None:
        raise InputError(f"{out}: has no {MANIFEST}; give the folder that `glimpse embed` wrote, or one Parquet file")
    if not manifest.parts:
        raise InputError(f"{out}: nothing is embedded yet; run `glimpse embed` first")
    if into:
        with open_collection(data, into, writable=True) as collection:
            collection.check_model(manifest.fingerprint)
            return _fill(collection, data, manifest, FolderImported(into), progress)
    done = FolderImported(name or out.resolve().name)
    store = store_of(data)
    model, fingerprint, dim = manifest.model, manifest.fingerprint, manifest.dim
    try:
        with store.making(done.collection, model=model, fingerprint=fingerprint, dim=dim) as collection:
            _fill(collection, data, manifest, done, progress)
            collection.compact()
    except CollectionExists as error:
        raise CollectionExists(f"{error}; or bring it up to date: --into {done.collection}") from None
    return done


def _fill(
    collection: Collection, data: Path, manifest: Manifest, done: FolderImported, progress: Progress | None
) -> FolderImported:
    started, total = time.perf_counter(), sum(rows for _, rows in manifest.parts)
    done.missing = manifest.missing
    is_empty = not collection.count()
    for batch in one_ahead(_batches(manifest), overlap=True):
        check_paths(batch.path, data, done.collection)
        fresh = batch
        if not is_empty:
            known = collection.find_paths(path for path in batch.path if path is not None)
            fresh = batch.only(_other_rows(collection, batch, known))
            done.changed += sum(path in known for path in fresh.path)
        collection.write(fresh, manifest.fingerprint)
        done.entries += len(batch)
        done.unchanged += len(batch) - len(fresh)
        done.seconds = round(time.perf_counter() - started, 3)
        if progress:
            progress(done.entries, total)
    done.added = done.entries - done.unchanged - done.changed
    return done


def _other_rows(collection: Collection, batch: Batch, known: dict[str, Record]) -> list[int]:
    """The places of those rows that are not in the collection as they are."""
    columns = [batch.metadata if name == "metadata" else batch.column(name) for name in SAID]
    fresh, alike = list[int](), list[int]()
    for i, (path, said) in enumerate(zip(batch.path, zip(*columns, strict=True), strict=True)):
        record = known.get(path)
        is_alike = (
            record is not None
            and said == tuple(getattr(record, name) for name in SAID)
            and _same(batch.metadata[i], record.metadata)
        )
        (alike if is_alike else fresh).append(i)
    if alike:
        ours = stored_rows(np.asarray(batch.vector)[alike], collection.dim)
        theirs = collection.vectors([known[batch.path[i]].id for i in alike])
        fresh += [i for i, is_same in zip(alike, (ours == theirs).all(axis=1), strict=True) if not is_same]
    return sorted(fresh)


def _same(said: Any, before: Any) -> bool:
    """Whether what is equal to Python is the same in JSON: True is not 1."""
    if isinstance(said, dict):
        return all(_same(value, before[key]) for key, value in said.items())
    if isinstance(said, list):
        return all(map(_same, said, before))
    return isinstance(said, bool) == isinstance(before, bool)


def _batches(manifest: Manifest) -> Iterator[Batch]:
    """The rows of all parts, ROWS at a time."""
    waiting: list[Any] = []
    for file, rows in manifest.parts:
        try:
            with open_parquet(file) as source:
                about = about_of(source)
                if about.get("fingerprint") != manifest.fingerprint or source.metadata.num_rows != rows:
                    raise InputError(f"{file}: not the part that {MANIFEST} says; run `glimpse embed` again")
                for some in source.iter_batches(batch_size=ROWS):
                    waiting.append(some)
                    if sum(map(len, waiting)) >= ROWS:
                        yield from _together(waiting, manifest.dim)
                        waiting = []
        except (OSError, pa.ArrowException) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise InputError(f"{file}: damaged ({reason}); remove it and run `glimpse embed` again") from error
    if waiting:
        yield from _together(waiting, manifest.dim)


def _together(waiting: Sequence[Any], dim: int) -> Iterator[Batch]:
    for some in pa.Table.from_batches(waiting).combine_chunks().to_batches():
        yield replace(batch_of(some, dim), id=())
