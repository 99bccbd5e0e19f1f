"""A collection in one file, copied while others search and write; and a collection made anew of such a file.

The file is the catalog, vectors included: SQLite's one file is its own format for keeping. A collection with uploaded
files is a tar of them and of its catalog. What is derived (the snapshot) is left out and built when it is restored.
Parquet is `index.parquet`'s.
"""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from base.errors import CollectionDamaged, CollectionError, CollectionNotFound, InputError
from base.files import fsync_file, is_stream, new_file
from index.collection import check_here
from index.local.catalog.catalog import Catalog
from index.local.catalog.integrity import UNCOUNTED
from index.local.collection import LocalCollection
from index.local.layout import CATALOG, appearing, collection_folder, uploads_folder
from index.local.snapshot import Snapshot
from index.local.store import LocalStore
from index.local.vectors.live import LiveIndex
from index.uploads import UPLOAD, is_upload, leading_away, problem_of, stray_problems, strays, take_home

UPLOADS = "glimpse.uploads"  # in the tar's header: the folder that the entries say their files are in
WHOLE = "glimpse.backup"  # in the header of a backup of a whole data folder (service/backup), which is no collection's
COMPLETE = "glimpse.complete"  # there as well: each of those entries has its file in the tar
ELSEWHERE = (
    "keep copies with the server's own tools, or move them (glimpse collections move NAME --to local) and back those up"
)
ATTEMPTS = 5  # at a copy whose index is not built anew while it is checked


@dataclass(frozen=True, slots=True)
class FileSummary:
    """How much a backup or an export holds."""

    entries: int
    bytes: int
    missing: tuple[str, ...] = ()  # uploaded files that entries name and a backup of before did not have


def back_up(data: Path, name: str, file: Path, *, overwrite: bool = False) -> FileSummary:
    """Write the collection, as of one moment, to `file`, and prove that it is sound before the copy gets that name.

    An entry whose uploaded file is deleted while this runs is left out.

    Raises:
        InputError: `file` is there already and `overwrite` is not given, or its folder is not.
        CollectionNotFound: there is no such collection.
        NotInStore: collections lie on a server.
        CollectionDamaged: something that `collections check` asks finds a problem; what was at `file` stays.
    """
    check_here("a backup", ELSEWHERE)
    with new_file(file, overwrite=overwrite) as part, LocalStore(data).open(name) as collection:
        try:
            copy_sound(collection, part)
            if lost := list(stray_problems(collection, uploads_folder(data, name))):
                raise CollectionDamaged(f"collection {name!r}: {lost[0]}")
            entries = _add_uploads(part, collection, uploads_folder(data, name))
        finally:  # else what is damaged, or left out as deleted, may only be elsewhere
            if not collection.is_there():
                raise CollectionNotFound(f"collection {name!r} was deleted or renamed while it was copied")
        check_worth(file, name, entries)
        size = part.stat().st_size  # what went into a pipe has none
    return FileSummary(entries, size)


def check_worth(file: Path, name: str, entries: int) -> None:
    """InputError if an empty collection would take the place of a file that is there."""
    if not entries and file.exists() and not is_stream(file):
        raise InputError(f"{file}: left as it is, for collection {name!r} is empty; write it elsewhere, or delete it")


def restore(data: Path, file: Path, name: str, *, home: Path | None = None) -> FileSummary:
    """Make the collection `name` of a file that `back_up` wrote. It appears whole, checked, with its snapshot.

    Args:
        data: the data folder that it appears in.
        file: the backup.
        name: of the collection.
        home: the data folder that all of `data` is moved to afterwards, so that entries say where their uploads are.

    Raises:
        InputError: no such file, or it is a catalog in use, which `back_up` must copy.
        CollectionExists: there is one of that name.
        CollectionDamaged: the file fails its check.
    """
    check_here("restoring", ELSEWHERE)
    if not file.is_file():
        raise InputError(f"{file}: no such file")
    wal = file.with_name(file.name + "-wal")
    if wal.exists() and wal.stat().st_size:
        raise InputError(f"{file}: a catalog in use: copy it with `glimpse collections backup`")
    folder, said = uploads_folder(data, name), uploads_folder(home or data, name)
    with appearing(data, name) as own:
        catalog = collection_folder(own, name) / CATALOG
        catalog.parent.mkdir(parents=True)
        header = _unpack(file, catalog, own / "uploads")
        fsync_file(catalog)
        try:
            problems = list(_problems_of_unpacked(catalog, own / "uploads", header, said))
        except CollectionDamaged as error:
            problems = [str(error).removeprefix(f"{catalog}: ")]
        if problems:
            raise _damaged(str(file), problems)
        with closing(Catalog(catalog)) as unpacked:
            unpacked.set_snapshot(Snapshot(0))  # the files that it names were not copied: nobody need look for them
            unpacked.begin_anew()
        with LocalStore(own).open(name, writable=True) as collection:
            if UPLOADS in header:
                _move_uploads(collection, header[UPLOADS], own / "uploads", folder, said)
            if home is None:
                take_home(collection, folder)
            collection.compact()
            entries = collection.count()
            uploaded = (path for path, *_ in collection.paths(said))
            missing = [path for path in uploaded if not (folder / Path(path).relative_to(said)).exists()]
            missing += [str(stray.path) for stray in strays(collection, said)]
    return FileSummary(entries, file.stat().st_size, tuple(missing))


def copy_sound(collection: LocalCollection, path: Path) -> None:
    """Copy the catalog to `path`, as of one moment, while others write, and prove that it is sound.

    Raises:
        CollectionDamaged: the copy or the index has a problem.
    """
    problems: list[str] = []
    with closing(Catalog(collection.folder / CATALOG)) as source:
        for _ in range(ATTEMPTS):
            snapshot = source.snapshot()
            if path.exists():
                os.truncate(path, 0)
            source.copy_to(path)
            problems = _check(path, collection.folder)
            if not problems:
                return
            if source.snapshot() == snapshot:  # else files of the index were replaced meanwhile
                break
    raise _damaged(f"collection {collection.name!r}", problems)


def _check(path: Path, folder: Path) -> list[str]:
    """What is wrong with a copied catalog, or with the index in `folder`, held against it."""
    try:
        with closing(Catalog(path)) as copy:
            return copy.check() or LiveIndex(folder, copy).check()
    except CollectionDamaged as error:
        return [str(error).removeprefix(f"{path}: ")]


def _add_uploads(catalog: Path, collection: LocalCollection, folder: Path) -> int:
    """Put a tar of the files in `folder` that its entries name and of the catalog in its place, if there are any.

    Returns how many entries it has. CollectionDamaged if a file is not as it was uploaded.
    """
    part = catalog.with_name(f"{catalog.name}.tar")
    try:
        with closing(Catalog(catalog)) as copy:
            if away := leading_away(copy.records.paths_with_dots(), folder):
                raise _damaged(f"collection {collection.name!r}", away)
            paths = [(path, key) for path, key, *_ in copy.records.paths(folder)]
            if not paths:
                return copy.count()
            headers = {UPLOADS: str(folder), COMPLETE: "1"}
            # a file is its bytes, whoever links to it: of links, hard ones too, a backup would have but names
            with tarfile.open(part, "w", pax_headers=headers, dereference=True) as tar:
                copy.delete([key for path, key in paths if not _add_upload(tar, collection, path, folder)])
                entries = copy.count()
                copy.close()  # all of it is in its file then
                tar.add(catalog, CATALOG)
        part.replace(catalog)
        return entries
    except OSError as error:
        raise CollectionError(f"{part}: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)


def _add_upload(tar: tarfile.TarFile, collection: LocalCollection, path: str, folder: Path) -> bool:
    """Add a file; False if its entry was deleted meanwhile. CollectionDamaged unless it is as it was uploaded."""
    try:
        problem = problem_of(path, folder)
        if problem is None:
            tar.add(path, f"uploads/{Path(path).relative_to(folder)}", recursive=False)
            return True
    except FileNotFoundError:
        if collection.find_path(path) is None:
            return False
        problem = f"{path} is missing"
    raise _damaged(f"collection {collection.name!r}", [problem])


_SQLITE = b"SQLite format 3\0"  # a backup without uploaded files is the catalog


def _unpack(file: Path, catalog: Path, uploads: Path) -> dict[str, str]:
    """Copy what is in a backup to where it is looked at; what its header says, if it is one with uploaded files."""
    if not tarfile.is_tarfile(file):
        with file.open("rb") as catalog_kept:
            if catalog_kept.read(len(_SQLITE)) != _SQLITE:
                raise CollectionDamaged(
                    f"{file} is damaged, or no backup of `glimpse collections backup`; take an earlier backup"
                )
        shutil.copyfile(file, catalog)  # never opened where it lies: a backup stays as it was written
        return {}
    with _tar(file) as tar:
        if WHOLE in tar.pax_headers:
            raise InputError(f"{file}: the backup of a whole data folder; glimpse restore {file} --collection NAME")
        for member in tar:
            found = UPLOAD.fullmatch(member.name.removeprefix("uploads/")) if member.name != CATALOG else None
            source = tar.extractfile(member) if member.isfile() and (found or member.name == CATALOG) else None
            if source is None:
                raise CollectionDamaged(f"{file} is no backup: it has {member.name!r} in it")
            to = uploads / found[1] if found else catalog
            to.parent.mkdir(parents=True, exist_ok=True)
            with to.open("wb") as target:
                shutil.copyfileobj(source, target)
            if found and problem_of(str(to), uploads):
                raise CollectionDamaged(f"{file} is damaged: {member.name} has other bytes; take an earlier backup")
        if not catalog.exists():
            raise CollectionDamaged(f"{file} is no backup: it has no {CATALOG} in it")
        return dict(tar.pax_headers)


@contextmanager
def _tar(file: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(file) as tar:
            yield tar
    except (tarfile.TarError, EOFError) as error:
        raise CollectionDamaged(f"{file} is damaged: {error}; take an earlier backup") from error


def _problems_of_unpacked(path: Path, uploads: Path, header: dict[str, str], folder: Path) -> Iterator[str]:
    """What is wrong with an unpacked backup, or with how its parts belong together.

    Args:
        path: of its catalog.
        uploads: where its uploaded files are.
        header: what it says of itself.
        folder: where the uploads of the collection will lie.
    """
    before = header.get(UPLOADS)
    if before is not None and (not before.startswith("/") or before in ("/", "//") or str(Path(before)) != before):
        yield f"it says that its uploaded files were in {before!r}"
        return
    with closing(Catalog(path)) as catalog:
        yield from leading_away(catalog.records.paths_with_dots(), Path(before or folder))
        yield from (problem for problem in catalog.check() if problem != UNCOUNTED)  # one of before may have made it
        named = set()
        for where in {before or str(folder), str(folder)}:
            for known, *_ in catalog.records.paths(where):
                if not is_upload(known, Path(where)):
                    yield f"{known!r} is in the folder of uploads and not of the form of one"
                elif where == before:
                    named.add(Path(known).relative_to(where))
        there = {each.relative_to(uploads) for each in uploads.rglob("*.*")}
        if there - named or (COMPLETE in header and named - there):
            yield f"{len(there ^ named)} of its entries or uploaded files belong to none"


def _move_uploads(collection: LocalCollection, before: str, unpacked: Path, folder: Path, said: Path) -> None:
    """Put uploaded files into `folder`, where those of this collection belong, and have its entries name `said`."""
    for path in unpacked.rglob("*.*"):
        to = folder / path.relative_to(unpacked)
        to.parent.mkdir(parents=True, exist_ok=True)
        path.replace(to)  # one that is there has the same bytes, or they are damaged: its name is their hash
        fsync_file(to)
    if before != str(said):
        paths = collection.paths(before)
        collection.update({key: {"path": said / Path(path).relative_to(before)} for path, key, *_ in paths})


def _damaged(what: str, problems: list[str]) -> CollectionDamaged:
    more = f" and {len(problems) - 1} more problems" if len(problems) > 1 else ""
    return CollectionDamaged(f"{what} is damaged: {problems[0]}{more}; take an earlier backup")
