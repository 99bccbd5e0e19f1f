"""A collection in one file, copied while others search and write; and a collection made anew of such a file.

The file is the catalog, vectors included: SQLite's one file is its own format for keeping. A collection with uploaded
files is a tar of its catalog and of them. What is derived (the snapshot) is left out and built when it is restored.
Parquet is `index.parquet`'s.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from base.errors import CollectionDamaged, CollectionError, InputError
from base.files import fsync_file, new_file
from index.collection import Collection, open_collection
from index.local.catalog.catalog import Catalog
from index.local.layout import CATALOG, appearing, collection_folder, uploads_folder
from index.local.snapshot import Snapshot

UPLOADS = "glimpse.uploads"  # in the tar's header: the folder that the entries say their files are in
UPLOAD = re.compile(r"uploads/([0-9a-f]{2}/([0-9a-f]{64})\.[a-z0-9]+)")


@dataclass(frozen=True, slots=True)
class FileSummary:
    """How much a backup or an export holds."""

    entries: int
    bytes: int


def back_up(data: Path, name: str, file: Path, *, overwrite: bool = False) -> FileSummary:
    """Write the collection, as of one moment, to `file`, and prove that the copy is sound before it gets that name.

    An uploaded file that is deleted while this runs may be missing in it, though its entry is there.

    Raises:
        InputError: `file` is there already and `overwrite` is not given, or its folder is not.
        CollectionNotFound, CollectionDamaged: the collection is missing, or a check finds problems in it.
    """
    with new_file(file, overwrite=overwrite) as part:
        copy_catalog(data, name, part)
        entries = _check(part, f"collection {name!r}")
        check_worth(file, name, entries)
        _add_uploads(part, uploads_folder(data, name))
    return FileSummary(entries, file.stat().st_size)


def check_worth(file: Path, name: str, entries: int) -> None:
    """InputError if an empty collection would take the place of a file that is there."""
    if not entries and file.exists():
        raise InputError(f"{file}: left as it is, for collection {name!r} is empty; write it elsewhere, or delete it")


def restore(data: Path, file: Path, name: str) -> FileSummary:
    """Make the collection `name` of a file that `back_up` wrote. It appears whole, checked, with its snapshot.

    Raises:
        InputError: no such file, or it is a catalog in use, which `back_up` must copy.
        CollectionExists: there is one of that name.
        CollectionDamaged: the file fails its check.
    """
    if not file.is_file():
        raise InputError(f"{file}: no such file")
    wal = file.with_name(file.name + "-wal")
    if wal.exists() and wal.stat().st_size:
        raise InputError(f"{file}: a catalog in use: copy it with `glimpse collections backup`")
    with appearing(data, name) as own:
        catalog = collection_folder(own, name) / CATALOG
        catalog.parent.mkdir(parents=True)
        before = _unpack(file, catalog, own / "uploads")
        fsync_file(catalog)
        entries = _check(catalog, str(file))
        _forget_snapshot(catalog)
        with open_collection(own, name, writable=True) as collection:
            if before is not None:
                _move_uploads(collection, before, own / "uploads", uploads_folder(data, name))
            collection.compact()
    return FileSummary(entries, file.stat().st_size)


def copy_catalog(data: Path, name: str, path: Path) -> None:
    """Copy the catalog of a collection to `path`, as of one moment, while others write."""
    with open_collection(data, name) as collection, closing(Catalog(collection.folder / CATALOG)) as catalog:
        catalog.copy_to(path)


def _add_uploads(catalog: Path, folder: Path) -> None:
    """Put a tar of the catalog and of the files in `folder` that its entries name in its place, if there are any."""
    with closing(Catalog(catalog)) as opened:
        paths = [Path(path) for path, *_ in opened.paths(folder)]
    if not paths:
        return
    part = catalog.with_name(f"{catalog.name}.tar")
    try:
        with tarfile.open(part, "w", pax_headers={UPLOADS: str(folder)}) as tar:
            tar.add(catalog, CATALOG)
            for path in paths:
                with suppress(FileNotFoundError):
                    tar.add(path, f"uploads/{path.relative_to(folder)}", recursive=False)
        part.replace(catalog)
    except OSError as error:
        raise CollectionError(f"{part}: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)


def _unpack(file: Path, catalog: Path, uploads: Path) -> str | None:
    """Copy what is in a backup to where it is looked at; the folder that its uploaded files were in, if it has any."""
    if not tarfile.is_tarfile(file):
        shutil.copyfile(file, catalog)  # never opened where it lies: a backup stays as it was written
        return None
    with _tar(file) as tar:
        for member in tar:
            found = UPLOAD.fullmatch(member.name)
            source = tar.extractfile(member) if member.isfile() and (found or member.name == CATALOG) else None
            if source is None:
                raise CollectionDamaged(f"{file} is no backup: it has {member.name!r} in it")
            to = uploads / found[1] if found else catalog
            to.parent.mkdir(parents=True, exist_ok=True)
            with to.open("wb") as target:
                shutil.copyfileobj(source, target)
            if found and _sha256(to) != found[2]:
                raise CollectionDamaged(f"{file} is damaged: {member.name} has other bytes; take an earlier backup")
        if not catalog.exists():
            raise CollectionDamaged(f"{file} is no backup: it has no {CATALOG} in it")
        return tar.pax_headers.get(UPLOADS)


@contextmanager
def _tar(file: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(file) as tar:
            yield tar
    except (tarfile.TarError, EOFError) as error:
        raise CollectionDamaged(f"{file} is damaged: {error}; take an earlier backup") from error


def _move_uploads(collection: Collection, before: str, unpacked: Path, folder: Path) -> None:
    """Put uploaded files where those of this collection belong, and have its entries say so."""
    for path in unpacked.rglob("*.*"):
        to = folder / path.relative_to(unpacked)
        to.parent.mkdir(parents=True, exist_ok=True)
        path.replace(to)  # one that is there has the same bytes: they are its name
        fsync_file(to)
    if before != str(folder):
        paths = collection.paths(before)
        collection.update({key: {"path": folder / Path(path).relative_to(before)} for path, key, *_ in paths})


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _forget_snapshot(path: Path) -> None:
    """The files that a copied catalog names were not copied: nobody need look for them, nor warn."""
    with closing(Catalog(path)) as catalog:
        catalog.set_snapshot(Snapshot(0))


def _check(path: Path, whose: str) -> int:
    """How many entries the catalog at `path` has. CollectionDamaged if a check finds a problem in it."""
    try:
        with closing(Catalog(path)) as catalog:
            problems = catalog.check()
            entries = catalog.count()
    except CollectionDamaged as error:
        problems = [str(error).removeprefix(f"{path}: ")]
    if problems:
        more = f" and {len(problems) - 1} more problems" if len(problems) > 1 else ""
        raise CollectionDamaged(f"{whose} is damaged: {problems[0]}{more}; take an earlier backup")
    return entries
