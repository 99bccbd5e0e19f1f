"""A collection in one file, copied while others search and write; and a collection made anew of such a file.

The file is the catalog, vectors included: SQLite's one file is its own format for keeping. What is derived from it (the
snapshot) is left out and built when it is restored. Parquet is `index.parquet`'s.
"""

from __future__ import annotations

import glob
import os
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from encoder.errors import CollectionDamaged, InputError
from index.catalog import Catalog
from index.collection import CATALOG, open_collection
from index.folder import appearing, collection_folder, fsync_file


@dataclass(frozen=True, slots=True)
class Kept:
    """What a file holds now."""

    entries: int
    bytes: int


def back_up(data: Path, name: str, file: Path, *, overwrite: bool = False) -> Kept:
    """Write the collection, as of one moment, to `file`, and prove that the copy is sound before it gets that name.

    Raises:
        InputError: `file` is there already and `overwrite` is not given, or its folder is not.
        CollectionNotFound, CollectionDamaged: the collection is missing, or a check finds problems in it.
    """
    with new_file(file, overwrite=overwrite) as part:
        copy_catalog(data, name, part)
        entries = _check(part, f"collection {name!r}")
    return Kept(entries, file.stat().st_size)


def restore(data: Path, file: Path, name: str) -> Kept:
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
        shutil.copyfile(file, catalog)  # never opened where it lies: a backup stays as it was written
        fsync_file(catalog)
        entries = _check(catalog, str(file))
        _forget_snapshot(catalog)
        with open_collection(own, name, writable=True) as collection:
            collection.compact()
    return Kept(entries, file.stat().st_size)


def copy_catalog(data: Path, name: str, path: Path) -> None:
    """Copy the catalog of a collection to `path`, as of one moment, while others write."""
    with open_collection(data, name) as collection, closing(Catalog(collection.folder / CATALOG)) as catalog:
        catalog.copy_to(path)


def _forget_snapshot(path: Path) -> None:
    """The files that a copied catalog names were not copied: nobody need look for them, nor warn."""
    with closing(Catalog(path)) as catalog:
        catalog.set_snapshot({"version": 0, "segments": {}})


@contextmanager
def new_file(file: Path, *, overwrite: bool) -> Iterator[Path]:
    """A path beside `file` to write to; it becomes `file` when the block ends, and is removed when it raises."""
    if file.is_dir():
        raise InputError(f"{file}: a folder; give the name of a file")
    if file.exists() and not overwrite:
        raise InputError(f"{file}: is there already; choose another name, or overwrite it with --force")
    if not file.parent.is_dir():
        raise InputError(f"{file.parent}: no such folder")
    _sweep(file)
    part = file.with_name(part_name(file))
    try:
        yield part
        fsync_file(part)
        part.replace(file)
        fsync_file(file.parent)
    finally:
        part.unlink(missing_ok=True)


def part_name(file: Path) -> str:
    """The name, beside `file`, of what this process writes before it is whole."""
    return f"{file.name}.{os.getpid()}.part"


def _sweep(file: Path) -> None:
    """Remove what killed processes left beside `file`: as large as itself, and nobody's."""
    for path in file.parent.glob(f"{glob.escape(file.name)}.*.part*"):
        pid = path.name.removeprefix(f"{file.name}.").partition(".")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists() and Path("/proc/self").exists():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


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
