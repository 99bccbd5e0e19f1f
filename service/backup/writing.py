"""A whole data folder into one file, while a service and others write to it.

Each collection is as of one moment, and so is each job, label set and labelling run; the moments are not the same ones.
Jobs, runs and label sets come before the collections: what those say is done has been done in these.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from base.errors import CollectionNotFound, InputError, RunNotFound
from base.extras import product_version
from base.files import new_file
from base.progress import Progress
from index.backup import back_up
from index.collection import collection_names, open_collection
from labelling.runs.kept import FOLDER as LABEL_RUNS
from labelling.runs.store import RunStore
from service import keys
from service.backup.archive import FORMAT, ArchiveWriter, Held, Manifest, collection_member
from service.backup.contents import FOLDERS, links, size_of, small_files, strangers


def back_up_all(
    data: Path,
    file: Path,
    *,
    overwrite: bool = False,
    without: Collection[str] = (),
    progress: Progress = lambda done, total: None,
) -> Manifest:
    """Write a data folder to `file`, which appears whole or not at all, and is readable by its owner alone.

    Args:
        data: the folder.
        file: to write; its secrets are in it.
        overwrite: a file that is there.
        without: collections to leave out.
        progress: told bytes.

    Raises:
        InputError: there is no such data folder, no such collection to leave out, or `file` is there already.
        CollectionDamaged: a collection is not sound; nothing was written.
        GlimpseError: a labelling run is not.
        OSError: `file` cannot be written.
    """
    if not data.is_dir():
        raise InputError(f"{data}: no such data folder; is --data the right one?")
    names = collection_names(data)
    if unknown := sorted(set(without) - set(names)):
        raise InputError(f"no collection {unknown[0]!r} to leave out; there are: {', '.join(names) or 'none'}")
    total, done = size_of(data), 0

    def told(size: int) -> None:
        nonlocal done
        done += size
        progress(done, max(done, total))

    with new_file(file, overwrite=overwrite, private=True) as part, part.open("wb") as out, _beside(part) as copy:
        writer = ArchiveWriter(out, told)
        counts = _add_small_files(writer, data, copy)
        added: dict[str, Held | None] = {}
        while wanted := [name for name in names if name not in (*without, *added)]:
            added |= {name: _add_collection(writer, data, name, copy) for name in wanted}
            if not all(added[name] for name in wanted):  # who is gone may be called otherwise by now
                names = collection_names(data)
        manifest = Manifest(
            FORMAT,
            product_version(),
            datetime.now(UTC).isoformat(timespec="seconds"),
            str(data.absolute()),
            tuple(writer.members),
            {name: held for name, held in added.items() if held},
            left_out=(*strangers(data, file), *links(data)),
            deleted=tuple(name for name, held in added.items() if not held),
            without=tuple(sorted(without)),
            counts=counts_of([member.name for member in writer.members]) | counts,
        )
        writer.close(manifest)
    return manifest


def counts_of(names: Sequence[str]) -> dict[str, int]:
    """How many of each kind there are, by the names of files."""
    return {folder: sum(name.startswith(f"{folder}/") and name.endswith((".json", ".sqlite")) for name in names)
            for folder in FOLDERS}  # fmt: skip


@contextmanager
def _beside(part: Path) -> Iterator[Path]:
    """A place for copies of what must be copied first, which nobody else can read; it is swept with the part."""
    with TemporaryDirectory(dir=part.parent, prefix=f"{part.name}.") as folder:
        yield Path(folder) / "copy"


def _add_small_files(writer: ArchiveWriter, data: Path, copy: Path) -> dict[str, int]:
    """Add all but the collections; how many keys there are."""
    counts = {"keys": 0}
    for name, path in small_files(data):
        if name == keys.FILE:
            counts = _add_keys(writer, path, copy)
        else:
            _add_small(writer, name, path, copy)
    return counts


def _add_keys(writer: ArchiveWriter, path: Path, copy: Path) -> dict[str, int]:
    """Add the file of keys; how many there are in it, as it was added: others may change it while a backup runs."""
    try:
        copy.touch(0o600)  # before anything is in it
        shutil.copyfile(path, copy)
        writer.add(copy, keys.FILE)
        return {"keys": len(keys.read_keys_file(copy))}
    except FileNotFoundError:  # removed just now
        return {"keys": 0}
    except InputError:  # a damaged file is kept as it is
        return {}
    finally:
        copy.unlink(missing_ok=True)


def _add_small(writer: ArchiveWriter, name: str, path: Path, copy: Path) -> None:
    if not (name.startswith(f"{LABEL_RUNS}/") and path.suffix == ".sqlite"):
        writer.add(path, name)
        return
    try:
        store = RunStore(path, reads=True)
        try:
            store.copy_to(copy)
        finally:
            store.close()
        copy.chmod(path.stat().st_mode & 0o777)
        writer.add(copy, name)
    except (RunNotFound, FileNotFoundError):  # not begun yet, or forgotten just now
        return
    finally:
        copy.unlink(missing_ok=True)


def _add_collection(writer: ArchiveWriter, data: Path, name: str, copy: Path) -> Held | None:
    """What it has; None if it was deleted before it was copied."""
    try:
        with open_collection(data, name) as collection:
            model, fingerprint = collection.model, collection.fingerprint
        kept = back_up(data, name, copy, overwrite=True)
        writer.add(copy, collection_member(name))
    except CollectionNotFound:
        return None
    finally:
        copy.unlink(missing_ok=True)
    return Held(kept.entries, model, fingerprint)
