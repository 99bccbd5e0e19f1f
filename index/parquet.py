"""Collections to Parquet and back, vectors included: for other programs, and for vectors that others have made.

One row an entry, one column a field, in row groups, so that memory is bounded.

    id, external_id, modality, path, path_bytes, text, metadata (a JSON object as text), taken, sha256, mtime_ns,
    size, width, height, vector (float16, of unit length)

The file's own metadata says of which model the vectors are, what the collection is called, and what the ids are if not
a collection's. A path is text
in Parquet and so must be UTF-8; one that is not has its bytes in `path_bytes`, which else is null, and the best that
UTF-8 can say of it in `path`.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from base.errors import InputError
from base.extras import install
from base.files import new_file
from base.progress import Progress
from base.read_ahead import one_ahead

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError:
    raise InputError(f"Parquet needs pyarrow: {install('parquet')}") from None

from index.backup import FileSummary, check_worth, copy_sound
from index.batch import Batch
from index.collection import Collection, open_collection, store_of
from index.entry import Record
from index.local.catalog.catalog import Catalog
from index.local.catalog.tables import DEEPEST, encode_metadata
from index.local.collection import LocalCollection
from index.uploads import check_paths

ROWS = 8192  # a row group, and a commit of an import
FIELDS = "id external_id modality path path_bytes text metadata taken sha256 mtime_ns size width height".split()
REPEATED = ["modality", "text", "metadata"]  # a dictionary of their values pays
HOW: dict[str, Any] = {"compression": "zstd", "use_dictionary": REPEATED, "write_page_checksum": True}
INTEGERS = {"id", "mtime_ns", "size", "width", "height"}


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did."""

    collection: str
    entries: int  # rows of the file
    replaced: int  # of these, rows that took the place of an entry or of a row before: the same path, id or external id
    ignored: list[str]  # columns of the file that no field of an entry takes


def export_parquet(
    data: Path, name: str, file: Path, *, overwrite: bool = False, progress: Progress | None = None
) -> FileSummary:
    """Write the collection to `file`: as of one moment, if it lies in the data folder, else entry by entry.

    For that moment a copy of its catalog stands beside the file meanwhile. The copy is checked: Parquet has no place
    for the catalog's own checksums, so damage would be unknown from then on.

    Raises:
        InputError: `file` is there and `overwrite` is not given, or its folder is missing.
        CollectionNotFound, CollectionDamaged: see `base.errors`.
    """
    with new_file(file, overwrite=overwrite) as part, _source(data, name, part) as (source, about):
        total, done = source.count(), 0
        check_worth(file, name, total)
        schema = schema_of(source.dim, about)
        with pq.ParquetWriter(part, schema, **HOW) as writer:
            for records in _blocks(source.records()):
                x = source.vectors([record.id for record in records])
                writer.write_batch(record_batch(schema, records, x.astype(np.float16)), row_group_size=ROWS)
                done += len(records)
                if progress:
                    progress(done, total)
    return FileSummary(done, file.stat().st_size)


@contextmanager
def _source(data: Path, name: str, part: Path) -> Iterator[tuple[Catalog | Collection, dict[str, str]]]:
    """What is exported, and what is said of it in the file. `part`: the file that is written."""
    with (
        open_collection(data, name) as collection,
        tempfile.TemporaryDirectory(dir=part.parent, prefix=f"{part.name}.") as folder,
    ):
        if not isinstance(collection, LocalCollection):
            yield collection, _about(name, *collection.made_by(), collection.title)
            return
        copy = Path(folder) / "copy.sqlite"
        copy_sound(collection, copy)
        with closing(Catalog(copy)) as catalog:
            yield catalog, _about(name, str(catalog.meta["model"]), str(catalog.meta["fingerprint"]), catalog.title())


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
        dim = _dim(source, file, about.get("dim"))
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


def open_parquet(file: Path) -> Any:
    """A Parquet file, to be closed. InputError if it is none."""
    if not file.is_file():
        raise InputError(f"{file}: no such file")
    try:
        source = pq.ParquetFile(file, memory_map=True, page_checksum_verification=True)
        source.schema_arrow  # noqa: B018  parses what the file says of its columns
        return source
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InputError(f"{file}: not a Parquet file ({_first_line(error)})") from error


def about_of(source: Any) -> dict[str, str]:
    """What the file says of its vectors: model, fingerprint, dim, name; nothing if glimpse has not written it."""
    return {
        key.decode(errors="replace").removeprefix("glimpse."): word.decode(errors="replace")
        for key, word in (source.schema_arrow.metadata or {}).items()
        if key.startswith(b"glimpse.")
    }


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
        except (OSError, ValueError, pa.ArrowException) as error:
            raise InputError(f"{where}: damaged ({_first_line(error)}); get the file anew") from error
        yield where, batch
        done += rows.num_rows


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _type(field: str) -> Any:
    if field == "path_bytes":
        return pa.binary()
    return pa.int64() if field in INTEGERS else pa.string()


def schema_of(dim: int, about: Mapping[str, str]) -> Any:
    """The schema of a file of vectors (dim,), with what it says of itself: model, fingerprint, name."""
    said = {f"glimpse.{key}": word for key, word in {**about, "dim": str(dim)}.items()}
    fields = [*((field, _type(field)) for field in FIELDS), ("vector", pa.list_(pa.float16(), dim))]
    return pa.schema(fields, metadata=said)


def _blocks(records: Iterator[Record]) -> Iterator[list[Record]]:
    while block := list(islice(records, ROWS)):
        yield block


def record_batch(schema: Any, records: Sequence[Record], x16: NDArray[np.float16]) -> Any:
    """Records with their vectors (n, dim) as rows of such a file."""

    def column(field: str) -> list[Any]:
        if field == "path":
            return [record.path and os.fsencode(record.path).decode(errors="replace") for record in records]
        if field == "path_bytes":
            return [record.path and (None if _is_utf8(record.path) else os.fsencode(record.path)) for record in records]
        if field == "metadata":
            return [json.dumps(record.metadata, ensure_ascii=False) for record in records]
        return [getattr(record, field) for record in records]

    vectors = pa.FixedSizeListArray.from_arrays(pa.array(x16.ravel()), x16.shape[1])
    columns = [pa.array(column(field), _type(field)) for field in FIELDS]
    return pa.record_batch([*columns, vectors], schema=schema)


def _is_utf8(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _dim(source: Any, file: Path, said: str | None) -> int:
    """The length of the vectors, as the file says or as the first one that is there has it."""
    if said is not None and "vector" in source.schema_arrow.names:
        if not said.isdecimal() or len(said) > 6:
            raise InputError(f"{file}: damaged (its vectors have {said[:20]!r} values); get the file anew")
        return int(said)
    for batch in source.iter_batches(batch_size=1, columns=["vector"]):
        if batch.num_columns and hasattr(batch.column(0), "flatten") and (dim := len(batch.column(0).flatten())):
            return dim
    raise InputError(f"{file}: needs a column `vector` of lists of floats, and at least one row")


def batch_of(rows: Any, dim: int) -> Batch:
    """Rows as a batch of entries with float vectors (n, dim). InputError if they cannot be."""

    def column(field: str) -> Sequence[Any]:
        if field not in rows.schema.names:
            return ()
        kind = pa.binary() if field == "path" else _type(field)  # a file name is bytes, whatever the file calls it
        try:
            values = rows.column(field).cast(kind)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise InputError(f"column {field}: {_first_line(error)}; it must hold {kind}") from error
        if values.null_count == len(values):
            return ()
        texts: Sequence[Any] = values.to_pylist()
        return texts

    columns = {field: column(field) for field in FIELDS}
    raw = columns.pop("path_bytes")
    if raw:
        columns["path"] = [own or name for own, name in zip(raw, columns["path"] or raw, strict=True)]
    columns["path"] = [os.fsdecode(path) if path else None for path in columns["path"]]
    n = rows.num_rows
    columns["modality"] = [each or "image" for each in columns["modality"]] or ["image"] * n
    metadata, texts = _metadata(columns.pop("metadata") or [None] * n)
    vectors = _vectors(rows.column("vector"), dim)
    return Batch(vectors, **columns, metadata=metadata, metadata_text=texts)


def _vectors(column: Any, dim: int) -> NDArray[Any]:
    """Vectors (n, dim), float16 if the file has them so."""
    values = column.flatten() if isinstance(column, pa.Array) and hasattr(column, "flatten") else None
    if values is None or not pa.types.is_floating(values.type):
        raise InputError(f"column vector: must hold lists of floats, not {column.type}")
    lengths = np.diff(column.offsets) if hasattr(column, "offsets") else [dim]
    if column.null_count or values.null_count or np.any(np.asarray(lengths) != dim) or len(values) != len(column) * dim:
        raise InputError(f"column vector: every row must have {dim} values")
    x: NDArray[Any] = values.to_numpy(zero_copy_only=False).reshape(len(column), dim)
    return x if x.dtype == np.float16 else x.astype(np.float32)


def _metadata(given: Sequence[str | None]) -> tuple[list[dict[str, Any]], list[str]]:
    """Metadata as objects, and as texts that are fit to be kept as they are."""
    parsed, texts = [], []
    for text in given:
        text = text or "{}"
        try:
            content = {} if text == "{}" else PARSE(text)
        except (ValueError, RecursionError):  # RecursionError: brackets in thousands of brackets
            content = None
        if not isinstance(content, dict):
            raise InputError(f"column metadata: must hold JSON objects, not {text[:40]!r}")
        if "\\u" in text or text.count("[") + text.count("{") > DEEPEST:  # half a character; objects in objects
            text = encode_metadata(content)
        parsed.append(content)
        texts.append(text)
    return parsed, texts


def _finite(text: str) -> float:
    if math.isinf(number := float(text)):
        raise ValueError("beyond every float")
    return number


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is not of JSON")


PARSE = json.JSONDecoder(parse_float=_finite, parse_constant=_no_number).decode
