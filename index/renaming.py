"""A collection under another name, by one rename of its folder.

Its uploads are linked to where they belong under the new name before, and let go of under the old one after. A kill
leaves the collection under the old name, and the links go with the next sweep; or under the new one, where the files
are found that its entries still say to be under the old: `compact` has them say so.
"""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack, suppress
from pathlib import Path

from base.errors import GlimpseError, InputError
from base.files import fsync_file, whole_file
from index.collection import LOCAL, check_here, is_elsewhere, store_at
from index.local.collection import LocalCollection
from index.local.layout import call, check_free, collection_folder, letting_uploads_go, make_way, uploads_folder
from index.uploads import UPLOAD, take_home
from index.writer_lock import lock_writer


def rename_collection(data: Path, name: str, to: str) -> None:
    """Call the collection `name` of a data folder `to` from now on; ids, title and uploaded files stay.

    Raises:
        InputError: `to` is no name for a collection, or the one that it has.
        CollectionExists: there is one that is called so.
        CollectionNotFound, CollectionDamaged, CollectionLocked: see `base.errors`.
        NotInStore: collections lie on a server.
        OSError: a full disk, say; it is called as before.
    """
    check_new_name(data, name, to)
    folder, target = collection_folder(data, name), collection_folder(data, to)
    store_at(data, LOCAL).open(name).close()  # in its words if there is none, or it is damaged
    lock = lock_writer(folder, name)
    try:
        make_way(data, to)
        with ExitStack() as uploads:
            for each in (folder, target):
                if not is_elsewhere(data, each.name):
                    uploads.enter_context(letting_uploads_go(each))
            _link(uploads_folder(data, name), uploads_folder(data, to))
            call(folder, target)
            with suppress(GlimpseError, OSError):  # it is done, and as after a kill its files are found
                fsync_file(target.parent)
                collection, lock = LocalCollection(target, lock), -1
                with collection:
                    take_home(collection, uploads_folder(data, to))
    finally:
        if lock >= 0:
            os.close(lock)


def check_new_name(data: Path, name: str, to: str) -> None:
    """Whether the collection `name` may be called `to`. InputError, CollectionExists, NotInStore: as above."""
    check_here("another name", "give it a title (glimpse collections title), or move it to the data folder for that")
    folder, target = collection_folder(data, name), collection_folder(data, to)
    if folder == target:
        raise InputError(f"collection {name!r} is called so already")
    if folder.exists():  # else that is what to say
        check_free(target)


def _link(before: Path, after: Path) -> None:
    """Have each upload in one folder in the other as well: by a link, or a copy where the disk has none."""
    if not before.is_dir():
        return
    for part in before.iterdir():
        made = after / part.name
        for file in part.iterdir() if part.is_dir() else ():
            if not UPLOAD.fullmatch(f"{part.name}/{file.name}"):
                continue
            made.mkdir(parents=True, exist_ok=True)
            try:
                with suppress(FileExistsError):  # of a try before, or of another store's; it has the same bytes
                    os.link(file, made / file.name)
            except OSError:
                with whole_file(made / file.name) as copy:
                    shutil.copyfile(file, copy)
                    times = file.stat()
                    os.utime(copy, ns=(times.st_atime_ns, times.st_mtime_ns))  # by which what is kept of it is known
        if made.is_dir():
            fsync_file(made)
    if after.is_dir():
        fsync_file(after)
        fsync_file(after.parent)
