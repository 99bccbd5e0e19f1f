"""Entries as columns: what a store writes at once. Made of entries, or by who has columns already, as a Parquet file.

A million entries one by one cost more Python than all of the writing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from operator import attrgetter
from typing import Any

from numpy.typing import ArrayLike

from index.entry import Entry


@dataclass(frozen=True)
class Batch:
    """n entries; the columns are the fields of `Entry`, in its order. One that is empty says nothing of any.

    Attributes:
        vector: (n, dim), or a list of n vectors.
        metadata_text: the metadata as JSON texts, if who made the batch has them, each one checked.
    """

    vector: ArrayLike
    modality: Sequence[Any]
    path: Sequence[Any] = ()
    text: Sequence[Any] = ()
    metadata: Sequence[Mapping[str, Any]] = ()
    sha256: Sequence[Any] = ()
    mtime_ns: Sequence[Any] = ()
    size: Sequence[Any] = ()
    width: Sequence[Any] = ()
    height: Sequence[Any] = ()
    taken: Sequence[Any] = ()
    external_id: Sequence[Any] = ()
    id: Sequence[Any] = ()
    metadata_text: Sequence[str] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.modality)

    @classmethod
    def of(cls, entries: Sequence[Entry]) -> Batch:
        """Entries as columns."""
        rows = map(_FIELDS, entries)
        made = cls(*map(list, zip(*rows, strict=True))) if entries else cls([], [])
        made.__dict__["entries"] = list(entries)
        return made

    def column(self, name: str) -> Sequence[Any]:
        """A field of all entries; None of each if nothing is said of it."""
        given: Sequence[Any] = getattr(self, name)
        return given if len(given) else [None] * len(self)

    @cached_property
    def entries(self) -> list[Entry]:
        """The entries, one by one."""
        metadata = self.metadata or [{}] * len(self)
        columns = [metadata if name == "metadata" else self.column(name) for name in _NAMES[1:]]
        return [Entry(*row) for row in zip(list(self.vector), *columns, strict=True)]  # type: ignore[arg-type]

    def only(self, rows: Sequence[int]) -> Batch:
        """Some of them, by their places."""
        if len(rows) == len(self):
            return self
        taken: dict[str, Any] = {}
        for each in fields(self):
            column = getattr(self, each.name)
            is_array = hasattr(column, "shape")
            taken[each.name] = column[list(rows)] if is_array else column and [column[row] for row in rows]
        return Batch(**taken)


_NAMES = [each.name for each in fields(Entry)]
_FIELDS = attrgetter(*_NAMES)
