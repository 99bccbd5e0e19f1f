"""Entries with their vectors as rows of a Parquet file, and such rows as entries. Knows no collection.

One row an entry, one column a field, in row groups, so that memory is bounded.

    id, external_id, modality, path, path_bytes, text, metadata (a JSON object as text), taken, sha256, mtime_ns,
    size, width, height, vector (float16, of unit length)

The file's own metadata says of which model the vectors are, what the collection is called, and what the ids are if not
a collection's. A path is text in Parquet and so must be UTF-8; one that is not has its bytes in `path_bytes`, which
else is null, and the best that UTF-8 can say of it in `path`.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from base.errors import InputError
from base.extras import install

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError:
    raise InputError(f"Parquet needs pyarrow: {install('parquet')}") from None

from index.batch import Batch
from index.entry import Record
from index.local.catalog.tables import DEEPEST, encode_metadata

ROWS = 8192  # a row group, and a commit of an import
FIELDS = "id external_id modality path path_bytes text metadata taken sha256 mtime_ns size width height".split()
REPEATED = ["modality", "text", "metadata"]  # a dictionary of their values pays
HOW: dict[str, Any] = {"compression": "zstd", "use_dictionary": REPEATED, "write_page_checksum": True}
DAMAGED = (OSError, ValueError, pa.ArrowException)  # what reading a file raises that is not whole
INTEGERS = {"id", "mtime_ns", "size", "width", "height"}


def open_parquet(file: Path) -> Any:
    """A Parquet file, to be closed. InputError if it is none."""
    if not file.is_file():
        raise InputError(f"{file}: no such file")
    try:
        source = pq.ParquetFile(file, memory_map=True, page_checksum_verification=True)
        source.schema_arrow  # noqa: B018  parses what the file says of its columns
        return source
    except DAMAGED as error:
        raise InputError(f"{file}: not a Parquet file, or damaged; write it anew, as with pandas") from error


def writing(part: Path, schema: Any) -> Any:
    """A new Parquet file, to be written and closed."""
    return pq.ParquetWriter(part, schema, **HOW)


def about_of(source: Any) -> dict[str, str]:
    """What the file says of its vectors: model, fingerprint, dim, name; nothing if glimpse has not written it."""
    return {
        key.decode(errors="replace").removeprefix("glimpse."): word.decode(errors="replace")
        for key, word in (source.schema_arrow.metadata or {}).items()
        if key.startswith(b"glimpse.")
    }


def first_line(error: Exception) -> str:
    """What an error of the library says, in one line."""
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


def dim_of(source: Any, file: Path, said: str | None) -> int:
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
            raise InputError(f"column {field}: {first_line(error)}; it must hold {kind}") from error
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
