"""What is kept of entries whose files went: on Milvus nothing. A file that comes back is read and encoded anew."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from index.entry import Keepsake


class NoKeepsakes:
    """None are kept."""

    def keep(self, ids: Iterable[int]) -> None:
        """Nothing is."""

    def last(self) -> int:
        """There is none."""
        return 0

    def of(self, sha256: str) -> list[Keepsake]:
        """None."""
        return []

    def set_found(self, ids: Iterable[int]) -> None:
        """There is none."""

    def count(self, folder: str | Path) -> int:
        """None."""
        return 0

    def forget(self, folder: str | Path) -> int:
        """None went."""
        return 0

    def forget_entries(self, ids: Sequence[int]) -> None:
        """There is none."""
