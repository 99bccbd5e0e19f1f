"""The rows of a collection as Milvus has them, made of entries and read as records; what does not fit is refused.

Milvus 2.3 knows no null: a text that is not there is empty, a number is NULL.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from base.errors import InputError
from base.names import check_external_id
from index.entry import Entry, Record, is_deeper
from index.milvus.rows.filed import file_metadata

NULL = -(2**62)
TEXT = 65_535  # bytes, of Milvus's longest text
JSON = 65_536  # bytes
TOKENS = 4096
DEEPEST = 100  # levels of metadata, as on disk
TEXTS = {"path": 4096, "external_id": 1024, "sha256": 64, "taken": 256, "text": TEXT}  # bytes
NUMBERS = ("mtime_ns", "size", "width", "height")
FIELDS = ("modality", "path", "text", "metadata", "sha256", *NUMBERS, "taken", "external_id")
RECORD = ["id", *FIELDS]


def fields_of(dim: int) -> list[tuple[str, str, dict[str, int]]]:
    """Name, Milvus's type and its parameters of each field; `stamp` is when the vector was written."""
    return [
        ("id", "INT64", {}),
        ("vector", "FLOAT_VECTOR", {"dim": dim}),
        ("modality", "VARCHAR", {"max_length": 8}),
        *((name, "VARCHAR", {"max_length": most}) for name, most in TEXTS.items()),
        *((name, "INT64", {}) for name in NUMBERS),
        ("metadata", "JSON", {}),
        ("facets", "ARRAY", {"max_capacity": TOKENS, "max_length": 32}),
        ("numbers", "JSON", {}),
        ("texts", "JSON", {}),
        ("stamp", "INT64", {}),
    ]


def row_of(entry: Entry) -> dict[str, Any]:
    """An entry as a row without id, vector and stamp. InputError if it does not fit."""
    return {"modality": entry.modality} | columns_of({name: getattr(entry, name) for name in FIELDS[1:]})


def columns_of(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Some of FIELDS as columns. InputError if one does not fit."""
    columns: dict[str, Any] = {}
    for name, value in fields.items():
        if name == "metadata":
            columns |= _metadata(value)
        elif name in TEXTS:
            columns[name] = _text(name, path_text(value) if name == "path" else value)
        else:
            columns[name] = NULL if value is None else int(value)
            if not -(2**63) < columns[name] < 2**63:
                raise InputError(f"a value cannot be stored: {name} {value}")
    return columns


def record_of(row: Mapping[str, Any]) -> Record:
    """A row of the columns RECORD."""
    fields: dict[str, Any] = {name: row[name] or None for name in TEXTS}
    fields |= {name: None if row[name] == NULL else int(row[name]) for name in NUMBERS}
    return Record(id=int(row["id"]), modality=row["modality"], metadata=row["metadata"], **fields)


def vectors_of(rows: Sequence[Mapping[str, Any]], dim: int) -> NDArray[np.float32]:
    """The vectors (n, dim) of rows."""
    return np.array([row["vector"] for row in rows], np.float32).reshape(len(rows), dim)


def path_text(path: str | Path | None) -> str | None:
    """A path as it is stored. InputError for one that is no file's, or not UTF-8."""
    if path is None:
        return None
    encoded = os.fsencode(path)
    if b"\0" in encoded or not encoded:
        raise InputError(f"{str(path)!r} cannot be the path of an entry: it is empty, or has a zero byte")
    try:
        return encoded.decode()
    except UnicodeDecodeError:
        raise InputError(
            f"{str(path)!r} cannot be the path of an entry on Milvus, for it is not UTF-8: rename the file"
        ) from None


def inside_of(folder: str | Path) -> tuple[str, str]:
    """The bounds of the paths inside a folder, from and below."""
    inside = str(folder).rstrip("/")
    return inside + "/", inside + "0"  # "0" follows "/" in ASCII


def _text(name: str, value: str | None) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InputError(f"a value cannot be stored: {name} must be a text, not {type(value).__name__}")
    if name == "external_id":
        check_external_id(value)
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise InputError(f"a value cannot be stored: {name} holds half a character (a lone surrogate)") from None
    if size > TEXTS[name]:
        raise InputError(f"{name}: {size} bytes, on Milvus {TEXTS[name]} at most")
    return value


def _metadata(given: Mapping[str, Any] | None) -> dict[str, Any]:
    metadata = dict(given or {})
    try:
        if is_deeper(metadata, DEEPEST):
            raise ValueError(f"it is deeper than {DEEPEST} levels")
        text = json.dumps(metadata, ensure_ascii=False, allow_nan=False)
        size = len(text.encode())
        kept = json.loads(text, parse_int=_integer)  # as JSON has it: tuples are lists, keys are texts
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"metadata must be a JSON object: {error}") from error
    filed = file_metadata(kept)
    sizes = {"metadata": size, "metadata's numbers": _size(filed.numbers), "metadata's texts": _size(filed.texts)}
    for what, one in sizes.items():
        if one > JSON:
            raise InputError(f"{what}: {one} bytes of JSON, on Milvus {JSON} at most: put less into the metadata")
    if len(filed.tokens) > TOKENS:
        raise InputError(f"metadata: about {len(filed.tokens)} keys and values, on Milvus {TOKENS} at most")
    return {"metadata": kept, "facets": filed.tokens, "numbers": filed.numbers, "texts": filed.texts}


def _integer(digits: str) -> int:
    if len(digits) > 21 or not -(2**63) <= (value := int(digits)) < 2**64:
        raise ValueError(f"the integer {digits[:24]} is beyond 64 bits, and Milvus's JSON has none such")
    return value


def _size(filed: Mapping[str, Any]) -> int:
    return len(json.dumps(filed, ensure_ascii=False).encode()) if filed else 0
