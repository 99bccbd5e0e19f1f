"""The images of a shard as they come: bytes, a path that is theirs alone, and what is said of them. Decodes none.

a folder, a table   the file's path
a tar               <tar>/<sample>.<suffix>, with the fields of its .json, and its .txt as `caption`
Parquet             <file>/<number of the row>, with the other columns
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from base.errors import InputError
from base.extras import install
from base.sources.left_out import LeftOut
from base.sources.shards import TEXTS, caption_in, is_image, read_samples
from base.sources.tables import some_of
from base.sources.texts import decode_text, parse_json
from index.bulk.source import File, Shard
from index.ingest.captions import can_be_kept

BLOCK = 64  # rows of Parquet read at a time: their images may be large
NO_METADATA = "with what cannot be kept as JSON beside the image"
UNREADABLE = (ValueError, OverflowError, LookupError)  # of pyarrow: no UTF-8, a year 10,000, a zone that nobody knows


@dataclass(frozen=True, slots=True)
class Found:
    """An image of a shard. Without `data` it is to be read at its path."""

    path: str
    data: bytes | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    file: File | None = None


def images_of(shard: Shard, left_out: LeftOut) -> Iterator[Found]:
    """The images of a shard, in its order; of what cannot be one `left_out` is told.

    Raises:
        InputError: the shard cannot be read.
    """
    if shard.kind == "tar":
        return _of_tar(shard.said, left_out)
    if shard.kind == "parquet":
        return _of_parquet(shard.said, shard.column, left_out)
    return (Found(file.path, None, dict(file.metadata), file) for file in shard.files)


def _of_tar(shard: str, left_out: LeftOut) -> Iterator[Found]:
    seen = set[str]()
    for name, members in read_samples(shard, lambda suffix: suffix in TEXTS or is_image(suffix)):
        suffix = next(filter(is_image, members), None)
        if suffix is None:
            left_out.add("samples without image", f"{name} in {shard}")
            continue
        path = shard + posixpath.normpath(f"/./{name}.{suffix}")  # no '..' leads out of the shard
        if path in seen:
            left_out.add("samples of a name that another one has", f"{name} in {shard}")
            continue
        seen.add(path)
        try:
            said = parse_json(members.get("json", b"{}"))
            metadata = said if isinstance(said, dict) else {}
            if text := decode_text(caption_in(members)).strip():
                metadata = {"caption": text} | metadata
        except ValueError:
            metadata = {"": None}
        yield Found(path, members[suffix], _kept(metadata, left_out, "samples", f"{name} in {shard}"))


def _of_parquet(file: str, column: str | None, left_out: LeftOut) -> Iterator[Found]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise InputError(f"Parquet needs pyarrow: {install('parquet')}") from None
    try:
        with pq.ParquetFile(file, memory_map=True) as source:
            schema, number = source.schema_arrow, 0
            name = _image_column(schema, column, file)
            others = [each.name for each in schema if each.name != name and not _is_bytes(each.type)]
            for batch in source.iter_batches(batch_size=BLOCK, columns=[name, *others]):
                for row, is_whole in _rows_of(batch):
                    number += 1
                    where = f"row {number} of {file}"
                    if not is_whole:
                        left_out.add("rows with a value that cannot be read beside the others", where)
                    image = row.pop(name)
                    if isinstance(image, dict):
                        row = ({"filename": image["path"]} if image.get("path") else {}) | row
                        image = image.get("bytes")
                    if not image:
                        left_out.add("rows without image", where)
                        continue
                    metadata = _kept(_plain(row), left_out, "rows", where)
                    yield Found(f"{file}/{number:08d}", image, metadata)
    except (OSError, pa.ArrowException) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(f"{file}: not a Parquet file, or damaged ({reason}); copy it again or leave it out") from error


def _rows_of(batch: Any) -> Iterator[tuple[dict[str, Any], bool]]:
    """The rows, and whether all of each could be read: a value that cannot is None."""
    bad, columns = set[int](), []
    for column in batch.columns:
        try:
            columns.append(column.to_pylist())
        except UNREADABLE:
            values = [_value(scalar) for scalar in column]
            bad |= {i for i, scalar in enumerate(column) if values[i] is None and scalar.is_valid}
            columns.append(values)
    for i, row in enumerate(zip(*columns, strict=True)):
        yield dict(zip(batch.schema.names, row, strict=True)), i not in bad


def _value(scalar: Any) -> Any:
    """One value: of a time that Python has not, as of nanoseconds, its text. None: it cannot be read."""
    with suppress(*UNREADABLE):
        return scalar.as_py()
    with suppress(*UNREADABLE, NotImplementedError):
        text: str = scalar.cast("string").as_py()
        return None if text.startswith("<") else text  # <value out of range: ...>
    return None


def _image_column(schema: Any, wanted: str | None, file: str) -> str:
    """The column of images: the one that is wanted, or `image`, or the only one of bytes."""
    able = [each.name for each in schema if _is_bytes(each.type)]
    name = wanted or ("image" if "image" in able or len(able) != 1 else able[0])
    if name not in able:
        raise InputError(
            f'{file}: no column "{name}" of the bytes of images; such are: {some_of(able)}. Choose one with --image-key'
        )
    return name


def _is_bytes(kind: Any) -> bool:
    """Whether a column holds bytes, or structs with some, as Hugging Face's datasets have them."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _is_bytes(kind.field("bytes").type)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """As JSON has it: times and decimals as text, nothing of what is null, or bytes."""
    try:
        plain: dict[str, Any] = json.loads(json.dumps(row, default=lambda v: None if isinstance(v, bytes) else str(v)))
    except (ValueError, TypeError, RecursionError):
        return {"": None}
    return {key: value for key, value in plain.items() if value is not None and value == value}


def _kept(metadata: dict[str, Any], left_out: LeftOut, what: str, where: str) -> dict[str, Any]:
    """Metadata that a collection can keep; of others nothing is kept but the image."""
    if "" not in metadata and can_be_kept(metadata):
        return metadata
    left_out.add(f"{what} {NO_METADATA}", where)
    return {}
