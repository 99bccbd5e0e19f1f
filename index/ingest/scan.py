"""Which folders and files a run looks at, and what the collection has from there. Reads names, never a picture."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from base.errors import InputError
from base.walk import image_names, is_image_name, walk_images
from index.collection import Collection
from index.ingest.diff import Known


def outermost(paths: Iterable[Path]) -> list[Path]:
    """Each once, sorted, and none that lies in another: what it holds would be looked at twice."""
    unique = set(paths)
    return sorted(path for path in unique if unique.isdisjoint(path.parents))


def check_folders(collection: Collection, folders: Iterable[Path], *, allow_empty: bool) -> list[Path]:
    """The folders to keep in step with, absolute and outermost.

    Raises:
        InputError: one is missing, or (without `allow_empty`) holds no image though the collection has some from it.
    """
    roots = outermost(Path(os.path.abspath(folder)) for folder in folders)  # noqa: PTH100  keeps links as named
    for root in roots:
        if not root.is_dir():
            raise InputError(f"{root}: no such folder. Is a disk not mounted? Nothing has been removed")
        if allow_empty or next(image_names(root), None):
            continue
        if lost := sum(1 for _ in collection.paths(root)):
            raise InputError(
                f"{root}: no images there now, but the collection has {lost} from it. Is a disk not mounted? "
                "Give allow_empty (--allow-empty) to remove them"
            )
    return roots


def place_of(path: Path, roots: Sequence[Path]) -> Path | None:
    """Where to look if something happened at `path`: there, at a link that leads there, or nowhere if it is hidden."""
    for root in roots:
        if path.is_relative_to(root):
            place = root
            for name in path.relative_to(root).parts:
                if name.startswith("."):
                    return None
                if place != root and os.path.islink(place):  # noqa: PTH114  not allowed to look is no error
                    break
                place /= name
            return place
    return None


def files_at(
    place: Path, roots: Sequence[Path], on_error: Callable[[Path, str], None]
) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield (path, stat) of the images at a place: those below a folder, or one file, or none."""
    try:
        if place.is_dir():
            if place in roots or not place.is_symlink():
                yield from walk_images(place, on_error=on_error)
        elif is_image_name(place.name) and place.is_file():
            yield place, place.stat()
    except OSError as error:
        on_error(place, error.strerror or str(error))


def entries_at(collection: Collection, place: Path) -> Known:
    """The entry of that file, and those below that folder, in the order of their paths' bytes."""
    record = collection.find_path(place)
    if record and record.modality == "image":
        yield str(place), record.id, record.mtime_ns, record.size
    yield from collection.paths(place)
