"""Where collections lie on disk: their names, their size, and what a kill leaves behind."""

from __future__ import annotations

import errno
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from base.errors import CollectionError, CollectionExists, CollectionNotFound
from base.files import fsync_file
from base.locks import LockHeld, folder_lock
from base.names import NAME, check_collection_name
from base.own_folders import clear, is_left, let_go, lock_left, new_own_folder
from index.local.vectors import rows_home

CATALOG = "catalog.sqlite"
GONE = re.compile(rf"(?P<rest>\.gone-[0-9a-f]{{32}})-(?P<name>{NAME.pattern})")


def collection_folder(data: Path, name: str) -> Path:
    """Where the collection `name` is or would be. InputError for a name that cannot be one."""
    check_collection_name(name)
    return Path(data).absolute() / "collections" / name


def folder_identity(folder: Path) -> int | None:
    """Of the collection that lies there: one that is made anew under its name has another. None: there is none."""
    try:
        return folder.stat().st_ino
    except OSError:
        return None


def uploads_folder(data: Path, name: str) -> Path:
    """Where the files lie that were uploaded to the collection `name`; they go with it."""
    return Path(data).absolute() / "uploads" / collection_folder(data, name).name


def collection_names(data: Path) -> list[str]:
    """The names of all collections in `data`, sorted. Where a link leads is not looked at: that disk may hang."""
    try:
        with os.scandir(Path(data) / "collections") as found:
            return sorted(
                each.name
                for each in found
                if NAME.fullmatch(each.name) and (each.is_symlink() or each.is_dir(follow_symlinks=False))
            )
    except (FileNotFoundError, NotADirectoryError):
        return []


def is_on_disk_of(folder: Path, other: Path) -> bool:
    """Whether two folders lie on one disk; not so where one is gone."""
    try:
        return folder.stat().st_dev == other.stat().st_dev
    except OSError:
        return False


def folder_bytes(folder: Path) -> int:
    """What a collection takes on disk. CollectionNotFound if it was deleted just now."""
    total = 0
    try:
        paths = list(folder.iterdir())
    except FileNotFoundError:
        raise CollectionNotFound(f"collection {folder.name!r} was deleted just now") from None
    for path in paths:
        with suppress(FileNotFoundError):  # SQLite's own files come and go
            total += path.stat().st_size
    return total


def sweep(parent: Path) -> None:
    """Remove what a killed delete or `own_folder` left behind. One that still runs holds a lock on its folder."""
    for path in [*parent.glob(".gone-*"), *parent.glob(".new-*")]:
        with suppress(OSError, LockHeld):
            lock = lock_left(path)
            try:
                rest = _with_uploads(path)
                _clear(rest)
            except BaseException:
                os.close(lock)
                raise
            let_go(rest, lock)


@contextmanager
def appearing(data: Path, name: str) -> Iterator[Path]:
    """A data folder of its own in which to make the collection `name`; it moves to `data` whole when the block ends.

    A kill in the middle leaves nothing that stands in the way. CollectionExists if `data` has one of that name, before
    the block or after it.
    """
    make_way(data, name)
    folder = collection_folder(data, name)
    with own_folder(folder.parent) as own:
        yield own
        made = collection_folder(own, name)
        fsync_file(made)
        call(made, folder)
        fsync_file(folder.parent)


def make_way(data: Path, name: str) -> None:
    """Have nothing of a deleted collection in the way of a new one of its name. CollectionExists."""
    folder = collection_folder(data, name)
    check_free(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    for gone in folder.parent.glob(f".gone-*-{name}"):  # whose uploads would be taken for the new one's
        with suppress(OSError), folder_lock(gone):
            _with_uploads(gone)
    check_free(folder)  # another may have been called so while we waited
    sweep(folder.parent)


def check_free(folder: Path) -> None:
    """CollectionExists if there is one at `folder`."""
    if os.path.lexists(folder):  # a link too whose disk is not there
        raise _taken(folder)


def call(made: Path, folder: Path) -> None:
    """Have what lies at `made` be the collection at `folder`, in one step. CollectionExists, OSError: it is not."""
    try:
        made.rename(folder)  # POSIX refuses this onto a folder with anything in it
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, errno.EISDIR):
            raise
        raise _taken(folder) from None


def _taken(folder: Path) -> CollectionExists:
    name, data = folder.name, folder.parents[1]
    return CollectionExists(f"collection {name!r} exists in {data}: choose another name, or delete it first")


@contextmanager
def letting_uploads_go(folder: Path) -> Iterator[None]:
    """Remove at the end of the block what belongs to uploads of a collection at `folder`, if there is none by then.

    Who makes one of its name anew waits for that, so nothing of the new one goes. After a kill the next `sweep` does.
    """
    gone, lock = new_own_folder(folder.parent, ".gone-", f"-{folder.name}")
    try:
        yield
    finally:
        with suppress(OSError):  # then the next sweep
            _with_uploads(gone)
        os.close(lock)
    sweep(folder.parent)


def remove_collection(folder: Path, *, keep_uploads: bool) -> None:
    """Remove a collection's folder, whose lock is held, and what was uploaded to it.

    In one step: after it there is no collection, and the rest goes whenever others are made or deleted, if a kill comes
    in between. Where it raises another error than the one below, the collection is as it was.

    Raises:
        CollectionError: there is no collection any more, and files of it are left, which may not be removed.
    """
    gone = folder.with_name(f".gone-{uuid.uuid4().hex}{'' if keep_uploads else f'-{folder.name}'}")
    folder.rename(gone)
    try:
        rest = _with_uploads(gone)
    except BaseException:
        gone.rename(folder)
        raise
    fsync_file(folder.parent)
    _clear(rest)
    if is_left(rest):
        raise CollectionError(
            f"{folder.name} is no collection any more, but not all of its files could be removed: remove {rest} as "
            "their owner"
        )


def _clear(rest: Path) -> None:
    rows_home.remove_all(rest)
    clear(rest / "uploads")
    clear(rest)


def _with_uploads(gone: Path) -> Path:
    """What is left of a deleted collection, with its uploads if its name says whose are to go: then it says so no more,
    for the next collection of that name has its own. Its lock is held.
    """
    if (named := GONE.fullmatch(gone.name)) is None or not gone.exists():
        return gone
    if not (gone.parent / named["name"]).exists():
        with suppress(FileNotFoundError):
            _move_uploads(uploads_folder(gone.parents[1], named["name"]), gone / "uploads", named["rest"])
    return gone.rename(gone.with_name(named["rest"]))


def _move_uploads(uploads: Path, to: Path, name: str) -> None:
    try:
        uploads.rename(to)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        uploads.lstat()  # the same is said of what is not there
        there = uploads.with_name(name)  # where a link leads that is cleared as a folder is
        with suppress(FileExistsError):  # of a killed sweep
            to.symlink_to(there)
        uploads.rename(there)


@contextmanager
def own_folder(parent: Path) -> Iterator[Path]:
    """A folder in `parent` for the time of the block; the next `sweep` removes what a kill leaves of it."""
    own, lock = new_own_folder(parent, ".new-")
    try:
        yield own
    finally:
        let_go(own, lock)
