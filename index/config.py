"""What a collection is asked to be: its index's kind and recall, and how much it may hold. Knows no FAISS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from base.errors import InputError

IndexKind = Literal["exact", "ivf-rabitq", "ivf-sq8", "ivf-pq", "hnsw-sq8"]
INDEX_KINDS: tuple[IndexKind, ...] = get_args(IndexKind)
EXACT_ROWS = 100_000  # a scan of so many is fast enough, and never wrong
# an index comes alike in every store
BACKGROUND_ROWS = 100_000  # written: so many, and it is asked whether to build one beside searches
GROWTH = 2.0  # rows now against rows when an index was trained, or tuned
# recall is measured alike in every store
K = 10  # recall@10
QUERIES = 200  # of each sort
CONCEPT = 16  # rows whose mean is one concept
FEWEST = 400  # rows: of fewer, what is not held out is too little to train on (a product quantizer wants 256)
TRAIN_ROWS = 64  # for each inverted list; FAISS warns below 39


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


@dataclass(frozen=True, slots=True)
class Quota:
    """How much a collection may hold; None: no bound. It stands in the catalog.

    Attributes:
        entries: images and texts. It binds all that writes entries: uploads, jobs, `glimpse index`, imports.
        upload_bytes: of files that were uploaded to a service; those of folders that are indexed do not count.
    """

    entries: int | None = None
    upload_bytes: int | None = None

    def __post_init__(self) -> None:
        for name, most in (("entries", self.entries), ("upload_bytes", self.upload_bytes)):
            if most is not None and (isinstance(most, bool) or not isinstance(most, int) or not 1 <= most < 2**63):
                raise InputError(f"a quota of {name} is a whole number from 1 on, not {most!r}")
