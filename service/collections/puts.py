"""Entries put by their owner's own ids: what of each is new, and how those of a request become rows and files.

An entry that is put is from then on what was said, whatever was there: vector, metadata, file; nothing of before stays.
Functions of a collection, called in threads. Knows no HTTP and runs no model: who calls encodes in between.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from base.errors import EntryNotFound
from encoder.encoder import Vectors
from encoder.image import Picture, sha256_of
from index.collection import Collection, Entry, Record
from index.uploads import is_upload
from service.collections.uploads import Uploads, check_quota

Status = Literal["created", "replaced", "unchanged"]


@dataclass(slots=True, eq=False)
class Put:
    """One entry on its way in: a text, or the bytes of an image file, and all that is said of it.

    Attributes:
        path: where the file of an image will lie.
        is_new: whether nothing was there by its external id when it was read.
        picture: of an image that is to be encoded.
        like: a record of the same bytes, whose vector is taken.
        vector: (dim,); None: it is to be encoded.
    """

    external_id: str
    metadata: dict[str, Any]
    text: str | None = None
    data: bytes | None = None
    path: Path | None = None
    is_new: bool = True
    picture: Picture | None = None
    like: Record | None = None
    vector: Vectors | None = None

    @property
    def sha256(self) -> str | None:
        """Of an image."""
        return None if self.path is None else self.path.name[:64]

    def is_content_of(self, record: Record) -> bool:
        """Whether a record has the same text, or the same bytes."""
        if self.text is not None:
            return record.modality == "text" and record.text == self.text
        return record.modality == "image" and record.sha256 == self.sha256


@dataclass(frozen=True, slots=True)
class Written:
    """What became of one: its entry as it was written, and the hash of the image that it took the place of."""

    status: Status
    record: Record
    stale: str | None = None

    @property
    def id(self) -> int:
        """The entry's."""
        return self.record.id


def read(collection: Collection, files: Uploads, put: Put, decode: Callable[[bytes], Picture]) -> None:
    """Find the vector of what is there already; else decode the picture, which then is to be encoded.

    Raises:
        ImageError: it cannot be decoded.
    """
    if put.data is not None:
        put.path = files.path(put.data, put.external_id)
    records = [*collection.find_external([put.external_id]).values()]
    put.is_new = not records
    if put.data is not None:
        records += collection.find_sha256(sha256_of(put.data), limit=1)
    for record in records:
        if put.is_content_of(record):
            try:
                put.vector, put.like = collection.vector(record.id), record
                return
            except EntryNotFound:  # deleted in this moment
                continue
    if put.data is not None:
        put.picture = decode(put.data)


def write(collection: Collection, files: Uploads, puts: Sequence[Put], fingerprint: str) -> list[Written]:
    """Commit entries that all have their vectors, of the model with that fingerprint, each external id once.

    `collection` is open for writing.

    Raises:
        InputError: one cannot be stored; none of those that are new or have another image or text is.
        QuotaExceeded: there would be more than may be; nothing has been written.
        ModelMismatch: another model was put in place since; nothing has been written.
        CollectionError: a file cannot be kept.
    """
    names = [put.external_id for put in puts]
    there = collection.find_external(names)
    fresh, described = [], {}
    coming: dict[Path, bytes] = {}
    for put in puts:
        record = there.get(put.external_id)
        is_same = record is not None and put.is_content_of(record)
        if put.path is not None and put.data is not None and not (is_same and record and record.path != str(put.path)):
            coming[put.path] = put.data
        if record is None or not is_same:
            fresh.append(put)
        elif record.metadata != put.metadata:
            described[record.id] = {"metadata": put.metadata}
    stale = {put.external_id: there[put.external_id] for put in fresh if put.external_id in there}
    leaving = sum(old.size or 0 for old in stale.values() if old.path and is_upload(old.path, files.folder))
    sizes = {put.path: len(put.data) for put in fresh if put.path is not None and put.data is not None}
    check_quota(collection, files, sizes, len(fresh) - len(stale), leaving=leaving)
    with files.coming(collection, coming):
        collection.upsert(list(map(_entry, fresh)), fingerprint)
    if described:
        collection.update(described)
    now = collection.find_external(names) if fresh or described else there
    for name, old in stale.items():
        if old.path is not None and old.path != now[name].path:
            files.remove(Path(old.path))
    return [Written(_status(there.get(name), now[name]), now[name], _sha256(stale.get(name))) for name in names]


def _status(before: Record | None, now: Record) -> Status:
    if before is None:
        return "created"
    return "unchanged" if before == now else "replaced"


def _sha256(record: Record | None) -> str | None:
    return None if record is None else record.sha256


def _entry(put: Put) -> Entry:
    assert put.vector is not None
    if put.path is None or put.data is None:
        return Entry(put.vector, "text", text=put.text, metadata=put.metadata, external_id=put.external_id)
    seen = put.picture or put.like
    assert seen is not None
    return Entry(
        put.vector,
        "image",
        path=put.path,
        metadata=put.metadata,
        sha256=put.sha256,
        mtime_ns=put.path.stat().st_mtime_ns,
        size=len(put.data),
        width=seen.width,
        height=seen.height,
        taken=seen.taken,
        external_id=put.external_id,
    )
