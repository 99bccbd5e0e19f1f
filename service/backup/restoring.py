"""A data folder made of a backup, whole or not at all; one collection out of it; or only a look whether it is sound."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from base.errors import CollectionNotFound, InputError, RunNotFound
from base.locks import LOCK
from base.progress import Progress
from index.backup import FileSummary, restore
from index.collection import collection_names
from index.local.layout import own_folder, sweep
from index.writer_lock import lock_writer
from labelling.label_sets import LabelSets
from labelling.runs.kept import FOLDER as LABEL_RUNS
from labelling.runs.run import lock_run
from service.backup.archive import (
    ArchiveReader,
    BackupDamaged,
    Manifest,
    collection_member,
    opened,
    read_through,
    write_out,
)
from service.backup.contents import COLLECTIONS, FOLDERS, LOST, SECRETS
from service.backup.placing import finish, place
from service.backup.writing import counts_of
from service.jobs.store import JobStore


@dataclass(frozen=True, slots=True)
class Restored:
    """What came out of a backup."""

    manifest: Manifest
    warnings: tuple[str, ...] = ()  # label sets and jobs that were damaged when it was written


def verify(file: Path, *, progress: Progress = lambda done, total: None) -> Manifest:
    """Read a backup to its end and hold every file against its checksum.

    Raises:
        InputError: no such file, or not of a data folder, or of a newer glimpse.
        BackupDamaged: it is not as it was written.
    """
    with opened(file) as archive:
        told = _adding(archive, progress)
        for member in archive.manifest.members:
            archive.read(member, read_through, told)
        return archive.manifest


def restore_all(
    data: Path, file: Path, *, replace: bool = False, progress: Progress = lambda done, total: None
) -> Restored:
    """Make a data folder of a backup. Nothing appears in it before all was read, checked, indexed and counted.

    What a restore that was killed had begun to put in place is put there first; if it was of this backup, all is done.

    Args:
        data: the folder, made if need be.
        file: that `back_up_all` wrote.
        replace: all that glimpse keeps in `data`, if it is not empty.
        progress: told bytes.

    Raises:
        InputError: `data` is not empty, is in use, or has no room; as `opened`.
        CollectionLocked, RunBusy: others write to it.
        BackupDamaged, CollectionDamaged: nothing was changed.
        OSError: a full disk, say; nothing was changed.
    """
    with opened(file) as archive:
        if finish(data) == archive.manifest.checksum:
            return Restored(archive.manifest, tuple(_problems(data)))
    with opened(file) as archive, _target(data, replace=replace), ExitStack() as held:
        _check_room(data, archive.manifest)
        if replace:
            _hold_all(data, held)
        with own_folder(data) as stage:
            stage.chmod(0o700)  # keys are on their way through it
            _unpack(archive, stage, data, _adding(archive, progress))
            warnings = _check(archive.manifest, stage)
            os.sync()
            place(stage, data, archive.manifest.checksum)
    sweep(data)
    return Restored(archive.manifest, tuple(warnings))


def restore_one(data: Path, file: Path, name: str) -> FileSummary:
    """Make one collection of a backup of all, in a data folder that is in use.

    Raises:
        InputError: the backup has none of that name; as `opened`.
        CollectionExists: there is one in `data`.
        BackupDamaged, CollectionDamaged, OSError: nothing was changed.
    """
    with opened(file) as archive:
        if name not in archive.manifest.collections:
            there = ", ".join(archive.manifest.collections) or "none"
            raise InputError(f"{file} has no collection {name!r}; there are: {there}")
        data.mkdir(parents=True, exist_ok=True)
        finish(data)
        sweep(data)
        with own_folder(data) as stage:
            part = stage / "part"
            [member] = [one for one in archive.manifest.members if one.name == collection_member(name)]
            archive.read(member, partial(write_out, path=part))
            return restore(data, part, name)


def _unpack(archive: ArchiveReader, stage: Path, data: Path, told: Callable[[int], None]) -> None:
    part = stage / "part"
    for member in archive.manifest.members:
        if not member.name.startswith(f"{COLLECTIONS}/"):
            file = stage / member.name
            archive.read(member, partial(write_out, path=file), told)
            file.chmod(0o600 if member.name in SECRETS else member.mode | 0o600)
            continue
        archive.read(member, partial(write_out, path=part), told)
        name = Path(member.name).stem
        kept = restore(stage, part, name, home=data)
        part.unlink()
        said = archive.manifest.collections[name].entries
        if kept.entries != said or kept.missing:
            raise BackupDamaged(f"collection {name!r} has {kept.entries} entries of {said}, and of these "
                                f"{len(kept.missing)} have lost their uploads; take an earlier backup")  # fmt: skip


def _adding(archive: ArchiveReader, progress: Progress) -> Callable[[int], None]:
    """Takes the bytes of pieces, and tells the progress their sum."""
    total, done = sum(member.bytes for member in archive.manifest.members), 0

    def told(size: int) -> None:
        nonlocal done
        done += size
        progress(done, total)

    return told


def _check(manifest: Manifest, stage: Path) -> list[str]:
    """What a person should know of what was unpacked. BackupDamaged if it is less than the manifest says."""
    names = [str(path.relative_to(stage)) for path in stage.rglob("*") if path.is_file()]
    said = {name: n for name, n in manifest.counts.items() if name in FOLDERS}
    if (counts := counts_of(names)) != said:
        raise BackupDamaged(f"unpacked {counts}, where the manifest says {said}; take an earlier backup")
    if (found := collection_names(stage)) != sorted(manifest.collections):
        raise BackupDamaged(f"unpacked the collections {found}, where the manifest says {list(manifest.collections)}")
    return _problems(stage)


def _problems(data: Path) -> list[str]:
    return [*LabelSets(data).problems(), *JobStore(data).problems()]


@contextmanager
def _target(data: Path, *, replace: bool) -> Iterator[None]:
    """The folder is there in the block, and is not afterwards if it was not before and the block raises."""
    made = not data.exists()
    if not made and not data.is_dir():
        raise InputError(f"{data}: a file; name a folder by --data")
    data.mkdir(parents=True, exist_ok=True)
    sweep(data)
    if (there := sorted(path.name for path in data.iterdir() if path.name not in (LOST, LOCK))) and not replace:
        raise InputError(
            f"{data} is not empty: it holds {', '.join(there[:3])}{' ...' if there[3:] else ''}; name an empty folder "
            "by --data, or give --force to put the backup in the place of all that glimpse keeps there"
        )
    try:
        yield
    except BaseException:
        if made:
            data.rmdir()
        raise


def _check_room(data: Path, manifest: Manifest) -> None:
    sizes = [member.bytes for member in manifest.members]
    needed = sum(sizes) + max(sizes, default=0)  # one lies there twice; the index of collections comes on top
    if (free := shutil.disk_usage(data).free) < needed:
        raise InputError(f"{data}: some {needed / 1e9:.2f} GB are needed and {free / 1e9:.2f} are free; make room")


def _hold_all(data: Path, held: ExitStack) -> None:
    """Have nobody else write in the data folder until the stack ends. CollectionLocked, RunBusy, InputError."""
    store = JobStore(data)
    if store.folder.is_dir():
        if (fd := store.lock()) is None:
            raise InputError(f"{data} is in use by a service: stop it first")
        held.callback(os.close, fd)
    for name in collection_names(data):
        with suppress(CollectionNotFound):  # deleted just now
            held.callback(os.close, lock_writer(data / COLLECTIONS / name, name))
    for run in (data / LABEL_RUNS).glob("*/run.sqlite"):  # one at work has moved files that it alone can put back
        with suppress(RunNotFound):  # forgotten just now
            held.callback(os.close, lock_run(run.parent))
