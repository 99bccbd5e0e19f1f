"""What a collection holds and gives back, as plain frozen values. No storage and no search here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from base.errors import CollectionNotFound, InputError
from base.names import near_name
from index.config import Quota

if TYPE_CHECKING:  # a client that sends metadata has no numpy
    import numpy as np
    from numpy.typing import NDArray

Modality = Literal["image", "text"]
MODALITIES: tuple[Modality, ...] = get_args(Modality)


def known(modality: Modality) -> Modality:
    """It, if it is a modality. InputError."""
    if modality not in MODALITIES:
        raise InputError(f"modality must be {' or '.join(MODALITIES)}, not {modality!r}")
    return modality


def not_found(name: str, place: str, names: Sequence[str]) -> CollectionNotFound:
    """What to raise where no collection is of that name, and `names` are."""
    near = near_name(name, names)
    meant = f" did you mean {near}?" if near else ""
    listed = ", ".join(names) or "none yet: `glimpse index FOLDER` makes one"
    return CollectionNotFound(f"no collection {name!r} in {place};{meant} there are: {listed}")


@dataclass(frozen=True, slots=True)
class Entry:
    """What a caller writes. `path` is kept as given (give absolute ones); a path stands in a collection once."""

    vector: NDArray[np.float32]  # (dim,)
    modality: Modality
    path: str | Path | None = None
    text: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    sha256: str | None = None
    mtime_ns: int | None = None
    size: int | None = None  # bytes
    width: int | None = None
    height: int | None = None
    taken: str | None = None  # when the picture was taken, ISO 8601
    external_id: str | None = None  # its owner's own (base.names); it stands in a collection once
    id: int | None = None  # wanted, when a collection is made anew from an export


# id, path as its bytes, size, mtime_ns, sha256, width and height of an image: where there may be millions, a tuple
ImageRow = tuple[int, bytes | None, int | None, int | None, str | None, int | None, int | None]


@dataclass(frozen=True, slots=True)
class Record:
    """A stored row without its vector."""

    id: int
    modality: Modality
    path: str | None
    text: str | None
    metadata: dict[str, Any]
    sha256: str | None
    mtime_ns: int | None
    size: int | None
    width: int | None
    height: int | None
    taken: str | None = None
    external_id: str | None = None


@dataclass(frozen=True, slots=True)
class Keepsake:
    """What is kept of an entry whose file went, or got other bytes."""

    id: int  # its own; the entry's is gone
    path: str
    metadata: dict[str, Any]
    vector: NDArray[np.float32] | None  # (dim,); None: another model made it
    found: bool  # another file has got its metadata since


@dataclass(frozen=True, slots=True)
class Hit:
    """One result of a search."""

    score: float  # cosine
    record: Record
    z: float | None = None  # the score in standard deviations above what this query scores against anything
    relevance: float | None = None  # 0 to 1

    @property
    def id(self) -> int:
        """The record's id."""
        return self.record.id


@dataclass(frozen=True, slots=True)
class FacetValue:
    """A value of a key of the metadata, and how many entries have it."""

    value: str | int | float | bool
    count: int


@dataclass(frozen=True, slots=True)
class FacetKey:
    """A key of the metadata."""

    key: str
    entries: int  # that have it
    values: int  # different ones
    min: int | float | None = None  # of the numbers among them
    max: int | float | None = None


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder that files of entries lie in.

    Attributes:
        entries: in it, and in all below it.
        below: entries of each folder right below it, by its name.
    """

    path: str
    entries: int
    below: dict[str, int]


Event = Literal["created", "updated", "deleted"]


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to an entry last."""

    event: Event
    id: int
    modality: Modality
    path: str | None
    external_id: str | None
    record: Record | None  # as it is now; None: it was deleted
    cursor: str  # of all changes up to this one


@dataclass(frozen=True, slots=True)
class ChangePage:
    """Changes in their order. `cursor` is where the next page goes on, or when there is none yet, later changes."""

    changes: list[Change]
    cursor: str
    has_more: bool


def is_deeper(value: Any, depth: int) -> bool:
    """Whether more than `depth` objects and lists of metadata are inside each other; it looks no deeper than that."""
    if not isinstance(value, Mapping | list | tuple):
        return False
    inner = value.values() if isinstance(value, Mapping) else value
    return depth == 0 or any(is_deeper(part, depth - 1) for part in inner)


@dataclass(frozen=True, slots=True)
class NextInfo:
    """The model that a reindex has begun with, and how far it is: entries `done` and `left`."""

    model: str
    fingerprint: str
    dim: int
    done: int
    left: int


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """What a collection is, for lists and for `/v1/info`."""

    name: str
    model: str
    fingerprint: str
    dim: int
    counts: dict[Modality, int]
    created_at: str  # ISO 8601, UTC
    bytes: int  # on disk
    index: dict[str, dict[str, Any]] = field(default_factory=dict)  # modality -> the state of its ANN index
    next: NextInfo | None = None  # another model whose vectors are being gathered
    quota: Quota = field(default_factory=Quota)  # how much it may hold
    title: str | None = None  # what it is called where people read; None: its name
    problem: str | None = None  # why it cannot be opened; then only `name` and `bytes` say something

    @classmethod
    def unknown(cls, name: str, problem: Exception, size: int = 0) -> CollectionInfo:
        """Of one that cannot be opened."""
        return cls(name, "", "", 0, {}, "", size, problem=str(problem))
