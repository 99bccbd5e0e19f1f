"""Files of uploaded images as a collection has them: how they are called, and which are damaged, missing or left over.

    <data>/uploads/<collection>/<first two digits>/<sha256>.<suffix>
                                                   <sha256>-<32 digits of the hash of its external id>.<suffix>

Of an entry with an external id the file is its own, whoever else has one of the same bytes. The service writes them
(service/collections/uploads.py). Only files of that form in the collection's own folder are ever read, backed up or
removed as uploads, whatever a path in the catalog says. Paths are absolute, so where a data folder was moved, or a
catalog copied without the files, entries say a folder that is another's: they are strays until `take_home`, and
`file_of` finds them meanwhile.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from base.errors import InputError
from base.files import PART, file_sha256
from index.local.layout import uploads_folder
from index.stored import Collection

UPLOAD = re.compile(r"([0-9a-f]{2}/([0-9a-f]{64})(?:-[0-9a-f]{32})?\.[a-z0-9]+)")
_ELSEWHERE = re.compile(rf"(?P<folder>/.*/uploads/[^/]+)/(?P<upload>{UPLOAD.pattern})", re.DOTALL)


def is_upload(path: str | Path, folder: Path) -> bool:
    """Whether a path is, to the letter, that of an upload in `folder`, so that it leads nowhere else."""
    inside = str(path).removeprefix(f"{folder}/")
    return inside != str(path) and UPLOAD.fullmatch(inside) is not None


def upload_sha256(path: str | Path) -> str:
    """The hash that the file of an upload is called by."""
    return Path(path).name[:64]


def file_of(path: str, folder: Path) -> Path:
    """Where the file of an entry lies, whose collection has its uploads in `folder`: at its path.

    One that is not there, and is called as an upload, lies in `folder` where the data folder was moved or mounted at
    another place. Whoever reads it holds its bytes against the entry's hash.
    """
    found = None if Path(path).exists() else _ELSEWHERE.fullmatch(path)
    return folder / found["upload"] if found else Path(path)


def check_paths(paths: Iterable[str | Path | None], data: Path, name: str) -> None:
    """InputError if one of these paths, which a file from elsewhere gives, may not be an entry's of the collection.

    It must be normal; and inside of the folder of all uploads it must be one of the collection's own.
    """
    own = uploads_folder(data, name)
    inside = f"{own.parent}/"
    for path in paths:
        if path is not None and ".." in str(path) and ".." in Path(path).parts and not is_upload(path, own):
            raise InputError(f"{str(path)!r} cannot be the path of an entry: it must be normal, without '..'")
        if path is not None and str(path).startswith(inside) and not is_upload(path, own):
            raise InputError(f"{str(path)!r} is in the folder of uploads, and no upload of collection {name!r}; with "
                             "its files a collection goes by `collections backup` and `restore`")  # fmt: skip


def problem_of(path: str, folder: Path) -> str | None:
    """What is wrong with the file that an entry says was uploaded to `folder`; None: it has the bytes that were sent.

    Raises:
        FileNotFoundError: there is none.
    """
    if not is_upload(path, folder):
        return f"{path!r} is in the folder of uploads and not of the form of one"
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116  a pipe would be waited for
            return f"{path} is no file"
        sound = file_sha256(path) == upload_sha256(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    return None if sound else f"{path} has other bytes than were uploaded"


def leading_away(paths: Iterable[tuple[str, int]], folder: Path) -> list[str]:
    """A line for each entry, of these whose paths have a part `..`, that is no upload in `folder`."""
    return [f"entry {key}: its path {path!r} has '..' in it: delete the entry"
            for path, key in paths if not is_upload(path, folder)]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stray:
    """An entry whose path is that of an upload in another folder than its collection's."""

    id: int
    path: Path
    home: Path  # where it would be an upload of the collection

    @property
    def is_lost(self) -> bool:
        """Whether its file is at home, or nowhere: not of one that is in a folder of uploads that somebody indexed."""
        return self.home.exists() or not self.path.exists()


def strays(collection: Collection, folder: Path) -> Iterator[Stray]:
    """Those of a collection whose uploads lie in `folder`, as moved data folders and copied catalogs have."""
    for path, key, *_ in collection.paths("/"):
        found = _ELSEWHERE.fullmatch(path)
        if found and found["folder"] != str(folder):
            stray = Stray(key, Path(path), folder / found["upload"])
            if stray.is_lost:
                yield stray


def take_home(collection: Collection, folder: Path) -> int:
    """Have strays whose file lies in `folder` say so; returns how many. The collection is open for writing."""
    found = {one.id: {"path": one.home} for one in strays(collection, folder)
             if one.home.exists() and collection.find_path(one.home) is None}  # fmt: skip
    collection.update(found)
    return len(found)


def stray_problems(collection: Collection, folder: Path) -> Iterator[str]:
    """A line for those whose file lies in `folder`, and one for those whose file lies nowhere."""
    lost = list(strays(collection, folder))
    name = collection.name
    for some, remedy in (
        ([one for one in lost if one.home.exists()], f"`glimpse collections compact {name}` has them say so"),
        (
            [one for one in lost if not one.home.exists()],
            f"copy the files to {folder}, then compact; or delete the entries",
        ),
    ):
        if some:
            first = f"uploads of {len(some)} entries, the first {some[0].id}: {some[0].path}"
            yield f"{first} is not there, or not the collection's, whose uploads lie in {folder}; {remedy}"


def upload_problems(collection: Collection, data: Path) -> Iterator[str]:
    """A line for each entry whose uploaded file is damaged or missing, or whose path leads away; one for all strays."""
    folder = uploads_folder(data, collection.name)
    yield from leading_away(collection.paths_with_dots(), folder)
    yield from stray_problems(collection, folder)
    for path, key, *_ in collection.paths(folder):
        try:
            problem = problem_of(path, folder)
        except FileNotFoundError:
            problem = f"{path} is missing" if collection.find_path(path) else None  # None: deleted meanwhile
        if problem:
            yield f"upload of entry {key}: {problem}; upload it again, or delete the entry"


def leftovers(collection: Collection, data: Path) -> Iterator[Path]:
    """Uploaded files that no entry has, and beginnings of some: a kill leaves them, and nobody misses them.

    While a service writes to the collection one may be on its way in.
    """
    folder = uploads_folder(data, collection.name)
    homes = {str(one.home) for one in strays(collection, folder)} if folder.is_dir() else set()
    for part in sorted(folder.iterdir()) if folder.is_dir() else ():
        with suppress(NotADirectoryError, FileNotFoundError):
            names = sorted(os.listdir(part))  # noqa: PTH208  names are all that is wanted
            known = homes | {path for path, *_ in collection.paths(part)}
            for path in (part / name for name in names):
                if str(path) not in known and (is_upload(path, folder) or path.suffix == PART):
                    yield path


def remove_leftovers(collection: Collection, data: Path) -> int:
    """Remove them from a collection that is open for writing, so that none is on its way in. Returns how many."""
    found = list(leftovers(collection, data))
    for path in found:
        path.unlink(missing_ok=True)
    return len(found)
