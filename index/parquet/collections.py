"""Collections to Parquet and back, vectors included: for other programs, and for vectors that others have made."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from base.errors import InputError
from base.files import new_file
from base.progress import Progress
from base.read_ahead import one_ahead
from index.backup import FileSummary, check_worth, copy_sound
from index.batch import Batch
from index.collection import Collection, open_collection, store_of
from index.entry import Record
from index.local.catalog.catalog import Catalog
from index.local.collection import LocalCollection
from index.parquet.rows import (
    DAMAGED,
    FIELDS,
    ROWS,
    about_of,
    batch_of,
    dim_of,
    first_line,
    open_parquet,
    record_batch,
    schema_of,
    writing,
)
from index.uploads import check_paths


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did."""

    collection: str
    entries: int  # rows of the file
    replaced: int  # of these, rows that took the place of an entry or of a row before: the same path, id or external id
    ignored: list[str]  # columns of the file that no field of an entry takes


_OTHER_FORMS = (".csv", ".tsv", ".json", ".jsonl", ".xlsx", ".npy", ".npz", ".zip", ".glimpse")


def export_parquet(
    data: Path, name: str, file: Path, *, overwrite: bool = False, progress: Progress | None = None
) -> FileSummary:
    """Write the collection to `file`: as of one moment, if it lies in the data folder, else entry by entry.

    For that moment a copy of its catalog stands beside the file meanwhile. The copy is checked: Parquet has no place
    for the catalog's own checksums, so damage would be unknown from then on.

    Raises:
        InputError: `file` is there and `overwrite` is not given, its folder is missing, or it is named as another form.
        CollectionNotFound, CollectionDamaged: see `base.errors`.
    """
    if file.suffix.lower() in _OTHER_FORMS:
        raise InputError(f"{file}: what is written is Parquet; name it so, as {file.with_suffix('.parquet').name}")
    with new_file(file, overwrite=overwrite) as part, _source(data, name, part) as (source, everything, about):
        total, done = source.count(), 0
        check_worth(file, name, total)
        schema = schema_of(source.dim, about)
        with writing(part, schema) as writer:
            for records in _blocks(everything):
                x = source.vectors([record.id for record in records])
                writer.write_batch(record_batch(schema, records, x.astype(np.float16)), row_group_size=ROWS)
                done += len(records)
                if progress:
                    progress(done, total)
        size = part.stat().st_size  # what went into a pipe has none
    return FileSummary(done, size)


@contextmanager
def _source(
    data: Path, name: str, part: Path
) -> Iterator[tuple[Catalog | Collection, Iterator[Record], dict[str, str]]]:
    """What is exported, all its records, and what is said of it in the file. `part`: the file that is written."""
    with (
        open_collection(data, name) as collection,
        tempfile.TemporaryDirectory(dir=part.parent, prefix=f"{part.name}.") as folder,
    ):
        if not isinstance(collection, LocalCollection):
            yield collection, collection.records(), _about(name, *collection.made_by(), collection.title)
            return
        copy = Path(folder) / "copy.sqlite"
        copy_sound(collection, copy)
        with closing(Catalog(copy)) as catalog:
            made_by = str(catalog.meta["model"]), str(catalog.meta["fingerprint"])
            yield catalog, catalog.records.stream(), _about(name, *made_by, catalog.settings.title())


def _about(name: str, model: str, fingerprint: str, title: str | None) -> dict[str, str]:
    said = {"name": name, "model": model, "fingerprint": fingerprint}
    return said if title is None else said | {"title": title}


def import_parquet(
    data: Path,
    file: Path,
    name: str | None = None,
    *,
    into: str | None = None,
    model: str | None = None,
    fingerprint: str | None = None,
    progress: Progress | None = None,
) -> Imported:
    """Make a collection of `file`, with the ids that it gives; or, with `into`, write its rows to one that is there.

    Ids of a part of embedding (index.bulk) are not kept: they have more digits than a browser's numbers.

    A new collection appears whole, with the title of the one that was exported. `into` one that is there, rows are
    committed in blocks: a row whose path or external id is there replaces that entry, another gets a new id; run again,
    an import that was interrupted goes on.

    Args:
        data: folder of the collections.
        file: as `export_parquet` wrote it, or any Parquet with a column `vector` of lists of floats, all of one length,
            and those of the other columns that it has.
        name: of the new collection; default: the one that `file` was exported from, or the file's name.
        into: name of a collection of the same model.
        model: reference of the model that made the vectors, for a file that does not say it.
        fingerprint: of that model.
        progress: called with rows done and rows in all.

    Raises:
        InputError: no such file, or not such a file.
        CollectionExists, ModelMismatch, CollectionLocked: see `base.errors`.
    """
    with open_parquet(file) as source:
        about = about_of(source)
        if fingerprint and about.get("fingerprint", fingerprint) != fingerprint:
            raise InputError(f"{file}: its vectors are of {about.get('model')}, not of {model}: leave --model out")
        model, fingerprint = about.get("model", model), about.get("fingerprint", fingerprint)
        if not model or not fingerprint:
            raise InputError(f"{file}: does not say which model made its vectors: give --model")
        ignored = [column for column in source.schema_arrow.names if column not in (*FIELDS, "vector")]
        dim = dim_of(source, file, about.get("dim"))
        if into:
            with open_collection(data, into, writable=True) as collection:
                collection.check_model(fingerprint)
                batches = _batches(source, file, data, into, dim)
                return Imported(into, *_fill(collection, batches, source, progress, keep_ids=False), ignored)
        name = name or about.get("name") or file.stem
        with store_of(data).making(name, model=model, fingerprint=fingerprint, dim=dim) as collection:
            if title := about.get("title"):
                collection.set_title(title)
            batches = _batches(source, file, data, name, dim)
            entries = _fill(collection, batches, source, progress, keep_ids="ids" not in about)
            collection.compact()
        return Imported(name, *entries, ignored)


def _fill(
    collection: Collection,
    batches: Iterator[tuple[str, Batch]],
    source: Any,
    progress: Progress | None,
    *,
    keep_ids: bool,
) -> tuple[int, int]:
    """Write the rows; how many there were, and how many of them took the place of another."""
    done, before = 0, collection.count()
    for where, batch in one_ahead(batches, overlap=True):
        try:
            collection.write(batch if keep_ids else replace(batch, id=()))
        except InputError as error:
            raise InputError(f"{where}: {error}") from error
        done += len(batch)
        if progress:
            progress(done, source.metadata.num_rows)
    return done, done - (collection.count() - before)


def _batches(source: Any, file: Path, data: Path, name: str, dim: int) -> Iterator[tuple[str, Batch]]:
    """The rows of the file as entries for the collection `name`, some at a time, and which rows they are."""
    batches, done = source.iter_batches(batch_size=ROWS), 0
    while True:
        where = f"{file}, from row {done} on"
        try:
            rows = next(batches, None)
            if rows is None:
                return
            batch = batch_of(rows, dim)
            check_paths(batch.path, data, name)
        except InputError as error:
            raise InputError(f"{where}: {error}") from error
        except DAMAGED as error:
            raise InputError(f"{where}: damaged ({first_line(error)}); get the file anew") from error
        yield where, batch
        done += rows.num_rows


def _blocks(records: Iterator[Record]) -> Iterator[list[Record]]:
    while block := list(islice(records, ROWS)):
        yield block
