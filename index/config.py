"""What the index of a collection is asked to be: its kind and its recall. Knows no FAISS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from base.errors import InputError

IndexKind = Literal["exact", "ivf-rabitq", "ivf-sq8", "ivf-pq", "hnsw-sq8"]
INDEX_KINDS: tuple[IndexKind, ...] = get_args(IndexKind)


@dataclass(frozen=True, slots=True)
class IndexConfig:
    """The index's configuration. It stands in the catalog and is followed at each compaction."""

    kind: IndexKind | Literal["auto"] = "auto"
    recall: float = 0.98  # of the first 10

    def __post_init__(self) -> None:
        if self.kind not in ("auto", *INDEX_KINDS):
            raise InputError(
                f"the kind of an index is auto, {', '.join(INDEX_KINDS[:-1])} or {INDEX_KINDS[-1]}, not {self.kind!r}"
            )
        if not 0.5 <= self.recall <= 1:
            raise InputError(f"the recall of an index can be asked from 0.5 to 1, not {self.recall}")
