"""What an indexing run did, for people and programs. Does nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from base.sources.left_out import LeftOut
from index.ingest.gone import Kept


@dataclass
class IndexReport:
    """What an indexing run did, in files.

    Attributes:
        updated: changed pictures and changed metadata.
        returned: those added or updated of whose bytes something was kept, from an entry that was gone.
        cut_off: pictures whose files end before they do, taken with what there is: {"path", "reason"}.
        others: files that are no pictures, by suffix.
        left_out: what the walks passed by; `left_out_entries` of those removed were there, and are left out now.
        kept: entries whose files are missing, and may come back.
        no_image: folders in which there was no image at all.
    """

    added: int = 0
    updated: int = 0
    moved: int = 0
    removed: int = 0
    unchanged: int = 0
    skipped: list[dict[str, str]] = field(default_factory=list)  # {"path", "reason"}
    cut_off: list[dict[str, str]] = field(default_factory=list)
    returned: int = 0
    encoded: int = 0
    seconds: float = 0.0
    others: Counter[str] = field(default_factory=Counter)
    left_out: LeftOut = field(default_factory=LeftOut)
    left_out_entries: int = 0
    kept: list[Kept] = field(default_factory=list)
    no_image: list[str] = field(default_factory=list)

    @property
    def images_per_second(self) -> float:
        """Images encoded a second, of the whole run's time."""
        return self.encoded / self.seconds if self.seconds else 0.0

    @property
    def is_news(self) -> bool:
        """Whether there is anything to tell of."""
        return bool(self.added or self.updated or self.moved or self.removed or self.skipped or self.kept)
