"""Entries whose file is not there: which were deleted, and which may be away with their disk. Only `prune` deletes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from base.read_ahead import batches
from base.sources.rules import Rules, is_in_icloud
from index.collection import Collection, Record
from index.ingest.places import Places

BATCH = 10_000  # records looked at together


@dataclass(frozen=True, slots=True)
class Kept:
    """Entries that stay though their files were not found."""

    folder: str
    entries: int
    reason: str
    remedy: str

    def __str__(self) -> str:
        noun = "entry of {} is" if self.entries == 1 else "entries of {} are"
        return f"{self.entries} {noun.format(self.folder)} kept: {self.reason}; {self.remedy}"


@dataclass
class Gone:
    """Entries whose files a run did not find, divided.

    Attributes:
        deleted: ids of those whose file is no longer there.
        left_out: ids of those whose file is there, and is left out of the walk by its name.
        kept: the others.
    """

    deleted: list[int] = field(default_factory=list)
    left_out: list[int] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)


def divide(
    collection: Collection, ids: Iterable[int], roots: Sequence[Path], rules: Rules, places: Places, *, keep_away: bool
) -> Gone:
    """Which of these entries, all below `roots`, may be deleted.

    What stood in a folder that is now missing or without any image stays, if that is known to have been another folder
    or a mounted disk, or if such folders held most of the entries below the roots: a disk that is not mounted looks
    just like that. `keep_away` false deletes them too. What is there, but was not walked, stays where nothing but an
    option of the run speaks against it, and so does what is in iCloud.
    """
    gone = Gone()
    hidden: list[Path] = []
    in_cloud: list[Path] = []
    by_folder: dict[Path, list[int]] = {}
    for some in batches(sorted(ids), BATCH):
        for record in collection.records_of(some).values():
            path = Path(str(record.path))
            root = next(root for root in roots if path.is_relative_to(root))
            if rules.leaves_out(path, root):
                gone.left_out.append(record.id)
            elif os.path.isfile(path):  # noqa: PTH113  not allowed to look is no error
                hidden.append(path)
            elif is_in_icloud(path):
                in_cloud.append(path)
            else:
                by_folder.setdefault(path.parent, []).append(record.id)
    if hidden:
        reason = "the files are there, behind linked folders or with odd names, and were not looked at"
        links, names, exclude = map(rules.called, ("follow_links", "any_name", "exclude"))
        remedy = f"{links} or {names} looks at them, {exclude} removes them"
        gone.kept.append(Kept(_common(hidden), len(hidden), reason, remedy))
    if in_cloud:
        reason, remedy = "the photos are in iCloud alone", "what is downloaded is looked at again"
        gone.kept.append(Kept(_common(in_cloud), len(in_cloud), reason, remedy))
    empty: dict[Path, list[int]] = {}
    for folder, entries in by_folder.items():
        top = _outermost_empty(folder, roots, places) if keep_away else None
        if top is None:
            gone.deleted += entries
        else:
            empty.setdefault(top, []).extend(entries)
    _divide_empty(collection, empty, roots, places, gone, f"{rules.called('allow_empty')} removes them")
    return gone


@dataclass(frozen=True, slots=True)
class Dead:
    """Entries of a folder whose files are not there.

    Attributes:
        folder: the outermost that is missing; of files missing from a folder that is there, that one.
        ids: of the entries.
        note: what is known of the folder.
    """

    folder: str
    ids: list[int]
    note: str


def find_dead(collection: Collection, folders: Sequence[Path], apart_from: Path) -> list[Dead]:
    """The image entries whose file is not there, by folder, most first. What cannot be looked at is not dead.

    Args:
        collection: open.
        folders: look at what was below these only; none: at all.
        apart_from: a folder not to look at, as that of uploaded files.
    """
    places = Places(collection, Rules(any_name=True))
    found: dict[Path, list[int]] = {}
    for root in folders or [Path("/")]:
        for name, key, *_ in collection.paths(root):
            path = Path(name)
            if not path.is_relative_to(apart_from) and _is_dead(path):
                missing = [folder for folder in path.parents if _is_missing(folder)]
                found.setdefault(missing[-1] if missing else path.parent, []).append(key)
    dead = []
    for folder, ids in found.items():
        why = places.why_away(folder) if places.holds_none(folder) else None
        note = why or ("the folder is missing" if _is_missing(folder) else "the files are missing")
        described = sum(
            bool(one.metadata) for some in batches(ids, BATCH) for one in collection.records_of(some).values()
        )
        note += f"; {described} with metadata" if described else ""
        dead.append(Dead(str(folder), ids, note))
    return sorted(dead, key=lambda one: (-len(one.ids), one.folder))


def prune(collection: Collection, dead: Iterable[Dead]) -> int:
    """Delete these entries, but those whose file came back meanwhile. Returns how many went.

    What was kept of one goes over to an entry of the same bytes of which nothing is kept, if there is one with a file.
    """
    ids: list[int] = []
    heirs: dict[int, dict[str, Any]] = {}
    for some in (some for one in dead for some in batches(one.ids, BATCH)):
        for record in collection.records_of(some).values():
            if _is_dead(Path(str(record.path))):
                ids.append(record.id)
                if record.metadata and (heir := _heir(collection, record)) is not None:
                    heirs.setdefault(heir, {"metadata": record.metadata})
    collection.update(heirs)
    return sum(collection.delete(some) for some in batches(ids, BATCH))


def _heir(collection: Collection, record: Record) -> int | None:
    copies = collection.find_sha256(record.sha256) if record.sha256 else []
    return next((one.id for one in copies if not one.metadata and not _is_missing(Path(str(one.path)))), None)


def _is_dead(path: Path) -> bool:
    return _is_missing(path) and not is_in_icloud(path)


def _is_missing(path: Path) -> bool:
    try:
        path.lstat()  # a link is there, wherever it leads
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _divide_empty(
    collection: Collection,
    empty: dict[Path, list[int]],
    roots: Sequence[Path],
    places: Places,
    gone: Gone,
    remedy: str,
) -> None:
    if not empty:
        return
    total = sum(1 for root in roots for _ in collection.paths(root))
    is_most = 2 * sum(map(len, empty.values())) > total
    for folder, entries in empty.items():
        reason = places.why_away(folder)
        if is_most and reason is None:
            state = "empty" if folder.is_dir() else "missing"
            reason = f"the folder is {state}, as where a disk is not mounted"
        if reason is None:
            gone.deleted += entries
        else:
            gone.kept.append(Kept(str(folder), len(entries), reason, remedy))


def _outermost_empty(folder: Path, roots: Sequence[Path], places: Places) -> Path | None:
    """The outermost folder below a root, from this one up, that is missing or without any image; None: not even this.

    Of several that are so, one that is known to be away goes before one that merely holds nothing else.
    """
    chain: list[Path] = []
    for here in (folder, *folder.parents):
        if here in roots or not places.holds_none(here):
            break
        chain.append(here)
    away = [here for here in chain if places.why_away(here)] or chain
    return away[-1] if away else None


def _common(paths: Sequence[Path]) -> str:
    return os.path.commonpath([path.parent for path in paths])
