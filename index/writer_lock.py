"""The writer's lock of a collection: one process at a time, whichever store has the vectors."""

from __future__ import annotations

from pathlib import Path

from base.errors import CollectionError, CollectionLocked, CollectionNotFound
from base.files import disk_error
from base.locks import LOCK, LockHeld, lock_file


def lock_writer(folder: Path, name: str) -> int:
    """Take the lock of the collection `name`, in its folder; held until the descriptor is closed or the process ends.

    Raises CollectionLocked, CollectionError, and CollectionNotFound where there is no such folder.
    """
    path = folder / LOCK
    try:
        return lock_file(path)
    except LockHeld as error:
        raise CollectionLocked(
            f"collection {name!r} is being written to by process {error.holder}: wait until it ends, or stop it"
        ) from None
    except FileNotFoundError:
        raise CollectionNotFound(f"collection {name!r} was deleted just now") from None
    except OSError as error:  # a read-only disk, another user's, a full one
        raise cannot_be_written(name, path, error) from None


def cannot_be_written(name: str, path: Path, error: OSError) -> CollectionError:
    """What to raise where the disk refuses something at `path` of the collection `name`."""
    why = disk_error(error, path) or CollectionError(f"{path}: {error.strerror}")
    return type(why)(f"collection {name!r} cannot be written to: {why}")
