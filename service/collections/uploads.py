"""Uploaded images: where their files lie, and how they become entries.

    <data>/uploads/<collection>/<first two digits>/<sha256>.<suffix>

The name follows from the bytes, so the same bytes are one file and one entry; where an entry has an external id, from
that as well (index.uploads). A file is there, whole and on disk, before its entry is committed, and goes after its
entry is gone, or if it could not be committed; a kill in between leaves a file too many, never an entry without its
file. `collections check` names such a file, `collections compact` removes it. Only who holds the writer's lock writes
here. Knows no HTTP.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from base.errors import CollectionError, GlimpseError, QuotaExceeded
from base.files import disk_error, fsync_file, whole_file
from encoder.encoder import Vectors
from encoder.image import Picture, sha256_of
from index.collection import Collection, Entry
from index.local.catalog.quota import REMEDY
from index.local.layout import uploads_folder
from index.uploads import is_upload, upload_sha256
from service.collections.metadata import merge_patch

# What a file is called follows from how it begins: what the client calls it may be wrong, or missing.
BEGINNINGS = (
    (0, b"\xff\xd8\xff", ".jpg"), (0, b"\x89PNG\r\n\x1a\n", ".png"), (0, b"GIF8", ".gif"), (8, b"WEBP", ".webp"),
    (0, b"BM", ".bmp"), (0, b"II*\0", ".tif"), (0, b"MM\0*", ".tif"), (4, b"ftypavi", ".avif"),
    (4, b"ftyphei", ".heic"), (4, b"ftyphev", ".heic"), (4, b"ftypmif1", ".heif"), (4, b"ftypmsf1", ".heif"),
    (4, b"jP  ", ".jp2"), (0, b"\0\0\1\0", ".ico"),
)  # fmt: skip


class Uploads:
    """The folder of the files that were uploaded to one collection; `folder` is where they lie."""

    def __init__(self, data: Path, collection: str) -> None:
        self.folder = uploads_folder(data, collection)

    def path(self, data: bytes, external_id: str | None = None) -> Path:
        """Where a file with these bytes lies, or would; the one of an entry with that external id."""
        sha256 = sha256_of(data)
        own = "" if external_id is None else f"-{sha256_of(external_id.encode())[:32]}"
        suffix = next((suffix for at, begin, suffix in BEGINNINGS if data.startswith(begin, at)), ".image")
        return self.folder / sha256[:2] / f"{sha256}{own}{suffix}"

    def keep(self, path: Path, data: bytes) -> None:
        """Make sure that a file with these bytes lies at its path, on disk. CollectionError if it cannot be written."""
        if _holds(path, data):
            return
        try:
            new = [folder for folder in path.parents if not folder.exists()]
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as part:
                part.write_bytes(data)
            for folder in new:
                fsync_file(folder.parent)
        except OSError as error:
            said = f"an upload cannot be kept: {error.strerror}; make room, or let the data folder be written to"
            raise (disk_error(error, path.parent) or CollectionError(said)) from error

    @contextmanager
    def coming(self, collection: Collection, files: Mapping[Path, bytes]) -> Iterator[None]:
        """Keep files for entries that the block commits. If it fails, those that came now and that no entry has go.

        `collection` is open for writing, so nobody else's are among them. Raises as `keep`, and what the block raises.
        """
        new = [path for path in files if not path.exists()]
        try:
            for path, data in files.items():
                self.keep(path, data)
            yield
        except GlimpseError:
            with suppress(GlimpseError, OSError):  # what stays then is a file too many
                for path in new:
                    if collection.find_path(path) is None:
                        self.remove(path)
            raise

    def remove(self, path: Path) -> None:
        """Remove a file, if it is one of these."""
        if is_upload(path, self.folder):
            path.unlink(missing_ok=True)


def _holds(path: Path, data: bytes) -> bool:
    """Whether a file has these bytes; not by its size, which damage leaves as it was."""
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except OSError:
        return False


@dataclass(slots=True)
class Upload:
    """One image on its way in."""

    data: bytes
    path: Path
    metadata: Mapping[str, Any]  # merged into what the entry has
    picture: Picture | None = None  # None: the collection has these bytes, there is nothing to encode
    vector: Vectors | None = None  # (dim,), of the picture


def add(
    collection: Collection, files: Uploads, uploads: Sequence[Upload], fingerprint: str
) -> list[tuple[int, bool] | None]:
    """Keep the files and commit their entries, whose vectors are of the model with that fingerprint.

    `collection` is open for writing.

    Returns:
        For each upload the id of its entry and whether the entry is new; None if the collection had those bytes when
        it was decided that nothing need be encoded, and has them no more.

    Raises:
        InputError: metadata would be too large; nothing has been written.
        QuotaExceeded: there would be more than may be; nothing has been written.
        ModelMismatch: another model was put in place since; nothing has been written.
        CollectionError: a file cannot be kept.
    """
    old = {upload.path: collection.find_path(upload.path) for upload in uploads}
    metadata = {path: record.metadata if record else {} for path, record in old.items()}
    for upload in uploads:
        metadata[upload.path] = merge_patch(metadata[upload.path], upload.metadata)
    new: dict[Path, Upload] = {}
    for upload in uploads:
        if upload.picture is not None and old[upload.path] is None:
            new[upload.path] = upload
    check_quota(collection, files, {path: len(upload.data) for path, upload in new.items()}, len(new))
    coming = {upload.path: upload.data for upload in uploads if old[upload.path] or upload.path in new}
    with files.coming(collection, coming):
        ids = collection.upsert([_entry(upload, metadata[path]) for path, upload in new.items()], fingerprint)
    answers = {path: (key, True) for path, key in zip(new, ids, strict=True)}
    changes = {}
    for path, record in old.items():
        if record is not None:
            answers[path] = (record.id, False)
            if metadata[path] != record.metadata:
                changes[record.id] = {"metadata": metadata[path]}
    if changes:
        collection.update(changes)
    return [answers.get(upload.path) for upload in uploads]


def check_quota(
    collection: Collection, files: Uploads, sizes: Mapping[Path, int], entries: int, *, leaving: int = 0
) -> None:
    """QuotaExceeded if files of these sizes in bytes, and so many new entries, are more than the collection may hold.

    `leaving` bytes of files that it has go as these come.
    """
    collection.check_room(entries)
    most = collection.quota.upload_bytes
    coming = sum(sizes.values())
    if most is None or coming <= leaving:  # what takes no more room than it gives is taken
        return
    held = collection.bytes_inside(files.folder) - leaving
    if held + coming > most:
        raise QuotaExceeded(
            f"uploads of collection {collection.name!r} have {held} bytes and may have {most}, so {coming} more do not "
            f"fit; {REMEDY}"
        )


def _entry(upload: Upload, metadata: Mapping[str, Any]) -> Entry:
    assert upload.picture is not None
    assert upload.vector is not None
    return Entry(
        upload.vector,
        "image",
        path=upload.path,
        metadata=metadata,
        sha256=upload_sha256(upload.path),
        mtime_ns=upload.path.stat().st_mtime_ns,
        size=len(upload.data),
        width=upload.picture.width,
        height=upload.picture.height,
        taken=upload.picture.taken,
    )
