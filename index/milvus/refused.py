"""What Milvus has not, refused by name with what to do instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from base.errors import NotInStore
from index.columns import AllVectors, Columns
from index.entry import ChangePage
from index.search.patience import Patience


class Refused:
    """A base for `MilvusCollection`: what every collection is asked, and one on Milvus cannot answer."""

    name: str

    def all_vectors(self) -> AllVectors:
        """NotInStore."""
        raise self._no_columns()

    def vectors_of(self, ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """NotInStore."""
        raise self._no_columns()

    def written_since(self, version: int) -> tuple[int, NDArray[np.int64]]:
        """NotInStore."""
        raise self._no_columns()

    def columns_state(self) -> str:
        """NotInStore."""
        raise self._no_columns()

    def columns(self) -> Columns:
        """NotInStore."""
        raise self._no_columns()

    def columns_among(
        self,
        filter: Mapping[str, Any],  # noqa: A002
        patience: Patience | None = None,
    ) -> tuple[Columns, NDArray[np.bool_]]:
        """NotInStore."""
        raise self._no_columns()

    def _no_columns(self) -> NotInStore:
        return NotInStore(
            f"collection {self.name!r} lies on Milvus, which gives no columns of all pictures and no map: search it, "
            "read its entries page by page, or move it to the local store (glimpse collections move)"
        )

    def changes_after(self, after: str | None = None, limit: int = 1000) -> ChangePage:
        """NotInStore."""
        raise NotInStore(
            f"collection {self.name!r} lies on Milvus, which keeps no feed of changes: read all entries again now and "
            "then, or move it to the local store (glimpse collections move)"
        )
