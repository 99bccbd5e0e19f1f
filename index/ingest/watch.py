"""Follows folders as they change and keeps a collection in step, batch by batch: the only file that imports watchfiles.

The system tells where something happened; what happened is found by comparing that place with the catalog. The writer's
lock is held for the time of a batch only, so uploads and other runs come in between, and a batch that meets another
writer waits for it. Network shares tell nothing: set WATCHFILES_FORCE_POLLING=1 there.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import watchfiles

from base.errors import CollectionError, CollectionLocked, CollectionNotFound, InputError
from base.progress import Progress
from base.sources.rules import IGNORE_FILE, Rules
from base.sources.walk import is_image_name
from encoder.encoder import Encoder
from index.collection import Collection, collection_identity, open_collection
from index.ingest.places import roots_of
from index.ingest.report import IndexReport
from index.ingest.scan import outermost, place_of
from index.ingest.sync import SyncOptions, index_folders, index_paths, open_or_create

QUIET_MS = 500  # a batch ends when nothing has happened for so long,
BATCH_MS = 10_000  # or after so long: a long copy is taken in a few batches
IDLE_MS = 1000  # how often to look whether the folders are still there
RETRY_S = 1.0  # while another process writes
STOPPED_S = 15.0  # without a word from the system's events: this process was stopped, as by a container's pause
MANY = 2000  # places in a batch. The system's queue (fs.inotify.max_queued_events) may have run over, without a word
OWN = ("collections", "uploads", "jobs")  # of the data folder; whatever else lies there may be photos


@dataclass(frozen=True)
class Watching:
    """How a watch begins, waits and ends.

    Attributes:
        make: make the collection at the first pass if there is none.
        on_wait: told why, when another writer must be waited for.
        stop: ends the watch between two batches.
    """

    make: bool = True
    on_wait: Callable[[str], None] | None = None
    stop: threading.Event = field(default_factory=threading.Event)


def watch_folders(
    data: Path,
    name: str,
    encoder: Encoder,
    folders: Sequence[Path],
    options: SyncOptions = SyncOptions(),
    watching: Watching | None = None,
    *,
    progress: Progress | None = None,
) -> Iterator[IndexReport]:
    """Bring a collection in step with `folders`, and keep it there until it is stopped or the caller has enough.

    A file that is still being written may be skipped; it is read again at its next change. Files that move keep their
    entries. What happened while nobody watched is found by the first pass, which looks at everything.

    Args:
        data: the folder of collections. What is kept there of them, and of jobs, is never watched.
        name: of the collection. It is opened for each batch and closed after it.
        encoder: makes the vectors.
        folders: watched with all their subfolders, except hidden ones and those behind links.
        options: as of `index.ingest.sync.index_folders`; captions are read once.
        watching: how it begins, waits and ends.
        progress: told of the first pass.

    Yields:
        The report of the first pass, then one for each batch in which there was something to do.

    Raises:
        InputError: a folder is missing at first, or lies where the data folder keeps its own files.
        CollectionNotFound: it was deleted or renamed, and perhaps made anew: a watch fills none from its middle.
        CollectionError: a folder is gone, is another one than before (a disk was unmounted) or suddenly holds no image;
            nothing has been removed then. Or the folders cannot be watched.
    """
    watching = watching or Watching()
    make, stop = watching.make, watching.stop
    roots = _roots_of(data, name, folders)
    identities = [_identity(root) for root in roots]
    own = _Own(data, roots)
    filled = collection_identity(data, name)
    first = True
    for paths in _changes(roots, stop):
        _check_same(roots, identities)
        if not make and (filled is None or collection_identity(data, name) != filled):
            raise CollectionNotFound(f"collection {name!r} was deleted, or renamed: start a watch of the one you mean")
        paths = [path.parent if path.name == IGNORE_FILE else path for path in paths]
        places = [path for path in paths if path not in own and _matters(path, roots, options.rules)]
        if not places:
            continue
        collection = _open(data, name, encoder, watching)
        if collection is None:
            return
        with collection:
            if first:
                make, filled = False, collection_identity(data, name)
                report = index_folders(collection, encoder, roots, options, progress=progress)
            else:
                report = _index_places(collection, encoder, roots, places, options)
        if first or report.is_news:
            yield report
        first = False


def _roots_of(data: Path, name: str, folders: Sequence[Path]) -> list[Path]:
    try:
        with open_collection(data, name) as collection:
            return outermost(roots_of(collection, folders))
    except CollectionNotFound:
        return outermost(Path(os.path.abspath(folder)) for folder in folders)  # noqa: PTH100  keeps links as named


class _Own:
    """What is written in the data folder, by whatever links it is reached: it must not wake the watch that wrote it."""

    def __init__(self, data: Path, roots: Sequence[Path]) -> None:
        real = os.path.realpath(data)
        self._folders = [Path(real, name) for name in OWN]
        self._real = [(root, Path(os.path.realpath(root))) for root in roots]
        for root in roots:
            if root in self:
                raise InputError(f"{root}: lies in {data}, where collections are kept; watch a folder of photos")

    def __contains__(self, path: Path) -> bool:
        here = next((real / path.relative_to(root) for root, real in self._real if path.is_relative_to(root)), path)
        return any(here.is_relative_to(folder) for folder in self._folders)


def _index_places(
    collection: Collection, encoder: Encoder, roots: Sequence[Path], places: Sequence[Path], options: SyncOptions
) -> IndexReport:
    try:
        return index_paths(collection, encoder, roots, places, options)
    except InputError as error:  # what was right at first has become wrong
        raise CollectionError(str(error)) from error


def _changes(roots: Sequence[Path], stop: threading.Event) -> Iterator[list[Path]]:
    """Yield where something happened; nothing now and then; all roots at first, and when the system could not tell.

    Events that the system has no room for are lost, and watchfiles does not say so. That takes many at once, or that
    nobody takes them, so in either case everything is looked at.
    """
    while True:
        told = watchfiles.watch(
            *roots,
            watch_filter=None,
            debounce=BATCH_MS,
            step=QUIET_MS,
            rust_timeout=IDLE_MS,
            yield_on_timeout=True,
            stop_event=stop,
            ignore_permission_denied=True,
        )
        try:
            if next(told, None) is None:
                return
        except UnicodeEncodeError:
            raise InputError("a folder whose name is not UTF-8 cannot be watched: watch one above it") from None
        except (OSError, RuntimeError) as error:
            limit = "; raise fs.inotify.max_user_watches with sysctl" if "limit" in str(error) else ""
            raise CollectionError(f"the folders cannot be watched: {error}{limit}") from error
        yield list(roots)  # only now, when no later change can be missed
        try:
            waited = time.monotonic()
            for changes in told:
                is_whole = time.monotonic() - waited < STOPPED_S and len(changes) < MANY
                yield [Path(path) for _, path in changes] if is_whole else list(roots)
                waited = time.monotonic()
            return
        except RuntimeError:  # a file's name is not UTF-8, which watchfiles cannot say: start anew, look at everything
            continue


def _matters(path: Path, roots: Sequence[Path], rules: Rules) -> bool:
    """Whether an image or a folder may be there, or may have been."""
    image = rules.any_name or is_image_name(path.name) or not os.path.isfile(path)  # noqa: PTH113  not allowed to look
    return image and place_of(path, roots) is not None


def _open(data: Path, name: str, encoder: Encoder, watching: Watching) -> Collection | None:
    """The collection for one batch, once no other process writes to it; None if the watch is stopped before."""
    on_wait = watching.on_wait
    while True:
        try:
            return open_or_create(data, name, encoder)
        except CollectionLocked as error:
            if on_wait:
                on_wait(f"{str(error).partition(':')[0]}; waiting for it")
                on_wait = None  # once is enough
        if watching.stop.wait(RETRY_S):
            return None


def _check_same(roots: Sequence[Path], identities: Sequence[tuple[int, int]]) -> None:
    if [_identity(root) for root in roots] != identities:
        raise CollectionError("a watched folder is another one than before; was a disk unmounted? Nothing is removed")


def _identity(root: Path) -> tuple[int, int]:
    try:
        stat = root.stat()
    except OSError as error:
        raise CollectionError(f"{root}: {error.strerror}. Is a disk not mounted? Nothing has been removed") from None
    return stat.st_dev, stat.st_ino
