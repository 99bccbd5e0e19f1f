"""What a collection is to all who use one, and a store of them, whichever it is. Types alone.

index/local keeps them on this disk, index/milvus on a server. What a store does not have it refuses with NotInStore.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from index.batch import Batch
from index.columns import AllVectors, Columns
from index.config import IndexConfig, Quota
from index.entry import (
    ChangePage,
    CollectionInfo,
    Entry,
    FacetKey,
    FacetValue,
    Folder,
    Hit,
    ImageRow,
    Keepsake,
    Modality,
    NextInfo,
    Record,
)
from index.search.calibration import Rejection
from index.search.patience import Patience
from index.search.query import Query
from index.search.searchable import View


class NextModel(Protocol):
    """Another model's vectors, gathered beside the present ones until one step swaps them in."""

    def begin(self, model: str, fingerprint: str, dim: int) -> bool:
        """Begin to gather vectors of another model; True if what was gathered for that one before goes on."""

    def info(self) -> NextInfo | None:
        """The model whose vectors are being gathered, and how far that is; None if there is none."""

    def left(self, after_id: int = 0, limit: int = 1000) -> list[Record]:
        """Records that still lack the next model's vector, in the order of ids."""

    def write(self, ids: Sequence[int], x: ArrayLike) -> None:
        """Keep the next model's vectors (n, its dim) of these entries. Durable when it returns."""

    def swap(self, drop: Sequence[int] = ()) -> None:
        """Put the next model's vectors in place of the present ones, in one step; entries in `drop` are deleted."""

    def abandon(self) -> None:
        """Forget the next model's vectors."""


class Keepsakes(Protocol):
    """What is kept of entries whose files went, by the bytes of the file. No search sees it."""

    def keep(self, ids: Iterable[int]) -> None:
        """Keep what there is of these entries, which are about to be deleted or to get other bytes."""

    def last(self) -> int:
        """The highest id: what is kept later has a higher one."""

    def of(self, sha256: str) -> list[Keepsake]:
        """Those of a file with this hash, the newest first."""

    def set_found(self, ids: Iterable[int]) -> None:
        """Note that other files have got their metadata."""

    def count(self, folder: str | Path) -> int:
        """How many there are of files inside that folder."""

    def forget(self, folder: str | Path) -> int:
        """Delete those of files inside that folder. Returns how many went."""

    def forget_entries(self, ids: Sequence[int]) -> None:
        """Delete those of files with the bytes or the path of one of these entries."""


class Collection(Protocol):
    """An open collection. Every method may be called from any thread.

    What each does, takes and raises is said at index.local.collection.LocalCollection and index.search.searches.
    """

    name: str
    folder: Path

    @property
    def is_near(self) -> bool:
        """Whether it is at hand without asking a server, and keeps in memory what it has to catch up with."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def close(self) -> None: ...

    @property
    def model(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def dim(self) -> int: ...

    @property
    def next(self) -> NextModel: ...

    @property
    def keepsakes(self) -> Keepsakes: ...

    def made_by(self) -> tuple[str, str]: ...

    def is_there(self) -> bool: ...

    def info(self) -> CollectionInfo: ...

    def count(self, modality: Modality | None = None) -> int: ...

    def last_id(self) -> int: ...

    def check_model(self, fingerprint: str) -> None: ...

    def upsert(self, entries: Sequence[Entry], fingerprint: str | None = None) -> list[int]: ...

    def write(self, batch: Batch, fingerprint: str | None = None) -> list[int]: ...

    def update(self, changes: Mapping[int, Mapping[str, Any]]) -> None: ...

    def delete(self, ids: Iterable[int]) -> int: ...

    def check(self) -> list[str]: ...

    @property
    def quota(self) -> Quota: ...

    def set_quota(self, quota: Quota) -> None: ...

    @property
    def title(self) -> str | None: ...

    def set_title(self, title: str | None) -> None: ...

    def check_room(self, more: int) -> None: ...

    def bytes_inside(self, folder: str | Path) -> int: ...

    @property
    def index_config(self) -> IndexConfig: ...

    def is_due(self) -> bool: ...

    def compact(self, config: IndexConfig | None = None, rows: Path | None = None) -> None: ...

    def stop_building(self) -> None: ...

    def get(self, entry_id: int) -> Record: ...

    def vector(self, entry_id: int) -> NDArray[np.float32]: ...

    def vectors(self, ids: Sequence[int]) -> NDArray[np.float32]: ...

    def records(
        self,
        modality: Modality | None = None,
        under: str | Path | None = None,
        after_id: int = 0,
        limit: int | None = None,
    ) -> Iterator[Record]: ...

    def images(self) -> Iterator[ImageRow]: ...

    def paths(self, under: str | Path) -> Iterator[tuple[str, int, int | None, int | None]]: ...

    def paths_with_dots(self) -> list[tuple[str, int]]: ...

    def find_path(self, path: str | Path) -> Record | None: ...

    def find_paths(self, paths: Iterable[str]) -> dict[str, Record]: ...

    def find_sha256(self, sha256: str, limit: int = -1) -> list[Record]: ...

    def find_external(self, external_ids: Iterable[str]) -> dict[str, Record]: ...

    def records_of(self, ids: Iterable[int]) -> dict[int, Record]: ...

    def refresh(self) -> None: ...

    def read_view(self) -> View: ...

    def query(self, query: Query) -> list[Hit]: ...

    def search(
        self, vector: ArrayLike, k: int = 10, modality: Modality = "image", ids: ArrayLike | None = None
    ) -> list[Hit]: ...

    def search_many(
        self, xq: ArrayLike, k: int = 10, modality: Modality = "image", ids: ArrayLike | None = None
    ) -> list[list[Hit]]: ...

    def filter_ids(
        self,
        filter: Mapping[str, Any],  # noqa: A002
        modality: Modality,
        patience: Patience | None = None,
    ) -> NDArray[np.int64]: ...

    def all_vectors(self) -> AllVectors: ...

    def vectors_of(self, ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float32]]: ...

    def written_since(self, version: int) -> tuple[int, NDArray[np.int64]]: ...

    def columns_state(self) -> str: ...

    def columns(self) -> Columns: ...

    def columns_among(
        self,
        filter: Mapping[str, Any],  # noqa: A002
        patience: Patience | None = None,
    ) -> tuple[Columns, NDArray[np.bool_]]: ...

    def changes_after(self, after: str | None = None, limit: int = 1000) -> ChangePage: ...

    def facet(
        self,
        key: str,
        limit: int = 10,
        filter: Mapping[str, Any] | None = None,  # noqa: A002
        modality: Modality = "image",
        patience: Patience | None = None,
    ) -> list[FacetValue]: ...

    def facet_keys(self, modality: Modality = "image", patience: Patience | None = None) -> list[FacetKey]: ...

    def folder_of(
        self, path: str | None = None, without: str | None = None, patience: Patience | None = None
    ) -> Folder: ...

    def rejection(self) -> Rejection | None: ...

    def set_rejection(self, measured: Rejection) -> None: ...

    def places(self) -> dict[str, Any]: ...

    def set_places(self, places: Mapping[str, Any]) -> None: ...


class Store(Protocol):
    """Collections by name."""

    @property
    def place(self) -> str:
        """Where they lie, in words."""

    def names(self) -> list[str]:
        """Of all, sorted."""

    def create(self, name: str, *, model: str, fingerprint: str, dim: int) -> Collection:
        """Make an empty one and open it for writing. CollectionExists."""

    def making(self, name: str, *, model: str, fingerprint: str, dim: int) -> AbstractContextManager[Collection]:
        """The same; it appears whole when the block ends, or not at all."""

    def open(self, name: str, *, writable: bool = False, read_only: bool = False) -> Collection:
        """Open one. CollectionNotFound, CollectionDamaged, CollectionLocked."""

    def info(self, name: str, *, read_only: bool = False) -> CollectionInfo:
        """What one is; with its `problem` if it cannot be opened. CollectionNotFound."""

    def identity(self, name: str) -> object:
        """Of the collection of that name: one that is made anew has another. None: there is none."""

    def lock(self, name: str) -> int:
        """Take the writer's lock: a descriptor that holds it until closed. CollectionLocked, CollectionNotFound."""

    def delete(self, name: str, *, keep_uploads: bool = False, is_locked: bool = False) -> None:
        """Delete one and all it holds, uploaded files too unless they are kept.

        `is_locked`: the caller holds its writer's lock. CollectionNotFound, CollectionLocked.
        """
