"""Which folders and files a run looks at, and what the collection has from there. Reads names, never a picture."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from base.errors import CollectionNotFound, InputError
from base.sources.left_out import LeftOut
from base.sources.rules import Rules, is_in_icloud, is_not_photos
from base.sources.walk import image_names, is_image_name, no_images, walk_images
from index.collection import Collection, open_collection
from index.ingest.diff import Known
from index.ingest.places import roots_of


def outermost(paths: Iterable[Path]) -> list[Path]:
    """Each once, sorted, and none that lies in another: what it holds would be looked at twice."""
    unique = set(paths)
    return sorted(path for path in unique if unique.isdisjoint(path.parents))


def check_any_image(data: Path, name: str, folders: Iterable[Path], rules: Rules) -> None:
    """Before a collection is made: InputError if there is no image in any folder, and never was."""
    roots = outermost(Path(os.path.abspath(folder)) for folder in folders)  # noqa: PTH100  keeps links as named
    if any(next(image_names(root, rules), None) for root in roots):
        return
    with suppress(CollectionNotFound), open_collection(data, name) as collection:
        if any(next(iter(collection.paths(root)), None) for root in roots):
            return  # `check_folders` says how many
    raise InputError(no_images(roots, rules))


def check_folders(collection: Collection, folders: Iterable[Path], rules: Rules, *, allow_empty: bool) -> list[Path]:
    """The folders to keep in step with, absolute and outermost, by the names that the collection has them by.

    Raises:
        InputError: one is missing, or (without `allow_empty`) holds no image though the collection has some from it.
    """
    roots = outermost(roots_of(collection, folders))
    for root in roots:
        if not root.is_dir():
            raise InputError(f"{root}: no such folder. Is a disk not mounted? Nothing has been removed")
        if allow_empty or next(image_names(root, rules), None):
            continue
        if lost := sum(1 for path, *_ in collection.paths(root) if not is_in_icloud(Path(path))):
            raise InputError(
                f"{root}: no images there now, but the collection has {lost} from it. Is a disk not mounted? "
                f"Give {rules.called('allow_empty')} to remove them"
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
    place: Path,
    roots: Sequence[Path],
    rules: Rules,
    on_error: Callable[[Path, str], None],
    left_out: LeftOut | None = None,
    others: Counter[str] | None = None,
) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield (path, stat) of the images at a place: those below a folder, or one file, or none."""
    root = next(root for root in roots if place.is_relative_to(root))
    try:
        if place == root:
            yield from walk_images(place, rules=rules, on_error=on_error, left_out=left_out, others=others)
        elif rules.leaves_out(place, root):
            return
        elif place.is_dir():
            if not place.is_symlink() and not is_not_photos(place):
                yield from walk_images(
                    place, below=root, rules=rules, on_error=on_error, left_out=left_out, others=others
                )
        elif place.is_file() and (is_image_name(place.name) or rules.takes_odd(place)):
            yield place, place.stat()
    except OSError as error:
        on_error(place, error.strerror or str(error))


def entries_at(collection: Collection, place: Path) -> Known:
    """The entry of that file, and those below that folder, in the order of their paths' bytes."""
    record = collection.find_path(place)
    if record and record.modality == "image":
        yield str(place), record.id, record.mtime_ns, record.size
    yield from collection.paths(place)
