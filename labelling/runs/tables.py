"""The tables of a run: their schema, and its images as rows of them."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
import numpy.typing as npt
import orjson

from labelling.rows import Answer, Labelled

VERSION = 3
SEALED = {  # by table, what its rows have a checksum of; a vector, which most who read a row do not, has its own
    "about": ("key", "value"),
    "images": (
        "id", "path", "origin", "stamp", "width", "height", "error", "cut_off", "answers", "guess", "margin", "reviewed"
    ),
    "steps": ("id", "output", "image", "kind", "what", "done"),
    "said": ("review", "image", "answers", "guess", "margin", "reviewed"),
}  # fmt: skip
REAL = "margin"  # not as text, which other versions of SQLite round otherwise
SEALS = {
    table: f"seal({', '.join(name if name == REAL else f'CAST({name} AS BLOB)' for name in names)})"
    for table, names in SEALED.items()
}
VECTOR_SEAL = "seal(vector)"
CLEARNESS = "CREATE INDEX IF NOT EXISTS clearness ON images (margin, id) WHERE margin IS NOT NULL"
SCHEMA = f"""
CREATE TABLE IF NOT EXISTS about (
    key TEXT PRIMARY KEY, value TEXT NOT NULL, checksum INTEGER AS ({SEALS["about"]}) STORED) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS images (
    id INTEGER PRIMARY KEY, path BLOB NOT NULL UNIQUE, origin BLOB, stamp TEXT NOT NULL, vector BLOB,
    width INTEGER, height INTEGER, error TEXT NOT NULL, cut_off TEXT NOT NULL, answers TEXT, guess TEXT,
    margin REAL, reviewed TEXT, checksum INTEGER AS ({SEALS["images"]}) STORED,
    vector_checksum INTEGER AS ({VECTOR_SEAL}) STORED);
CREATE INDEX IF NOT EXISTS undecided ON images (id) WHERE answers IS NULL AND error = '';
{CLEARNESS};
CREATE TABLE IF NOT EXISTS applied (
    output TEXT, image INTEGER, wanted TEXT NOT NULL, PRIMARY KEY (output, image)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS steps (
    id INTEGER PRIMARY KEY, output TEXT NOT NULL, image INTEGER, kind TEXT NOT NULL, what TEXT NOT NULL,
    done INTEGER NOT NULL, checksum INTEGER AS ({SEALS["steps"]}) STORED);
CREATE INDEX IF NOT EXISTS steps_of ON steps (image, output);
CREATE INDEX IF NOT EXISTS begun ON steps (id) WHERE NOT done;
CREATE TABLE IF NOT EXISTS said (
    review INTEGER, image INTEGER, answers TEXT, guess TEXT, margin REAL, reviewed TEXT,
    checksum INTEGER AS ({SEALS["said"]}) STORED, PRIMARY KEY (review, image)) WITHOUT ROWID;
CREATE TEMP TABLE seen (id INTEGER PRIMARY KEY);
CREATE TEMP TABLE incoming (
    id INTEGER PRIMARY KEY, path BLOB NOT NULL, stamp TEXT NOT NULL, width INTEGER, height INTEGER);
PRAGMA user_version = {VERSION};
"""
COLUMNS = ", ".join(SEALED["images"])
OPEN = "(reviewed IS NULL OR reviewed = 'skipped')"  # nobody has said what an image is
DISTRUSTED = "?"  # before the stamp of an image that is to be read anew though it may be the same
_STILL = f"(images.stamp = '{DISTRUSTED}' || excluded.stamp AND NOT {OPEN})"
PUT = f"""
INSERT INTO images (id, path, stamp, vector, width, height, error, cut_off) {{}}
ON CONFLICT (id) DO UPDATE SET path = excluded.path, stamp = excluded.stamp, vector = excluded.vector,
    width = excluded.width, height = excluded.height, error = excluded.error, cut_off = excluded.cut_off,
    answers = iif({_STILL}, answers, NULL), guess = iif({_STILL}, guess, NULL),
    reviewed = iif({_STILL}, reviewed, NULL), margin = iif({_STILL}, margin, NULL)
"""


@dataclass(frozen=True, slots=True)
class Row:
    """An image of a run.

    Attributes:
        id: its own; of an entry, where the source is a collection.
        stamp: of its file, or of its entry: another one is another image.
        image: what is said of it; no answers and no guess before it is decided.
        origin: where it lay before the run moved it.
        margin: how clear its labels are, as `Labeller.margins` has it; None: not decided, or not by a model.
        reviewed: what a person said of it: accepted, corrected, none, skipped, or by rule; "": nobody has.
    """

    id: int
    stamp: str
    image: Labelled
    origin: Path | None = None
    margin: float | None = None
    reviewed: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """An image as it was read, or looked up: to be kept, undecided.

    Attributes:
        vector: (dim,), None: it could not be read.
    """

    path: Path
    stamp: str
    vector: npt.NDArray[np.floating[Any]] | None = None
    width: int | None = None
    height: int | None = None
    error: str = ""
    cut_off: str = ""


class FoundEntry(NamedTuple):
    """The same of an entry of a collection, which has its vector: a tuple, as there may be millions."""

    id: int
    path: bytes
    stamp: str
    width: int | None
    height: int | None


def seal(*values: bytes | float | None) -> int:
    """CRC-32 of what a row holds. SQLite asks for it as a row is written, and to see that it still is what was."""
    kept = [b"\xff" if one is None else struct.pack("<d", one) if isinstance(one, float) else one for one in values]
    return crc32(b"\0".join(kept))


def row_of(columns: tuple[Any, ...]) -> Row:
    """The row that COLUMNS say."""
    key, path, origin, stamp, width, height, error, cut_off, answers, guess, margin, reviewed = columns
    given = tuple(Answer(*answer) for answer in orjson.loads(answers)) if answers else ()
    image = Labelled(
        Path(os.fsdecode(path)),
        given,
        given[0] if given else Answer(*orjson.loads(guess)) if guess else None,
        error,
        cut_off,
        width,
        height,
    )
    return Row(key, stamp, image, Path(os.fsdecode(origin)) if origin else None, margin, reviewed or "")
