"""What the catalog keeps of an index on disk: which files hold the vectors of which commit, and how they are searched.

Data alone; `vectors/` writes and reads the files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from index.entry import Modality


@dataclass(frozen=True, slots=True)
class Tuning:
    """How a coarse index is searched, and what that was measured to find."""

    kind: str
    factory: str  # FAISS's name of it
    trained_rows: int
    effort: int  # inverted lists probed (nprobe), or width of the beam (efSearch)
    factor: int  # candidates that are compared exactly, for each hit wanted
    recall: float  # recall@10 against exact, on held-out queries
    target: float  # what was asked for

    @property
    def lists(self) -> int:
        """How many inverted lists there are; 0 in a graph."""
        name = self.factory.partition(",")[0]
        return int(name.removeprefix("IVF")) if name.startswith("IVF") else 0


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A file as it was written; what is not so is never parsed."""

    name: str
    bytes: int
    head: int  # CRC-32 of its beginning
    crc32: int  # of all of it


@dataclass(frozen=True, slots=True)
class SegmentRecord:
    """A segment as it was written."""

    count: int  # rows
    dim: int
    files: Mapping[str, FileRecord]  # ids, rows, and perhaps coarse
    tuning: Tuning | None = None  # of the coarse index

    @property
    def bytes(self) -> int:
        """What it takes on disk."""
        return sum(file.bytes for file in self.files.values())


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The segments that hold all rows as of a commit."""

    version: int
    segments: Mapping[Modality, SegmentRecord] = field(default_factory=dict)

    def to_json(self) -> str:
        """As the catalog keeps it."""
        return json.dumps(asdict(self))

    @classmethod
    def of_json(cls, text: str) -> Snapshot | None:
        """What `to_json` gave; None for none, and for what is no such thing: it is built anew then."""
        try:
            kept = json.loads(text)
            if kept is None:
                return None
            return cls(kept["version"], {modality: _segment(one) for modality, one in kept["segments"].items()})
        except (ValueError, TypeError, KeyError, AttributeError):
            return None


def _segment(kept: Mapping[str, Any]) -> SegmentRecord:
    files = {kind: FileRecord(**file) for kind, file in kept["files"].items()}
    return SegmentRecord(kept["count"], kept["dim"], files, Tuning(**kept["tuning"]) if kept["tuning"] else None)
