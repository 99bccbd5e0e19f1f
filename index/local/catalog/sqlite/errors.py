"""What SQLite says of a file, as errors of ours."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from base.errors import CollectionDamaged, CollectionError, DiskError, DiskFull
from base.sqlite_files import FAILING, is_full

UNWRITABLE = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)  # what is said of a file that one may not write


def named(path: Path, error: sqlite3.DatabaseError) -> CollectionError:
    """What SQLite said of a file, in our words and with the remedy."""
    code = code_of(error)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or "decode to UTF-8" in str(error):
        return damaged(path, error)
    if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and is_full(path)):
        return DiskFull(f"{path}: the disk is full; free some space and try again (nothing was changed)")
    if code == sqlite3.SQLITE_IOERR:
        return DiskError(f"{path}: {FAILING}")
    if code == sqlite3.SQLITE_READONLY:
        return DiskError(f"{path}: on a read-only disk or not yours to write; make it writable and try again")
    if code == sqlite3.SQLITE_CANTOPEN and path.exists() and not os.access(path, os.R_OK):
        return CollectionError(f"{path}: may not be read by this user; give it read permission (chmod u+r)")
    if code == sqlite3.SQLITE_CANTOPEN:
        return CollectionError(
            f"{path}: cannot be opened; SQLite must be able to write in its folder, unless the disk is read-only"
        )
    return CollectionError(f"{path}: {' '.join(str(error).split())}")


def damaged(path: Path, error: Exception) -> CollectionDamaged:
    """A file that is not sound, and why."""
    why = " ".join(str(error).split())
    return CollectionDamaged(f"{path}: the catalog is damaged ({why}); restore it from a backup")


def code_of(error: BaseException | None) -> int:
    """The kind of an error, or of the one that it was raised from: the low byte of SQLite's code."""
    while error is not None and not isinstance(error, sqlite3.Error):
        error = error.__cause__
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
